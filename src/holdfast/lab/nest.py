"""A nest: namespaces that a lab run lives in and that die with it.

In:   a function to run.
Out:  its exit status.
Always: everything the function started is gone when `run_in_nest` returns or when its process is killed in any
way, because the first process of the PID namespace is killed by the kernel together with its parent, and
network and mount namespaces end with their last process. Nothing is left on the machine.

Without root the nest is made in a user namespace of one's own; what cannot be done there is listed by `limits_of_nest`.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from holdfast.errors import HoldfastError, MachineLacks

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_NOSUID = 2
MS_NODEV = 4
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def run_in_nest(main: Callable[[], int], meanwhile: Callable[[Callable[[], bool]], None] | None = None) -> int:
    """Run `main` as a child of the first process of fresh namespaces; return its exit status.

    `meanwhile` is called in this process while the nest lives, with a function that says whether it has ended.

    SIGINT and SIGTERM reach `main` once, as KeyboardInterrupt; SIGKILL of this process ends the nest at once.

    Errors: MachineLacks where namespaces cannot be made.
    """
    rootless = os.geteuid() != 0
    uid, gid = os.geteuid(), os.getegid()
    child = os.fork()
    if child == 0:
        # A process of its own unshares, so that the caller's own namespaces stay as they are.
        _leave(lambda: _keep_nest(main, rootless, uid, gid))
    return _wait_passing_signals(child, meanwhile)


def run_with_own_mounts(main: Callable[[], int]) -> int:
    """Run `main` in a child that has nothing but mounts (and a /run) of its own; return its exit status.

    For what works only in the machine's first namespaces. What `main` starts has to be bound to it by the kernel.

    Errors: MachineLacks where that is not allowed.
    """
    if os.geteuid() != 0:
        raise MachineLacks("mounts of one's own are for root", "run as root")
    child = os.fork()
    if child == 0:
        _leave(lambda: _keep_mounts(main))
    return _wait_passing_signals(child)


def _keep_mounts(main: Callable[[], int]) -> int:
    _die_with_parent()
    if _libc.unshare(CLONE_NEWNS) != 0:
        raise MachineLacks(f"mounts of one's own cannot be made: {os.strerror(ctypes.get_errno())}", "run as root")
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV)
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    signal.signal(signal.SIGINT, lambda *_: _interrupt())
    return main()


def bind(source: Path, target: Path) -> None:
    """Show `source` at `target` (which is made, as a file), for those who have these mounts."""
    target.touch()
    _mount(str(source), str(target), "", MS_BIND)


def _keep_nest(main: Callable[[], int], rootless: bool, uid: int, gid: int) -> int:
    _die_with_parent()
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    if _libc.unshare(flags | (CLONE_NEWUSER if rootless else 0)) != 0:
        why = os.strerror(ctypes.get_errno())
        print(f"holdfast: cannot make the lab's namespaces: {why}", file=sys.stderr)
        print(
            "hint: run as root, or allow unprivileged user namespaces (kernel.unprivileged_userns_clone)",
            file=sys.stderr,
        )
        return MachineLacks.exit_status
    if rootless:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    first = os.fork()
    if first == 0:
        _leave(lambda: _first_process(main))
    return _wait_passing_signals(first)


def _first_process(main: Callable[[], int]) -> int:
    """PID 1 of the nest: mounts what is private to it, runs `main` in a child, reaps orphans."""
    _die_with_parent()
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    _mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV)
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGTERM, lambda *_: _interrupt())
        signal.signal(signal.SIGINT, lambda *_: _interrupt())
        _leave(main)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os.kill(worker, signal.SIGTERM))
    while True:
        try:
            ended, status = os.wait()
        except InterruptedError:
            continue
        if ended == worker:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _interrupt() -> None:
    # Once only: the cleaning up that follows must not be interrupted in its turn.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _leave(main: Callable[[], int]) -> None:
    """End this forked process with the status of `main`, whatever happens in it."""
    status = 1
    try:
        status = main()
    except KeyboardInterrupt:
        status = 130
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except HoldfastError as error:
        status = error.exit_status
        print(f"holdfast: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
    except Exception:  # noqa: BLE001  # nobody is above it who could show it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 0xFF)


def _wait_passing_signals(child: int, meanwhile: Callable[[Callable[[], bool]], None] | None = None) -> int:
    def pass_on(number: int, _frame: object) -> None:
        os.kill(child, signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT)

    def ended() -> bool:
        # Only looks (WNOWAIT), so that the number cannot be given to another process before the wait below.
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if meanwhile is not None:
            meanwhile(ended)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, None) != 0:
        raise MachineLacks(
            f"cannot mount {kind or 'private'} on {target}: {os.strerror(ctypes.get_errno())}",
            "run as root, or allow mounts inside user namespaces",
        )


def limits_of_nest() -> tuple[str, ...]:
    """What this machine or user does not allow inside the nest; a run that depends on it is `unknown`."""
    missing = []
    mapped = Path("/proc/self/uid_map").read_text().split()
    if mapped[2] != "4294967295":
        missing += ["real-time priority", "freezing"]
    return tuple(missing)
