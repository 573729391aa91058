"""Work inside another network namespace, without leaving one's own.

A process has one network namespace and the agent never changes its own. A socket, though, belongs for ever to the
namespace in which it was made: a short-lived thread enters the namespace, makes the sockets, and ends.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from holdfast.errors import MachineLacks, WorldError

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def inside(netns_fd: int | None, work: Callable[[], Result]) -> Result:
    """Run `work` in the namespace (None: this process's own) and return its result, or raise its error."""
    if netns_fd is None:
        return work()
    descriptor = netns_fd

    def enter() -> None:
        # CPython has os.setns only from 3.12 on.
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise _not_entered(ctypes.get_errno(), f"file descriptor {descriptor}")

    return _in_a_thread(enter, work)


def new_namespace() -> int:
    """Make an empty network namespace; it lives as long as the returned file descriptor or anything in it."""

    def enter() -> None:
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise _not_entered(ctypes.get_errno(), "a new one")

    return _in_a_thread(enter, lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))


def _in_a_thread(enter: Callable[[], None], work: Callable[[], Result]) -> Result:
    """Do both in a thread of its own, which takes the namespace it entered to its grave."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            enter()
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # raised again below, in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=run, name="holdfast-namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _not_entered(code: int, which: str) -> MachineLacks | WorldError:
    message = f"cannot enter network namespace ({which}): {errno.errorcode.get(code, code)} ({os.strerror(code)})"
    if code == errno.EPERM:
        return MachineLacks(message, "this needs root, or CAP_SYS_ADMIN in a user namespace of one's own")
    return WorldError(message, "the descriptor must be that of a /proc/<pid>/ns/net still open")
