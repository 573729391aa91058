"""Simulated hosts under the same contract as the real agents: actions in, outcomes and news out.

By default every action succeeds at once. A story may have a kind of action fail or hang for an entity. Always
holds: an id already carried out gets its old outcome; one under way is not begun again; a dead
process answers nothing, one that only hangs keeps its address until it is isolated.
"""

from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from holdfast.model.actions import (
    Action,
    Activate,
    AgentAction,
    ConfirmLoss,
    FenceHost,
    HostAction,
    IsolateVm,
    IsolateVnfc,
    Quiesce,
    RememberEpochs,
    SetVoters,
    StandBy,
    StandingOrder,
    StartHost,
    StartVm,
    StartVnfc,
    StopVnfc,
    VnfcAction,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    Event,
    FailureCause,
    HostFailed,
    Position,
    ServiceTaken,
    StandbySynced,
    VmBooted,
    VmDied,
    VmFact,
    VnfcFact,
    VnfcFailed,
    VnfcIsolated,
    VnfcReady,
)
from holdfast.model.layout import Layout, first_voters, in_charge, vnfms_of
from holdfast.model.names import HA, VIM, ActionId, HostName, Party, Role, ServiceName, VmName, VnfcName

News = tuple[Party, Event]
Outcome = ActionDone | ActionFailed

KINDS: dict[type, str] = {
    StartVnfc: "start",
    StopVnfc: "stop",
    IsolateVnfc: "cleanup",
    Activate: "promotion",
    StandBy: "standby-role",
    Quiesce: "quiescing",
    ConfirmLoss: "confirmation",
    StandingOrder: "order",
    RememberEpochs: "epochs",
    SetVoters: "voters",
    IsolateVm: "isolation",
    StartVm: "boot",
    FenceHost: "fencing",
    StartHost: "power-on",
}


SECOND_LEVEL = "level 1: fence agent fence_test was not done with off in 20 s; level 2: fence_test confirmed off"


@dataclass
class SimulatedVnfc:
    run: int = 0
    condition: Literal["absent", "starting", "ready", "failed"] = "absent"
    is_hung: bool = False
    role: Role = "none"
    epoch: int = 0
    services: tuple[ServiceName, ...] = ()
    disk: Position = field(default_factory=Position)
    synced: bool = False
    waits_for: set[VnfcName] = field(default_factory=set)
    """Standbys without which an active acknowledges nothing."""


@dataclass
class SimulatedVm:
    boot: int = 0
    is_up: bool = False


class World:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.vnfcs = {name: SimulatedVnfc() for name in layout.vnfcs}
        self.vms = {name: SimulatedVm() for name in layout.vms}
        self.voters = dict.fromkeys(layout.hosts, first_voters(layout))
        """What the voter of each host has on disk, and goes by."""
        self.away: set[HostName] = set()
        self.lives = dict.fromkeys(layout.hosts, 1 if layout.grants is not None else 0)
        """Which life of each host others hear: another one after each time that it was off."""
        self.manners: dict[tuple[str, str], str] = {}
        """(kind of action, entity) to `fails`, `hangs`, `lies` (says that it is done), `by-second-level` (fencing);
        absent where it works."""
        self.times: dict[tuple[str, str], int] = {}
        """How often a manner still applies; for ever where absent."""
        self.outcomes: dict[ActionId, Outcome] = {}
        self.hanging: dict[ActionId, Action] = {}
        self.acknowledged: dict[str, int] = {}
        """Updates of a group whose loss would be noticed by a client."""
        self.epochs: dict[tuple[HostName, ServiceName], int] = {}
        """The highest epoch of each service under which each host was told of a role."""
        self.orders: dict[tuple[HostName, ServiceName], StandingOrder] = {}
        """The newest order that the agent of each host knows."""
        self.two_owners: list[str] = []
        """Services that two VNFCs answered for at the same time; must stay empty."""

    # What managers ask

    def perform(self, party: Party, action: Action) -> list[News]:
        """Carry an action of this manager out; the news it makes, its outcome last."""
        assert isinstance(action, AgentAction | FenceHost | StartHost)
        if self.host_of(action) in self.away or action.id in self.hanging:
            return []
        known = self.outcomes.get(action.id)
        if known is not None:
            return [(party, known)]
        about = entity_of(action)
        manner = self._manner(KINDS[type(action)], about)
        if manner == "hangs":
            self.hanging[action.id] = action
            return []
        return self.carry_out(party, action, manner)

    def _manner(self, kind: str, about: str) -> str | None:
        manner = self.manners.get((kind, about))
        left = self.times.get((kind, about))
        if manner is not None and left is not None:
            self.times[kind, about] = left - 1
            if left <= 1:
                del self.manners[kind, about], self.times[kind, about]
        return manner

    def carry_out(self, party: Party, action: Action, manner: str | None = None) -> list[News]:
        assert isinstance(action, AgentAction | FenceHost | StartHost)
        news: list[News] = []
        failure = self._impossible(action) or (
            ActionFailed(action.id, "as the story wants it") if manner == "fails" else None
        )
        if failure is None:
            news = [] if manner == "lies" else self._do(action)
        elif isinstance(action, StartVnfc) and not failure.vm_gone:
            self.vnfcs[action.vnfc].condition = "failed"
            self.vnfcs[action.vnfc].run = action.run
        detail = SECOND_LEVEL if manner == "by-second-level" else "confirmed" if is_isolation(action) else ""
        outcome: Outcome = failure or ActionDone(action.id, detail)
        self.outcomes[action.id] = outcome
        self._look_for_two_owners()
        after = [one for one in news if isinstance(one[1], StandbySynced | ServiceTaken)]
        return [*(one for one in news if one not in after), (party, outcome), *after]

    def host_of(self, action: AgentAction | FenceHost | StartHost) -> HostName | None:
        if isinstance(action, FenceHost | StartHost):
            return None  # Power is switched from outside the host.
        if isinstance(action, IsolateVm | StartVm):
            return self.layout.vms[action.vm].host
        if isinstance(action, HostAction):
            return action.host
        return self.layout.vnfcs[action.vnfc].host

    def _impossible(self, action: Action) -> ActionFailed | None:
        if isinstance(action, StartVm) and action.boot < self.vms[action.vm].boot:
            return ActionFailed(action.id, f"boot {self.vms[action.vm].boot} was begun since")
        if not isinstance(action, VnfcAction):
            return None
        vm = self.layout.vnfcs[action.vnfc].vm
        if vm is not None and not self.vms[vm].is_up:
            return ActionFailed(action.id, "the VM is gone", vm_gone=True)
        vnfc = self.vnfcs[action.vnfc]
        if isinstance(action, StartVnfc) and vm is not None and action.boot not in (0, self.vms[vm].boot):
            return ActionFailed(action.id, "the VM has begun another life", vm_gone=True)
        if isinstance(action, StartVnfc) and action.run < vnfc.run:
            return ActionFailed(action.id, f"run {vnfc.run} was started since")
        if isinstance(action, Activate | StandBy | Quiesce):
            seen = (self.layout.vnfcs[action.vnfc].host, action.service)
            if action.epoch < self.epochs.get(seen, 0):
                return ActionFailed(action.id, f"older epoch: {action.epoch}, which is at {self.epochs[seen]}")
            self.epochs[seen] = action.epoch
            if vnfc.condition != "ready" or vnfc.run != action.run:
                return ActionFailed(action.id, f"run {action.run} is not ready")
        return None

    def _do(self, action: Action) -> list[News]:
        match action:
            case StartVnfc():
                return self._start(action)
            case IsolateVnfc() | StopVnfc():
                if self.vnfcs[action.vnfc].run <= action.run:  # A later run is none of its business.
                    self._end(action.vnfc)
            case Activate():
                vnfc = self.vnfcs[action.vnfc]
                vnfc.role, vnfc.epoch = "active", action.epoch
                vnfc.services = tuple(dict.fromkeys((*vnfc.services, action.service)))
                vnfc.waits_for = set(action.in_sync)
                for other in self.layout.groups[self.layout.vnfcs[action.vnfc].group].vnfcs:
                    self.vnfcs[other].synced = False
            case ConfirmLoss():
                self.vnfcs[action.vnfc].waits_for.discard(action.standby)
            case StandBy():
                return self._stand_by(action)
            case Quiesce():
                vnfc = self.vnfcs[action.vnfc]
                vnfc.role, vnfc.services = "quiescing", ()
                return self.first_takes(action.service)
            case StandingOrder():
                known = self.orders.get((action.host, action.service))
                if known is None or known.number < action.number:
                    self.orders[action.host, action.service] = action
            case StartVm():
                return self._boot(action)
            case IsolateVm():
                if self.vms[action.vm].boot <= action.boot:  # A later life is none of its business.
                    return self.end_vm(action.vm, by="the VIM", to_vim=False)
            case FenceHost():
                return self.power_off(action.host)
            case StartHost():
                return self.join(action.host)
            case SetVoters() if action.use:
                self.voters[action.host] = action.voters
            case _:
                pass
        return []

    def first_takes(self, service: ServiceName) -> list[News]:
        """What was let go is taken by whoever is the first successor in the order that its own host knows."""
        for (host, of), order in self.orders.items():
            first = order.successors[0] if order.successors else None
            if of != service or first is None or host in self.away or self.layout.vnfcs[first.vnfc].host != host:
                continue
            vnfc = self.vnfcs[first.vnfc]
            if vnfc.condition == "ready" and vnfc.run == first.run:
                vnfc.role, vnfc.epoch, vnfc.services = "active", first.epoch, (service,)
                taken = ServiceTaken(first.vnfc, first.run, service, first.epoch, first.in_sync)
                return [(self._in_charge(first.vnfc), taken)]
        return []

    def _boot(self, action: StartVm) -> list[News]:
        vm = self.vms[action.vm]
        ended = [] if vm.boot == action.boot else self.end_vm(action.vm, by="its next life", to_vim=False)
        vm.boot, vm.is_up = action.boot, True
        return [*ended, (VIM, VmBooted(action.vm, action.boot))]

    def _start(self, action: StartVnfc) -> list[News]:
        vnfc = self.vnfcs[action.vnfc]
        if vnfc.condition == "ready" and vnfc.run == action.run:  # It ran already, and says so.
            return [
                (self._in_charge(action.vnfc), VnfcReady(action.vnfc, action.run, self._told_position(action.vnfc)))
            ]
        assert vnfc.condition in ("absent", "failed"), f"{action.vnfc} is started while it runs"
        vnfc.run, vnfc.condition, vnfc.epoch, vnfc.is_hung = action.run, "ready", action.epoch, False
        vnfc.services = (action.service,) if action.service is not None else ()
        ready = VnfcReady(action.vnfc, action.run, self._told_position(action.vnfc), 0.1)
        return [(self._in_charge(action.vnfc), ready)]

    def _told_position(self, name: VnfcName) -> Position | None:
        holds_state = self.layout.groups[self.layout.vnfcs[name].group].state == "internal"
        return self.vnfcs[name].disk if holds_state else None

    def _stand_by(self, action: StandBy) -> list[News]:
        vnfc, active = self.vnfcs[action.vnfc], self.vnfcs[action.active]
        vnfc.role = "standby"
        component = self.layout.components[self.layout.vnfcs[action.vnfc].group]
        if not component.speaks or self.manners.get(("synchronisation", action.vnfc)) == "hangs":
            return []
        return self.synchronise(action.active, action.vnfc) if active.role == "active" else []

    def synchronise(self, active: VnfcName, standby: VnfcName) -> list[News]:
        self.vnfcs[standby].disk = self.vnfcs[active].disk
        self.vnfcs[standby].synced = True
        self.vnfcs[active].waits_for.add(standby)
        synced = StandbySynced(active, self.vnfcs[active].run, self.vnfcs[active].epoch, standby)
        return [(self._in_charge(active), synced)]

    def _end(self, name: VnfcName) -> None:
        vnfc = self.vnfcs[name]
        vnfc.condition, vnfc.role, vnfc.services, vnfc.synced, vnfc.is_hung = "absent", "none", (), False, False

    # What happens

    def fail(self, name: VnfcName, cause: FailureCause, detail: str) -> list[News]:
        vnfc = self.vnfcs[name]
        if cause == "check":
            vnfc.is_hung = True
        vnfc.condition = "failed"
        vnfc.synced = False
        if self.layout.vnfcs[name].host in self.away:
            return []
        return [(self._in_charge(name), VnfcFailed(name, vnfc.run, cause, detail))]

    def isolated_unasked(self, name: VnfcName) -> list[News]:
        """Its agent has ended what was left of it, before any manager asks for that."""
        self._end(name)
        return [(self._in_charge(name), VnfcIsolated(name, self.vnfcs[name].run, "confirmed"))]

    def end_vm(self, name: VmName, by: str, to_vim: bool = True, to_vnf: bool = True) -> list[News]:
        vm = self.vms[name]
        if not vm.is_up:
            return []
        vm.is_up = False
        news = self._break_off(name)
        for vnfc in self.layout.vnfcs.values():
            if vnfc.vm == name and self.vnfcs[vnfc.name].condition != "absent":
                self._end(vnfc.name)
                if to_vnf and vnfc.host not in self.away:
                    run = self.vnfcs[vnfc.name].run
                    news.append((self._in_charge(vnfc.name), VnfcFailed(vnfc.name, run, "vm-gone", f"ended by {by}")))
        if to_vim and self.layout.vms[name].host not in self.away:
            news.append((VIM, VmDied(name, vm.boot, f"ended by {by}")))
        return news

    def _break_off(self, vm: VmName) -> list[News]:
        """What hangs in a VM ends with it."""
        news: list[News] = []
        for number, action in list(self.hanging.items()):
            vnfc = getattr(action, "vnfc", None)
            if vnfc is not None and self.layout.vnfcs[vnfc].vm == vm:
                del self.hanging[number]
                self.outcomes[number] = ActionFailed(number, "the VM is gone", vm_gone=True)
                news.append((Party(number.rpartition("/")[0]), self.outcomes[number]))
        return news

    def write(self, group: str, updates: int) -> None:
        """The active of the group, if there is one, takes updates, and acknowledges what all it waits for have."""
        members = {name: self.vnfcs[name] for name in self.layout.vnfcs if self.layout.vnfcs[name].group == group}
        actives = (vnfc for vnfc in members.values() if vnfc.role == "active" and vnfc.condition == "ready")
        active = next(actives, None)
        if active is None:
            return
        active.disk = Position(active.epoch, active.disk.sequence + updates)
        followers = {name for name, vnfc in members.items() if vnfc.synced and vnfc.condition == "ready"}
        for name in followers:
            members[name].disk = active.disk
        if active.waits_for <= followers:
            self.acknowledged[group] = active.disk.sequence

    def power_off(self, host: HostName) -> list[News]:
        self.away.add(host)
        self.lives[host] += 1 if self.layout.grants is not None else 0
        for vm in self.layout.vms.values():
            if vm.host == host:
                self.end_vm(vm.name, by="power")
        for vnfc in self.layout.vnfcs.values():
            if vnfc.host == host:
                self._end(vnfc.name)
        return [(party, AgentLost(host)) for party in self.managers()]

    def silence(self, host: HostName, by: HostName) -> list[News]:
        """The host is off, and the agents of others say so."""
        life = self.lives[host]
        return [*self.power_off(host), *self.found_silent(host, by, life)]

    def cut(self, host: HostName, by: HostName) -> list[News]:
        """Nobody hears the host, and it runs on; what it answered for ends with its grant, and it will say so."""
        for name, vnfc in self.vnfcs.items():
            if self.layout.vnfcs[name].host == host and vnfc.services:
                vnfc.services, vnfc.condition = (), "failed"
        return [*self.lose_agent(host), *self.found_silent(host, by, self.lives[host])]

    def found_silent(self, host: HostName, by: HostName, life: int) -> list[News]:
        return [(party, HostFailed(host, by, "silent for 45 ms", life)) for party in self.managers()]

    def lose_agent(self, host: HostName) -> list[News]:
        self.away.add(host)
        return [(party, AgentLost(host)) for party in self.managers()]

    def join(self, host: HostName) -> list[News]:
        self.away.discard(host)
        return [(party, self.facts(host)) for party in self.managers()]

    def facts(self, host: HostName) -> AgentJoined:
        vnfcs = tuple(
            VnfcFact(
                name,
                one.run,
                one.condition,
                one.role,
                one.epoch,
                one.services,
                one.disk,
                in_sync=self.told_in_sync(one),
            )
            for name, one in self.vnfcs.items()
            if self.layout.vnfcs[name].host == host
        )
        vms = tuple(
            VmFact(name, one.boot, "up" if one.is_up else "absent")
            for name, one in self.vms.items()
            if self.layout.vms[name].host == host
        )
        return AgentJoined(host, vnfcs, vms, self.lives[host], self.voters[host])

    def told_in_sync(self, active: SimulatedVnfc) -> tuple[VnfcName, ...] | None:
        return tuple(sorted(active.waits_for)) if active.role == "active" else None

    def managers(self) -> tuple[Party, ...]:
        return (HA, *vnfms_of(self.layout), VIM)

    def _in_charge(self, name: VnfcName) -> Party:
        return in_charge(self.layout, self.layout.vnfcs[name].vnf)

    def owners(self, service: ServiceName) -> list[VnfcName]:
        """Who answers for the service at this moment; a hung process may still do so."""
        return [
            name
            for name, vnfc in self.vnfcs.items()
            if service in vnfc.services and (vnfc.condition == "ready" or vnfc.is_hung)
        ]

    def _look_for_two_owners(self) -> None:
        for service in self.layout.services:
            owners = self.owners(service)
            if len(owners) > 1:
                self.two_owners.append(f"{service}: {' and '.join(owners)}")


def entity_of(action: Action) -> str:
    for field_name in ("vnfc", "vm", "host"):
        name = getattr(action, field_name, None)
        if name is not None:
            return str(name)
    raise AssertionError(f"{action} is about nothing")


def is_isolation(action: Struct) -> bool:
    return isinstance(action, IsolateVnfc | IsolateVm | StopVnfc)
