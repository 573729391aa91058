"""From a failure to the cleared error: what a failure means for service, incident and report.

In: the turn and what has failed, is isolated, or is provided again. Out: the changed state, notes and
messages to the VNFM. Always holds: a fault opens one incident; what was reported is cleared once, and only when
it is over; an incident ends when the service is back *and* the failed VNFC is in its place again.
"""

from msgspec.structs import replace

from holdfast.core import escalation
from holdfast.core.ha_epochs import recorded
from holdfast.core.ha_state import GroupNow, IncidentNow, Unconfirmed, VnfcNow
from holdfast.core.ha_turn import Reasons, Turn
from holdfast.model.actions import ClearAlarm, ConfirmLoss, NoteService, RaiseAlarm
from holdfast.model.events import OF_ITS_ZONE, FailureCause
from holdfast.model.limits import CONFIRM_AGAIN_S
from holdfast.model.messages import ErrorCleared, ErrorReport
from holdfast.model.names import GroupName, IncidentId, ServiceName, VmName, VnfcName
from holdfast.model.reasons import Reason


def fail(turn: Turn, name: VnfcName, cause: FailureCause, detail: str) -> None:
    """Take note that a VNFC has failed; one that is already failed, or down, cannot fail again."""
    now = turn.vnfc(name)
    if now.phase in ("down", "failed"):
        return
    failure = Reason("vnfc-failed", name, f"{cause}: {detail}" if detail else cause, turn.seen)
    if now.doing is not None:
        turn.desk.settle(now.doing.id)
    turn.desk.drop(name, lambda action: isinstance(action, ConfirmLoss))
    failed = replace(
        now,
        phase="failed",
        role="none",
        doing=None,
        stuck=False,
        zone_asked=False,
        failure=failure,
        proof=None,
        ready=None,
    )
    turn.put(name, failed)
    services = turn.held_by(name)
    _open(turn, name, services[0] if services else None, cause, failure)
    for service in services:
        interrupt(turn, service, (failure,))
    if not services:
        leave_sync(turn, name, (failure,))
    exceeded = _count(turn, name, cause)
    _report_failure(turn, name, cause, exceeded)


def _open(turn: Turn, name: VnfcName, service: ServiceName | None, cause: str, failure: Reason) -> None:
    # One that fails again before its repair was over has another incident, so that each failure is counted.
    incident = turn.desk.open_incident(name, service, cause, (failure,))
    turn.put_incident(turn.group_of(name), incident, IncidentNow(name, service))
    turn.put(name, replace(turn.vnfc(name), incident=incident))


def interrupt(turn: Turn, name: ServiceName, reasons: Reasons) -> None:
    service = turn.service(name)
    if service.state == "provided":
        holder = service.holder
        incident = turn.vnfc(holder).incident if holder else None
        turn.note(NoteService(name, "interrupted", holder, service.epoch), reasons, incident)
        service = replace(service, state="interrupted", interruption=turn.seen[0], back=None)
    turn.put_service(name, replace(service, lost=reasons[0], move=None))


def leave_sync(turn: Turn, name: VnfcName, reasons: Reasons) -> None:
    """The active goes on without this standby, once that is recorded.

    Where nobody is active the lost one still holds all acknowledged state, so it stays on the list.
    """
    for service, now in turn.groups[turn.group_of(name)].services.items():
        if name not in now.in_sync or now.holder is None or turn.vnfc(now.holder).phase != "ready":
            continue
        turn.put_service(service, replace(now, in_sync=tuple(one for one in now.in_sync if one != name)))
        confirm_loss(turn, now.holder, name, reasons)


def confirm_loss(turn: Turn, active: VnfcName, standby: VnfcName, reasons: Reasons) -> None:
    service = next(iter(turn.held_by(active)), None)
    seal = 0
    if turn.layout.grants is not None and service is not None:
        seal = turn.next_epoch(turn.group_of(active))
        turn.put_service(service, replace(turn.service(service), sealed=seal))
    action = ConfirmLoss(turn.desk.number(), active, turn.vnfc(active).run, standby, service, seal)
    turn.desk.order(action, reasons, turn.vnfc(standby).incident)


def confirm_again_later(turn: Turn, action: ConfirmLoss) -> None:
    """It could not be recorded: no majority could be asked, or the claim was just then being regained."""
    for name in turn.held_by(action.vnfc):
        now = turn.service(name)
        others = tuple(one for one in now.unconfirmed if one.standby != action.standby)
        again = Unconfirmed(action.vnfc, action.run, action.standby, turn.now + CONFIRM_AGAIN_S)
        turn.put_service(name, replace(now, unconfirmed=(*others, again)))


def confirm_due(turn: Turn, name: ServiceName) -> None:
    """Try again what is due, unless the active is another by now: that one knows itself whom it has lost."""
    now = turn.service(name)
    due = [one for one in now.unconfirmed if one.again_at <= turn.now]
    if not due:
        return
    later = tuple(one for one in now.unconfirmed if one.again_at > turn.now)
    turn.put_service(name, replace(now, unconfirmed=later))
    for one in due:
        active = turn.vnfc(one.active)
        if (now.holder, active.run, active.phase) == (one.active, one.run, "ready"):
            confirm_loss(turn, one.active, one.standby, (Reason("standby-lost", one.standby, "", turn.seen),))


def _count(turn: Turn, name: VnfcName, cause: FailureCause) -> Reason | None:
    """Count the failure, where nobody else does, and tell whether the VM is now to be repaired."""
    vnf = turn.vnf(turn.group_of(name))
    vm = turn.vm_of(name)
    if cause in OF_ITS_ZONE or (vm is not None and vnf.report):
        return None
    rule = vnf.vnfc_escalation
    if vm is None:
        now = turn.vnfc(name)
        failures = escalation.count(now.failures, rule, turn.now, name, turn.seen)
        turn.put(name, replace(now, failures=failures))
        return None
    known = turn.vms[vm]
    failures = escalation.count(known.failures, rule, turn.now, name, turn.seen)
    condemned = known.condemned
    if condemned is None and escalation.exceeded(failures, rule, turn.now):
        condemned = Reason("too-many-failures", vm, f"{failures.failures} within {rule.probation_s:g} s", failures.seen)
    turn.put_vm(vm, replace(known, failures=failures, condemned=condemned))
    return condemned if known.condemned is None else None


def _report_failure(turn: Turn, name: VnfcName, cause: FailureCause, exceeded: Reason | None) -> None:
    group = turn.group_of(name)
    vm = turn.vm_of(name)
    gone = cause == "vm-gone" and turn.wanted(group).state == "none"
    repair = exceeded is not None or (gone and vm is not None and turn.vms[vm].told is False)
    if not (turn.vnf(group).report or exceeded):
        return
    failure = turn.vnfc(name).failure
    reasons = tuple(reason for reason in (failure, exceeded) if reason is not None)
    if repair and vm is not None:
        turn.put_vm(vm, replace(turn.vms[vm], told=True))
    report(turn, name, str(cause), reasons, repair_vm=repair)


def report(
    turn: Turn, name: VnfcName, cause: str, reasons: Reasons, isolate_vm: bool = False, repair_vm: bool = False
) -> None:
    """Report an error on the VNFC to the VNFM, under the incident that is open about it."""
    now = turn.vnfc(name)
    group = turn.group_of(name)
    incident = now.incident
    if incident is None:  # Nothing is wrong with it that was not cleared already.
        return
    known = turn.groups[group].incidents[incident]
    message = ErrorReport(
        incident=incident,
        vnf=turn.wanted(group).vnf,
        vnfc=name,
        vm=turn.vm_of(name),
        service=known.service,
        cause=cause,
        isolate_vm=isolate_vm,
        repair_vm=repair_vm,
        boot=now.boot,
    )
    turn.send(group, message, reasons, incident)
    turn.put_incident(group, incident, replace(known, reported=True))


def isolated(turn: Turn, name: VnfcName, proof: Reason) -> None:
    """Nothing of the VNFC runs any more: whatever it held is free."""
    now = turn.vnfc(name)
    if now.phase not in ("failed", "stopping"):
        return
    if now.doing is not None:
        turn.desk.settle(now.doing.id)
    turn.late = {key: action for key, action in turn.late.items() if action.vnfc != name}
    down = replace(
        now,
        phase="down",
        role="none",
        doing=None,
        stuck=False,
        zone_asked=False,
        proof=proof,
        position=None,
        ready=None,
    )
    turn.put(name, down)
    for service in turn.held_by(name):
        turn.put_service(service, replace(turn.service(service), holder=None))
    _clear_alarm(turn, turn.group_of(name), f"not-isolated:{name}", (proof,))


def provided(turn: Turn, name: ServiceName, told: Reason) -> None:
    """The service is provided (again): note it and clear what was reported about its interruption."""
    service = turn.service(name)
    group = turn.layout.services[name].group
    holder = service.holder
    back = Reason("service-back", name, f"{holder} is active, epoch {service.epoch}", turn.seen)
    turn.put_service(
        name,
        replace(service, state="provided", back=back, lost=None, tried=0, unfit=(), loss_accepted=None, interruption=0),
    )
    recorded(turn, name, service.epoch)
    over = {key: one for key, one in turn.groups[group].incidents.items() if one.service == name}
    turn.note(NoteService(name, "provided", holder, service.epoch), (told,), next(iter(over), None))
    for incident, one in over.items():
        if one.reported:
            _clear_report(turn, group, incident, (back,))
    _clear_alarm(turn, group, f"held:{name}", (back,))
    for other in turn.vnf(group).groups:
        if other in turn.groups and group in turn.wanted(other).after:
            turn.touch(other)


def _clear_report(turn: Turn, group: GroupName, incident: IncidentId, reasons: Reasons) -> None:
    known = turn.groups[group].incidents[incident]
    turn.put_incident(group, incident, replace(known, reported=False))
    turn.send(group, ErrorCleared(incident, turn.wanted(group).vnf), reasons, incident)


def raise_alarm(turn: Turn, group: GroupName, alarm: str, text: str, reasons: Reasons) -> None:
    now = turn.groups[group]
    if alarm not in now.alarms:
        turn.put_group(group, replace(now, alarms=(*now.alarms, alarm)))
        turn.note(RaiseAlarm(alarm, text), reasons)


def _clear_alarm(turn: Turn, group: GroupName, alarm: str, reasons: Reasons) -> None:
    now = turn.groups[group]
    if alarm in now.alarms:
        turn.put_group(group, replace(now, alarms=tuple(one for one in now.alarms if one != alarm)))
        turn.note(ClearAlarm(alarm), reasons)


def _clear_what_was_given_up(turn: Turn, group: GroupName) -> None:
    """A VM that was given up is back, by a later attempt or by a person, and with it what ran there."""
    now = turn.groups[group]
    back = {
        key: place for key, name in now.unrepaired.items() if (place := _in_place(turn, group, name, turn.vnfc(name)))
    }
    if not back:
        return
    left = {key: name for key, name in now.unrepaired.items() if key not in back}
    turn.put_group(group, replace(now, unrepaired=left))
    for incident, place in back.items():
        turn.send(group, ErrorCleared(incident, turn.wanted(group).vnf), place, incident)


def close_what_is_over(turn: Turn, group: GroupName) -> None:
    _clear_what_was_given_up(turn, group)
    for incident, one in tuple(turn.groups[group].incidents.items()):
        service = turn.service(one.service) if one.service else None
        if service is not None and service.state != "provided":
            continue
        now = turn.vnfc(one.about)
        back = (service.back,) if service is not None and service.back else ()
        given_up = _given_up(turn, turn.vm_of(one.about), now)
        place = _in_place(turn, group, one.about, now)
        if not place and given_up is None:
            continue
        if one.reported and place:
            _clear_report(turn, group, incident, place)
        closing = (*place, *back) if place else (given_up, *back) if given_up else back
        turn.put_incident(group, incident, None)
        if one.reported and not place:
            known = turn.groups[group]
            turn.put_group(group, replace(known, unrepaired={**known.unrepaired, incident: one.about}))
        turn.put(one.about, replace(turn.vnfc(one.about), incident=None))
        turn.desk.close_incident(incident, closing, repaired=bool(place))
        _clear_alarm(turn, group, f"too-many-failures:{one.about}", closing)


def _given_up(turn: Turn, vm: VmName | None, now: VnfcNow) -> Reason | None:
    return turn.vms[vm].given_up if vm is not None and now.phase == "down" else None


def _in_place(turn: Turn, group: GroupName, name: VnfcName, now: VnfcNow) -> Reasons:
    """The reasons why the VNFC is where it belongs; none if it is not."""
    wanted = turn.wanted(group)
    held = tuple(turn.service(service) for service in turn.held_by(name))
    ready = (now.ready,) if now.ready else ()
    if held:
        return ready if all(service.state == "provided" for service in held) else ()
    if wanted.reserve == "late-spare" and now.phase == "down" and now.proof is not None:
        vm = turn.vm_of(name)
        return (now.proof,) if vm is None or turn.vms[vm].up or turn.vms[vm].told else ()
    if now.phase != "ready" or now.doing is not None or not wanted.role_is_assigned:
        return ()
    if wanted.reserve != "standby":
        return ready
    followed = _followed(turn.groups[group], now)
    if followed is None:
        return ()
    if wanted.state != "internal":
        return ready
    return (Reason("standby-synced", name, "", turn.seen),) if name in followed else ()


def _followed(group: GroupNow, now: VnfcNow) -> tuple[VnfcName, ...] | None:
    """Who is in sync with the active that this standby follows; None while it follows nobody."""
    if now.role != "standby":
        return None
    return next((one.in_sync for one in group.services.values() if one.epoch == now.follows), None)
