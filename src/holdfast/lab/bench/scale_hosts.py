"""Simulated hosts for real managers: agents that carry everything out at once, and speak as real ones do.

In:   instructions of the managers, on real links. Out: outcomes and news, as `runtime/agent_process.py` tells them.
Always: an agent that is followed tells its facts first; a host that is lost says nothing more, and the others find it
failed, each by itself; a component that starts takes some time, a VM some more.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from holdfast.lab.bench.scale_manager import dark
from holdfast.model.actions import (
    Activate,
    AgentAction,
    ConfirmLoss,
    IsolateVm,
    IsolateVnfc,
    Quiesce,
    RememberEpochs,
    SetVoters,
    StandBy,
    StandingOrder,
    StartVm,
    StartVnfc,
    StopVnfc,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    Event,
    HostFailed,
    HostReturned,
    Position,
    StandbyLost,
    StandbySynced,
    VmFact,
    VnfcFact,
    VnfcFailed,
    VnfcReady,
)
from holdfast.model.granting import VoterSet
from holdfast.model.layout import Layout, first_voters
from holdfast.model.names import HA, HostName, Party, Role, ServiceName, VmName, VnfcName, agent_party
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.link import Link, listen
from holdfast.runtime.streams import Listening
from holdfast.wire.link_messages import Do, Leads, LinkMessage, StillSilent, Tell

BOOT_S = 0.05
START_S = 0.02


@dataclass
class Component:
    """One run of a VNFC."""

    run: int
    boot: int
    role: Role = "none"
    epoch: int = 0
    service: ServiceName | None = None
    in_sync: tuple[VnfcName, ...] = ()


@dataclass(frozen=True)
class Given:
    """An instruction, as it came to a host."""

    at: float
    host: HostName
    action: AgentAction


@dataclass
class World:
    """All hosts, and what was asked of them."""

    layout: Layout
    folder: RunFolder
    key: bytes
    hosts: dict[HostName, "SimulatedHost"] = field(default_factory=dict)
    given: list[Given] = field(default_factory=list)

    async def begin(self) -> None:
        (self.folder.root / "dark").mkdir(parents=True, exist_ok=True)
        for name in self.layout.hosts:
            host = SimulatedHost(self, name)
            self.hosts[name] = host
            await host.listen()

    def lose(self, names: list[HostName]) -> None:
        """These hosts are gone at once; the others find each of them failed."""
        for name in names:
            self.hosts[name].go_dark()
        for name in names:
            lives = self.hosts[name].life
            for other in self.lit():
                other.tell_all(HostFailed(name, other.name, "silent for 400 ms", lives))
        for host in self.lit():
            host.miss_standbys()

    def kill(self, vnfc: VnfcName) -> None:
        """Its process ends, and its agent says so."""
        self.host_of(vnfc).kill(vnfc)

    def actives(self) -> dict[ServiceName, VnfcName]:
        """Who provides what, as the hosts know it."""
        return {
            one.service: name
            for host in self.hosts.values()
            for name, one in host.components.items()
            if one.service is not None
        }

    def standbys(self) -> list[VnfcName]:
        """Those that an active waits for with each update."""
        return [standby for host in self.hosts.values() for one in host.components.values() for standby in one.in_sync]

    def switched(self, name: HostName, power: str) -> None:
        host = self.hosts[name]
        if power == "off" and not host.is_dark:
            host.go_dark()
        elif power == "on" and host.is_dark:
            host.come_back()
            for other in self.lit():
                if other is not host:
                    other.tell_all(HostReturned(name, other.name))

    def lit(self) -> list["SimulatedHost"]:
        return [host for host in self.hosts.values() if not host.is_dark]

    def host_of(self, vnfc: VnfcName) -> "SimulatedHost":
        return self.hosts[self.layout.vnfcs[vnfc].host]

    async def close(self) -> None:
        for host in self.hosts.values():
            await host.close()


class SimulatedHost:
    """One host: VMs, components, and the links of the managers to its agent."""

    def __init__(self, world: World, name: HostName) -> None:
        self._world, self.name = world, name
        self._loop = asyncio.get_running_loop()
        self._links: dict[Party, Link] = {}
        self._listening: Listening | None = None
        self._vms: dict[VmName, int] = {}
        self.components: dict[VnfcName, Component] = {}
        self._voters: VoterSet | None = first_voters(world.layout)
        self._told = 0
        self.life = 1
        self.is_dark = False

    async def listen(self) -> None:
        me = agent_party(self.name)
        self._listening = await listen(self._world.folder.socket(me), self._world.key, me, self)

    # Links.

    def link_opened(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link) -> None:
        link.abort()
        if self._links.get(link.peer) is link:
            del self._links[link.peer]

    def link_received(self, link: Link, message: LinkMessage) -> None:
        match message:
            case Leads():
                self._links[link.peer] = link
                link.send(Tell(self._facts(), self._loop.time()))
            case StillSilent(event):
                if self._world.hosts[event.host].is_dark:
                    link.send(Tell(event, self._loop.time(), is_now=True))
            case Do(action):
                self._world.given.append(Given(self._loop.time(), self.name, action))
                self._carry_out(action)
            case _:
                pass  # That news were taken: nothing is told twice here.

    def _facts(self) -> AgentJoined:
        vnfcs = tuple(
            VnfcFact(
                name, one.run, "ready", one.role, one.epoch,
                (one.service,) if one.service is not None else (), Position(), in_sync=one.in_sync,
            )
            for name, one in self.components.items()
        )  # fmt: skip
        vms = tuple(VmFact(name, boot, "up") for name, boot in self._vms.items())
        return AgentJoined(self.name, vnfcs, vms, self.life, self._voters)

    def tell(self, party: Party, event: Event, number: int = 0) -> None:
        link = self._links.get(party)
        if link is not None and not self.is_dark:
            link.send(Tell(event, self._loop.time(), number))

    def tell_all(self, event: Event) -> None:
        for party in self._links:
            self.tell(party, event)

    def _news(self, event: Event) -> None:
        self._told += 1
        self.tell(HA, event, self._told)

    # The host itself.

    def go_dark(self) -> None:
        self.is_dark = True
        dark(self._world.folder.root, self.name).touch()
        self._vms.clear()
        self.components.clear()

    def come_back(self) -> None:
        self.is_dark = False
        self.life += 1
        for link in tuple(self._links.values()):
            link.abort()
        self._links.clear()
        dark(self._world.folder.root, self.name).unlink()

    def miss_standbys(self) -> None:
        """Each active that lost a standby asks leave to go on without it."""
        for name, one in self.components.items():
            for standby in one.in_sync if one.role == "active" else ():
                if self._world.host_of(standby).is_dark:
                    self._news(StandbyLost(name, one.run, one.epoch, standby))

    def kill(self, vnfc: VnfcName) -> None:
        run = self.components.pop(vnfc).run
        self.tell(HA, VnfcFailed(vnfc, run, "killed"))

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for link in tuple(self._links.values()):
            link.abort()

    # What is asked of it.

    def _carry_out(self, action: AgentAction) -> None:
        match action:
            case StartVm():
                self._later(BOOT_S, lambda: self._vm_up(action))
            case IsolateVm():
                self._vms.pop(action.vm, None)
                self._done(action)
            case StartVnfc():
                self._later(START_S, lambda: self._started(action))
            case StopVnfc() | IsolateVnfc():
                self.components.pop(action.vnfc, None)
                self._done(action)
            case Activate() | StandBy() | Quiesce() | ConfirmLoss():
                self._given_role(action)
            case StandingOrder() | RememberEpochs() | SetVoters():
                if isinstance(action, SetVoters):
                    self._voters = action.voters
                self._done(action)
            case _:
                assert_never(action)

    def _later(self, pause_s: float, what: Callable[[], None]) -> None:
        life = self.life

        def then() -> None:
            if not self.is_dark and self.life == life:
                what()

        self._loop.call_later(pause_s, then)

    def _done(self, action: AgentAction) -> None:
        self.tell(Party(action.id.rpartition("/")[0]), ActionDone(action.id))

    def _vm_up(self, action: StartVm) -> None:
        self._vms[action.vm] = action.boot
        self._done(action)

    def _started(self, action: StartVnfc) -> None:
        vm = self._world.layout.vnfcs[action.vnfc].vm
        if vm is not None and self._vms.get(vm) != action.boot:
            self.tell(HA, ActionFailed(action.id, "its VM is gone", vm_gone=True))
            return
        self.components[action.vnfc] = Component(action.run, action.boot, epoch=action.epoch)
        self.tell(HA, VnfcReady(action.vnfc, action.run, Position()))
        self._done(action)

    def _given_role(self, action: Activate | StandBy | Quiesce | ConfirmLoss) -> None:
        one = self.components.get(action.vnfc)
        if one is None or one.run != action.run:
            self.tell(HA, ActionFailed(action.id, "nothing of it runs"))
            return
        match action:
            case Activate():
                one.role, one.epoch, one.service, one.in_sync = "active", action.epoch, action.service, action.in_sync
            case Quiesce():
                one.role, one.service = "quiescing", None
            case ConfirmLoss():
                one.in_sync = tuple(name for name in one.in_sync if name != action.standby)
            case StandBy():
                one.role, one.epoch = "standby", action.epoch
                self._world.host_of(action.active).catches_up(action)
        self._done(action)

    def catches_up(self, standby: StandBy) -> None:
        """This host's active brings the standby up to date, and says so."""

        def synced() -> None:
            one = self.components.get(standby.active)
            if one is not None and one.role == "active" and one.epoch == standby.epoch:
                one.in_sync = (*(name for name in one.in_sync if name != standby.vnfc), standby.vnfc)
                self._news(StandbySynced(standby.active, one.run, one.epoch, standby.vnfc))

        self._later(START_S, synced)


def prepare(folder: Path, layout: bytes, key: bytes) -> RunFolder:
    """A run folder as `up` makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = RunFolder(folder)
    made.layout.write_bytes(layout)
    made.key.touch(mode=0o600)
    made.key.write_bytes(key)
    return made
