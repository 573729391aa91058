"""What the simulated world has found in the code, each as a run that once went wrong."""

from pathlib import Path

import pytest

from holdfast.errors import UserError
from holdfast.lab.judges.words import Violation
from holdfast.lab.sim.draw import Plan, draw
from holdfast.lab.sim.script import load, text_of
from holdfast.lab.sim.seed import Outcome, run_seed
from holdfast.lab.sim.shrink import shrink

FOUND = sorted((Path(__file__).parent / "found").glob("*.yaml"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_it_goes_well_now(path: Path) -> None:
    plan, _says = load(path)
    assert run_seed(plan).violations == []


def test_a_drawn_run_can_be_written_and_read(tmp_path: Path) -> None:
    file = tmp_path / "drawn.yaml"
    for seed in range(20):
        plan = draw(seed)
        file.write_text(text_of(plan, "anything"))
        read, says = load(file)
        assert (read.seed, read.faults, read.descriptor, says) == (seed, plan.faults, plan.descriptor, "anything")


def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("says: x\nseed: 1\nfaults:\n  - 10 kill-everything h1\ndescriptor: ''\n")
    with pytest.raises(UserError, match=r"wrong.yaml:4: unknown fault 'kill-everything'"):
        load(file)


def test_a_failing_run_becomes_short() -> None:
    plan = next(plan for plan in map(draw, range(100)) if len(plan.faults) > 3)
    needed = plan.faults[1].kind

    def run(tried: Plan) -> Outcome:
        seen = [Violation("owners", "two", 0.0)] if needed in [fault.kind for fault in tried.faults] else []
        return Outcome(0, seen, [], 0, 0, 0)

    short = shrink(plan, run)
    assert [fault.kind for fault in short.faults] == [needed]
