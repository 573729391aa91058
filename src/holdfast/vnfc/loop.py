"""A small event loop for components: sockets, timers, SIGTERM; one thread.

In: sockets with callbacks, delays with callbacks. What always holds: callbacks run one at a time, in the
thread that called `run`. An exception in a callback ends the loop and so the component: its agent sees
the process end and repairs it, which is better than going on half broken. asyncio would do the same work
but takes longer to import than the rest of a component takes to start.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from holdfast.vnfc.sockets import KernelSockets, Sockets

Callback = Callable[[], None]

EVENTS_A_TURN = 64


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Timer:
    """A callback that is due once; `cancel` makes it never."""

    __slots__ = ("_callback", "due")

    def __init__(self, due: float, callback: Callback) -> None:
        self.due = due
        self._callback: Callback | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class _Watched:
    __slots__ = ("readable", "writable")

    def __init__(self) -> None:
        self.readable: Callback | None = None
        self.writable: Callback | None = None

    def mask(self) -> int:
        return (select.EPOLLIN if self.readable else 0) | (select.EPOLLOUT if self.writable else 0)


class Loop:
    sockets: Sockets = KernelSockets()
    """Where connections come from."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, _Watched] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._timers_made = 0
        self._soon: deque[Callback] = deque()
        self._stopped = False

    def now(self) -> float:
        """Seconds on the machine's monotonic clock."""
        return time.monotonic()

    def on_readable(self, source: HasFileno, callback: Callback | None) -> None:
        """Call back whenever `source` has something to read; None ends that."""
        self._watch(source.fileno(), "readable", callback)

    def on_writable(self, source: HasFileno, callback: Callback | None) -> None:
        """Call back whenever `source` can be written to; None ends that."""
        self._watch(source.fileno(), "writable", callback)

    def forget(self, source: HasFileno) -> None:
        """Stop watching `source`; to be called before it is closed."""
        if self._watched.pop(source.fileno(), None) is not None:
            self._epoll.unregister(source.fileno())

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        timer = Timer(self.now() + delay_s, callback)
        self._timers_made += 1
        heappush(self._timers, (timer.due, self._timers_made, timer))
        return timer

    @property
    def has_timers(self) -> bool:
        """Whether anything is still to be called later."""
        return bool(self._timers)

    def call_soon(self, callback: Callback) -> None:
        """Call back when all that is ready now has been dealt with (to write once for many events)."""
        self._soon.append(callback)

    def run(self) -> None:
        """Serve until `stop` is called."""
        while not self._stopped:
            self.turn(None)

    def stop(self) -> None:
        self._stopped = True

    def turn(self, wait_s: float | None) -> None:
        """Wait (at most `wait_s`) for something to happen and deal with it."""
        if self._soon:
            wait_s = 0.0
        elif self._timers:
            due_s = max(0.0, self._timers[0][0] - self.now())
            wait_s = due_s if wait_s is None else min(wait_s, due_s)
        for number, events in self._epoll.poll(wait_s, EVENTS_A_TURN):
            watched = self._watched.get(number)
            if watched is None:
                continue
            if watched.readable is not None and events & ~select.EPOLLOUT:
                watched.readable()
            if watched.writable is not None and events & ~select.EPOLLIN and self._watched.get(number) is watched:
                watched.writable()
        if self._timers:
            self._fire()
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def stop_on_sigterm(self, stopped: Callback) -> None:
        """Call `stopped` in the loop when the process is asked to end (only in the main thread)."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

        def woken() -> None:
            reader.recv(64)
            stopped()

        self.on_readable(reader, woken)
        self._signal_pair = (reader, writer)

    def close(self) -> None:
        pair = getattr(self, "_signal_pair", None)
        if pair is not None:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for end in pair:
                end.close()
        self._epoll.close()

    def _watch(self, number: int, side: str, callback: Callback | None) -> None:
        watched = self._watched.get(number)
        if watched is None:
            if callback is None:
                return
            watched = self._watched[number] = _Watched()
            setattr(watched, side, callback)
            self._epoll.register(number, watched.mask())
            return
        before = watched.mask()
        setattr(watched, side, callback)
        if watched.mask() != before:
            self._epoll.modify(number, watched.mask())

    def _fire(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2].fire()
