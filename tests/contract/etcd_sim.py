"""A simulated cluster of etcd, with what tests do to a real one (`etcd_cluster.py`), and its client's process."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from holdfast.lab.sim.etcd import Etcd, Snapshot, dial_over
from holdfast.lab.sim.etcd_group import ADVISED, Timing
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.lab.sim.timeline import Timeline
from holdfast.model.limits import ETCD_LIMIT_S
from holdfast.store.etcd import EtcdStore
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_target import Endpoint, Target

S = 1_000_000_000
READY_LIMIT_S = 15.0
NAMES = ("a", "b", "c")
CLIENT = "client"
Result = TypeVar("Result")


class SimMember:
    """One member; its data stay when it is killed."""

    def __init__(self, cluster: "SimCluster", name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.endpoint = cluster.etcd.endpoints[name]
        self.process: Process | None = None

    def start(self) -> None:
        cluster = self._cluster
        self.process = cluster.hosts[self.name].spawn(f"etcd@{self.name}")
        cluster.etcd.start(self.name, self.process, cluster.exchange, self.name)

    def kill(self) -> None:
        if self.process is not None:
            self.process.end()
            self.process = None

    def freeze(self) -> None:
        if self.process is not None:
            self.process.stop()

    def thaw(self) -> None:
        if self.process is not None:
            self.process.go_on()

    @property
    def runs(self) -> bool:
        return self.process is not None


class SimRunner(NamedTuple):
    """As `asyncio.Runner`."""

    cluster: "SimCluster"

    def run(self, coro: Coroutine[Any, Any, Result], /) -> Result:
        return self.cluster.run(coro)

    def close(self) -> None:
        """The cluster goes on."""


class SimCluster:
    """Members on a host each, and one host for clients."""

    def __init__(self, seed: int = 1, names: tuple[str, ...] = NAMES, timing: Timing = ADVISED) -> None:
        self.timeline = Timeline(seed)
        self.net = Net(self.timeline, "control")
        self.hosts = {name: SimHost(self.timeline, name) for name in (*names, CLIENT)}
        addresses = {f"10.0.0.{number}": name for number, name in enumerate(self.hosts, 1)}
        self.exchange = Exchange(lambda address: self.net, lambda address: addresses.get(address, CLIENT))
        endpoints = {name: Endpoint(address, 2379) for address, name in addresses.items() if name != CLIENT}
        for host in self.hosts.values():
            host.switch_on()
        self.etcd = Etcd(self.timeline, self.net, endpoints, timing)
        self.members = {name: SimMember(self, name) for name in names}
        self._snapshots: dict[Path, Snapshot] = {}
        self._loops: list[SimLoop] = []
        _, self.loop, self.streams = self.spawn(CLIENT, "client")

    def spawn(self, host: str, name: str) -> tuple[Process, SimLoop, SimStreams]:
        process = self.hosts[host].spawn(name)
        loop = loop_of(process, wrong)
        self._loops.append(loop)
        return process, loop, SimStreams(self.exchange, process, loop, host)

    # --- what tests do to a real one, too

    keeps_time = True
    """What takes too long is the fault of what is tested."""

    def now(self) -> float:
        return self.timeline.now_ns / S

    def run(self, story: Coroutine[Any, Any, Result]) -> Result:
        """In the client's process."""
        task = self.loop.create_task(story)
        self.timeline.run(self.timeline.now_ns + 120 * S, task.done)
        assert task.done(), "the story has not come to its end within 120 s"
        result: Result = task.result()
        return result

    def client(self, target: Target) -> EtcdClient:
        return EtcdClient(target, dial=dial_over(self.streams))

    def only_asking_once(self, target: Target) -> EtcdClient:
        return self.client(target)

    def store(self, target: Target, limit_s: float = ETCD_LIMIT_S) -> EtcdStore:
        return EtcdStore(target, limit_s, dial_over(self.streams), SimRunner(self))

    def target(self, name: str = "test") -> Target:
        return self.etcd.target(name)

    def nowhere(self, count: int) -> list[Endpoint]:
        return [Endpoint("10.0.0.1", 4000 + number) for number in range(count)]

    def start(self) -> None:
        for member in self.members.values():
            if not member.runs:
                member.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until every member that runs follows the same leader."""
        running = sum(member.runs for member in self.members.values())

        def is_ready() -> bool:
            leader = self.etcd.leader
            return leader is not None and running == sum(
                member.leader == leader for member in self.etcd.group.running.values()
            )

        self.until(is_ready, "a leader that all members know")

    def until(self, holds: Callable[[], bool], what: str, limit_s: float = READY_LIMIT_S) -> None:
        end = self.timeline.now_ns + int(limit_s * S)
        while not holds():
            assert self.timeline.now_ns < end, f"not within {limit_s:g} s: {what}"
            self.timeline.run(self.timeline.now_ns + S // 1000)

    def leader(self) -> SimMember:
        leader = self.etcd.leader
        assert leader is not None
        return self.members[leader]

    def followers(self) -> list[SimMember]:
        leader = self.leader()
        return [member for member in self.members.values() if member is not leader]

    def heal(self) -> None:
        """Everything runs again."""
        for member in self.members.values():
            member.thaw()
        self.start()

    def meanwhile(self, act: Callable[[], None]) -> "Future[None]":
        """Do it while the caller goes on."""
        done: Future[None] = Future()

        def now() -> None:
            act()
            done.set_result(None)

        self.timeline.after(self.timeline.chance.randrange(3_000_000), now)
        return done

    def aside(self, act: Callable[[], None]) -> Awaitable[None]:
        """Do it, and wait for it, in a story."""

        async def at_once() -> None:
            act()

        return at_once()

    def compact(self, revision: int) -> None:
        self.etcd.compact(revision)

    def save_snapshot(self, path: Path) -> None:
        self._snapshots[path] = self.etcd.snapshot(next(iter(self.members)))

    def restore(self, path: Path, token: str) -> None:
        for member in self.members.values():
            member.kill()
        self.etcd.restore(self._snapshots[path])
        self.start()

    def close(self) -> None:
        for loop in self._loops:
            loop.unwind()


def wrong(process: str, context: Mapping[str, Any]) -> None:
    """What asyncio reports as unhandled is a fault."""
    error = context.get("exception")
    raise error if isinstance(error, Exception) else AssertionError(f"{process}: {context}")
