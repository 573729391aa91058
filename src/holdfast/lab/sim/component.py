"""Components of the simulated world: the library for components and their own code, unchanged, on simulated sockets.

In:   a component (`vnfc.Component`), its environment, the VM it is in.
Out:  what it would do in a process of its own.
Always: callbacks run one at a time, when the process is woken; an exception ends the component, as it would live.
"""

import asyncio
import errno
import traceback
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from holdfast.lab.sim.process import Process
from holdfast.lab.sim.streams import Exchange, Listener, SimStreams
from holdfast.runtime.sockets import Endpoint
from holdfast.vnfc.loop import Callback, HasFileno, Loop, Timer
from holdfast.vnfc.sockets import Connection

NS = 1_000_000_000
EXIT_FAILED = 1 << 8


class SimSocket(asyncio.Protocol):
    """A socket of a component."""

    def __init__(self, loop: "ComponentLoop") -> None:
        self._loop = loop
        self.received = bytearray()
        self.accepted: deque[SimSocket] = deque()
        self.transport: asyncio.Transport | None = None
        self.error: OSError | None = None
        self.is_over = False
        self.is_closed = False
        self.readable: Callback | None = None
        self.writable: Callback | None = None
        self.listeners: list[Listener] = []

    # --- what the stream says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.is_closed:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._loop.look()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_over = True
        self.error = error if isinstance(error, OSError) else None
        self._loop.look()

    # --- what the component asks

    def fileno(self) -> int:
        return id(self)

    def recv(self, size: int, /) -> bytes:
        if self.received:
            piece = bytes(self.received[:size])
            del self.received[:size]
            return piece
        if not self.is_over:
            raise BlockingIOError
        if self.error is not None:
            # A new one each time: the one that is kept would keep, with its traceback, all that led to it.
            raise OSError(*self.error.args)
        return b""

    def send(self, data: bytes | bytearray, /) -> int:
        if self.is_over:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        if self.transport is None:
            raise BlockingIOError
        self.transport.write(data)
        return len(data)

    def getsockopt(self, level: int, option: int, /) -> int:
        """SO_ERROR."""
        return self.error.errno or 0 if self.error is not None else 0

    def getsockname(self) -> Any:
        return ("", 0)

    def accept(self) -> tuple[Connection, Any]:
        if not self.accepted:
            raise BlockingIOError
        return self.accepted.popleft(), None

    def close(self) -> None:
        self.is_closed = True
        for listener in self.listeners:
            listener.close()
        if self.transport is not None:
            self.transport.close()


class ComponentLoop(Loop):
    """Keeps the contract of `vnfc.Loop`; also the sockets of the component."""

    def __init__(self, process: Process, exchange: Exchange, host: str, addresses: tuple[str, ...]) -> None:
        """
        Args:
            process: the component's.
            exchange: where connections are made.
            host: the machine it is on.
            addresses: of its VM, without prefix lengths.
        """
        self._process = process
        self._streams = SimStreams(exchange, process, self, host)
        self._addresses = addresses
        self._watched: dict[int, SimSocket] = {}  # type: ignore[assignment]
        self._timers = []
        self._timers_made = 0
        self._soon = deque()
        self._stopped = False
        self._alarm_at: float | None = None
        self.sockets = self
        self.said: list[str] = []
        process.run = self._run

    # --- contract of Loop

    def now(self) -> float:
        return self._process.clock.now_ns() / NS

    def on_readable(self, source: HasFileno, callback: Callback | None) -> None:
        assert isinstance(source, SimSocket)
        source.readable = callback
        self._watched[id(source)] = source
        self.look()

    def on_writable(self, source: HasFileno, callback: Callback | None) -> None:
        assert isinstance(source, SimSocket)
        source.writable = callback
        self._watched[id(source)] = source
        self.look()

    def forget(self, source: HasFileno) -> None:
        forgotten = self._watched.pop(id(source), None)
        if forgotten is not None:
            forgotten.readable = forgotten.writable = None

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        timer = Timer(self.now() + delay_s, callback)
        self._timers_made += 1
        heappush(self._timers, (timer.due, self._timers_made, timer))
        self._set_alarm()
        return timer

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._soon.append((lambda: callback(*args)) if args else callback)  # type: ignore[arg-type]
        self._process.wake()

    def look(self) -> None:
        """A socket may have become ready."""
        self._process.wake()

    def _set_alarm(self) -> None:
        if not self._timers:
            return
        due = self._timers[0][0]
        if self._alarm_at is None or due < self._alarm_at:
            self._alarm_at = due
            self._process.wake_at(self._process.clock.true_ns(int(due * NS) + 1))

    def _run(self) -> None:
        if self._alarm_at is not None and self._alarm_at <= self.now():
            self._alarm_at = None
        try:
            self._turn()
        except Exception as error:  # noqa: BLE001  # as in a process of its own: it ends, and its agent sees that
            self.said.append("".join(traceback.format_exception(error)))
            self._process.end(EXIT_FAILED)
            return
        if self._stopped:
            self._process.end(0)
            return
        self._set_alarm()

    def _turn(self) -> None:
        watched = self._watched
        for source in tuple(watched.values()):
            # What is forgotten meanwhile has no callbacks any more.
            if source.readable is not None and (source.received or source.accepted or source.is_over):
                source.readable()
            if source.writable is not None and (source.transport is not None or source.is_over):
                source.writable()
        timers, soon = self._timers, self._soon
        if timers:
            now = self.now()
            while timers and timers[0][0] <= now:
                heappop(timers)[2].fire()
        for _ in range(len(soon)):
            soon.popleft()()
        if soon:
            self._process.wake()
            return
        for source in watched.values():
            if (source.readable is not None and (source.received or source.accepted or source.is_over)) or (
                source.writable is not None and (source.transport is not None or source.is_over)
            ):
                self._process.wake()
                return

    def close(self) -> None:
        return

    # --- contract of Sockets

    def reach(self, path: str) -> Connection:
        return self._streams.reach(Path(path), lambda: SimSocket(self))

    def call(self, family: int, target: tuple[str, int]) -> tuple[Connection, int]:
        waiting = SimSocket(self)

        def answered(rider: SimSocket | OSError) -> None:
            if isinstance(rider, OSError):
                waiting.connection_lost(rider)

        self._streams.knock(Endpoint(*target), lambda: waiting, answered, lambda: waiting.is_closed)
        return waiting, errno.EINPROGRESS

    def listen(self, port: int) -> Connection:
        listening = SimSocket(self)

        def made() -> SimSocket:
            taken = SimSocket(self)
            listening.accepted.append(taken)
            self.look()
            return taken

        listening.listeners = [self._streams.listen_now(Endpoint(address, port), made) for address in self._addresses]
        return listening
