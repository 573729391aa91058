"""What a VNFM does about the difference between what is wanted and what is: the plan of one step.

In: a draft after intake. Out: decisions, on what was touched and nothing else. Always holds: a VNFC is
started only where nothing of its earlier run can be left; a VM that is in error gets nothing new; what
is outstanding is not decided again.
"""

from holdfast.core import escalation
from holdfast.core.ledger import UNANSWERED_S, Reasons
from holdfast.core.vnfm_charge import escalation_of
from holdfast.core.vnfm_draft import Draft
from holdfast.core.vnfm_state import Claim, VmView
from holdfast.model.actions import IsolateVnfc, StartVnfc
from holdfast.model.messages import ErrorCleared, ErrorOnVm
from holdfast.model.names import VIM, GroupName, VmName, VnfcName
from holdfast.model.reasons import Reason

START_GRACE_S = 5.0
"""An agent that starts many VNFCs at once may need longer than the limit of one before it answers."""


def plan(draft: Draft) -> None:
    for vm in tuple(draft.touched_vms):
        _tell_vim(draft, vm)
    own = (vnfc for vnfc in draft.touched_vnfcs if vnfc in draft.charge.own)
    for vnfc in sorted(own, key=lambda one: draft.layout.vnfs[draft.layout.vnfcs[one].vnf].sal):
        _plan_vnfc(draft, vnfc)
    for vm in tuple(draft.touched_vms):
        _clear_reported(draft, vm)


def _tell_vim(draft: Draft, vm: VmName) -> None:
    """Ask for a repair or report the error: once for each failure, and not if the VIM has spoken first."""
    view = draft.view(vm)
    if view.need is None:
        return
    if view.told == "" and view.condition in ("unknown", "up", "gone", "in-error"):
        draft.desk.send(VIM, view.need.message, view.need.reasons, view.need.incident)
        told = "in-error" if isinstance(view.need.message, ErrorOnVm) else "requested"
        claim = Claim(view.need.incident, view.need.vnf)
        claims = view.claims if claim in view.claims else (*view.claims, claim)
        draft.change_vm(vm, told=told, claims=claims)
    draft.change_vm(vm, need=None)


def _clear_reported(draft: Draft, vm: VmName) -> None:
    """Tell the VIM that what was reported is over: the VM is up, and everything of ours in it is back."""
    view = draft.view(vm)
    if view.condition != "up" or view.told or not (view.claims or view.incident):
        return
    own = draft.charge.in_vm.get(vm, ())
    if any(draft.life(vnfc).phase != "ready" for vnfc in own):
        return
    over = tuple(claim for claim in view.claims if claim.incident not in draft.reports)
    reasons: Reasons = view.why + tuple(reason for vnfc in own for reason in draft.life(vnfc).why)
    for claim in over:
        draft.desk.send(VIM, ErrorCleared(claim.incident, claim.vnf), reasons, claim.incident)
    if view.incident is not None:
        draft.desk.close_incident(view.incident, reasons)
    draft.change_vm(vm, claims=tuple(claim for claim in view.claims if claim not in over), incident=None)
    for vnfc in own:
        _close(draft, vnfc)


def _plan_vnfc(draft: Draft, vnfc: VnfcName) -> None:
    match draft.life(vnfc).phase:
        case "failed":
            _isolate(draft, vnfc)
        case "down":
            _start_or_say_why_not(draft, vnfc)
        case "stuck":
            _stuck(draft, vnfc)
        case "ready":
            _close(draft, vnfc)
        case "starting" | "isolating" | "held":
            pass


def _isolate(draft: Draft, vnfc: VnfcName) -> None:
    life = draft.life(vnfc)
    limit = draft.layout.components[draft.layout.vnfcs[vnfc].group].cleanup_limit_s + UNANSWERED_S
    action = IsolateVnfc(draft.desk.number(), vnfc, life.run)
    draft.desk.order(action, life.why, life.incident, limit)
    draft.change(vnfc, phase="isolating", refused="")


def _stuck(draft: Draft, vnfc: VnfcName) -> None:
    life = draft.life(vnfc)
    if draft.layout.vnfcs[vnfc].vm is None:
        reasons = (*life.why, Reason("zone-above-unknown", vnfc))
        draft.hold(vnfc, "it could not be cleaned up, and it has no VM that could be isolated", reasons)
    else:
        draft.refuse(vnfc, life.why)


def _close(draft: Draft, vnfc: VnfcName) -> None:
    """The service is back; what the VIM was told under the incident must be cleared first."""
    life = draft.life(vnfc)
    vm = draft.layout.vnfcs[vnfc].vm
    claims = draft.view(vm).claims if vm else ()
    if life.phase != "ready" or life.incident is None or any(claim.incident == life.incident for claim in claims):
        return
    service = draft.charge.service_of.get(vnfc)
    back = () if service is None else (Reason("service-back", service, f"by {vnfc}", life.why[-1].seen),)
    draft.desk.close_incident(life.incident, (*life.why, *back))
    draft.change(vnfc, incident=None)


# Starting.


def _start_or_say_why_not(draft: Draft, vnfc: VnfcName) -> None:
    where = draft.layout.vnfcs[vnfc]
    life = draft.life(vnfc)
    obstacle = _obstacle(draft, vnfc)
    if obstacle is None:
        _start(draft, vnfc)
        return
    reasons = (*life.why, obstacle)
    if obstacle.code == "vm-not-repaired":
        draft.hold(vnfc, f"VM {where.vm} will not come back by itself", reasons)
    elif obstacle.code == "too-many-failures" and where.vm is None:
        draft.hold(vnfc, f"it has failed too often ({obstacle.detail})", reasons)
        draft.change(vnfc, phase="held")
    elif life.incident is not None or obstacle.code == "dependency-missing":
        draft.refuse(vnfc, reasons)


def _obstacle(draft: Draft, vnfc: VnfcName) -> Reason | None:
    """Why this VNFC must not be started now; None if it may be."""
    where = draft.layout.vnfcs[vnfc]
    if where.vm is not None:
        obstacle = _vm_obstacle(where.vm, draft.view(where.vm))
    else:
        obstacle = _host_obstacle(draft, vnfc)
    if obstacle is not None:
        return obstacle
    for group in draft.layout.groups[where.group].after:
        if not _is_provided(draft, group):
            return Reason("dependency-missing", group, "", (draft.n,))
    return None


def _vm_obstacle(vm: VmName, view: VmView) -> Reason | None:
    latest = view.why[-1] if view.why else None
    seen = latest.seen if latest else ()
    if view.condition == "not-repaired":
        return Reason("vm-not-repaired", vm, latest.detail if latest else "", seen)
    if view.condition == "in-error":
        return latest or Reason("too-many-failures", vm)
    if view.condition != "up" or view.told:
        return Reason("vm-needed", vm, "", seen)
    return None


def _host_obstacle(draft: Draft, vnfc: VnfcName) -> Reason | None:
    rule = escalation_of(draft.layout, vnfc)
    failures = draft.life(vnfc).failures
    if escalation.exceeded(failures, rule, draft.now):
        detail = f"{failures.failures} failures within {rule.probation_s:g} s, {rule.maximum} allowed"
        return Reason("too-many-failures", vnfc, detail, failures.seen)
    host = draft.layout.vnfcs[vnfc].host
    if draft.locked is not None and host in draft.locked.locked:
        return Reason("host-locked", host, "", (draft.n,))
    if not draft.hosts.get(host, False):
        return Reason("agent-away", host, "", (draft.n,))
    return None


def _is_provided(draft: Draft, group: GroupName) -> bool:
    """Whether the whole group serves; what others are in charge of is theirs to order."""
    own = (vnfc for vnfc in draft.layout.groups[group].vnfcs if vnfc in draft.charge.own)
    return all(draft.life(vnfc).phase == "ready" for vnfc in own)


def _start(draft: Draft, vnfc: VnfcName) -> None:
    where = draft.layout.vnfcs[vnfc]
    life = draft.life(vnfc)
    epoch = draft.next_epoch(where.group)
    limit = draft.layout.components[where.group].start_limit_s + START_GRACE_S
    service = draft.charge.service_of.get(vnfc)
    # Meant for this life of the VM and no other: where the VIM restarts a VM without asking, the start could
    # otherwise get into the next life, whose news then seem to be about an earlier run.
    boot = draft.view(where.vm).boot if where.vm is not None else 0
    action = StartVnfc(draft.desk.number(), vnfc, life.run + 1, epoch, service, boot)
    draft.desk.order(action, _why_start(draft, vnfc), life.incident, limit)
    draft.change(vnfc, phase="starting", run=life.run + 1, boot=boot, epoch=epoch, refused="")


def _why_start(draft: Draft, vnfc: VnfcName) -> Reasons:
    where = draft.layout.vnfcs[vnfc]
    life = draft.life(vnfc)
    reasons = life.why or (Reason("declared", vnfc, "", (draft.n,)),)
    failures = life.failures
    if where.vm is not None:
        view = draft.view(where.vm)
        failures = view.failures
        if view.boot != life.boot:
            reasons += tuple(reason for reason in view.why if reason not in reasons)
    if failures.failures and life.incident is not None:
        rule = escalation_of(draft.layout, vnfc)
        tried = f"failure {failures.failures} of {rule.maximum} allowed within {rule.probation_s:g} s"
        reasons += (Reason("below-maximum", vnfc, tried, failures.seen),)
    return reasons
