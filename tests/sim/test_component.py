"""Components in the simulated world: the registry replicates, follows, and keeps what it acknowledged."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from holdfast.lab.sim.client import Request
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.registry import SimRegistry, start_registry
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.lab.sim.timeline import Timeline
from holdfast.runtime.agent_components import ComponentDoor, Session
from holdfast.wire import component as wire

MS = 1_000_000
ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2"}


class Answered:
    """An agent's end for one component."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.synced: list[str] = []

    def joined(self, session: Session, hello: wire.Hello) -> None:
        self.session = session

    def left(self, session: Session) -> None:
        self.session = None

    def heard(self, message: wire.Unwell | wire.Lost | wire.Synced) -> None:
        if isinstance(message, wire.Synced):
            self.synced.append(message.standby)

    def broke_protocol(self, why: str) -> None:
        raise AssertionError(why)


class Side:
    """A host with an agent's door and a registry."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.host = SimHost(world.timeline, name)
        self.host.switch_on()
        agent = self.host.spawn("agent")
        self.loop: SimLoop = loop_of(agent, world.wrong)
        self.listener = Answered()
        self.door = ComponentDoor(
            world.folder / f"{name}.sock",
            lambda _name, _pid: self.listener,
            lambda _pid: self.listener,
            lambda _error, _whose: None,
            SimStreams(world.exchange, agent, self.loop, name),
        )
        self.process: Process
        self.registry: SimRegistry

    def start(self) -> None:
        name = self.host.name
        self.process = self.host.spawn("registry")
        environment = {
            "HOLDFAST_SOCKET": str(self.door.path),
            "HOLDFAST_VNFC": name,
            "HOLDFAST_DIR": str(self.world.folder / name),
        }
        self.registry = start_registry(self.process, self.world.exchange, name, (ADDRESSES[name],), (), environment)

    def tell(self, make: Callable[[int], wire.Request]) -> None:
        async def ask() -> None:
            assert self.listener.session is not None
            await self.listener.session.answer_to(self.listener.session.ask(make), 1.0)

        self.world.do(self.loop, ask())


class World:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.timeline = Timeline(seed)
        self.net = Net(self.timeline, "one")
        hosts = {address: name for name, address in ADDRESSES.items()}
        self.exchange = Exchange(lambda address: self.net, hosts.__getitem__)
        self.sides = {name: Side(self, name) for name in ADDRESSES}
        self.answers: list[bytes] = []
        for side in self.sides.values():
            self.do(side.loop, side.door.open())
            side.start()
        self.pass_ms(100)

    def wrong(self, name: str, context: dict[str, Any]) -> None:
        raise AssertionError(f"{name}: {context}")

    def do(self, loop: SimLoop, work: Coroutine[Any, Any, Any]) -> None:
        task = loop.create_task(work)
        self.timeline.run(self.timeline.now_ns + 5000 * MS, task.done)
        task.result()

    def pass_ms(self, ms: int) -> None:
        self.timeline.run(self.timeline.now_ns + ms * MS)

    def ask(self, name: str, data: bytes) -> list[bytes]:
        """What a client is answered within 50 ms."""
        before = len(self.answers)
        door: Any = self.sides[name].registry.doors[0]
        door.put(Request(data, "10.0.0.100", lambda answer, source: self.answers.append(answer)))
        self.pass_ms(50)
        return self.answers[before:]


def active(world: World, epoch: int, in_sync: tuple[str, ...] = ()) -> Callable[[int], wire.Request]:
    return lambda number: wire.BecomeActive(number, "registry", epoch, in_sync, "10.0.0.100/24", False)


def standby(epoch: int, of: str) -> Callable[[int], wire.Request]:
    return lambda number: wire.BecomeStandby(number, "registry", epoch, of, f"{ADDRESSES[of]}:7001")


def replicating(folder: Path, seed: int = 1) -> World:
    world = World(folder, seed)
    world.sides["a"].tell(active(world, 1))
    world.sides["b"].tell(standby(1, "a"))
    world.pass_ms(100)
    return world


def test_an_acknowledged_update_is_at_the_standby(tmp_path: Path) -> None:
    world = replicating(tmp_path)
    assert world.sides["a"].listener.synced == ["b"]
    assert world.ask("a", b"1 put alice home") == [b"1 ok a 1"]
    assert world.ask("b", b"2 get alice") == [b"2 refused b 1 not-active"]
    world.sides["a"].process.end()
    world.sides["b"].tell(active(world, 2))
    assert world.ask("b", b"3 get alice") == [b"3 ok b 2 home"]


def test_nothing_is_acknowledged_that_the_standby_did_not_get(tmp_path: Path) -> None:
    world = replicating(tmp_path)
    world.net.cut("a", "b")
    assert world.ask("a", b"1 put alice home") == []
    world.net.heal_all()
    world.pass_ms(1000)
    assert b"1 ok a 1" in world.answers


def test_a_component_that_starts_again_has_its_state(tmp_path: Path) -> None:
    world = replicating(tmp_path)
    assert world.ask("a", b"1 put alice home") == [b"1 ok a 1"]
    side = world.sides["a"]
    side.process.end()
    world.pass_ms(10)
    side.start()
    world.pass_ms(100)
    side.tell(active(world, 2))
    assert world.ask("a", b"2 get alice") == [b"2 ok a 2 home"]
