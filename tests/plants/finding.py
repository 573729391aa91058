"""How soon a planted mistake is found: one seed after the other is run with it, until judges have complained.

In: a defect, seeds. Out: `Found`: which judges saw it, how many seeds each finding took, whether the same runs are
clean without it.
"""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import median_low

from msgspec import Struct, field
from msgspec.structs import replace

from holdfast.lab.judges.words import Violation
from holdfast.lab.sim.draw import Plan, draw
from holdfast.lab.sim.script import load
from holdfast.lab.sim.seed import run_seed
from tests.plants.planting import BOTH, Defect, Part, planted
from tests.plants.season import draw_season

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
    alone: dict[Part, dict[str, int]] = field(default_factory=dict)
    """Who sees something, in how many of the runs in which it was found, if it is one of the two alone."""
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


def violations(plan: Plan, defect: Defect | None = None, parts: Collection[Part] = BOTH) -> list[Violation]:
    """What the judges say of one run."""
    if defect is None:
        return run_seed(plan).violations
    with planted(defect, parts):
        return run_seed(plan).violations


def plan_of(defect: Defect, seed: int) -> Plan:
    """Its written run, under this chance; a drawn run where there is none."""
    if defect.by_season:
        return draw_season(seed)
    if not defect.script:
        return draw(seed)
    return replace(load(SCRIPTS / f"{defect.script}.yaml")[0], seed=seed)


def find(defect: Defect, seeds: Sequence[int], findings: int = FINDINGS) -> Found:
    """Run until it was found so often, or the seeds are used up; its script where it is rare, else drawn runs."""
    began = time.process_time()
    found = Found(defect.name)
    since = 0
    for seed in seeds:
        found.seeds += 1
        since += 1
        plan = _drawn(defect, seed)
        if _take(found, defect, plan, f"seed {seed}"):
            found.waits.append(since)
            since = 0
        if len(found.waits) >= findings:
            break
    found.processor_s = time.process_time() - began
    return found


def _drawn(defect: Defect, seed: int) -> Plan:
    return plan_of(defect, seed) if defect.is_rare or defect.by_season else draw(seed)


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
    for part in BOTH if defect.guards else ():
        seen = Counter({one.judge for one in violations(plan, defect, (part,))})
        found.alone[part] = dict(Counter(found.alone.get(part, {})) + seen)
    return True
