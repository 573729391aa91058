"""A call of the bench: every case with every system, one of each, then the next of each.

In:   systems, cases, how often. Out: `Results`, written after each trial.
Interleaved, so that a bad minute of the machine meets every system and not one. The long case comes once a system.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast import descriptor
from holdfast.errors import HoldfastError, MachineLacks
from holdfast.lab.bench import keepalived, own
from holdfast.lab.bench.cases import CASES, OWN
from holdfast.lab.bench.keepalived_words import SETTINGS
from holdfast.lab.bench.results import Results
from holdfast.lab.bench.trial import Trial
from holdfast.lab.campaign import new_folder
from holdfast.runtime.machine import check_components

SYSTEMS: tuple[str, ...] = (*OWN, *SETTINGS)
ONCE = "idle-load"
"""A minute long; once is enough, since it looks for what must not happen at all."""


@dataclass(frozen=True)
class BenchPlan:
    systems: Sequence[str]
    cases: Sequence[str]
    repeat: int
    out: Path
    idle_s: float

    def wanted(self, case: str) -> int:
        return min(1, self.repeat) if case == ONCE else self.repeat

    def todo(self, results: Results) -> list[tuple[str, str, int]]:
        """What is still to be measured: system, case, number."""
        found = [
            (number, case, system)
            for case in self.cases
            for system in self.systems
            if can(system, case)
            for number in range(len(results.of(system, case)), self.wanted(case))
        ]
        places = {case: at for at, case in enumerate(CASES)}
        ordered = sorted(found, key=lambda one: (one[0], places[one[1]], SYSTEMS.index(one[2])))
        return [(system, case, number) for number, case, system in ordered]


def can(system: str, case: str) -> bool:
    """Without grants nobody may take a lost host's services on his own; keepalived always preempts here."""
    return case in keepalived.DEEDS if system in SETTINGS else case in OWN[system].scenarios


def check_machine(plan: BenchPlan) -> None:
    """Before the first trial is better than after it. Errors: MachineLacks."""
    if any(system in SETTINGS for system in plan.systems):
        keepalived.check_machine()
    for system, case, _ in plan.todo(Results(None, plan.systems)):
        if system in OWN:
            try:
                check_components(descriptor.load(own.chosen(OWN[system], case, plan.idle_s).layout))
            except MachineLacks as error:
                raise MachineLacks(f"{system}, {case}: {error.message}", "run `make setup`") from error


def run(plan: BenchPlan, results: Results, tell: Callable[[str, str, int, Trial | str | None], None]) -> None:
    """Measure what is missing; `tell` hears of each trial as it begins (None), as it ends, or why it left nothing."""
    for system, case, number in plan.todo(results):
        tell(system, case, number, None)
        try:
            trial = _play(plan, system, case, number)
        except HoldfastError as error:
            if error.exit_status != 1:
                raise  # The next one would fare no better.
            tell(system, case, number, error.message)
            continue
        results.add(trial)
        tell(system, case, number, trial)


def _play(plan: BenchPlan, system: str, case: str, number: int) -> Trial:
    if system in OWN:
        return own.play(OWN[system], case, number, plan.out / system, plan.idle_s)
    folder = new_folder(plan.out / system / case, str(number), "logs")
    return keepalived.play(SETTINGS[system], case, folder, plan.idle_s)
