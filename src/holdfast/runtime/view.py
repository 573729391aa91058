"""What a manager knows, for people: folded from its journal records, whatever its core looks like.

A view is as large as the deployment, so `fold` changes it in place; what it depends on is the record and the view
alone. `status` shows views; no decision is made from one.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from holdfast.core.book import Book
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
from holdfast.runtime.parts import loaded


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


def _empty() -> Any:
    return Book({})


class View(Struct):
    agents: dict[HostName, bool] = field(default_factory=_empty)
    """Whether the agent of the host is joined."""
    vnfcs: dict[VnfcName, VnfcView] = field(default_factory=_empty)
    vms: dict[VmName, VmView] = field(default_factory=_empty)
    services: dict[ServiceName, ServiceView] = field(default_factory=_empty)
    incidents: dict[IncidentId, IncidentView] = field(default_factory=_empty)
    alarms: dict[str, str] = field(default_factory=_empty)
    under_way: dict[ActionId, Action] = field(default_factory=_empty)
    """Actions whose outcome will change what is shown."""
    voters: VotersView | None = None
    """None where nobody votes, or as far as this manager knows."""
    holding: dict[VnfcName, ServiceName] = field(default_factory=dict)
    """Who has which service, by the services; not saved."""


_SAVED = tuple(name for name in View.__struct_fields__ if name != "holding")


def shown(view: View) -> dict[str, Any]:
    """What is to be saved of it, by names of parts."""
    return {f"view.{name}": getattr(view, name) for name in _SAVED}


def view_from(parts: Mapping[str, bytes]) -> View:
    """The saved view; one that an older version saved as a whole is read, too."""
    if "view" in parts:
        view = msgspec.msgpack.decode(parts["view"], type=View)
    else:
        found = {name: loaded(parts, f"view.{name}") for name in _SAVED}
        whole = {name: msgspec.Raw(content) for name, content in found.items() if content is not None}
        view = msgspec.msgpack.decode(msgspec.msgpack.encode(whole), type=View)
    for name in _SAVED:
        if isinstance(value := getattr(view, name), dict):
            setattr(view, name, Book(value))
    view.holding = {one.vnfc: name for name, one in view.services.items() if one.vnfc is not None}
    return view


def fold(view: View, record: Record) -> View:
    """The view after this record: the same one, changed."""
    if isinstance(record, Seen):
        _seen(view, record.event)
    elif isinstance(record, Decided):
        _decided(view, record)
    return view


def role_of(view: View, name: VnfcName, services: Iterable[ServiceName]) -> str:
    """The VNFC's role: none once it has failed and no service has it as its holder any more.

    That it was lost together with its VM is told of the VM alone where the VIM sees it first.
    """
    known = view.vnfcs.get(name, VnfcView())
    holders = {view.services[service].vnfc for service in services if service in view.services}
    return known.role if known.condition == "ready" or name in holders else "none"


def _vnfc(view: View, name: VnfcName, **changes: object) -> None:
    view.vnfcs[name] = replace(view.vnfcs.get(name, VnfcView()), **changes)


def _service(view: View, name: ServiceName, now: ServiceView) -> None:
    before = view.services.get(name)
    if before is not None and before.vnfc is not None and view.holding.get(before.vnfc) == name:
        del view.holding[before.vnfc]
    if now.vnfc is not None:
        view.holding[now.vnfc] = name
    view.services[name] = now


def _seen(view: View, event: Event) -> None:
    match event:
        case AgentJoined():
            _joined(view, event)
        case AgentLost(host):
            view.agents[host] = False
        case VnfcReady(vnfc, run):
            _vnfc(view, vnfc, run=run, condition="ready", detail="")
        case VnfcFailed(vnfc, run, cause, detail):
            _vnfc(view, vnfc, run=run, condition="failed", detail=detail or cause)
        case VmBooted(vm, boot):
            view.vms[vm] = VmView(boot, "up")
        case VmDied(vm, boot):
            view.vms[vm] = VmView(boot, "failed")
        case StandbyLost(vnfc, _, _, standby):
            _in_sync(view, vnfc, standby, False)
        case StandbySynced(vnfc, _, _, standby):
            _in_sync(view, vnfc, standby, True)
        case ServiceTaken():
            _taken(view, event)
        case ActionDone(action):
            _done(view, action)
        case ActionFailed(action):
            if action in view.under_way:
                del view.under_way[action]
        case _:
            pass


def _joined(view: View, event: AgentJoined) -> None:
    view.agents[event.host] = True
    for fact in event.vnfcs:
        view.vnfcs[fact.vnfc] = VnfcView(fact.run, fact.condition, fact.role, fact.epoch, fact.detail)
    for vm in event.vms:
        view.vms[vm.vm] = VmView(vm.boot, vm.condition)


def _taken(view: View, event: ServiceTaken) -> None:
    """A successor has taken the service over by itself; that it is provided is noted by the core."""
    known = view.services.get(event.service)
    if known is None or event.epoch < known.epoch:
        return
    _vnfc(view, event.vnfc, run=event.run, condition="ready", role="active", epoch=event.epoch, detail="")
    _service(view, event.service, replace(known, vnfc=event.vnfc, epoch=event.epoch, in_sync=event.in_sync))


def _in_sync(view: View, active: VnfcName, standby: VnfcName, is_synced: bool) -> None:
    name = view.holding.get(active)
    if name is None:
        return
    service = view.services[name]
    others = tuple(other for other in service.in_sync if other != standby)
    view.services[name] = replace(service, in_sync=(*others, standby) if is_synced else others)


def _done(view: View, action: ActionId) -> None:
    done = view.under_way.get(action)
    if done is None:
        return
    del view.under_way[action]
    match done:
        case Activate(_, vnfc, run, _, epoch):
            _vnfc(view, vnfc, run=run, role="active", epoch=epoch)
        case StandBy(_, vnfc, run, _, epoch):
            _vnfc(view, vnfc, run=run, role="standby", epoch=epoch)
        case StartVnfc(_, vnfc, run, epoch, service):
            role = "none" if service is None else "active"
            _vnfc(view, vnfc, run=run, condition="ready", role=role, epoch=epoch, detail="")
        case Quiesce(_, vnfc):
            _vnfc(view, vnfc, role="quiescing")
        case StopVnfc(_, vnfc) | IsolateVnfc(_, vnfc):
            _vnfc(view, vnfc, condition="absent", role="none")
        case IsolateVm(_, vm, boot):
            view.vms[vm] = VmView(boot, "absent")
        case StartVm(_, vm, boot):
            view.vms[vm] = VmView(boot, "up")
        case _:
            pass


def _decided(view: View, record: Decided) -> None:
    action = record.action
    match action:
        case NoteService(service, state, vnfc, epoch):
            before = view.services.get(service)
            same = before is not None and before.vnfc == vnfc and before.epoch == epoch
            in_sync = before.in_sync if before is not None and same else ()
            _service(view, service, ServiceView(state, vnfc, epoch, record.at, in_sync))
        case OpenIncident(incident, about, service_name, cause):
            _failed(view, about, record)
            view.incidents[incident] = IncidentView(about, service_name, cause, record.at)
            _forget_oldest(view.incidents)
        case CloseIncident(incident, outcome):
            if incident in view.incidents:
                known = view.incidents[incident]
                view.incidents[incident] = replace(known, closed_at=record.at, outcome=outcome)
        case NoteVoters(voters, state):
            view.voters = VotersView(voters.version, state, voters.members, voters.witnesses, record.at)
        case RaiseAlarm(alarm, text):
            view.alarms[alarm] = text
        case ClearAlarm(alarm):
            if alarm in view.alarms:
                del view.alarms[alarm]
        case Send(_, _, VmIsolated(_, vm, boot)):
            view.vms[vm] = VmView(boot, "absent")
        case Send() | FenceHost() | StartHost():
            pass
        case StartVnfc(_, vnfc, run):
            _vnfc(view, vnfc, run=run, condition="starting", role="none", detail="")
            view.under_way[action.id] = action
        case Activate(_, vnfc, _, service_name, _, in_sync):
            was = view.services.get(service_name)
            state_shown, since = (was.state, was.since) if was else ("interrupted", record.at)
            _service(view, service_name, ServiceView(state_shown, vnfc, action.epoch, since, in_sync))
            view.under_way[action.id] = action
        case StandBy() | Quiesce() | StopVnfc() | IsolateVnfc() | IsolateVm() | StartVm():
            view.under_way[action.id] = action
        case _:
            pass


def _failed(view: View, about: str, record: Decided) -> None:
    """A VNFC is found failed also where nobody can see it: its host is not heard, another has its service."""
    name = VnfcName(about)
    if name in view.vnfcs and view.vnfcs[name].condition != "failed":
        _vnfc(view, name, condition="failed", detail=record.reasons[0].detail)


def _forget_oldest(incidents: dict[IncidentId, IncidentView]) -> None:
    """Of the closed ones; open ones are always kept."""
    if len(incidents) <= INCIDENTS_KEPT:
        return
    closed = [name for name, incident in incidents.items() if incident.closed_at is not None]
    for name in closed[: len(incidents) - INCIDENTS_KEPT]:
        del incidents[name]
