"""Deaths, seen through pidfds: the kernel makes the descriptor readable when the process ends, and it stays so.

In: pidfds. Out: one call per death. Nothing here polls, and a number that the kernel gives to a new process can
deceive nobody.
"""

import asyncio
import os
import signal
from collections.abc import Callable

from holdfast.model.events import FailureCause


class DeathWatch:
    """Calls `seen` once when the process ends; owns the descriptor."""

    def __init__(self, pidfd: int, seen: Callable[[], None]) -> None:
        self.pidfd = pidfd
        self._seen = seen
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._loop.add_reader(pidfd, self._readable)

    def _readable(self) -> None:
        self._loop.remove_reader(self.pidfd)
        self._seen()

    def close(self) -> None:
        """Stop watching and give the descriptor back."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self.pidfd)
            os.close(self.pidfd)


def how_it_ended(status: int | None) -> tuple[FailureCause, str]:
    """A wait status as cause and words; None where nobody could be asked any more."""
    if status is None:
        return "killed", "with everything around it"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return "killed", f"by {name}"
    return "exited", f"with status {os.WEXITSTATUS(status)}"
