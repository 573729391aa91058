"""Hardly any processor time for some processes, as on a host whose processors are taken by others.

In:   processes.
Out:  each of them gets about a thousandth of a processor, until it is fed again.
How:  a control group with a quota for real-time and for ordinary scheduling, where the machine has such (cgroup v1,
`cpu`, with `cpu.rt_runtime_us`); what they start meanwhile starves too. Elsewhere the processes are stopped, and run
for a moment every now and then.
Always: an empty group that an earlier lab could not remove (it was killed) is removed by the next.
"""

import os
import secrets
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from holdfast.lab.acts import FaultFailed

GROUPS = Path("/sys/fs/cgroup/cpu")
PREFIX = "holdfast-lab-"
PERIOD_US = 1_000_000
RUNTIME_US = 1_000
"""The least that a quota for ordinary scheduling may be."""
LEFT_AFTER_S = 60.0
"""An empty group of this age is nobody's any more."""
EMPTY_LIMIT_S = 2.0


class Starved(Protocol):
    how: str

    def feed(self) -> None:
        """As before."""


def starve(pids: Sequence[int]) -> Starved:
    """Errors: FaultFailed."""
    if not pids:
        raise FaultFailed("there is nobody to starve")
    try:
        group = new_group()
    except OSError:
        return StopAndGo(pids)
    return Quota(pids, group)


class Quota:
    """By a group with a quota, which is removed in the end."""

    how = f"a quota of {RUNTIME_US // 1000} ms in a second"

    def __init__(self, pids: Sequence[int], group: Path) -> None:
        self._group = group
        try:
            for pid in pids:
                _move(pid, group)
        except OSError as error:
            self.feed()
            raise FaultFailed(f"processes {pids} did not come under the quota: {error.strerror}") from error

    def feed(self) -> None:
        end = time.monotonic() + EMPTY_LIMIT_S
        while self._group.is_dir():
            for pid in map(int, (self._group / "cgroup.procs").read_text().split()):
                with suppress(ProcessLookupError):
                    _move(pid, self._group.parent)
            try:
                self._group.rmdir()
            except OSError as error:
                # One that has ended stays a member for a moment.
                if time.monotonic() > end:
                    raise FaultFailed(f"the group {self._group} cannot be removed: {error.strerror}") from error
                time.sleep(0.01)


class StopAndGo:
    """By signals, from a thread."""

    how = f"stopped, and let run for {RUNTIME_US // 1000} ms in a second"

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._fed = threading.Event()
        self._signal(signal.SIGSTOP)
        self._cycle = threading.Thread(target=self._stop_and_go, daemon=True)
        self._cycle.start()

    def feed(self) -> None:
        self._fed.set()
        self._cycle.join()
        self._signal(signal.SIGCONT)

    def _stop_and_go(self) -> None:
        while not self._fed.wait((PERIOD_US - RUNTIME_US) / 1e6):
            self._signal(signal.SIGCONT)
            self._fed.wait(RUNTIME_US / 1e6)
            self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def new_group() -> Path:
    """A group with the quota, below the one that this process is in.

    Errors: OSError where this machine, or this user, has no such.
    """
    parent = _own_group()
    quotas = ("cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.rt_period_us", "cpu.rt_runtime_us")
    for left in parent.glob(f"{PREFIX}*"):
        # One in use cannot be removed, and one that is new is about to be used.
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_AFTER_S:
                left.rmdir()
    if not (parent / quotas[-1]).is_file():
        raise FileNotFoundError(f"{parent / quotas[-1]}: real-time scheduling has no quota here")
    group = parent / f"{PREFIX}{secrets.token_hex(4)}"
    group.mkdir()
    try:
        for name, value in zip(quotas, (PERIOD_US, RUNTIME_US, PERIOD_US, RUNTIME_US), strict=True):
            (group / name).write_text(str(value))
    except OSError:
        group.rmdir()
        raise
    return group


def _own_group() -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(",") and (GROUPS / path.lstrip("/")).is_dir():
            return GROUPS / path.lstrip("/")
    return GROUPS


def _move(pid: int, group: Path) -> None:
    (group / "cgroup.procs").write_text(str(pid))
