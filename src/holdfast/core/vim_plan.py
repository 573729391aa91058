"""What the VIM does about the difference between what is wanted and what is: the plan of one step.

In: a draft after intake. Out: decisions, on what was touched and nothing else. Always holds: isolate, then start;
where the repair is negotiated neither of them before the last acknowledgement; a VM begins empty; on a
host that is to be switched off nothing is begun; what is outstanding is not decided again.
"""

from typing import Literal

from holdfast.core.ledger import UNANSWERED_S, Reasons
from holdfast.core.vim_draft import NO_INCIDENT, Draft
from holdfast.core.vim_hosts import not_switched_off, power_limit
from holdfast.core.vim_repair import give_up
from holdfast.core.vim_state import Repair
from holdfast.core.vim_voters import plan_voters, tell_others
from holdfast.model.actions import FenceHost, IsolateVm, StartVm
from holdfast.model.layout import Vm
from holdfast.model.limits import REPAIRS_AT_ONCE
from holdfast.model.messages import VmUp
from holdfast.model.names import HostName, IncidentId, VmName
from holdfast.model.reasons import Reason

AWAITED = ("condemned", "fencing", "fence-failed", "starting", "locked")
"""Phases of a host on which nothing is begun."""


def plan(draft: Draft) -> None:
    for host in tuple(draft.touched_hosts):
        if draft.host(host).phase == "condemned":
            _switch_off_when_allowed(draft, host)
    for vm in draft.by_sal(draft.touched_vms):
        _plan_vm(draft, vm)
    for host in tuple(draft.touched_hosts):
        _start_those_that_waited(draft, host)
    for host in tuple(draft.touched_hosts):
        _close_host(draft, host)
    if draft.concerns_hosts():
        plan_voters(draft)
        tell_others(draft)


def _switch_off_when_allowed(draft: Draft, host: HostName) -> None:
    life = draft.host(host)
    repairs = [repair for vm in draft.region.vms_on.get(host, ()) if (repair := draft.vm(vm).repair) is not None]
    if not life.is_urgent and any(repair.waits for repair in repairs):
        return
    if missed := _missed_with(draft, host):
        others = f"{', '.join(missed)} {'is' if len(missed) == 1 else 'are'} off, or silent"
        not_switched_off(draft, host, f"{others}: without this one, too, the store would have no majority")
        return
    allowed = tuple(reason for repair in repairs for reason in repair.allowed)
    fence = FenceHost(draft.desk.number(), host)
    draft.desk.order(fence, life.why + allowed, life.incident, power_limit(draft, host))
    draft.change_host(host, phase="fencing", fenced_life=life.life)


def _missed_with(draft: Draft, host: HostName) -> tuple[HostName, ...]:
    """Hosts without which, and without this one, there would be no majority of the store's members.

    Then nobody would lead any more, and so nobody would switch any of them on again.
    """
    if host not in draft.store_on:
        return ()
    lives = [draft.host(one) for one in draft.store_on]
    missed = tuple(
        one
        for one, life in zip(draft.store_on, lives, strict=True)
        if one != host and (life.is_silent or life.phase in AWAITED)
    )
    left = draft.store_members - 1 - len(missed)
    return missed if left <= draft.store_members // 2 else ()


def _plan_vm(draft: Draft, vm: VmName) -> None:
    life = draft.vm(vm)
    if draft.host(draft.layout.vms[vm].host).phase in AWAITED:
        return
    match life.phase:
        case "failed":
            _isolate_when_allowed(draft, vm)
        case "down":
            _start_when_allowed(draft, vm)
        case "up":
            _announce(draft, vm)
        case "starting" | "isolating" | "stuck" | "given-up":
            pass


def _isolate_when_allowed(draft: Draft, vm: VmName) -> None:
    life = draft.vm(vm)
    repair = life.repair
    if repair is not None and repair.waits and not repair.isolate_first:
        return
    if repair is not None and not repair.isolate:
        give_up(draft, vm, "its repair is not configured", (*repair.why, *repair.allowed))
        return
    reasons = life.why if repair is None else (*life.why, *repair.allowed)
    action = IsolateVm(draft.desk.number(), vm, life.boot)
    limit = draft.layout.vms[vm].isolate_limit_s + UNANSWERED_S
    draft.desk.order(action, reasons, repair.incident if repair else None, limit)
    draft.change(vm, phase="isolating")


def _start_when_allowed(draft: Draft, vm: VmName) -> None:
    life = draft.vm(vm)
    place = draft.layout.vms[vm]
    repair = life.repair
    if repair is not None and repair.waits:
        return
    if repair is not None and not repair.restart:
        why = "its repair is not configured" if place.repair == "none" else "repairing it has not helped"
        give_up(draft, vm, why, (*repair.why, *life.why, *repair.allowed))
        return
    host = draft.host(place.host)
    if host.phase != "up":
        return
    if life.boot > 0 and _restarts_on(draft, place.host) >= REPAIRS_AT_ONCE:
        return
    reasons = life.why or (Reason("declared", vm, "", (draft.n,)),)
    if repair is not None:
        reasons = (*repair.why, *(reason for reason in reasons if reason not in repair.why), *repair.allowed)
    if repair is None or any(reason.code == "host-fenced" for reason in life.why):
        reasons += host.why
    boot = life.boot + 1
    action = StartVm(draft.desk.number(), vm, boot, _how(place, repair))
    draft.desk.order(action, reasons, repair.incident if repair else None, place.boot_limit_s + UNANSWERED_S)
    draft.change(vm, phase="starting", boot=boot)


def _restarts_on(draft: Draft, host: HostName) -> int:
    """A host that boots all its VMs at once is slow with each of them."""
    lives = (draft.vm(vm) for vm in draft.region.vms_on.get(host, ()))
    return sum(life.phase == "starting" and life.boot > 1 for life in lives)


def _start_those_that_waited(draft: Draft, host: HostName) -> None:
    """In the order of what they hold, as others have come up."""
    if draft.host(host).phase != "up":
        return
    for vm in draft.by_sal(vm for vm in draft.region.vms_on.get(host, ()) if draft.vm(vm).phase == "down"):
        _start_when_allowed(draft, vm)


def _how(place: Vm, repair: Repair | None) -> Literal["initial", "snapshot", "standby-vm"]:
    """As the descriptor configures it; a first start has neither snapshot nor predecessor."""
    if repair is not None and (place.repair == "snapshot" or place.repair == "standby-vm"):
        return place.repair
    return "initial"


def _announce(draft: Draft, vm: VmName) -> None:
    """Tell every VNFM with something in it that the VM is up, and end its repair."""
    life = draft.vm(vm)
    if life.announced == life.boot:
        return
    repair = life.repair
    incident = repair.incident if repair else IncidentId(NO_INCIDENT)
    draft.tell(draft.concerned(vm), VmUp(incident, vm, life.boot), life.why)
    draft.change(vm, announced=life.boot, repair=None)
    if repair is not None:
        draft.clear_alarm(f"vm:{vm}", life.why)
        if not repair.is_of_host:
            draft.desk.close_incident(repair.incident, life.why)


def _close_host(draft: Draft, host: HostName) -> None:
    """A host's incident ends when it is up, and no VM of it is in repair any more."""
    life = draft.host(host)
    vms = draft.region.vms_on.get(host, ())
    if life.phase != "up" or life.incident is None or any(draft.vm(vm).repair is not None for vm in vms):
        return
    reasons: Reasons = (*life.why, *(reason for vm in vms for reason in draft.vm(vm).why))
    draft.desk.close_incident(life.incident, reasons)
    draft.change_host(host, incident=None)
