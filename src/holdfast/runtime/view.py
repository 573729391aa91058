"""What a manager knows, for people: folded from its journal records, whatever its core looks like.

`fold` is pure: a view and a record in, the next view out. `status` shows views; no decision is made
from one.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from holdfast.model.actions import (
    Action,
    Activate,
    ClearAlarm,
    CloseIncident,
    FenceHost,
    IsolateVm,
    IsolateVnfc,
    NoteService,
    NoteVoters,
    OpenIncident,
    Quiesce,
    RaiseAlarm,
    Send,
    StandBy,
    StartHost,
    StartVm,
    StartVnfc,
    StopVnfc,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    Event,
    ServiceTaken,
    StandbyLost,
    StandbySynced,
    VmBooted,
    VmDied,
    VnfcFailed,
    VnfcReady,
)
from holdfast.model.limits import INCIDENTS_KEPT
from holdfast.model.messages import VmIsolated
from holdfast.model.names import ActionId, HostName, IncidentId, ServiceName, VmName, VnfcName
from holdfast.model.records import Decided, Record, Seen


class VnfcView(Struct, frozen=True):
    run: int = 0
    condition: str = "absent"
    role: str = "none"
    epoch: int = 0
    detail: str = ""


class VmView(Struct, frozen=True):
    boot: int = 0
    condition: str = "absent"


class ServiceView(Struct, frozen=True):
    state: str
    vnfc: VnfcName | None
    epoch: int
    since: float
    in_sync: tuple[VnfcName, ...] = ()


class IncidentView(Struct, frozen=True):
    about: str
    service: ServiceName | None
    cause: str
    opened_at: float
    closed_at: float | None = None
    outcome: str = ""


class VotersView(Struct, frozen=True):
    version: int
    state: str
    members: tuple[HostName, ...]
    witnesses: tuple[HostName, ...]
    since: float


class View(Struct, frozen=True):
    agents: dict[HostName, bool] = {}
    """Whether the agent of the host is joined."""
    vnfcs: dict[VnfcName, VnfcView] = {}
    vms: dict[VmName, VmView] = {}
    services: dict[ServiceName, ServiceView] = {}
    incidents: dict[IncidentId, IncidentView] = {}
    alarms: dict[str, str] = {}
    under_way: dict[ActionId, Action] = {}
    """Actions whose outcome will change what is shown."""
    voters: VotersView | None = None
    """None where nobody votes, or as far as this manager knows."""


K = TypeVar("K")
V = TypeVar("V")


def _with(old: Mapping[K, V], key: K, value: V) -> dict[K, V]:
    return {**old, key: value}


def _without(old: Mapping[K, V], key: K) -> dict[K, V]:
    return {known: value for known, value in old.items() if known != key}


def fold(view: View, record: Record) -> View:
    """The view after this record."""
    if isinstance(record, Seen):
        return _seen(view, record.event)
    if isinstance(record, Decided):
        return _decided(view, record)
    return view


def role_of(view: View, name: VnfcName, services: Iterable[ServiceName]) -> str:
    """The VNFC's role: none once it has failed and no service has it as its holder any more.

    That it was lost together with its VM is told of the VM alone where the VIM sees it first.
    """
    known = view.vnfcs.get(name, VnfcView())
    holders = {view.services[service].vnfc for service in services if service in view.services}
    return known.role if known.condition == "ready" or name in holders else "none"


def _vnfc(view: View, name: VnfcName, **changes: object) -> View:
    return replace(view, vnfcs=_with(view.vnfcs, name, replace(view.vnfcs.get(name, VnfcView()), **changes)))


def _seen(view: View, event: Event) -> View:
    match event:
        case AgentJoined():
            return _joined(view, event)
        case AgentLost(host):
            return replace(view, agents=_with(view.agents, host, False))
        case VnfcReady(vnfc, run):
            return _vnfc(view, vnfc, run=run, condition="ready", detail="")
        case VnfcFailed(vnfc, run, cause, detail):
            return _vnfc(view, vnfc, run=run, condition="failed", detail=detail or cause)
        case VmBooted(vm, boot):
            return replace(view, vms=_with(view.vms, vm, VmView(boot, "up")))
        case VmDied(vm, boot):
            return replace(view, vms=_with(view.vms, vm, VmView(boot, "failed")))
        case StandbyLost(vnfc, _, _, standby):
            return _in_sync(view, vnfc, standby, False)
        case StandbySynced(vnfc, _, _, standby):
            return _in_sync(view, vnfc, standby, True)
        case ServiceTaken():
            return _taken(view, event)
        case ActionDone(action):
            return _done(view, action)
        case ActionFailed(action):
            return replace(view, under_way=_without(view.under_way, action)) if action in view.under_way else view
        case _:
            return view


def _joined(view: View, event: AgentJoined) -> View:
    vnfcs = {fact.vnfc: VnfcView(fact.run, fact.condition, fact.role, fact.epoch, fact.detail) for fact in event.vnfcs}
    vms = {fact.vm: VmView(fact.boot, fact.condition) for fact in event.vms}
    return replace(
        view,
        agents=_with(view.agents, event.host, True),
        vnfcs={**view.vnfcs, **vnfcs},
        vms={**view.vms, **vms},
    )


def _taken(view: View, event: ServiceTaken) -> View:
    """A successor has taken the service over by itself; that it is provided is noted by the core."""
    known = view.services.get(event.service)
    if known is None or event.epoch < known.epoch:
        return view
    view = _vnfc(view, event.vnfc, run=event.run, condition="ready", role="active", epoch=event.epoch, detail="")
    taken = replace(known, vnfc=event.vnfc, epoch=event.epoch, in_sync=event.in_sync)
    return replace(view, services=_with(view.services, event.service, taken))


def _in_sync(view: View, active: VnfcName, standby: VnfcName, is_synced: bool) -> View:
    for name, service in view.services.items():
        if service.vnfc == active:
            others = tuple(other for other in service.in_sync if other != standby)
            changed = replace(service, in_sync=(*others, standby) if is_synced else others)
            return replace(view, services=_with(view.services, name, changed))
    return view


def _done(view: View, action: ActionId) -> View:
    done = view.under_way.get(action)
    if done is None:
        return view
    view = replace(view, under_way=_without(view.under_way, action))
    match done:
        case Activate(_, vnfc, run, _, epoch):
            return _vnfc(view, vnfc, run=run, role="active", epoch=epoch)
        case StandBy(_, vnfc, run, _, epoch):
            return _vnfc(view, vnfc, run=run, role="standby", epoch=epoch)
        case StartVnfc(_, vnfc, run, epoch, service):
            role = "none" if service is None else "active"
            return _vnfc(view, vnfc, run=run, condition="ready", role=role, epoch=epoch, detail="")
        case Quiesce(_, vnfc):
            return _vnfc(view, vnfc, role="quiescing")
        case StopVnfc(_, vnfc) | IsolateVnfc(_, vnfc):
            return _vnfc(view, vnfc, condition="absent", role="none")
        case IsolateVm(_, vm, boot):
            return replace(view, vms=_with(view.vms, vm, VmView(boot, "absent")))
        case StartVm(_, vm, boot):
            return replace(view, vms=_with(view.vms, vm, VmView(boot, "up")))
        case _:
            return view


def _decided(view: View, record: Decided) -> View:
    action = record.action
    match action:
        case NoteService(service, state, vnfc, epoch):
            before = view.services.get(service)
            same = before is not None and before.vnfc == vnfc and before.epoch == epoch
            in_sync = before.in_sync if before is not None and same else ()
            noted = ServiceView(state, vnfc, epoch, record.at, in_sync)
            return replace(view, services=_with(view.services, service, noted))
        case OpenIncident(incident, about, service_name, cause):
            opened = IncidentView(about, service_name, cause, record.at)
            view = _failed(view, about, record)
            return replace(view, incidents=_bounded(_with(view.incidents, incident, opened)))
        case CloseIncident(incident, outcome):
            if incident not in view.incidents:
                return view
            closed = replace(view.incidents[incident], closed_at=record.at, outcome=outcome)
            return replace(view, incidents=_with(view.incidents, incident, closed))
        case NoteVoters(voters, state):
            noted_voters = VotersView(voters.version, state, voters.members, voters.witnesses, record.at)
            return replace(view, voters=noted_voters)
        case RaiseAlarm(alarm, text):
            return replace(view, alarms=_with(view.alarms, alarm, text))
        case ClearAlarm(alarm):
            return replace(view, alarms=_without(view.alarms, alarm)) if alarm in view.alarms else view
        case Send(_, _, VmIsolated(_, vm, boot)):
            return replace(view, vms=_with(view.vms, vm, VmView(boot, "absent")))
        case Send() | FenceHost() | StartHost():
            return view
        case StartVnfc(_, vnfc, run):
            view = _vnfc(view, vnfc, run=run, condition="starting", role="none", detail="")
            return replace(view, under_way=_with(view.under_way, action.id, action))
        case Activate(_, vnfc, _, service_name, _, in_sync):
            known = view.services.get(service_name)
            shown = known.state if known else "interrupted"
            changed = ServiceView(shown, vnfc, action.epoch, known.since if known else record.at, in_sync)
            view = replace(view, services=_with(view.services, service_name, changed))
            return replace(view, under_way=_with(view.under_way, action.id, action))
        case StandBy() | Quiesce() | StopVnfc() | IsolateVnfc() | IsolateVm() | StartVm():
            return replace(view, under_way=_with(view.under_way, action.id, action))
        case _:
            return view


def _failed(view: View, about: str, record: Decided) -> View:
    """A VNFC is found failed also where nobody can see it: its host is not heard, another has its service."""
    name = VnfcName(about)
    if name not in view.vnfcs or view.vnfcs[name].condition == "failed":
        return view
    return _vnfc(view, name, condition="failed", detail=record.reasons[0].detail)


def _bounded(incidents: dict[IncidentId, IncidentView]) -> dict[IncidentId, IncidentView]:
    """Forget the oldest closed ones; open ones are always kept."""
    surplus = len(incidents) - INCIDENTS_KEPT
    closed = [name for name, incident in incidents.items() if incident.closed_at is not None]
    forgotten = set(closed[: max(0, surplus)])
    return {name: incident for name, incident in incidents.items() if name not in forgotten}
