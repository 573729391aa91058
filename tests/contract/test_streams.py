"""Connections of an event loop: the kernel's and the simulated ones keep the same contract."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from holdfast.lab.sim.clocks import Clock
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.lab.sim.timeline import Timeline
from holdfast.runtime.sockets import Endpoint, Place
from holdfast.runtime.streams import Sockets, Streams
from tests.contract.places import unused_port

LIMIT_S = 20.0
Case = Callable[[Streams, Streams, Place], Coroutine[Any, Any, object]]


class Heard(asyncio.Protocol):
    """Keeps all it is told; answers what ends with a question mark."""

    made: ClassVar[list["Heard"]] = []
    """Of the present test."""
    more: ClassVar[asyncio.Event]
    """Something has happened at any of them."""

    def __init__(self) -> None:
        self.made.append(self)
        self.said = b""
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.more.set()

    def data_received(self, data: bytes) -> None:
        self.said += data
        self.more.set()
        if data.endswith(b"?"):
            self.say(b"yes")

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(error)
        self.more.set()

    def say(self, words: bytes) -> None:
        assert self.transport is not None
        self.transport.write(words)

    async def until(self, is_there: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not is_there():
                self.more.clear()
                await self.more.wait()


def begin() -> None:
    Heard.made.clear()
    Heard.more = asyncio.Event()


class Simulated(NamedTuple):
    """Two processes on two hosts, one network."""

    timeline: Timeline
    net: Net
    loops: tuple[SimLoop, SimLoop]
    streams: tuple[SimStreams, SimStreams]


def simulated(seed: int = 1) -> Simulated:
    begin()
    timeline = Timeline(seed)
    net = Net(timeline, "one")
    exchange = Exchange(lambda address: net, lambda address: "a" if address.endswith(".1") else "b")

    def wrong(name: str, context: dict[str, Any]) -> None:
        raise AssertionError(f"{name}: {context}")

    loops, streams = [], []
    for number, host in enumerate("ab"):
        process = Process(timeline, host, Clock(timeline, 10**12 * (1 + number)), 100 + number)
        loop = loop_of(process, wrong)
        loops.append(loop)
        streams.append(SimStreams(exchange, process, loop, host))
    return Simulated(timeline, net, (loops[0], loops[1]), (streams[0], streams[1]))


def in_simulation(case: Case, place: Place) -> None:
    world = simulated()
    near, far = world.streams
    if isinstance(place, Path):
        near = far  # A path is within a host.
    task = world.loops[1].create_task(case(near, far, place))
    world.timeline.run(60 * 10**9, task.done)
    task.result()


def in_kernel(case: Case, place: Place) -> None:
    async def all_of_it() -> None:
        sockets = Sockets()
        await case(sockets, sockets, place)
        for one in Heard.made:
            if one.transport is not None:
                one.transport.close()
            await one.ended

    begin()
    asyncio.run(all_of_it())


@pytest.fixture(params=["path", "endpoint"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return tmp_path / "here.sock" if request.param == "path" else Endpoint("127.0.0.1", unused_port())


@pytest.fixture(params=[in_kernel, in_simulation], ids=["kernel", "simulated"])
def play(request: pytest.FixtureRequest, place: Place) -> Callable[[Case], None]:
    return lambda case: request.param(case, place)


Play = Callable[[Case], None]


def test_what_is_written_arrives_in_order(play: Play) -> None:
    async def case(near: Streams, far: Streams, place: Place) -> None:
        taken: list[Heard] = []
        listening = await near.listen(place, lambda: taken.append(Heard()) or taken[-1])  # type: ignore[func-returns-value]
        caller = await far.call(place, Heard, LIMIT_S)
        await caller.until(lambda: caller.transport is not None)
        for number in range(100):
            caller.say(b"%d " % number)
        caller.say(b"well?")
        await caller.until(lambda: caller.said == b"yes")
        assert taken[0].said == b"".join(b"%d " % number for number in range(100)) + b"well?"
        listening.close()

    play(case)


def test_nobody_listens(play: Play) -> None:
    async def case(near: Streams, far: Streams, place: Place) -> None:
        with pytest.raises(OSError):
            await far.call(place, Heard, LIMIT_S)
        listening = await near.listen(place, Heard)
        listening.close()
        with pytest.raises(OSError):
            await far.call(place, Heard, LIMIT_S)

    play(case)


def test_an_end_is_told_after_what_was_written_before_it(play: Play) -> None:
    async def case(near: Streams, far: Streams, place: Place) -> None:
        taken: list[Heard] = []
        listening = await near.listen(place, lambda: taken.append(Heard()) or taken[-1])  # type: ignore[func-returns-value]
        caller = await far.call(place, Heard, LIMIT_S)
        await caller.until(lambda: caller.transport is not None and bool(taken))
        caller.say(b"last words")
        assert caller.transport is not None
        caller.transport.close()
        await taken[0].until(taken[0].ended.done)
        assert taken[0].said == b"last words"
        assert taken[0].ended.result() is None
        listening.close()

    play(case)


def test_a_call_that_is_aborted_ends_at_both_ends(play: Play) -> None:
    async def case(near: Streams, far: Streams, place: Place) -> None:
        taken: list[Heard] = []
        listening = await near.listen(place, lambda: taken.append(Heard()) or taken[-1])  # type: ignore[func-returns-value]
        caller = await far.call(place, Heard, LIMIT_S)
        await caller.until(lambda: bool(taken) and taken[0].transport is not None)
        assert taken[0].transport is not None
        taken[0].transport.abort()
        await caller.until(caller.ended.done)
        await taken[0].until(taken[0].ended.done)
        assert caller.transport is not None
        assert caller.transport.is_closing()
        listening.close()

    play(case)


def joined(world: Simulated) -> tuple[Heard, Heard]:
    """Both ends of a connection over the network."""
    near, far = world.streams
    taken: list[Heard] = []
    place = Endpoint("10.0.0.1", 7000)

    async def listen() -> None:
        await near.listen(place, lambda: taken.append(Heard()) or taken[-1])  # type: ignore[func-returns-value]

    async def call() -> Heard:
        return await far.call(place, Heard, LIMIT_S)

    world.loops[0].create_task(listen())
    world.timeline.run(10**6)
    calling = world.loops[1].create_task(call())
    world.timeline.run(world.timeline.now_ns + 10**9, calling.done)
    world.timeline.run(world.timeline.now_ns + 10**7)
    return taken[0], calling.result()


def test_what_is_cut_for_a_moment_arrives_afterwards() -> None:
    world = simulated()
    taken, caller = joined(world)
    for sender, receiver in (("a", "b"), ("b", "a")):
        world.net.cut(sender, receiver)
    caller.say(b"meanwhile")
    world.timeline.run(world.timeline.now_ns + 10**9)
    assert taken.said == b""
    world.net.heal_all()
    world.timeline.run(world.timeline.now_ns + 2 * 10**9)
    assert taken.said == b"meanwhile"
    assert not caller.ended.done()


def test_each_end_notices_by_itself_that_the_other_is_off() -> None:
    world = simulated()
    taken, caller = joined(world)
    world.net.switch("a", on=False)
    world.loops[0].process.end()
    world.timeline.run(world.timeline.now_ns + 10**9)
    assert not caller.ended.done()
    world.timeline.run(world.timeline.now_ns + 4 * 10**9)
    assert isinstance(caller.ended.result(), OSError)
    assert not taken.ended.done(), "a killed process runs no line"


def test_a_lost_acknowledgement_doubles_nothing() -> None:
    world = simulated()
    taken, caller = joined(world)
    world.net.cut("a", "b")
    caller.say(b"once")
    world.timeline.run(world.timeline.now_ns + 10**9)
    assert taken.said == b"once"
    world.net.heal_all()
    caller.say(b" and no more")
    world.timeline.run(world.timeline.now_ns + 3 * 10**9)
    assert taken.said == b"once and no more"


def test_the_end_of_a_process_closes_its_connections() -> None:
    world = simulated()
    taken, caller = joined(world)
    world.loops[1].process.end()
    world.timeline.run(world.timeline.now_ns + 10**8)
    assert taken.ended.done()
    assert not caller.ended.done()
