"""Hot processes of the simulated world: the real loop, sessions and grants, on simulated sockets, clocks and kernels.

In:   the settings that an agent has written, as a real one reads them.
Out:  datagrams on the simulated networks; packets to the agent of the same host; a window in the host's kernel.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.late import Late
from holdfast.lab.sim.loop import SimLoop
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.streams import LOCAL_NS
from holdfast.lab.sim.timeline import Due
from holdfast.lab.sim.window import SimWindow
from holdfast.model.granting import VoterSet
from holdfast.runtime import voter_file
from holdfast.runtime.hot_door import CALL_AGAIN_S, Heard, HotEnd
from holdfast.runtime.hot_grant_words import GrantSettings
from holdfast.runtime.hot_grants import GrantRider
from holdfast.runtime.hot_link import HotLink
from holdfast.runtime.hot_loop import HotLoop
from holdfast.runtime.hot_process import read_settings
from holdfast.runtime.hot_sockets import DATAGRAM_BYTES_MAX, HotSockets
from holdfast.runtime.hot_waiting import Source, Way
from holdfast.runtime.hot_words import HotNetwork
from holdfast.wire.datagrams import Datagrams

START_NS = (150_000_000, 300_000_000)
"""A Python process with what it imports."""


RECEIVED_MAX = 1000
"""Datagrams that a socket keeps while its process stands still."""
NUMBER_BITS = 63


class SimClocks:
    """The clocks of a machine since its last start, for a hot process."""

    def __init__(self, host: SimHost) -> None:
        self._raw = host.raw
        self._monotonic = host.monotonic

    def raw_ns(self) -> int:
        return self._raw.now_ns()

    def monotonic_ns(self) -> int:
        return self._monotonic.now_ns()

    def processor_ns(self) -> int:
        return 0


class Ready:
    """A socket that says when there is something to read."""

    woken: Callable[[], None]

    def __init__(self) -> None:
        self.waiting: deque[Any] = deque()
        """What has come; ready while there is something."""
        self.woken = _nobody

    def fileno(self) -> int:
        return -1

    def put(self, what: Any) -> None:
        self.waiting.append(what)
        self.woken()


def _nobody() -> None:
    return


class SimWaiting:
    """Keeps the contract of `runtime/hot_waiting.py`; the process is woken instead of waiting."""

    def __init__(self, process: Process, host: SimHost) -> None:
        self._process = process
        self._raw = host.raw
        self._ways: dict[int, tuple[Ready, Way]] = {}
        self._alarm: Due | None = None

    def watch(self, source: Source, way: Way) -> None:
        assert isinstance(source, Ready)
        self._ways[id(source)] = (source, way)
        source.woken = self._process.wake

    def want_room(self, source: Source, wanted: bool) -> None:
        """There always is."""

    def forget(self, source: Source) -> None:
        self._ways.pop(id(source), None)

    def set_alarm(self, at_ns: int) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._process.wake_unless_off(self._raw.true_ns(at_ns))

    def wait(self) -> Sequence[Way]:
        return [way for source, way in self._ways.values() if source.waiting]

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()


class Ether:
    """All UDP sockets of the world."""

    def __init__(self, net_of: Callable[[str], Net], host_of: Callable[[str], str]) -> None:
        self.net_of = net_of
        self.host_of = host_of
        self.sockets: dict[tuple[str, int], SimUdp] = {}
        self.late: list[Late] = []
        """Slow ways that some datagrams take now."""

    def send_late(self, net: Net, sender: str, receiver: str, address: tuple[str, int], datagram: bytes) -> bool:
        """Send it the slow ways that there are for it; whether it goes the usual way, too."""
        is_prompt = True
        for late in self.late:
            if late.concerns(sender, receiver):
                net.timeline.after(late.wait_ns(), net.send, sender, receiver, self.arrived, address, datagram)
                is_prompt = is_prompt and late.is_copied
        return is_prompt

    def arrived(self, address: tuple[str, int], datagram: bytes) -> None:
        there = self.sockets.get(address)
        if there is not None and len(there.waiting) < RECEIVED_MAX:
            there.put(datagram)


class SimUdp(Ready):
    """One UDP socket, bound to an address of its host."""

    def __init__(self, ether: Ether, host: str, network: HotNetwork) -> None:
        super().__init__()
        self._ether = ether
        self._host = host
        self._at = (network.address, network.port)
        self._net = ether.net_of(network.address)
        ether.sockets[self._at] = self

    def sendto(self, datagram: bytes, address: tuple[str, int], /) -> int:
        ether = self._ether
        receiver = ether.host_of(address[0])
        if not ether.late or ether.send_late(self._net, self._host, receiver, address, datagram):
            self._net.send(self._host, receiver, ether.arrived, address, datagram)
        return len(datagram)

    def recv_into(self, buffer: bytearray, /) -> int:
        if not self.waiting:
            raise BlockingIOError
        datagram: bytes = self.waiting.popleft()
        size = min(len(datagram), len(buffer))  # As a kernel does with what is longer than the buffer.
        buffer[:size] = datagram[:size]
        return size

    def close(self) -> None:
        if self._ether.sockets.get(self._at) is self:
            del self._ether.sockets[self._at]


class SimSockets(HotSockets):
    """Without the buffer of a kernel."""

    def received(self, place: int) -> Iterator[bytes]:
        waiting = cast("SimUdp", self.sockets[place]).waiting
        while waiting:
            yield waiting.popleft()[:DATAGRAM_BYTES_MAX]


class PacketEnd(Ready):
    """The hot process's end of the link with its agent."""

    def __init__(self, agent: "AgentEnd") -> None:
        super().__init__()
        self._agent = agent
        self._is_closed = False

    def send(self, packet: bytes, /) -> int:
        if self._agent.is_over:
            raise BrokenPipeError
        self._agent.arrived(packet)
        return len(packet)

    def recv(self, _size: int, /) -> bytes:
        if not self.waiting:
            raise BlockingIOError
        packet: bytes = self.waiting.popleft()
        return packet

    def setblocking(self, _flag: bool, /) -> None:
        """Nothing here waits."""

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._agent.arrived(b"")


class PacketDoor(Ready):
    """Where a hot process listens for its agent."""

    def accept(self) -> tuple[PacketEnd, object]:
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.popleft(), None

    def close(self) -> None:
        self.waiting.clear()


class AgentEnd:
    """The agent's end; keeps the contract of `runtime/hot_door.HotEnd`."""

    def __init__(self, process: Process, loop: SimLoop, heard: Heard, hot: Process) -> None:
        self._process = process
        self._hot = hot
        self._loop = loop
        self._heard = heard
        self.far = PacketEnd(self)
        self.is_over = False
        self._watch = process.when_over(self._gone)

    def send(self, packet: bytes) -> None:
        if self.is_over:
            raise BrokenPipeError
        self._process.timeline.after(LOCAL_NS, self.far.put, packet)

    def arrived(self, packet: bytes) -> None:
        self._process.timeline.after(LOCAL_NS, self._deliver, packet)

    def _deliver(self, packet: bytes) -> None:
        if not self.is_over and self._process.is_alive:
            self._loop.call_soon(self._hear, packet)

    def _hear(self, packet: bytes) -> None:
        if not self.is_over:
            self._heard(packet)

    def _gone(self) -> None:
        self.is_over = True
        self.far.put(b"")

    async def over(self) -> None:
        gone = asyncio.Event()
        watch = self._hot.when_over(lambda: self._loop.call_soon(gone.set))
        try:
            await gone.wait()
        finally:
            self._hot.forget(watch)

    def close(self) -> None:
        if not self.is_over:
            self._process.forget(self._watch)
            self._process.timeline.after(LOCAL_NS, self._gone)
            self.is_over = True


class HotProcesses:
    """The hot process of each host, if it runs."""

    def __init__(self, ether: Ether) -> None:
        self.ether = ether
        self.running: dict[str, SimHot] = {}

    def start(self, host: SimHost, settings: Path) -> None:
        """It listens for its agent when Python has started."""
        process = host.spawn(f"hot-{host.name}")
        wait_ns = host.start_ns(START_NS)

        def begin() -> None:
            if process.is_alive:
                self.running[host.name] = SimHot(self.ether, host, process, settings)

        process.run = begin
        host.timeline.after(wait_ns, process.wake)


class SimHot:
    """One hot process."""

    def __init__(self, ether: Ether, host: SimHost, process: Process, settings_file: Path) -> None:
        settings = read_settings(settings_file)
        grants = msgspec.json.decode(settings_file.with_suffix(".grants").read_bytes(), type=GrantSettings)
        self.process = process
        self.door = PacketDoor()
        clocks, self._waiting = SimClocks(host), SimWaiting(process, host)
        now_ns = clocks.raw_ns()
        chance = host.timeline.chance
        incarnation = chance.getrandbits(NUMBER_BITS) | 1
        key = Path(settings.key_file).read_bytes()
        speech = Datagrams(settings.cluster, settings.me, settings.peers, (key,), incarnation, chance.randbytes)
        sockets = SimSockets(settings.networks, settings.peers, lambda network: SimUdp(ether, host.name, network))
        self.window = _window(host, grants)
        rider = GrantRider(grants, incarnation, self.window, now_ns, clocks)
        link = HotLink(Path(settings.socket), self.door)
        self.loop = HotLoop(
            settings, speech, sockets, link, rider=rider, clocks=clocks, waiting=self._waiting, tidy=_untidied
        )
        process.run = self._run
        process.when_over(self._over)
        self._run()

    def _run(self) -> None:
        self.loop.go_on(self._waiting.wait())
        if self.loop.is_ending:
            self.process.end(0)
        else:
            self.loop.set_alarm()

    def _over(self) -> None:
        """The kernel closes what a process leaves."""
        self.loop.close()


def _untidied(_young_max: int) -> None:
    """The memory is that of all machines together; whoever runs seeds collects what is left of them."""


def _window(host: SimHost, grants: GrantSettings) -> SimWindow | None:
    addresses = [address for address in grants.addresses.values() if address]
    if not addresses or grants.me in grants.witnesses:
        return None
    window = SimWindow(host, host.raw, addresses, grants.profile.length_ns)
    if grants.interface:
        window.guard(grants.interface)
    return window


class SimHotDoor:
    """How the agent of a host reaches its hot process."""

    def __init__(self, hot: HotProcesses, host: SimHost, process: Process, loop: SimLoop) -> None:
        self._hot = hot
        self._host = host
        self._process = process
        self._loop = loop

    async def reach(self, path: Path, settings: Path, log: Path, heard: Heard) -> HotEnd:
        if not self._is_there:
            self._hot.start(self._host, settings)
        while not self._is_there:
            await asyncio.sleep(CALL_AGAIN_S)
        running = self._hot.running[self._host.name]
        end = AgentEnd(self._process, self._loop, heard, running.process)
        running.door.put(end.far)
        return end

    async def keep_voters(self, path: Path, voters: VoterSet) -> None:
        voter_file.keep(path, voters)

    @property
    def _is_there(self) -> bool:
        running = self._hot.running.get(self._host.name)
        return running is not None and running.process.is_alive
