"""What goes on beside a run, from outside of it: busy loops on all cores; the processor time of a host's agent.

In:   the long step of a scenario, as it begins and ends.
Out:  figures of that step. Always: whatever was started ends with it, and with this process whatever becomes of it.
"""

import os
import subprocess
import time
from pathlib import Path
from typing import Protocol

from hosts_cases import HOLDER, Case, Figures

from holdfast.lab.faults import below

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
        self._loops: list[subprocess.Popen[bytes]] = []

    def begin(self, seconds: float) -> None:
        limit_s = int(seconds) + 60
        loop = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", f"ulimit -t {limit_s}; while :; do :; done"]
        self._loops = [subprocess.Popen(loop) for _ in os.sched_getaffinity(0)]

    def end(self) -> Figures:
        for loop in self._loops:
            loop.kill()
            loop.wait()
        count, self._loops = len(self._loops), []
        return {"busy_loops": float(count)} if count else {}


class Processor:
    """Processor time of agent and hot process of one host of the lab, as the kernel counts it."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[int, float]] = {}
        self._at = 0.0

    def begin(self, seconds: float) -> None:
        self._begun = {name: (pid, _used_s(pid)) for name, module in MODULES.items() if (pid := _process(module))}
        self._at = time.monotonic()

    def end(self) -> Figures:
        if len(self._begun) < len(MODULES):
            return {}
        took_s = time.monotonic() - self._at
        try:
            used = {name: 100 * (_used_s(pid) - before) / took_s for name, (pid, before) in self._begun.items()}
        except OSError:
            return {}  # It has ended, so there is no figure.
        self._begun = {}
        return {name: round(value, 2) for name, value in used.items()} | {"core": round(sum(used.values()), 2)}


def _process(module: bytes) -> int:
    """Of the lab that runs below this process; others may run beside it."""
    for pid in below(os.getpid()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if module in words and b"--host" in words and words[words.index(b"--host") + 1] == HOLDER.encode():
            return pid
    return 0


def _used_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
