"""Processes by pid and start time, so that nobody ends a stranger that got an old pid.

In:   pids, and the run folder's lists of processes.
Out:  whether they live; signals to them alone.
"""

import os
import select
import signal
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.model.reading import UNREADABLE
from holdfast.runtime.folder import RunFolder


class Process(Struct, frozen=True):
    """One process for all time: its pid, and its start in clock ticks since the machine's boot."""

    pid: int
    start: int


class Listed(Struct, frozen=True):
    """The content of a list of processes: what a supervisor has started, by name."""

    processes: dict[str, Process]
    format: int = 1


def start_of(pid: int) -> int | None:
    """When the process started; None if there is none (a zombie counts as none)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets and may hold anything, brackets and blanks included.
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def this_process() -> Process:
    return process_of(os.getpid())


def process_of(pid: int) -> Process:
    """The process that has this pid now."""
    return Process(pid, start_of(pid) or 0)


def is_alive(process: Process) -> bool:
    return start_of(process.pid) == process.start


def tell(process: Process, number: signal.Signals) -> bool:
    """Send a signal to this very process; False if it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        # The handle pins the process: if the start time is right now, the signal cannot reach another.
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def wait_gone(process: Process, limit_s: float) -> bool:
    """Whether the process is gone within the limit."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return True
    try:
        if not is_alive(process):
            return True
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(0.0, limit_s) * 1000))
    finally:
        os.close(handle)


def end(process: Process, limit_s: float) -> bool:
    """SIGTERM, then at the limit SIGKILL; whether it is gone."""
    if not tell(process, signal.SIGTERM):
        return True
    # A stopped process would never hear of it.
    tell(process, signal.SIGCONT)
    if wait_gone(process, limit_s):
        return True
    tell(process, signal.SIGKILL)
    return wait_gone(process, limit_s)


def list_file(folder: RunFolder, name: str) -> Path:
    """Where a supervisor lists its processes; several in one folder have a name each."""
    return folder.processes if not name else folder.processes.with_name(f"processes-{name}.json")


def write_list(path: Path, processes: dict[str, Process]) -> None:
    """Replace the list in one step."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(Listed(processes)))
    fresh.replace(path)


def read_lists(folder: RunFolder) -> dict[str, Process]:
    """All processes that supervisors of this folder have listed; several supervisors by number."""
    found: dict[str, Process] = {}
    for path in sorted(folder.root.glob("processes*.json")):
        try:
            listed = msgspec.json.decode(path.read_bytes(), type=Listed)
        except (OSError, *UNREADABLE):
            continue
        for name, process in listed.processes.items():
            found[name if name not in found else f"{name} ({path.stem})"] = process
    return found


def wait_until_free(deadline: float, processes: list[Process]) -> list[Process]:
    """Wait until all are gone or the deadline is there; answer those that are left."""
    return [process for process in processes if not wait_gone(process, deadline - time.monotonic())]
