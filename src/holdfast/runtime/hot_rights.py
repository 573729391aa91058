"""What the hot process asks of the machine so that nothing holds it up: memory that stays, a priority above others.

Everything is asked for and nothing is demanded: what is refused is answered as data, and the loop runs without it (a
little later at times, which it measures and publishes). With reset-on-fork, so that no child inherits the priority.
"""

import ctypes
import gc
import os
from pathlib import Path

from msgspec import Struct

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_PR_SET_TIMERSLACK = 29
_libc = ctypes.CDLL(None, use_errno=True)
_SELF = Path("/proc/self")
_AUTOGROUP = _SELF / "autogroup"
AGENT_NICE = -15


class Lack(Struct, frozen=True):
    """Something the machine did not give."""

    what: str
    reply: str
    hint: str


class Rights(Struct, frozen=True):
    got: tuple[str, ...]
    lacks: tuple[Lack, ...]


def claim(priority: int) -> Rights:
    """Ask for locked memory, the priority (0: ask for none), and exact timers.

    The priority holds for every thread of the process only if there is one: call it before any other begins.
    """
    got: list[str] = []
    lacks: list[Lack] = []
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        got.append("memory is locked")
    else:
        lacks.append(
            Lack("memory is not locked", _reply(), "CAP_IPC_LOCK, or LimitMEMLOCK=infinity in the systemd unit")
        )
    if priority:
        try:
            if left := _take_priority(priority):
                got.append(f"left the control group {left}, which gives no time to real-time scheduling")
            got.append(f"SCHED_FIFO {priority}")
        except OSError as error:
            lacks.append(
                Lack(
                    f"no SCHED_FIFO {priority}",
                    error.strerror or str(error),
                    "CAP_SYS_NICE, or LimitRTPRIO in the systemd unit; in a cgroup of v1, cpu.rt_runtime_us above 0",
                )
            )
    if _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0) == 0:
        got.append("timers are not rounded")
    else:
        lacks.append(Lack("timers may be rounded by 50 us", _reply(), "nothing to be done"))
    return Rights(tuple(got), tuple(lacks))


def _take_priority(priority: int) -> str:
    """The control group that had to be left for it; OSError if it is not given."""
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except PermissionError:
        left = _leave_group()
        if not left:
            raise
        os.sched_setscheduler(0, policy, os.sched_param(priority))
        return left
    return ""


def _leave_group() -> str:
    """Go up to the nearest control group with time for real-time scheduling, and name the one that has none.

    In version 1 each new group has none until somebody gives it some, and whoever starts a service in a group of its
    own (systemd with CPUAccounting, a container engine) gives none. Nothing is named where that is not the trouble.
    """
    own = next((path for names, path in _groups() if "cpu" in names.split(",")), "/")
    for mount in _cpu_mounts():
        group = mount / own.lstrip("/")
        if own == "/" or _realtime_us(group) != 0:
            continue
        for above in group.parents:
            if _realtime_us(above) > 0:
                (above / "cgroup.procs").write_text(str(os.getpid()))
                return own
            if above == mount:
                break
    return ""


def _groups() -> list[tuple[str, str]]:
    """Controllers, and the group of this process, for each hierarchy."""
    lines = _SELF.joinpath("cgroup").read_text().splitlines()
    return [(names, path) for _, names, path in (line.split(":", 2) for line in lines)]


def _cpu_mounts() -> list[Path]:
    """Where the hierarchy of version 1 with the controller `cpu` is mounted."""
    found = []
    for line in _SELF.joinpath("mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if kind.startswith("cgroup ") and "cpu" in kind.split()[2].split(","):
            found.append(Path(mount.split()[4]))
    return found


def _realtime_us(group: Path) -> int:
    """Time for real-time scheduling in each period; -1 where that is not told."""
    try:
        return int((group / "cpu.rt_runtime_us").read_text())
    except (OSError, ValueError):
        return -1


def precede(nice: int = AGENT_NICE) -> Lack | None:
    """Run before ordinary processes; whatever this process starts does not. For processes with an event loop.

    That is agents, and managers where no take-over goes without them. On a host whose processors are all taken an agent
    of ordinary priority waits for its turn several times in a take-over: to see the end of a process, to let the claim
    go, to give the role, to open the gate. A manager that decides in between waits as well.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        # Where sessions are grouped, a nice value counts only within one: this one's, unless it is a person's.
        if _AUTOGROUP.exists() and os.getsid(0) == os.getpid():
            _AUTOGROUP.write_text(str(nice))
    except OSError as error:
        return Lack(f"no nice value of {nice}", error.strerror or str(error), "CAP_SYS_NICE")
    return None


def settle_memory() -> None:
    """Call when everything that lasts is made: the collector of cycles will not look at it again.

    It is off from then on, because a full collection takes milliseconds; `tidy` collects what is young.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


def tidy(young_max: int) -> None:
    """Collect cycles among the young objects once there are many; the loop itself makes none. Takes well below 1 ms."""
    if gc.get_count()[0] > young_max:
        gc.collect(0)


def _reply() -> str:
    return os.strerror(ctypes.get_errno())
