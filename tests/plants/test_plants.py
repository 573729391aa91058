"""Each planted mistake is seen by a judge that has to see it, and the same run is clean without."""

import pytest

from tests.plants.defects import ALL, chosen
from tests.plants.finding import plan_of, violations
from tests.plants.planting import BOTH, Defect, Ground


@pytest.mark.parametrize("defect", ALL.values(), ids=lambda defect: defect.name)
def test_a_judge_sees_it(defect: Defect) -> None:
    for seed in range(1, defect.first + 1):
        plan = plan_of(defect, seed)
        seen = {violation.judge for violation in violations(plan, defect)}
        if seen & set(defect.judges):
            assert violations(plan) == []
            return
    pytest.fail(f"{' and '.join(defect.judges)} did not see that {defect.says}")


GUARDED = [defect for defect in ALL.values() if defect.guards]


@pytest.mark.parametrize("defect", GUARDED, ids=lambda defect: defect.name)
def test_neither_the_mistake_nor_a_missing_guard_does_harm_alone(defect: Defect) -> None:
    plan = plan_of(defect, 1)
    for part in BOTH:
        seen = {violation.judge for violation in violations(plan, defect, [part])}
        assert not seen & set(defect.judges)


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
