"""How soon a planted mistake is found: one seed after the other is run with it, until judges have complained.

In: a defect, seeds. Out: `Found`: which judges saw it, how many seeds each finding took, whether the same runs are
clean without it.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median_low

from msgspec import Struct, field

from holdfast.lab.judges.words import Violation
from holdfast.lab.sim.draw import Plan, draw
from holdfast.lab.sim.script import load
from holdfast.lab.sim.seed import run_seed
from tests.plants.planting import Defect, planted

SCRIPTS = Path(__file__).parent / "scripts"
FINDINGS = 5
"""So many findings, one after the other, make the figure that is stated."""


class Found(Struct):
    """What has come of one defect."""

    defect: str
    judges: dict[str, int] = field(default_factory=dict)
    """Who saw it first in a run, and in how many runs."""
    also: dict[str, int] = field(default_factory=dict)
    """Who saw it at all."""
    waits: list[int] = field(default_factory=list)
    """Seeds from one finding to the next."""
    seeds: int = 0
    by_script: bool = False
    unclean: list[str] = field(default_factory=list)
    """Runs that a judge does not like without the defect either."""
    says: str = ""
    """What the first finding was."""
    processor_s: float = 0.0

    @property
    def is_found(self) -> bool:
        return bool(self.judges)

    @property
    def median(self) -> int:
        return median_low(self.waits)


def violations(plan: Plan, defect: Defect | None = None) -> list[Violation]:
    """What the judges say of one run."""
    if defect is None:
        return run_seed(plan).violations
    with planted(defect):
        return run_seed(plan).violations


def plan_of(defect: Defect) -> Plan:
    return load(SCRIPTS / f"{defect.script}.yaml")[0]


def find(defect: Defect, seeds: Sequence[int], findings: int = FINDINGS) -> Found:
    """Run until it was found so often, or the seeds are used up; by its script, if it is rare."""
    began = time.process_time()
    found = Found(defect.name)
    if defect.is_rare:
        found.by_script = True
        found.seeds = 1
        _take(found, defect, plan_of(defect), defect.script)
    else:
        _draw(found, defect, seeds, findings)
    found.processor_s = time.process_time() - began
    return found


def _draw(found: Found, defect: Defect, seeds: Iterable[int], findings: int) -> None:
    since = 0
    for seed in seeds:
        found.seeds += 1
        since += 1
        if _take(found, defect, draw(seed), f"seed {seed}"):
            found.waits.append(since)
            since = 0
        if len(found.waits) >= findings:
            return


def _take(found: Found, defect: Defect, plan: Plan, name: str) -> bool:
    """Whether a judge has complained of this run, and none does without the defect."""
    wrong = violations(plan, defect)
    if not wrong:
        return False
    right = violations(plan)
    if right:
        found.unclean.append(f"{name}: {right[0].judge}: {right[0].text}")
        return False
    if not found.says:
        found.says = f"{name}, {wrong[0].at_s:.3f} s, {wrong[0].judge}: {wrong[0].text}"
    first = min(wrong, key=lambda one: one.at_s)
    found.judges = dict((Counter(found.judges) + Counter([first.judge])).most_common())
    found.also = dict((Counter(found.also) + Counter({one.judge for one in wrong})).most_common())
    return True
