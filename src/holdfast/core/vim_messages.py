"""What the VNFMs' messages mean to the VIM.

In: a message taken for the first time. Out: the draft changed. Always holds: whatever is asked about a VM
that is already in repair, or about a life of it that is over, begins no second repair.
"""

from holdfast.core.vim_draft import Draft
from holdfast.core.vim_repair import Kind, allow, fault_in_vm
from holdfast.core.vim_state import Reported
from holdfast.model.actions import Refuse
from holdfast.model.events import Received
from holdfast.model.messages import (
    ErrorCleared,
    ErrorOnVm,
    RepairAck,
    RepairRequest,
    VmNotRepaired,
    VmUp,
)
from holdfast.model.names import IncidentId, Party
from holdfast.model.reasons import Reason

TOO_MANY_FAILURES = "too many failures"


def message_received(draft: Draft, received: Received) -> None:
    match received.message:
        case RepairAck() as ack:
            _acknowledged(draft, received.sender, ack)
        case RepairRequest() | ErrorOnVm() as asked:
            _repair_asked(draft, received.sender, asked)
        case ErrorCleared() as cleared:
            draft.reports.pop(cleared.incident, None)
        case _:
            pass  # What the VIM itself says is not for it.


def _acknowledged(draft: Draft, sender: Party, ack: RepairAck) -> None:
    repair = draft.vm(ack.vm).repair
    if repair is not None and repair.incident == ack.incident:
        allow(draft, ack.vm, sender, draft.reason("repair-acknowledged", ack.vm, f"by {sender}"))


def _repair_asked(draft: Draft, sender: Party, asked: RepairRequest | ErrorOnVm) -> None:
    vm = asked.vm
    if vm not in draft.layout.vms:
        return
    life = draft.vm(vm)
    if asked.boot and asked.boot < life.boot and life.repair is None:
        _is_over(draft, sender, asked)
        return
    draft.reports[asked.incident] = Reported(sender, vm, life.boot)
    if life.repair is not None or life.phase != "up":
        _is_under_way(draft, sender, asked)
    elif isinstance(asked, ErrorOnVm):
        detail = f"{asked.failures} failures of {', '.join(asked.vnfcs)} within {asked.within_s:g} s, by {sender}"
        why = (draft.reason("error-reported", vm, detail),)
        fault_in_vm(draft, vm, TOO_MANY_FAILURES, why, heard=sender, kind="error")
    else:
        why = (draft.reason("repair-requested", vm, f"by {sender}: {asked.why}"),)
        kind: Kind = "gone" if asked.gone else "stuck"
        fault_in_vm(draft, vm, asked.why, why, heard=sender, kind=kind, isolate_first=asked.isolate_only)


def _is_over(draft: Draft, sender: Party, asked: RepairRequest | ErrorOnVm) -> None:
    """The request was overtaken by the repair it asks for: say again how the VM is."""
    life = draft.vm(asked.vm)
    reasons = (
        draft.reason("repair-requested", asked.vm, f"by {sender}, for boot {asked.boot}"),
        Reason("already-in-repair", asked.vm, f"boot {life.boot} is {life.phase}"),
    )
    draft.desk.note(Refuse("repair", asked.vm), reasons)
    if life.phase == "up" and draft.is_known(asked.vm) and not draft.is_telling(sender, asked.vm, VmUp):
        draft.tell((sender,), VmUp(IncidentId(""), asked.vm, life.boot), reasons)


def _is_under_way(draft: Draft, sender: Party, asked: RepairRequest | ErrorOnVm) -> None:
    """One fault, one repair: the request counts as this VNFM's acknowledgement, and as nothing else."""
    life = draft.vm(asked.vm)
    told = draft.reason("repair-requested", asked.vm, f"by {sender}")
    reasons = (told, Reason("already-in-repair", asked.vm, f"it is {life.phase}"))
    incident = life.repair.incident if life.repair else None
    draft.desk.note(Refuse("second repair", asked.vm), reasons, incident)
    if life.phase == "given-up":
        given_up = VmNotRepaired(IncidentId(""), asked.vm, "its repair was given up", life.boot)
        draft.tell((sender,), given_up, reasons)
    if life.repair is None or (asked.boot and asked.boot < life.boot):
        return
    if isinstance(asked, RepairRequest) and asked.isolate_only:
        draft.change_repair(asked.vm, isolate_first=True)
    else:
        allow(draft, asked.vm, sender, told)
