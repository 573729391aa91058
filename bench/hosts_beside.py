"""What goes on beside a run, from outside of it: busy loops on all cores; the processor time of a host's agent.

In:   the long step of a scenario, as it begins and ends.
Out:  figures of that step. Always: whatever was started ends with it, and with this process whatever becomes of it.
"""

import os
import time
from contextlib import ExitStack
from typing import Protocol

from hosts_cases import HOLDER, Case, Figures

from holdfast.lab.bench import busy
from holdfast.lab.bench.trial import used_s
from holdfast.lab.faults import below, words_of

MODULES = {"core_hot": b"holdfast.runtime.hot_main", "core_agent": b"holdfast.runtime.agent_process"}


class Beside(Protocol):
    def begin(self, seconds: float) -> None: ...

    def end(self) -> Figures: ...


def beside(case: Case) -> Beside:
    kinds: dict[str, type[Beside]] = {"busy": Busy, "processor": Processor, "": Nothing}
    return kinds[case.beside]()


class Nothing:
    def begin(self, seconds: float) -> None:
        return

    def end(self) -> Figures:
        return {}


class Busy:
    """One loop that never rests for each core, of ordinary priority."""

    def __init__(self) -> None:
        self._loops = ExitStack()
        self._is_begun = False

    def begin(self, seconds: float) -> None:
        self._loops.enter_context(busy.Busy(seconds))
        self._is_begun = True

    def end(self) -> Figures:
        self._loops.close()
        begun, self._is_begun = self._is_begun, False
        return {"busy_loops": float(len(os.sched_getaffinity(0)))} if begun else {}


class Processor:
    """Processor time of agent and hot process of one host of the lab, as the kernel counts it."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[int, float]] = {}
        self._at = 0.0

    def begin(self, seconds: float) -> None:
        pids = {name: pid for name, module in MODULES.items() if (pid := _process(module))}
        self._begun = {name: (pid, used) for name, pid in pids.items() if (used := used_s(pid)) is not None}
        self._at = time.monotonic()

    def end(self) -> Figures:
        begun, self._begun = self._begun, {}
        took_s = time.monotonic() - self._at
        used = {
            name: 100 * (now - before) / took_s
            for name, (pid, before) in begun.items()
            if (now := used_s(pid)) is not None
        }
        if len(used) < len(MODULES):
            return {}  # One has ended, so there is no figure.
        return {name: round(value, 2) for name, value in used.items()} | {"core": round(sum(used.values()), 2)}


def _process(module: bytes) -> int:
    """Of the lab that runs below this process; others may run beside it."""
    for pid in below(os.getpid()):
        words = words_of(pid)
        if module in words and b"--host" in words and words[words.index(b"--host") + 1] == HOLDER.encode():
            return pid
    return 0
