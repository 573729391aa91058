"""Hosts with an etcd member, a manager candidate and an agent each: the real ones, with a toy core and toy work."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from holdfast.errors import WorldError
from holdfast.lab.sim.etcd import Etcd
from holdfast.lab.sim.etcd_group import OWN, Timing
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.manager import SimCandidate, Start
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.lab.sim.timeline import Timeline
from holdfast.model.events import AgentJoined, Event, VnfcFact
from holdfast.model.layout import Component, FenceLevels, Grants, Group, Host, Layout, Service, Vnf, Vnfc
from holdfast.model.names import (
    HA,
    GroupName,
    HostName,
    Party,
    ServiceName,
    VnfcName,
    VnfmName,
    VnfName,
    agent_party,
)
from holdfast.runtime.agent_process import AgentProcess, Emit, Mark, attend
from holdfast.runtime.agent_succession import CarryOut
from holdfast.runtime.cluster import Reign
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import places_of_agent
from holdfast.runtime.own_lateness import OwnLateness
from holdfast.runtime.refusals import Refusals
from holdfast.runtime.seat import Core, Seat
from holdfast.store.etcd_target import Endpoint
from holdfast.store.journal import Journal
from tests.contract.etcd_sim import S, wrong
from tests.contract.fakes import ToyAgent, ToyState, make_folder, toy_core

MS = 1_000_000
KEY = b"k" * 32
START_NS = (150 * MS, 300 * MS)
WALL_S = 1_700_000_000.0
DNS = VnfName("dns")


def vnfc_on(host: str) -> VnfcName:
    return VnfcName(f"dns-{host}")


def layout_of(hosts: tuple[str, ...]) -> Layout:
    """On each host a component of one service."""
    group, service = GroupName("dns"), ServiceName("dns")
    named = {vnfc_on(host): HostName(host) for host in hosts}
    return Layout(
        name="sim",
        hosts={HostName(host): Host(HostName(host), (f"10.0.0.{n}/24",)) for n, host in enumerate(hosts, 1)},
        vms={},
        vnfs={DNS: Vnf(DNS, VnfmName("main"), 1, True, (group,))},
        components={group: Component("dns", DNS, group)},
        groups={group: Group(group, DNS, "dns", "2N", "standby", "internal", (service,), tuple(named))},
        services={service: Service(service, group, "10.0.0.100/24", 53, "udp")},
        vnfcs={name: Vnfc(name, DNS, "dns", group, host, None) for name, host in named.items()},
        grants=Grants(),
    )


class ToyOnHost(ToyAgent):
    def __init__(self, host: HostName, emit: Emit, mark: Mark) -> None:
        super().__init__(emit, mark)
        self._host = host

    def measures_lateness(self, into: OwnLateness) -> None:
        return

    def counts_refusals(self, into: Refusals) -> None:
        self.refusals = into

    def carries_out_by(self, carry_out: CarryOut) -> None:
        return

    def when_over(self, told: Callable[[str], None]) -> None:
        """It never is."""

    def facts(self) -> AgentJoined:
        return AgentJoined(self._host, (VnfcFact(vnfc_on(self._host), 1, "ready", "active", 1),), ())


def core_under_terms(layout: Layout, party: Party) -> Core:
    """As the real ones, it gives no number that an earlier leader can have given."""

    def begun(state: ToyState, term: int) -> ToyState:
        return replace(state, next_id=max(state.next_id, term * 1_000_000 + 1))

    return replace(toy_core(layout, party), under_term=begun)


class SimAgent:
    """An agent's process."""

    def __init__(self, world: "World", host: str) -> None:
        self.process, loop, streams = world.spawn(host, f"agent@{host}")
        name, folder = HostName(host), world.folders[host]
        me = agent_party(name)
        journal = Journal(folder.journal(me), me)
        self.running: AgentProcess
        self.toy: ToyOnHost

        async def live() -> None:
            journal.opened(loop.time(), world.wall(), self.process.pid)
            self.running = AgentProcess(world.layout, name, journal, partial(ToyOnHost, name), folder.terms(name))
            assert isinstance(self.running.agent, ToyOnHost)
            self.toy = self.running.agent
            try:
                await attend(self.running, places_of_agent(world.layout, folder, name), KEY, streams)
            finally:
                journal.close()

        loop.create_task(live())

    def emit(self, event: Event) -> None:
        """What its host has seen."""
        self.running._loop.call_soon(self.toy.emit, event)


class World:
    """All of it under one seed."""

    def __init__(self, seed: int, folder: Path, hosts: tuple[str, ...] = ("a", "b", "c"), timing: Timing = OWN) -> None:
        self.timeline = Timeline(seed)
        self.net = Net(self.timeline, "control")
        self.layout = layout_of(hosts)
        self.hosts = {name: SimHost(self.timeline, name) for name in hosts}
        self._loops: list[SimLoop] = []
        places = {one.addresses[0].partition("/")[0]: name for name, one in self.layout.hosts.items()}
        self.exchange = Exchange(lambda address: self.net, lambda address: places[address])
        self.etcd = Etcd(
            self.timeline, self.net, {name: Endpoint(address, 2379) for address, name in places.items()}, timing
        )
        self.folders: dict[str, RunFolder] = {}
        self.members: dict[str, Process] = {}
        self.agents: dict[str, SimAgent] = {}
        self.managers: dict[str, SimCandidate] = {}
        """The newest process of each host."""
        self.deciding: list[tuple[str, ...]] = []
        """Who could decide at one instant, where that was more than one."""
        for name, host in self.hosts.items():
            (folder / name).mkdir()
            self.folders[name] = make_folder(folder / name, self.layout)
            host.switch_on()
            self.start_etcd(name)
            self.agents[name] = SimAgent(self, name)
            self.start_manager(name)
        self._look()

    def spawn(self, host: str, name: str) -> tuple[Process, SimLoop, SimStreams]:
        process = self.hosts[host].spawn(name)
        loop = loop_of(process, wrong)
        self._loops.append(loop)
        return process, loop, SimStreams(self.exchange, process, loop, host)

    def start_etcd(self, host: str) -> None:
        process = self.members[host] = self.hosts[host].spawn(f"etcd@{host}")
        self.etcd.start(host, process, self.exchange, host)

    def start_manager(self, host: str) -> None:
        process, loop, streams = self.spawn(host, f"manager@{host}")
        target = self.etcd.target("sim")
        start = Start(self.layout, self.folders[host], target, host, self._power, self.wall, core=core_under_terms)
        self.managers[host] = SimCandidate(self.hosts[host], loop, streams, start)
        process.when_over(lambda: self._start_again(host))

    def _start_again(self, host: str) -> None:
        """As a supervisor does."""
        self.timeline.after(self.timeline.chance.randint(*START_NS), lambda: self.start_manager(host))

    async def _power(self, levels: FenceLevels, to: str) -> str:
        raise WorldError("nothing can be switched here")

    def wall(self) -> float:
        return WALL_S + self.now

    @property
    def now(self) -> float:
        return self.timeline.now_ns / S

    def _look(self) -> None:
        deciding = tuple(name for name, manager in self.managers.items() if manager.may_decide)
        if len(deciding) > 1:
            self.deciding.append(deciding)
        self.timeline.after(MS, self._look)

    def run(self, seconds: float) -> None:
        self.timeline.run(self.timeline.now_ns + int(seconds * S))

    def until(self, holds: Callable[[], object], limit_s: float = 10.0) -> None:
        end = self.timeline.now_ns + int(limit_s * S)
        while not holds():
            assert self.timeline.now_ns < end, f"not within {limit_s:g} s"
            self.run(0.001)

    @property
    def leader(self) -> str | None:
        """The host of the manager that leads, and has begun to decide."""
        for name, manager in self.managers.items():
            if manager.may_decide and manager.reign is not None and manager.reign._pump is not None:
                return name
        return None

    def reign(self) -> Reign:
        leader = self.leader
        assert leader is not None
        reign = self.managers[leader].reign
        assert reign is not None
        return reign

    def ha(self) -> Seat:
        """Of the manager that leads."""
        return next(seat for seat in self.reign()._seats if seat.party == HA)

    def heard(self, event: str) -> int:
        """How many of these the HA manager that leads has taken."""
        return 0 if self.leader is None else list(self.ha().state.heard).count(event)

    def is_settled(self) -> bool:
        """Somebody leads, every agent has joined it, and the store has everything."""
        if self.leader is None or self.heard("AgentJoined") < len(self.hosts):
            return False
        behind = self.reign()._behind
        return behind is not None and not behind.waiting.changes

    def journals(self) -> dict[str, bytes]:
        return {
            f"{host}/{path.name}": path.read_bytes()
            for host, folder in self.folders.items()
            for path in sorted(folder.journal(HA).parent.iterdir())
        }

    def end(self) -> None:
        for loop in self._loops:
            loop.unwind()
