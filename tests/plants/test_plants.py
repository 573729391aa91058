"""Each planted mistake is seen by a judge that has to see it, and the same run is clean without."""

import pytest

from tests.plants.defects import ALL, chosen
from tests.plants.finding import plan_of, violations
from tests.plants.planting import Defect, Ground

SEEN = [defect for defect in ALL.values() if not defect.hidden]
HIDDEN = [defect for defect in ALL.values() if defect.hidden]


@pytest.mark.parametrize("defect", SEEN, ids=lambda defect: defect.name)
def test_a_judge_sees_it(defect: Defect) -> None:
    for seed in range(1, defect.first + 1):
        plan = plan_of(defect, seed)
        seen = {violation.judge for violation in violations(plan, defect)}
        if seen & set(defect.judges):
            assert violations(plan) == []
            return
    pytest.fail(f"{' and '.join(defect.judges)} did not see that {defect.says}")


@pytest.mark.parametrize("defect", HIDDEN, ids=lambda defect: defect.name)
def test_what_is_not_seen_is_planted_all_the_same(defect: Defect) -> None:
    ground = Ground()
    defect.plant(ground)
    changed = ground.changed
    ground.put_back()
    assert changed > 0


def test_everything_is_put_back() -> None:
    class Real:
        own = 1

    class Inherits(Real):
        pass

    ground = Ground()
    ground.change(Real, "own", 2)
    ground.change(Real, "own", 3)
    ground.change(Inherits, "own", 4)
    assert (Real.own, Inherits.own) == (3, 4)
    ground.put_back()
    assert (Real.own, "own" in vars(Inherits)) == (1, False)


def test_what_cannot_be_planted_any_more_is_told() -> None:
    with pytest.raises(LookupError, match="must be written anew"):
        Ground().everywhere(object(), None)


def test_unknown_defects_are_told() -> None:
    with pytest.raises(ValueError, match="no defect is called 'nonsense'"):
        chosen("own,nonsense")
