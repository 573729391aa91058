"""Handles on processes: pidfds, looked at, waited for, watched and ended by an event loop.

In: pidfds. Out: whether, and when, a process has ended. What always holds: the kernel makes the descriptor readable
when the process ends, and it stays so; nothing here polls, and a number that the kernel gives to a new process can
deceive nobody.
"""

import asyncio
import os
import signal
from collections.abc import Callable

from holdfast.drivers import sandbox
from holdfast.drivers.processor import processor_use
from holdfast.errors import WorldError
from holdfast.model.processor import ProcessorUse


class Pidfd:
    """Owns the descriptor."""

    __slots__ = ("_loop", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that watches it."""

    @property
    def is_gone(self) -> bool:
        return sandbox.gone(self.number)

    @property
    def is_dying(self) -> bool:
        return sandbox.is_dying(self.number)

    @property
    def exit_status(self) -> int | None:
        return sandbox.exit_status(self.number)

    @property
    def processor(self) -> ProcessorUse | None:
        return processor_use(self.pid)

    @property
    def pid(self) -> int:
        """Its number as this process sees it; -1 when it is gone (and reaped)."""
        return sandbox.pid_of(self.number)

    def network(self) -> int:
        """A new descriptor of the network namespace that it is in."""
        try:
            return os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise WorldError("the process whose network was asked for is gone") from error

    def kill(self) -> None:
        sandbox.kill(self.number)

    def ask_to_end(self) -> None:
        if not self.is_gone:
            signal.pidfd_send_signal(self.number, signal.SIGTERM)

    def when_over(self, told: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.number, self._readable, told)

    def _readable(self, told: Callable[[], None]) -> None:
        self._unwatch()
        told()

    def _unwatch(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self.number)
            self._loop = None

    def copy(self) -> "Pidfd":
        return Pidfd(os.dup(self.number))

    def close(self) -> None:
        if self.number >= 0:
            self._unwatch()
            os.close(self.number)
            self.number = -1
