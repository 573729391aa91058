"""Processes that stand still, and go on later, however many of them have ended or were forked off meanwhile.

In:   what finds them. Out: they are stopped when this is made (`FaultFailed` if there are none); `go_on` lets them go
on.
"""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress

from holdfast.lab.acts import FaultFailed

ROUNDS_MAX = 10


class Stopped:
    def __init__(self, what: str, find: Callable[[], Iterable[int]]) -> None:
        self._handles: dict[int, int] = {}
        # One that is not stopped yet may fork another; after a round that finds nobody new all of them stand still.
        for _ in range(ROUNDS_MAX):
            fresh = [pid for pid in find() if pid not in self._handles]
            if not fresh:
                break
            for pid in fresh:
                self._stop(pid)
        if not self._handles:
            raise FaultFailed(f"no process of {what} was found")

    def _stop(self, pid: int) -> None:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        self._handles[pid] = handle
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGSTOP)

    def go_on(self) -> None:
        for handle in self._handles.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGCONT)
        self.leave()

    def leave(self) -> None:
        """They stand still until somebody else ends them."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()
