"""The window: the kernel answers for what this agent owns until the end of its grant, and not a moment longer.

In: which service addresses the agent owns, and until when (CLOCK_MONOTONIC_RAW of this host). The kernel does the
rest, also when every process here is dead, stopped or starved. Two ways of one contract: `StampedWindow` (an absolute
end, read by a program in the kernel at each packet) where the kernel allows it, else `KeyedWindow` (two timed keys).
`window_choice.open_window` chooses. One window per agent and network namespace; a second process is refused while
the first lives.
"""

import time
from collections.abc import Iterable
from typing import Protocol

from holdfast.drivers.window_order import Outcome


def raw_clock_ns() -> int:
    """CLOCK_MONOTONIC_RAW: no daemon can bend it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class Window(Protocol):
    """One agent's window. One thread; every method returns when the kernel has confirmed, or raises."""

    @property
    def gate_is_timed(self) -> bool:
        """Whether gates of VM ports are made with `timed=True`, because they ask for the window themselves."""

    def guard(self, interface: str) -> None:
        """Keep frames that speak for an address from leaving by an interface of the host itself."""

    def guard_port(self, port: str) -> None:
        """Keep the addresses in and out of a VM's port, on the host's side, beside what its gate does."""

    def declare(self, services: Iterable[str]) -> None:
        """Replace the declared service addresses. One that is no longer declared is not owned, and kept by nobody."""

    def arm(self, until_ns: int) -> Outcome:
        """Answer for what is owned until then, at the latest."""

    def own(self, addresses: Iterable[str], until_ns: int | None = None) -> None:
        """Take addresses in. With `until_ns`, an open window is first shortened to that, or closed."""

    def disown(self, addresses: Iterable[str]) -> None:
        """Let addresses go; they are answered no more when this returns. Others are not touched."""

    def owned(self) -> frozenset[str]:
        """What is owned, as the kernel says."""

    def close(self) -> None:
        """Answer for nothing from now on. What is owned stays owned, and is answered when armed again."""

    def remaining_ns(self) -> int:
        """For how long the kernel surely goes on answering by itself; 0 is closed, or nearly."""

    @property
    def until_ns(self) -> int:
        """The kernel answers no longer than this; 0 is closed."""

    def remove(self) -> None:
        """Take everything out of the kernel: nothing keeps the addresses any more. Only when a deployment ends."""

    def detach(self) -> None:
        """Let go of the kernel; what is there stays, and ends by itself."""
