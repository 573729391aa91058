"""What has been measured so far: kept trial by trial, summed up as rows, compared with what shall be reached.

In:   trials. Out: the documented JSON (docs/performance.md), of which every figure is computed here from trials.
Always: a trial is on the disk before the next one begins; trials that a file already has are not made again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast.lab.bench import kept
from holdfast.lab.bench.cases import CASES, GOALS, NOTHING_MOVES, Goal
from holdfast.lab.bench.trial import Trial
from holdfast.lab.report.summary import statistics, this_machine

FORMAT = 1


def _trials(found: dict[str, Any]) -> tuple[list[Trial], dict[str, Any]]:
    return msgspec.convert(found["trials"], list[Trial]), found["machine"]


class Results:
    def __init__(self, path: Path | None, systems: Sequence[str]) -> None:
        self._path, self._systems = path, systems
        self.machine: dict[str, Any] = this_machine()
        self.trials: list[Trial] = []
        if path is not None and path.is_file():
            self.trials, self.machine = kept.read(path, FORMAT, _trials)

    def add(self, trial: Trial) -> None:
        self.trials.append(trial)
        if self._path is not None:
            kept.write(self._path, self.document())

    def of(self, system: str, case: str) -> list[Trial]:
        return [trial for trial in self.trials if (trial.system, trial.case) == (system, case)]

    def document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "machine": self.machine,
            "rows": self.rows(),
            "trials": [msgspec.to_builtins(trial) for trial in self.trials],
        }

    def rows(self) -> list[dict[str, Any]]:
        """One for each case and system that was measured, in the order of cases, then of systems."""
        pairs = [(case, system) for case in CASES for system in self._systems if self.of(system, case)]
        return [self.row(system, case) for case, system in pairs]

    def row(self, system: str, case: str) -> dict[str, Any]:
        trials = self.of(system, case)
        owed = 0 if case in NOTHING_MOVES else 1
        cpu = [trial.cpu_ms_per_s for trial in trials if trial.cpu_ms_per_s is not None]
        return {
            "system": system,
            "case": case,
            "n": len(trials),
            "sound": sum(not trial.why for trial in trials),
            "lost": statistics([trial.lost for trial in trials]),
            "outage_ms": statistics([trial.outage_ms for trial in trials]),
            "noise_ms": statistics([trial.noise_ms for trial in trials]),
            "two_owners_ms": max(trial.two_owners_ms for trial in trials),
            "false_failovers": sum(max(0, trial.moves - owed) for trial in trials),
            "lapses": sum(trial.lapses for trial in trials),
            "cpu_ms_per_s": statistics(cpu)["median"] if cpu else None,
            "reached": self.is_reached(system, case),
        }

    def is_reached(self, system: str, case: str) -> bool | None:
        """None where nothing was promised, or the peer it is promised beside was not measured."""
        goal = GOALS.get((system, case))
        trials = self.of(system, case)
        if goal is None or (goal.beside and not self.of(goal.beside, case)):
            return None
        owed = 0 if case in NOTHING_MOVES else 1
        failovers = sum(max(0, trial.moves - owed) for trial in trials)
        return (
            all(not trial.why for trial in trials)
            and self._lost_enough(goal, trials, case)
            and (goal.two_owners_ms is None or max(trial.two_owners_ms for trial in trials) <= goal.two_owners_ms)
            and (goal.failovers is None or failovers <= goal.failovers)
        )

    def _lost_enough(self, goal: Goal, trials: Sequence[Trial], case: str) -> bool:
        lost = statistics([trial.lost for trial in trials])["median"] or 0.0
        peer = statistics([trial.lost for trial in self.of(goal.beside, case)])["median"] if goal.beside else None
        return (goal.lost is None or lost <= goal.lost) and (peer is None or lost <= goal.ratio * peer)
