"""One step of the HA manager under way: the state as it changes, and the decisions made so far.

In: layout, state, the observed event, now. Out: the next state and the decisions. Intake writes the event into
it, planning then adds what is to be done about the difference. Always holds: parts of the state that
are not put anew stay the same objects; an action is recorded as outstanding in the moment it is decided.
"""

from msgspec.structs import replace

from holdfast.core.book import Book, kept
from holdfast.core.ha_estate import estate_of
from holdfast.core.ha_state import GroupNow, IncidentNow, Kind, ServiceNow, State, Task, VmNow, VnfcNow
from holdfast.core.ledger import Desk
from holdfast.model.actions import AgentAction, Note, Refuse
from holdfast.model.events import Observed
from holdfast.model.granting import quorum
from holdfast.model.layout import Component, Group, Layout, Vnf
from holdfast.model.messages import Message
from holdfast.model.names import GroupName, HostName, IncidentId, Party, ServiceName, VmName, VnfcName, vnfm_party
from holdfast.model.reasons import Reason

Reasons = tuple[Reason, ...]
DUE = "@due"
"""Ends the name of a wake for a service; no VM and no VNFC has such a name."""
Refusals = dict[str, tuple[Reasons, IncidentId | None]]


class Turn:
    def __init__(self, layout: Layout, state: State, observed: Observed, now: float) -> None:
        self.layout = layout
        self.now = now
        self.seen = (observed.n,)
        self.desk = Desk(state.ledger, now)
        self.estate = estate_of(layout)
        self._before = state
        self.groups = state.groups
        self.vms = state.vms
        self.agents = dict(state.agents)
        self.lives = dict(state.lives)
        self.met = dict.fromkeys(state.met)
        self.hosts = state.hosts
        self.late = dict(state.late)
        self.wakes = dict(state.wakes)
        self.failed_hosts = dict(state.failed_hosts)
        self.fresh = dict(state.fresh)
        self.telling = dict(state.telling)
        self.recovering = dict(state.recovering)
        self.waiting = dict(state.waiting)
        self.has_room = False
        """A recovery or a start has ended in this step: who waited for that may begin."""
        self.answered: dict[HostName, int] = {}
        """Hosts that have answered in this step what they were told of epochs: up to which number."""
        self.recorded: dict[ServiceName, int] = {}
        """Numbers that a majority has recorded, as far as this step has brought them."""
        self.joined: dict[HostName, None] = {}
        """Hosts whose agents have joined in this step."""
        self.touched: dict[GroupName, None] = {}
        """Groups still to be planned, in order."""
        self.refusals: Refusals = {}
        """Collected while one group is planned."""

    def state(self) -> State:
        before = self._before
        return State(
            self.desk.ledger(),
            self.groups,
            self.vms,
            kept(before.agents, self.agents),
            kept(before.lives, self.lives),
            kept(before.met, tuple(self.met)),
            self.hosts,
            kept(before.late, self.late),
            kept(before.wakes, self.wakes),
            kept(before.failed_hosts, self.failed_hosts),
            kept(before.fresh, self.fresh),
            kept(before.telling, self.telling),
            kept(before.recovering, self.recovering),
            kept(before.waiting, self.waiting),
        )

    # Looking

    def group_of(self, name: VnfcName) -> GroupName:
        return self.layout.vnfcs[name].group

    def vnfc(self, name: VnfcName) -> VnfcNow:
        return self.groups[self.group_of(name)].vnfcs[name]

    def service(self, name: ServiceName) -> ServiceNow:
        return self.groups[self.layout.services[name].group].services[name]

    def wanted(self, group: GroupName) -> Group:
        return self.layout.groups[group]

    def component(self, group: GroupName) -> Component:
        return self.layout.components[group]

    def vnf(self, group: GroupName) -> Vnf:
        return self.layout.vnfs[self.layout.groups[group].vnf]

    def vm_of(self, name: VnfcName) -> VmName | None:
        return self.layout.vnfcs[name].vm

    def is_ours(self, name: VnfcName) -> bool:
        return name in self.layout.vnfcs and self.layout.vnfcs[name].group in self.groups

    def is_service_of_ours(self, name: ServiceName) -> bool:
        return name in self.layout.services and self.layout.services[name].group in self.groups

    def held_by(self, name: VnfcName) -> tuple[ServiceName, ...]:
        """Services that the VNFC provides, or may still provide."""
        services = self.groups[self.group_of(name)].services
        return tuple(service for service, now in services.items() if now.holder == name)

    def incident_of(self, service: ServiceName) -> IncidentId | None:
        """The incident that interrupted the service and is not over."""
        incidents = self.groups[self.layout.services[service].group].incidents
        return next((key for key, one in incidents.items() if one.service == service), None)

    def no_majority(self) -> Reasons:
        """Why nobody's claim of a service can succeed now, where it takes a majority of the voters; else nothing."""
        if self.layout.grants is None:
            return ()
        voters = self.hosts.members if self.hosts is not None else tuple(self.layout.hosts)
        lost = [host for host in voters if host in self.failed_hosts]
        if len(voters) - len(lost) >= quorum(voters):
            return ()
        detail = f"{len(voters) - len(lost)} of {len(voters)}"
        return (*(self.failed_hosts[host] for host in lost), Reason("no-majority", ", ".join(lost), detail, self.seen))

    def is_locked(self, host: HostName) -> bool:
        """Whether a person wants nothing to be started there."""
        return self.hosts is not None and host in self.hosts.locked

    def is_reachable(self, host: HostName) -> bool:
        """Whether the host's agent can be told something, as far as is known."""
        return self.agents.get(host) is not False and host not in self.failed_hosts

    def in_vm(self, vm: VmName) -> tuple[VnfcName, ...]:
        return tuple(name for name in self.estate.in_vm.get(vm, ()) if self.is_ours(name))

    def on_host(self, host: HostName) -> tuple[VnfcName, ...]:
        return tuple(name for name in self.estate.on_host.get(host, ()) if self.is_ours(name))

    def can_be_told(self, group: GroupName) -> bool:
        """Whether a running component can learn another epoch than the one it was started with."""
        component = self.component(group)
        return component.speaks or component.become_active is not None

    # Changing

    def touch(self, group: GroupName) -> None:
        self.touched[group] = None

    def put_group(self, name: GroupName, now: GroupNow) -> None:
        self._set_group(name, now)
        self.touch(name)

    def _set_group(self, name: GroupName, now: GroupNow) -> None:
        # There may be thousands of them: copied only by a step that changes one.
        if self.groups is self._before.groups:
            self.groups = Book(self.groups)
        self.groups[name] = now

    def put(self, name: VnfcName, now: VnfcNow) -> None:
        group = self.group_of(name)
        before = self.groups[group]
        self._has_changed_task(name, before.vnfcs[name].doing, now.doing)
        self.put_group(group, replace(before, vnfcs={**before.vnfcs, name: now}))

    def _has_changed_task(self, name: VnfcName, before: Task | None, now: Task | None) -> None:
        if before == now:
            return
        if before is not None and before.kind in ("activate", "start"):
            self.recovering.pop(name, None)
            self.has_room = True
        if now is not None and now.kind == "activate":
            self.recovering[name] = None

    def put_service(self, name: ServiceName, now: ServiceNow) -> None:
        group = self.layout.services[name].group
        before = self.groups[group]
        was = before.services[name]
        if (was.unconfirmed, was.adjusting) != (now.unconfirmed, now.adjusting):
            self.wake_for(name, now)
        self.put_group(group, replace(before, services={**before.services, name: now}))

    def wake_for(self, name: ServiceName, service: ServiceNow) -> None:
        """Have it looked at when something of it is due; nobody looks at all services for that."""
        dues = [one.again_at for one in service.unconfirmed]
        if service.adjusting.until is not None:
            dues.append(service.adjusting.until)
        self.wakes.pop(f"{name}{DUE}", None)
        if dues:
            self.wakes[f"{name}{DUE}"] = min(dues)

    def put_incident(self, group: GroupName, name: IncidentId, now: IncidentNow | None) -> None:
        before = self.groups[group]
        incidents = {known: one for known, one in before.incidents.items() if known != name}
        if now is not None:
            incidents[name] = now
        self.put_group(group, replace(before, incidents=incidents))

    def put_vm(self, name: VmName, now: VmNow) -> None:
        if self.vms is self._before.vms:
            self.vms = Book(self.vms)
        self.vms[name] = now
        for vnfc in self.in_vm(name):
            self.touch(self.group_of(vnfc))

    def next_epoch(self, group: GroupName) -> int:
        before = self.groups[group]
        self.put_group(group, replace(before, epoch=before.epoch + 1))
        return before.epoch + 1

    # Deciding

    def order(
        self,
        name: VnfcName,
        kind: Kind,
        action: AgentAction,
        reasons: Reasons,
        limit_s: float | None = None,
        incident: IncidentId | None = None,
    ) -> None:
        """Decide an action on a VNFC; it is busy with it until the end is heard of."""
        now = self.vnfc(name)
        if now.doing is not None:
            self.desk.settle(now.doing.id)
        self.desk.order(action, reasons, incident or now.incident, limit_s)
        self.put(name, replace(now, doing=Task(action.id, kind)))

    def send(self, group: GroupName, message: Message, reasons: Reasons, incident: IncidentId) -> None:
        self.desk.send(self.vnfm(group), message, reasons, incident)

    def vnfm(self, group: GroupName) -> Party:
        return vnfm_party(self.vnf(group).vnfm)

    def note(self, action: Note, reasons: Reasons, incident: IncidentId | None = None) -> None:
        self.desk.note(action, reasons, incident)

    def refuse(self, what: str, about: str, reasons: Reasons, incident: IncidentId | None = None) -> None:
        """Something one might expect now is not done; said once, as long as it rests on the same reasons."""
        self.refusals[f"{what} {about}"] = (reasons, incident)

    def say_refusals(self, group: GroupName) -> None:
        """Let out those refusals of a planned group that are new, and remember the present ones."""
        before = self.groups[group].refused
        present: dict[str, Reasons] = {}
        for key, (reasons, incident) in self.refusals.items():
            same = _sense(reasons) == _sense(before.get(key, ()))
            present[key] = before[key] if same else reasons
            if not same:
                what, _, about = key.rpartition(" ")
                self.note(Refuse(what, about), reasons, incident)
        if present != before:
            self._set_group(group, replace(self.groups[group], refused=present))


def _sense(reasons: Reasons) -> tuple[tuple[str, str, str], ...]:
    """The reasons without the observations: one seen again says nothing new."""
    return tuple((reason.code, reason.about, reason.detail) for reason in reasons)
