"""One trial with Holdfast: a scenario of the lab, run live in its nest, judged by the lab's judges.

In:   one of Holdfast's shapes, a case, a folder. Out: what any lab run leaves, and a `Trial`.
"""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import structs

from holdfast.errors import HoldfastError
from holdfast.lab import faults, scenario
from holdfast.lab.bench.busy import Busy
from holdfast.lab.bench.cases import OWN, Own
from holdfast.lab.bench.path import Moment, steps
from holdfast.lab.bench.trial import ProcessorTime, Trial, measured
from holdfast.lab.campaign import Progress, judge_one, run_one
from holdfast.lab.judges.evidence import Evidence, load_evidence
from holdfast.lab.judges.verdict import Verdict
from holdfast.lab.scenario import Scenario, Step
from holdfast.model.records import Marked

SCENARIOS = Path(__file__).parent / "scenarios"
LONG_STEP_S = 10.0
RUNTIME = b"holdfast.runtime."
"""Agents, their hot processes, supervisors and managers; not the components, nor the store."""
STARTS = {"switchover": "switchover", "return": "host-on", "return-stays": "host-on"}
"""The step that a case is about, where it is not the first one that hurts."""


def chosen(own: Own, case: str, idle_s: float) -> Scenario:
    """The scenario of a case; a long step lasts `idle_s`."""
    file = SCENARIOS / f"{own.scenarios[case]}.yaml"
    found = scenario.load(str(file) if file.is_file() else own.scenarios[case])
    words = (f"{round(1000 * idle_s)}ms",)
    return structs.replace(
        found, steps=tuple(structs.replace(step, words=words) if is_long(step) else step for step in found.steps)
    )


def is_long(step: Step) -> bool:
    return step.verb == "load" and float(step.words[0].removesuffix("ms")) / 1000 >= LONG_STEP_S


def play(own: Own, case: str, number: int, out: Path, idle_s: float) -> Trial:
    """One trial. Errors: HoldfastError when it left nothing to judge; KeyboardInterrupt."""
    wanted = chosen(own, case, idle_s)
    long_step = next((str(step) for step in wanted.steps if is_long(step)), "")
    with _Beside(idle_s) as beside:
        folder = run_one(wanted, number, out, lambda progress: beside.follow(progress, long_step))
    verdict, evidence = judge_one(folder), load_evidence(folder / "run.json")
    cpu = beside.cpu_s_per_s
    return measured(
        own.name,
        case,
        folder,
        _since(evidence, case),
        cpu_ms_per_s=None if cpu is None else round(cpu / len(evidence.layout.hosts), 2),
        lapses=sum(isinstance(one, Marked) and one.name == "grant-lapsed" for one in evidence.records),
        why=complaints(case, verdict),
    )


def walked(system: str, case: str, number: int, out: Path, moments: Sequence[Moment]) -> dict[str, float]:
    """One run, and how long each step of its recovery took. Errors: HoldfastError when it left nothing to measure."""
    folder = run_one(chosen(OWN[system], case, 0.0), number, out, lambda progress: None)
    return steps(load_evidence(folder / "run.json"), moments)


def _since(evidence: Evidence, case: str) -> float:
    kind = STARTS.get(case)
    times = [fault.at for fault in evidence.run.faults if (fault.kind == kind if kind else fault.starts)]
    if not times and case != "idle-load":
        raise HoldfastError(f"the step that {case} is about was not done", f"see {evidence.folder}")
    return min(times, default=evidence.run.began_at)


def complaints(case: str, verdict: Verdict) -> list[str]:
    """What the lab's judges say against it. Where nothing fails there is no outage that they could judge."""
    left_out = {"restored", "order"} if case == "idle-load" else set()
    wrong = [(name, check) for name, check in verdict.checks.items() if check.ok is not True]
    told = [f"{name}: {check.text}" for name, check in wrong if not (check.ok is None and name in left_out)]
    return [*verdict.unknown, *told]


class _Beside:
    """What goes on beside the long step of a run: busy loops, and a look at processor time."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._stack = ExitStack()
        self._used: ProcessorTime | None = None
        self.cpu_s_per_s: float | None = None

    def __enter__(self) -> "_Beside":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def follow(self, progress: Progress, long_step: str) -> None:
        if self._used is not None:
            self.cpu_s_per_s = self._used.ms_per_s(time.monotonic(), 1)
            self._used = None
            self._stack.close()
        if long_step and progress.step == long_step:
            self._stack.enter_context(Busy(self._idle_s))
            self._used = ProcessorTime(_processes(), time.monotonic())


def _processes() -> list[int]:
    """Of Holdfast itself, in the run below this process; others may run beside it."""
    return [pid for pid in faults.below(os.getpid()) if any(RUNTIME in word for word in faults.words_of(pid))]
