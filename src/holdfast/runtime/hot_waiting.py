"""What the hot loop waits with, as a contract: for sockets, and for an instant.

`KernelWaiting` waits in the kernel, by one `epoll` and one timer; `lab/sim/hot.py` has another one.
"""

import select
from collections.abc import Callable, Sequence
from typing import Protocol

from holdfast.runtime.hot_clock import Alarm

Way = Callable[[int], None]
"""What to do, given the instant, with a source that is ready."""


class Source(Protocol):
    """A socket."""

    def fileno(self) -> int: ...


class Waiting(Protocol):
    def watch(self, source: Source, way: Way) -> None:
        """From now on answer `way` when there is something to read."""

    def want_room(self, source: Source, wanted: bool) -> None:
        """Also, or not any more, when there is room to write."""

    def forget(self, source: Source) -> None:
        """It has been closed, or is not watched any more."""

    def set_alarm(self, at_ns: int) -> None:
        """End the waiting then at the latest (raw clock); at once if it has passed."""

    def wait(self) -> Sequence[Way]:
        """Wait; answer the ways of those that are ready."""

    def close(self) -> None: ...


class KernelWaiting:
    """By epoll."""

    def __init__(self) -> None:
        self._alarm = Alarm()
        self._poll = select.epoll()
        self._poll.register(self._alarm.fd, select.EPOLLIN)
        self._ways: dict[int, Way] = {}
        self._numbers: dict[int, int] = {}
        """Of each source, which may be closed when it is forgotten, its number."""

    def watch(self, source: Source, way: Way) -> None:
        number = source.fileno()
        self._poll.register(number, select.EPOLLIN)
        self._ways[number] = way
        self._numbers[id(source)] = number

    def want_room(self, source: Source, wanted: bool) -> None:
        self._poll.modify(source.fileno(), select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN)

    def forget(self, source: Source) -> None:
        # The kernel forgets a closed descriptor by itself, and may have given its number to a new one.
        self._ways.pop(self._numbers.pop(id(source), -1), None)

    def set_alarm(self, at_ns: int) -> None:
        self._alarm.set(at_ns)

    def wait(self) -> Sequence[Way]:
        ways = self._ways
        return [ways[number] for number, _ in self._poll.poll() if number in ways]

    def close(self) -> None:
        self._poll.close()
        self._alarm.close()
