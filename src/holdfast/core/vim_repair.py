"""One fault, one repair: how the repair of a VM or a host begins, is allowed, and goes up a zone.

In: a draft and what was found to be wrong. Out: incident, alarm and the VNFMs told; from there the plan takes
over. Always holds: a VM has one repair at a time; where it is negotiated, every VNFM that knows of the
VM's present life has acknowledged or asked before it goes on.
"""

from typing import Literal

from holdfast.core import escalation
from holdfast.core.ledger import Reasons
from holdfast.core.vim_draft import Draft
from holdfast.core.vim_state import Repair
from holdfast.model.actions import RaiseAlarm, Refuse
from holdfast.model.messages import VmFailed, VmNotRepaired
from holdfast.model.names import HostName, IncidentId, Party, VmName
from holdfast.model.reasons import Reason

Kind = Literal["gone", "stuck", "error"]
"""gone: the VM is no more; stuck: something in it could not be cleaned up; error: what is in it fails again and
again (UC9), while the VM may be well in itself. Repairing a VM that lives is worth only so many tries."""

RETRY_S = 5.0
"""Pause before isolation or fencing that failed is tried again."""


# Where the fault is.


def fault_in_vm(
    draft: Draft,
    vm: VmName,
    cause: str,
    why: Reasons,
    heard: Party | None = None,
    kind: Kind = "gone",
    isolate_first: bool = False,
) -> None:
    """Something is newly wrong with this VM: find the zone it points to, and begin the repair there.

    Args:
        heard: VNFM that has told it, and so needs no telling.
    """
    host = draft.layout.vms[vm].host
    restart = True
    if wider := points_to_host(draft, vm, kind):
        obstacle = not_wider_because(draft, vm)
        if obstacle is None:
            condemn(draft, host, cause, (*why, *wider), vm=vm, heard=heard)
            return
        reasons = (*why, *wider, obstacle)
        draft.desk.note(Refuse("fence", host), reasons)
        has_not_helped = any(reason.code == "too-many-failures" for reason in wider)
        if has_not_helped and kind == "error":
            hold(draft, vm, cause, reasons)
            return
        restart = kind == "gone" or not has_not_helped
    begin_repair(draft, vm, cause, why, heard=heard, kind=kind, isolate_first=isolate_first, restart=restart)


def points_to_host(draft: Draft, vm: VmName, kind: Kind) -> Reasons:
    """Count the fault, and tell why it is taken to be in the host, if it is."""
    place = draft.layout.vms[vm]
    failures = escalation.count(draft.vm(vm).failures, place.escalation, draft.now, vm, (draft.n,))
    draft.change(vm, failures=failures)
    rule = draft.layout.hosts[place.host].escalation
    errors = escalation.count(draft.host(place.host).errors, rule, draft.now, vm, (draft.n,))
    draft.change_host(place.host, errors=errors)
    wider: Reasons = ()
    if kind == "error" and escalation.different_exceeded(errors, rule, draft.now):
        detail = f"{', '.join(errors.about)} within {rule.probation_s:g} s, {rule.maximum} allowed"
        wider += (Reason("several-vms-of-host", place.host, detail, errors.seen),)
    if escalation.exceeded(failures, place.escalation, draft.now):
        detail = f"{failures.failures} repairs within {place.escalation.probation_s:g} s"
        wider += (Reason("too-many-failures", vm, f"{detail}, {place.escalation.maximum} allowed", failures.seen),)
    return wider


def not_wider_because(draft: Draft, vm: VmName) -> Reason | None:
    """Why the repair cannot go up to the VM's host: no device, or it has not helped of late."""
    host = draft.layout.vms[vm].host
    if not draft.has_fence(host):
        return Reason("zone-above-unknown", vm)
    rule = draft.layout.hosts[host].escalation
    repairs = escalation.lapsed(draft.host(host).repairs, rule, draft.now)
    if repairs.failures < rule.maximum:
        return None
    detail = f"{repairs.failures} repairs within {rule.probation_s:g} s, {rule.maximum} allowed"
    return Reason("too-many-failures", host, detail, repairs.seen)


# A VM.


def begin_repair(
    draft: Draft,
    vm: VmName,
    cause: str,
    why: Reasons,
    heard: Party | None = None,
    of_host: IncidentId | None = None,
    negotiate: bool = True,
    kind: Kind = "gone",
    isolate_first: bool = False,
    restart: bool = True,
) -> None:
    """Open the incident, raise the alarm, tell the VNFMs concerned, and note whom the repair waits for."""
    policy = draft.layout.vms[vm].repair
    incident = of_host or draft.desk.open_incident(vm, None, cause, why)
    draft.desk.note(RaiseAlarm(f"vm:{vm}", f"VM {vm} has failed: {cause}"), why, incident)
    knowing = draft.concerned(vm) if draft.is_known(vm) else ()
    asks = negotiate and policy == "negotiated"
    reported = draft.have_reported(vm)
    spoken = {heard, *reported}
    unheard = tuple(vnfm for vnfm in knowing if vnfm not in spoken)
    waits = () if not asks else knowing if isolate_first else unheard
    told = knowing if waits and isolate_first else unheard
    allowed: Reasons = ()
    if policy != "negotiated":
        allowed = (Reason("repair-configured", vm, policy, (draft.n,)),)
    elif asks:  # Who has reported it, while it could not be repaired, has given leave by that.
        before = (party for party in knowing if party in reported and party != heard)
        allowed = tuple(draft.reason("error-reported", vm, f"by {party}, before") for party in before)
    repair = Repair(
        incident,
        cause,
        of_host is not None,
        why,
        allowed,
        waits,
        isolate_first,
        # A VM without a repair is ended if it failed (its port must be gone), not on mere suspicion.
        isolate=policy != "none" or kind != "error",
        restart=policy != "none" and restart,
    )
    draft.forget_actions(vm)
    draft.timers.pop(f"again:{vm}", None)
    draft.change(vm, phase="failed", why=why, repair=repair)
    draft.tell(told, VmFailed(incident, vm, cause, asks, draft.vm(vm).boot), why)
    if waits:
        draft.timers[f"ack:{vm}"] = draft.now + draft.layout.vms[vm].ack_limit_s


def allow(draft: Draft, vm: VmName, vnfm: Party, reason: Reason) -> None:
    """This VNFM has said that restart is safe from its side."""
    repair = draft.vm(vm).repair
    if repair is None or vnfm not in repair.waits:
        return
    waits = tuple(party for party in repair.waits if party != vnfm)
    repair = draft.change_repair(vm, waits=waits, allowed=(*repair.allowed, reason))
    if not waits:
        draft.timers.pop(f"ack:{vm}", None)
        if repair.reminded:
            draft.clear_alarm(f"ack:{vm}", repair.allowed)
            draft.change_repair(vm, reminded=False)


def remind(draft: Draft, vm: VmName) -> None:
    """Acknowledgements are missing: say so once, ask again, and go on waiting."""
    repair = draft.vm(vm).repair
    if repair is None or not repair.waits:
        return
    place = draft.layout.vms[vm]
    missing = ", ".join(repair.waits)
    late = draft.reason("ack-missing", vm, f"of {missing}, after {place.ack_limit_s:g} s")
    reasons = (*repair.why, late)
    if not repair.reminded:
        text = f"restart of VM {vm} waits for the acknowledgement of {missing}"
        draft.desk.note(RaiseAlarm(f"ack:{vm}", text), reasons, repair.incident)
        draft.desk.note(Refuse("restart", vm), reasons, repair.incident)
        draft.change_repair(vm, reminded=True)
    # What is still on its way is repeated by itself.
    again = tuple(vnfm for vnfm in repair.waits if not draft.is_telling(vnfm, vm, VmFailed))
    draft.tell(again, VmFailed(repair.incident, vm, repair.cause, True, draft.vm(vm).boot), reasons)
    draft.timers[f"ack:{vm}"] = draft.now + place.ack_limit_s


def not_isolated(draft: Draft, vm: VmName, why: str) -> None:
    """Something of the VM may still run: switch its host off, or hold, say so, and try again."""
    life = draft.vm(vm)
    failure = draft.reason("repair-failed", vm, f"not isolated: {why}")
    host = draft.layout.vms[vm].host
    if draft.has_fence(host):
        draft.change(vm, phase="failed")
        condemn(draft, host, f"VM {vm} could not be isolated", (*life.why, failure), is_urgent=True, unisolated=(vm,))
        return
    reasons = (*life.why, failure, Reason("zone-above-unknown", vm))
    draft.change(vm, phase="stuck")
    draft.timers[f"isolate:{vm}"] = draft.now + RETRY_S
    if life.repair is None or life.repair.held:
        return
    draft.change_repair(vm, held=True)
    incident = life.repair.incident
    draft.desk.note(RaiseAlarm(f"isolate:{vm}", f"VM {vm} may still run: {why}"), reasons, incident)
    draft.desk.note(Refuse("restart", vm), reasons, incident)
    if draft.is_known(vm):
        draft.tell(draft.concerned(vm), VmNotRepaired(incident, vm, f"not isolated: {why}", life.boot), reasons)


def start_failed_again(draft: Draft, vm: VmName, reasons: Reasons) -> None:
    """A VM that does not come up in its repair is tried again, up to the maximum of its zone."""
    wider = points_to_host(draft, vm, "gone")
    if not wider:
        return
    host = draft.layout.vms[vm].host
    obstacle = not_wider_because(draft, vm)
    if obstacle is None:
        condemn(draft, host, f"VM {vm} does not start", (*reasons, *wider))
    else:
        give_up(draft, vm, "it does not start", (*reasons, *wider, obstacle))


def hold(draft: Draft, vm: VmName, cause: str, reasons: Reasons) -> None:
    """Repair the VM no more for a while, and tell so."""
    incident = draft.desk.open_incident(vm, None, cause, reasons)
    draft.desk.note(RaiseAlarm(f"vm:{vm}", f"VM {vm} is in error and not repaired: {cause}"), reasons, incident)
    draft.change(vm, why=reasons, repair=Repair(incident, cause, False, reasons))
    give_up(draft, vm, cause, reasons)


def give_up(draft: Draft, vm: VmName, why: str, reasons: Reasons) -> None:
    """Leave the VM alone: the alarm stays. Where repair is configured at all, it is tried again in a while."""
    life = draft.vm(vm)
    draft.change(vm, phase="given-up", repair=None)
    draft.timers.pop(f"ack:{vm}", None)
    if draft.layout.vms[vm].repair != "none":
        ends = escalation.ends_at(life.failures, draft.layout.vms[vm].escalation)
        draft.timers[f"again:{vm}"] = max(ends or 0.0, draft.now + RETRY_S)
    if life.repair is None:
        return
    draft.desk.note(Refuse("restart", vm), reasons, life.repair.incident)
    draft.tell(draft.concerned(vm), VmNotRepaired(life.repair.incident, vm, why, life.boot), reasons)
    if not life.repair.is_of_host:
        draft.desk.close_incident(life.repair.incident, reasons, repaired=False)


def try_again(draft: Draft, vm: VmName, why: Reasons = ()) -> None:
    """The VM was left alone for long enough, or there is another reason."""
    if draft.vm(vm).phase != "given-up":
        return
    waited = (draft.reason("time-limit-passed", vm, "it was left alone for its probation"),)
    begin_repair(draft, vm, "tried again", why or waited)


# A host.


def condemn(
    draft: Draft,
    host: HostName,
    cause: str,
    why: Reasons,
    vm: VmName | None = None,
    heard: Party | None = None,
    is_urgent: bool = False,
    only_away: bool = False,
    unisolated: tuple[VmName, ...] = (),
) -> None:
    """The host is to be switched off: at once if it is urgent, else when all its VMs may be repaired."""
    life = draft.host(host)
    if life.phase in ("condemned", "fencing", "fence-failed", "starting", "locked"):
        if is_urgent and not life.is_urgent:
            draft.change_host(host, is_urgent=True, why=(*life.why, *why))
        return
    # The last VMs of an earlier repair may still be starting: then this is the same incident.
    incident = life.incident or draft.desk.open_incident(host, None, cause, why)
    if not is_urgent:
        rule = draft.layout.hosts[host].escalation
        draft.change_host(host, repairs=escalation.count(life.repairs, rule, draft.now, host, (draft.n,)))
    if not life.is_alarmed:
        draft.desk.note(RaiseAlarm(f"host:{host}", f"host {host} has failed: {cause}"), why, incident)
    draft.change_host(
        host,
        phase="condemned",
        why=why,
        incident=incident,
        is_urgent=is_urgent,
        only_away=only_away,
        unisolated=unisolated,
        is_alarmed=True,
    )
    for name in draft.region.vms_on.get(host, ()):
        _condemn_vm(draft, name, cause, why, incident, heard if name == vm else None, is_urgent)


def _condemn_vm(
    draft: Draft, vm: VmName, cause: str, why: Reasons, incident: IncidentId, heard: Party | None, is_urgent: bool
) -> None:
    """What was going on for a VM of the host stops; the VNFMs are asked unless there is no time for that."""
    life = draft.vm(vm)
    if life.repair is None and life.phase == "down":
        return
    if life.repair is None and draft.is_known(vm) and not is_urgent:
        begin_repair(draft, vm, cause, why, heard=heard, of_host=incident)
        return
    draft.forget_actions(vm)
    draft.timers.pop(f"isolate:{vm}", None)
    if life.phase != "down":
        draft.change(vm, phase="failed")
