"""Streams of the simulated world: connections that keep the contract of `runtime/streams.py`.

In:   who listens where; who calls; bytes.
Out:  the same bytes at the other end, in order.
Always: a path is within a host and loses nothing; an endpoint is on the network, where what is cut waits and is sent
again, and after `SILENT_NS` without an acknowledgement the connection is broken at each end that has noticed. A process
that ends closes its connections; a host that is off says nothing at all.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from holdfast.lab.sim.net import Net
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.timeline import Timeline
from holdfast.runtime.sockets import Endpoint, Place
from holdfast.runtime.streams import Rider

LOCAL_NS = 8_000
SILENT_NS = 2_000_000_000
"""As the kernel's: TCP_USER_TIMEOUT, and keepalive on an idle connection."""
EVER_NS = 1 << 62
PROBE_NS = 1_000_000_000
AGAIN_NS = (200_000_000, 1_600_000_000)
"""First pause before something unacknowledged is sent again, and the longest."""


class Exchange:
    """All places of the world where somebody listens."""

    def __init__(self, net_of: Callable[[str], Net], host_of: Callable[[str], str]) -> None:
        """
        Args:
            net_of: the network that an address is on.
            host_of: the host that an address belongs to.
        """
        self.net_of = net_of
        self.host_of = host_of
        self.places: dict[tuple[str, str], Listener] = {}

    def is_fixed(self, address: str) -> bool:
        """Whether it belongs to a machine or VM for good, so that one can listen there; services' addresses move."""
        try:
            return bool(self.host_of(address))
        except KeyError:
            return False

    def is_taken(self, path: Path) -> bool:
        """Whether somebody listens at that path."""
        listener = self.places.get(("", str(path)))
        return listener is not None and listener.is_open


class Listener:
    """Takes calls until it is closed, or its process ends."""

    def __init__(self, streams: "SimStreams", key: tuple[str, str], made: Callable[[], asyncio.Protocol]) -> None:
        self.streams = streams
        self._key = key
        self.made = made

    @property
    def is_open(self) -> bool:
        return self.streams.process.is_alive and self.streams.exchange.places.get(self._key) is self

    def close(self) -> None:
        if self.streams.exchange.places.get(self._key) is self:
            del self.streams.exchange.places[self._key]


class Callbacks(Protocol):
    """The loop of the process that has a stream."""

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> object: ...


class SimStreams:
    """The streams of one process."""

    def __init__(
        self, exchange: Exchange, process: Process, loop: Callbacks, host: str, silent_ns: int = SILENT_NS
    ) -> None:
        """
        Args:
            exchange: where others listen.
            process: whose streams they are.
            loop: its loop.
            host: where it runs.
            silent_ns: for how long its ends bear a silence; `EVER_NS` for those who tell the kernel nothing.
        """
        self.exchange = exchange
        self.process = process
        self.loop = loop
        self.host = host
        self.silent_ns = silent_ns

    def patient(self) -> "SimStreams":
        """The same, for connections that do not notice a silence."""
        return SimStreams(self.exchange, self.process, self.loop, self.host, EVER_NS)

    def _key(self, place: Place) -> tuple[str, str]:
        if isinstance(place, Endpoint):
            return self.exchange.host_of(place.address), f"{place.address}:{place.port}"
        return "", str(place)

    async def listen(self, place: Place, made: Callable[[], asyncio.Protocol]) -> Listener:
        return self.listen_now(place, made)

    def listen_now(self, place: Place, made: Callable[[], asyncio.Protocol]) -> Listener:
        key = self._key(place)
        there = self.exchange.places.get(key)
        if there is not None and there.is_open and isinstance(place, Endpoint):
            raise OSError(98, "Address already in use")
        listener = self.exchange.places[key] = Listener(self, key, made)
        return listener

    async def call(self, place: Place, made: Callable[[], Rider], limit_s: float) -> Rider:
        if isinstance(place, Path):
            return self.reach(place, made)
        called: asyncio.Future[Rider] = asyncio.get_running_loop().create_future()

        def answered(rider: Rider | OSError) -> None:
            if called.done():
                return
            if isinstance(rider, OSError):
                called.set_exception(rider)
            else:
                called.set_result(rider)

        self.knock(place, made, answered, called.done)
        async with asyncio.timeout(limit_s):
            return await called

    def reach(self, path: Path, made: Callable[[], Rider]) -> Rider:
        """Connect within the host, at once."""
        listener = self.exchange.places.get(self._key(path))
        if listener is None or not listener.is_open:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return self._join(made, listener, None)

    def knock(
        self,
        place: Endpoint,
        made: Callable[[], Rider],
        answered: Callable[[Rider | OSError], None],
        is_off: Callable[[], bool],
    ) -> None:
        """SYN, sent again while nothing comes back and it is not called off; `answered` is called in our process."""
        key, net = self._key(place), self.exchange.net_of(place.address)
        is_answered = False

        def settle(is_refused: bool) -> None:
            if is_off():
                return
            listener = self.exchange.places.get(key)
            if is_refused or listener is None or not listener.is_open:
                answered(ConnectionRefusedError(111, "Connection refused"))
            else:
                answered(self._join(made, listener, net))

        def back(is_refused: bool) -> None:
            nonlocal is_answered
            if not is_answered and self.process.is_alive:
                is_answered = True
                self.loop.call_soon(settle, is_refused)

        def at_the_listener() -> None:
            listener = self.exchange.places.get(key)
            is_refused = listener is None or not listener.is_open
            net.send(key[0], self.host, lambda: back(is_refused))

        def knock() -> None:
            if not is_answered and self.process.is_alive and not is_off():
                net.send(self.host, key[0], at_the_listener)
                self.process.timeline.after(PROBE_NS, knock)

        knock()

    def _join(self, made: Callable[[], Rider], listener: Listener, net: Net | None) -> Rider:
        """Both ends: the caller's at once, the listener's when its process runs."""
        rider = made()
        near, far = End(self, net), End(listener.streams, net)
        near.other, far.other = far, near
        near.take(rider)
        listener.streams.loop.call_soon(far.accept, listener.made)
        return rider

    def caller_pid(self, transport: asyncio.BaseTransport) -> int:
        pid: int = transport.get_extra_info("caller_pid")
        return pid


class End(asyncio.Transport):
    """One end of a connection; writes go to the other one."""

    other: "End"

    def __init__(self, streams: SimStreams, net: Net | None) -> None:
        super().__init__()
        self.streams = streams
        self._net = net
        self._protocol: asyncio.Protocol | None = None
        self._unsent: deque[bytes] = deque()
        """What the other end has not got yet, oldest first; an empty one is the end of the stream."""
        self._unsent_bytes = 0
        self._flight = 0
        """Number of the last sending; an older one counts for nothing."""
        self._landed = 0
        """The last one that has arrived."""
        self._heard_ns = self._timeline.now_ns
        self._since_ns = 0
        """When the oldest of it was sent first."""
        self._pause_ns = AGAIN_NS[0]
        self._is_closing = False
        self._is_over = False
        self._watch = streams.process.when_over(self._process_over)
        if net is not None:
            self._timeline.after(PROBE_NS, self._probe)

    @property
    def _timeline(self) -> Timeline:
        return self.streams.process.timeline

    def take(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self.streams.loop.call_soon(protocol.connection_made, self)

    def accept(self, made: Callable[[], asyncio.Protocol]) -> None:
        """In the process that listens: futures that a protocol makes belong to its loop."""
        if not self._is_over:
            self._protocol = made()
            self._protocol.connection_made(self)

    # --- what the process calls

    def write(self, data: Any) -> None:
        if not (self._is_closing or self._is_over) and self.streams.process.is_alive:
            self._put(bytes(data))

    def _put(self, data: bytes) -> None:
        if self._net is None:
            self._timeline.after(LOCAL_NS, lambda: self.other._arrived(data))
            return
        if not self._unsent:
            self._since_ns = self._timeline.now_ns
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if len(self._unsent) == 1:
            self._send()

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def is_closing(self) -> bool:
        return self._is_closing or self._is_over

    def close(self) -> None:
        if not self.is_closing():
            self._is_closing = True
            self._put(b"")
            self._over(None)

    def abort(self) -> None:
        if not self._is_over:
            self._reset()
            self._over(None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        there = self.other.streams
        known = {"caller_pid": there.process.pid, "sockname": (self.streams.host, 0), "peername": (there.host, 0)}
        return known.get(name, default)

    # --- on the way

    def _send(self) -> None:
        """What waits, in one piece; it arrives whole or has to be sent again."""
        net = self._net
        assert net is not None
        pieces = list(self._unsent)
        self._flight += 1
        flight = self._flight
        here, there = self.streams.host, self.other.streams.host

        def acknowledged() -> None:
            if flight == self._flight:
                self._flight += 1
                self._acknowledged(len(pieces))

        def arrived() -> None:
            if flight == self._flight and self._landed != flight:  # An older one would come twice.
                self._landed = flight
                for data in pieces:
                    self.other._arrived(data)
            net.send(there, here, acknowledged)

        def again() -> None:
            if flight != self._flight or self._is_broken():
                return
            self._pause_ns = min(2 * self._pause_ns, AGAIN_NS[1])
            if self._landed == flight:  # Only its acknowledgement was lost.
                net.send(here, there, arrived)
                self._timeline.after(self._pause_ns, again)
            else:
                self._send()

        net.send(here, there, arrived)
        self._timeline.after(self._pause_ns, again)

    def _acknowledged(self, pieces: int) -> None:
        for _ in range(pieces):
            self._unsent_bytes -= len(self._unsent.popleft())
        self._pause_ns = AGAIN_NS[0]
        if self._unsent:
            self._since_ns = self._timeline.now_ns
            self._send()

    def _is_broken(self) -> bool:
        """Whether nothing has been acknowledged for so long that the kernel gives up."""
        if self._timeline.now_ns - self._since_ns < self.streams.silent_ns:
            return False
        self._unsent.clear()
        self._unsent_bytes = 0
        self._over(TimeoutError(110, "Connection timed out"))
        return True

    def _probe(self) -> None:
        """Keepalive: an idle connection notices as well that the other host is gone."""
        net = self._net
        assert net is not None
        if self._is_over:
            return
        here, there = self.streams.host, self.other.streams.host
        if net.passes(here, there) and net.passes(there, here):
            self._heard_ns = self._timeline.now_ns
            if self.other._is_over and not self._unsent:
                self._over(ConnectionResetError(104, "Connection reset by peer"))
                return
        elif self._timeline.now_ns - self._heard_ns >= self.streams.silent_ns:
            self._over(TimeoutError(110, "Connection timed out"))
            return
        self._timeline.after(PROBE_NS, self._probe)

    def _arrived(self, data: bytes) -> None:
        if self._is_over or not self.streams.process.is_alive:
            return
        self.streams.loop.call_soon(self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if self._is_over or self._protocol is None:
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._is_closing = True
            self._over(None)

    # --- the end

    def _reset(self) -> None:
        other, net = self.other, self._net

        def reset() -> None:
            other._over(ConnectionResetError(104, "Connection reset by peer"))

        if net is None:
            self._timeline.after(LOCAL_NS, reset)
        else:
            net.send(self.streams.host, other.streams.host, reset)

    def _process_over(self) -> None:
        """The kernel closes what a process leaves open; a VM or host that is gone as a whole has no kernel."""
        if not self._is_over and not self._is_closing:
            self._is_closing = self._is_over = True
            if self._net is None:
                self._put(b"")  # Both ends of a path are under one kernel, and it is still there if the other one is.
            elif not self.streams.process.went_silently:
                self._reset()

    def _over(self, error: Exception | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        self.streams.process.forget(self._watch)
        if self._protocol is not None and self.streams.process.is_alive:
            self.streams.loop.call_soon(self._protocol.connection_lost, error)
