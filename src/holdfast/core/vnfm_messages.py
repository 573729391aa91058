"""What the other managers' messages mean to a VNFM.

In: a message taken for the first time. Out: the draft changed, and what the HA manager has to know passed on.
Always holds: a message about an earlier life of a VM changes nothing; the VIM hears one acknowledgement
or one request for each failure of a VM, never both (those that cross each other excepted).
"""

from holdfast.core.ledger import Reasons
from holdfast.core.vnfm_draft import Draft
from holdfast.core.vnfm_state import Need, Report, VmView
from holdfast.model.actions import Refuse
from holdfast.model.events import OF_ITS_ZONE, Received
from holdfast.model.messages import (
    ErrorCleared,
    ErrorReport,
    HostIsOff,
    HostsAre,
    RepairAck,
    RepairRequest,
    VmFailed,
    VmIsolated,
    VmNotRepaired,
    VmUp,
)
from holdfast.model.names import HA, VIM, VmName, vnfm_party
from holdfast.model.reasons import Reason

VmNews = VmFailed | VmIsolated | VmUp | VmNotRepaired


def message_received(draft: Draft, received: Received) -> None:
    match received.message:
        case VmFailed() as failed:
            _vm_failed(draft, failed)
        case VmIsolated() as isolated:
            _vm_isolated(draft, isolated)
        case VmUp() as up:
            _vm_up(draft, up)
        case HostIsOff() as off:
            _host_is_off(draft, off)
        case HostsAre() as told:
            _hosts_are(draft, told)
        case VmNotRepaired() as given_up:
            _vm_not_repaired(draft, given_up)
        case ErrorReport() as report:
            _error_reported(draft, report)
        case ErrorCleared() as cleared:
            _error_cleared(draft, cleared)
        case _:
            pass  # What VNFMs say to the VIM is not for a VNFM.


# From the VIM.


def _of_a_later_life(draft: Draft, vm: VmName, boot: int) -> bool:
    """Make room for news about a life of the VM; False if that life is over."""
    view = draft.view(vm)
    if vm not in draft.layout.vms or (boot and boot < view.boot):
        return False
    if boot > view.boot:
        # The news of its start is still on the way, and is old when it comes.
        draft.change_vm(vm, boot=boot, told="", need=None, passed=())
    return True


def _vm_failed(draft: Draft, failed: VmFailed) -> None:
    if not _of_a_later_life(draft, failed.vm, failed.boot):
        return
    view = draft.view(failed.vm)
    reasons = (draft.reason("vm-failed", failed.vm, failed.cause),)
    if view.condition not in ("failed", "isolated"):
        draft.change_vm(failed.vm, condition="failed", why=reasons)
    _fall_with(draft, failed.vm, reasons[0])
    _pass_on(draft, "failed", failed, reasons[0])
    if failed.ack_wanted and not view.told:
        # A VM begins empty, and its VNFCs are started from here: restarting it is safe as soon as we know.
        ack = RepairAck(failed.incident, failed.vm)
        draft.desk.send(VIM, ack, reasons, failed.incident)
        draft.change_vm(failed.vm, told="acknowledged")


def _vm_isolated(draft: Draft, isolated: VmIsolated) -> None:
    if not _of_a_later_life(draft, isolated.vm, isolated.boot):
        return
    reason = draft.reason("vm-isolated", isolated.vm)
    draft.change_vm(isolated.vm, condition="isolated", why=(reason,))
    _fall_with(draft, isolated.vm, reason)
    _pass_on(draft, "isolated", isolated, reason)


def _vm_up(draft: Draft, up: VmUp) -> None:
    view = draft.view(up.vm)
    is_news = up.boot > view.boot or (up.boot == view.boot and view.condition == "unknown")
    if up.vm not in draft.layout.vms or not is_news:
        return
    reason = draft.reason("vm-up", up.vm)
    _fall_with(draft, up.vm, reason, up.boot)
    renewed = VmView(boot=up.boot, condition="up", why=(reason,), claims=view.claims, incident=view.incident)
    draft.renew_vm(up.vm, renewed)
    _pass_on(draft, "up", up, reason)


def _vm_not_repaired(draft: Draft, given_up: VmNotRepaired) -> None:
    if not _of_a_later_life(draft, given_up.vm, given_up.boot):
        return
    reason = draft.reason("vm-not-repaired", given_up.vm, given_up.why)
    # What was asked is answered, so a later repair is asked about anew.
    draft.change_vm(given_up.vm, condition="not-repaired", why=(reason,), told="", need=None)
    _pass_on(draft, "not-repaired", given_up, reason)


def _host_is_off(draft: Draft, off: HostIsOff) -> None:
    """What is in its VMs is told of VM by VM; this is about everything else there."""
    reason = draft.reason(off.proof, off.host, off.how)
    if off.ends(draft.lives_of_hosts.get(off.host, 0)):
        draft.hosts[off.host] = False
        for vnfc in draft.charge.bare_on.get(off.host, ()):
            draft.down(vnfc, (reason,), "host")
    if off.host in draft.charge.hosts_with_ha:
        draft.desk.send(HA, off, (reason,), off.incident or None)


def _hosts_are(draft: Draft, told: HostsAre) -> None:
    if draft.locked is None or told.number > draft.locked.number:
        draft.locked = told
        draft.touched_vnfcs |= {vnfc: None for bare in draft.charge.bare_on.values() for vnfc in bare}


def _fall_with(draft: Draft, vm: VmName, reason: Reason, but_in: int = 0) -> None:
    """What ran in the VM is gone; but what an agent has seen run in that life of it already."""
    for vnfc in draft.charge.in_vm.get(vm, ()):
        life = draft.life(vnfc)
        if not (but_in and life.phase == "ready" and life.boot == but_in):
            draft.down(vnfc, (reason,))


def _pass_on(draft: Draft, kind: str, news: VmNews, reason: Reason) -> None:
    """Tell the HA manager, once for each life of the VM, if it has anything in it."""
    view = draft.view(news.vm)
    if news.vm in draft.charge.vms_with_ha and kind not in view.passed:
        draft.desk.send(HA, news, (reason,), news.incident or None)
        # That it is not repaired is over for the HA manager with whatever follows, so it may have to be said again.
        draft.change_vm(news.vm, passed=(*(one for one in view.passed if one != "not-repaired"), kind))


# From the HA manager.


def _error_reported(draft: Draft, report: ErrorReport) -> None:
    vnf = draft.layout.vnfs.get(report.vnf)
    if vnf is None or vnfm_party(vnf.vnfm) != draft.desk.party or report.vnfc not in draft.layout.vnfcs:
        return
    is_first = report.incident not in draft.reports
    draft.reports[report.incident] = Report(report.vnf, report.vnfc, report.vm)
    if report.vm is None:
        return
    if report.boot and report.boot < draft.view(report.vm).boot:
        return  # That life of the VM is over, and its failures with it.
    if report.repair_vm and report.cause != "vm-gone":
        # The HA manager has counted for itself, and points to the VM.
        draft.count_failure(report.vnfc)
        draft.point_to_vm(report.vnfc, is_certain=True)
    elif is_first and report.cause not in OF_ITS_ZONE:
        draft.count_failure(report.vnfc)
        draft.point_to_vm(report.vnfc)
    if report.isolate_vm or (report.repair_vm and report.cause == "vm-gone"):
        _repair_wanted(draft, report, report.vm)


def _repair_wanted(draft: Draft, report: ErrorReport, vm: VmName) -> None:
    why = "cleanup failed" if report.isolate_vm else f"VM {vm} is gone"
    reasons: Reasons = (draft.reason("error-reported", report.vnfc, f"{report.cause}, {why}"),)
    view = draft.view(vm)
    if view.told or view.need or view.condition in ("failed", "isolated", "not-repaired"):
        reasons += (Reason("already-in-repair", vm, view.condition),)
        draft.desk.note(Refuse("repair request", vm), reasons, report.incident)
        return
    if report.repair_vm and view.condition in ("unknown", "up"):
        draft.change_vm(vm, condition="gone", why=reasons)
    boot, gone = draft.view(vm).boot, report.repair_vm
    request = RepairRequest(report.incident, vm, f"{why} ({report.vnfc})", boot=boot, gone=gone)
    draft.change_vm(vm, need=Need(report.incident, report.vnf, request, reasons))


def _error_cleared(draft: Draft, cleared: ErrorCleared) -> None:
    report = draft.reports.pop(cleared.incident, None)
    if report is not None and report.vm is not None:
        draft.touched_vms[report.vm] = None
