"""What an event means to a VNFM: it is written into the draft; what has to be done about it is the plan's business.

In: one event. Out: the draft changed, with incidents opened and services noted as interrupted. Always holds:
news about an earlier run of a VNFC, an earlier life of a VM or an action given up changes nothing.
"""

from typing import assert_never

from holdfast.core.ledger import Pending, Reasons
from holdfast.core.vnfm_draft import Draft
from holdfast.core.vnfm_messages import message_received
from holdfast.model.actions import IsolateVnfc, Refuse, Send, StartVnfc
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    DeadlinePassed,
    Event,
    HostFailed,
    HostLocked,
    HostReturned,
    HostUnlocked,
    LossAccepted,
    ManagerStarted,
    NetworkHeard,
    NetworkSilent,
    Received,
    ServiceTaken,
    StandbyLost,
    StandbySynced,
    SwitchoverAsked,
    VmBooted,
    VmDied,
    VnfcFact,
    VnfcFailed,
    VnfcIsolated,
    VnfcReady,
)
from holdfast.model.layout import in_charge
from holdfast.model.names import HostName, VmName, VnfcName


def take_in(draft: Draft, event: Event) -> None:
    match event:
        case ManagerStarted():
            # Everything outstanding is sent again now, and no agent has joined yet.
            draft.hosts.clear()
            draft.desk.give_time(lambda action: True)
        case DeadlinePassed():
            _deadline_passed(draft)
        case VnfcReady():
            if event.vnfc in draft.charge.own:
                _ready_unasked(draft, event.vnfc, event.run, 0)
        case VnfcFailed():
            vnfc_failed(draft, event)
        case VnfcIsolated():
            pass  # It has asked for that, and hears when it is done.
        case AgentJoined():
            _agent_joined(draft, event)
        case AgentLost():
            draft.hosts[event.host] = False
        case ActionDone() | ActionFailed():
            pending = draft.desk.settle(event.action)
            if pending is not None:
                _answered(draft, pending, event)
        case Received():
            if draft.desk.is_news(event):
                message_received(draft, event)
        case SwitchoverAsked():
            if event.vnf in draft.layout.vnfs and in_charge(draft.layout, event.vnf) == draft.desk.party:
                reason = draft.reason("no-successor", event.vnf)
                draft.desk.note(Refuse("switchover", event.vnf), (reason,))
        case HostFailed() | HostReturned() | NetworkSilent() | NetworkHeard() | ServiceTaken():
            pass  # Grants concern VNFs with an HA manager; for a host the VIM speaks.
        case VmBooted() | VmDied() | StandbyLost() | StandbySynced() | LossAccepted() | HostLocked() | HostUnlocked():
            pass  # For the VIM and the HA manager.
        case _:
            assert_never(event)


# News of the agents.


def vnfc_failed(draft: Draft, event: VnfcFailed) -> None:
    """The VNFC's run has failed: something of it may still run."""
    if event.vnfc not in draft.charge.own:
        return
    life = draft.life(event.vnfc)
    if life.phase not in ("starting", "ready") or event.run < life.run:
        return
    draft.forget_actions(event.vnfc)
    reasons = (draft.reason("vnfc-failed", event.vnfc, _cause(event)),)
    draft.interrupted(event.vnfc, event.cause, reasons)
    draft.change(event.vnfc, phase="failed", run=event.run, why=reasons)
    vm = draft.layout.vnfcs[event.vnfc].vm
    if event.cause != "vm-gone":
        draft.count_failure(event.vnfc)
    elif vm is not None:
        _vm_is_gone(draft, vm)


def _vm_is_gone(draft: Draft, vm: VmName) -> None:
    """Seen from this side: nothing is started in it before the VIM says that it is up again."""
    if draft.view(vm).condition in ("unknown", "up"):
        draft.change_vm(vm, condition="gone", why=(draft.reason("vm-gone", vm),))


def _cause(event: VnfcFailed) -> str:
    return f"{event.cause}: {event.detail}" if event.detail else event.cause


def _ready_unasked(draft: Draft, vnfc: VnfcName, run: int, epoch: int, boot: int = 0) -> None:
    """It runs though no start is awaited: this manager's memory is older than the VNFC, so take it over.

    Args:
        boot: in which life of its VM, if its agent has said so.
    """
    life = draft.life(vnfc)
    if run <= life.run or life.phase not in ("down", "held", "ready"):
        return
    group = draft.layout.vnfcs[vnfc].group
    draft.epochs[group] = max(draft.epochs.get(group, 0), epoch)
    if life.noted == "provided":
        draft.change(vnfc, noted="")  # Whoever began this run has noted an interruption before that.
    draft.change(vnfc, boot=boot or life.boot)
    _provided(draft, vnfc, run=run, epoch=epoch)


def _provided(draft: Draft, vnfc: VnfcName, run: int, epoch: int) -> None:
    reasons = (draft.reason("vnfc-ready", vnfc),)
    draft.change(vnfc, phase="ready", run=run, epoch=epoch, why=reasons, refused="")
    draft.note_service(vnfc, "provided", reasons)
    for dependent in draft.charge.dependents.get(draft.layout.vnfcs[vnfc].group, ()):
        draft.touched_vnfcs[dependent] = None


def _agent_joined(draft: Draft, event: AgentJoined) -> None:
    draft.hosts[event.host] = True
    draft.lives_of_hosts[event.host] = event.life
    concerned = draft.charge.on_host.get(event.host, ())
    draft.desk.give_time(lambda action: isinstance(action, StartVnfc | IsolateVnfc) and action.vnfc in concerned)
    facts = {fact.vnfc: fact for fact in event.vnfcs}
    for vm in event.vms:
        view = draft.view(vm.vm)
        if view.condition == "up" and (vm.boot > view.boot or (vm.boot == view.boot and vm.condition == "absent")):
            _vm_is_gone(draft, vm.vm)
    boots = {vm.vm: vm.boot for vm in event.vms if vm.condition == "up"}
    for vnfc in concerned:
        draft.touched_vnfcs[vnfc] = None
        vm_of_it = draft.layout.vnfcs[vnfc].vm
        boot = boots.get(vm_of_it, 0) if vm_of_it is not None else 0
        _reconcile(draft, event.host, vnfc, facts.get(vnfc, VnfcFact(vnfc, 0, "absent")), boot)


def _reconcile(draft: Draft, host: HostName, vnfc: VnfcName, fact: VnfcFact, boot: int) -> None:
    """Compare what is believed of a VNFC with what its agent sees."""
    life = draft.life(vnfc)
    runs = fact.condition in ("ready", "starting")
    match life.phase:
        case "ready":
            if fact.condition == "ready" and fact.run > life.run:
                _ready_unasked(draft, vnfc, fact.run, fact.epoch, boot)
            elif not runs or fact.run != life.run:
                detail = fact.detail or f"{fact.condition} on {host} when its agent joined"
                vnfc_failed(draft, VnfcFailed(vnfc, life.run, "lost", detail))
        case "down" | "held":
            if fact.condition == "ready" and fact.run > life.run:
                _ready_unasked(draft, vnfc, fact.run, fact.epoch, boot)
            elif runs and life.phase == "down":
                # Left over from a start that nobody waits for.
                reasons = (draft.reason("vnfc-failed", vnfc, f"run {fact.run} is left over"),)
                draft.change(vnfc, phase="failed", run=max(life.run, fact.run), why=reasons)
        case "stuck":
            if draft.layout.vnfcs[vnfc].vm is None:
                # Without a VM nothing else can end it: the agent that joins now may.
                draft.forget_actions(vnfc)
                draft.change(vnfc, phase="failed", why=life.why[:1])
        case "starting":
            # Sent again, the start is answered as it was: it had succeeded before this run failed.
            if fact.condition == "failed" and fact.run == life.run:
                vnfc_failed(draft, VnfcFailed(vnfc, life.run, "lost", fact.detail))
        case "failed" | "isolating":
            pass  # The action is outstanding and is sent again.


# Answers to actions.


def _answered(draft: Draft, pending: Pending, event: ActionDone | ActionFailed) -> None:
    action = pending.action
    if isinstance(action, Send):
        return
    if isinstance(action, StartVnfc):
        if draft.life(action.vnfc).phase != "starting":
            return
        if isinstance(event, ActionDone):
            _provided(draft, action.vnfc, action.run, action.epoch)
        else:
            _start_failed(draft, action.vnfc, event.why, event.vm_gone)
    elif isinstance(action, IsolateVnfc):
        if draft.life(action.vnfc).phase not in ("isolating", "stuck"):
            return
        if isinstance(event, ActionDone):
            _isolated(draft, action.vnfc, event.detail)
        elif event.vm_gone:
            _vm_gone(draft, action.vnfc)
        else:
            _isolation_failed(draft, action.vnfc, event.why)


def _start_failed(draft: Draft, vnfc: VnfcName, why: str, vm_gone: bool) -> None:
    reasons = (draft.reason("start-failed", vnfc, why),)
    draft.interrupted(vnfc, "start", reasons)
    if vm_gone:
        _vm_gone(draft, vnfc)
        return
    draft.change(vnfc, phase="failed", why=reasons)
    draft.count_failure(vnfc)


def _isolated(draft: Draft, vnfc: VnfcName, detail: str) -> None:
    life = draft.life(vnfc)
    reasons = (*life.why, draft.reason("vnfc-isolated", vnfc, detail))
    draft.change(vnfc, phase="down", why=reasons)
    draft.point_to_vm(vnfc)


def _isolation_failed(draft: Draft, vnfc: VnfcName, why: str) -> None:
    """Something of it may still run, and cannot be ended from here: the VM has to be, or a person is needed."""
    reasons: Reasons = (*draft.life(vnfc).why, draft.reason("vnfc-not-isolated", vnfc, why))
    draft.interrupted(vnfc, "not-isolated", reasons)
    draft.change(vnfc, phase="stuck", why=reasons)
    draft.point_to_vm(vnfc)
    draft.need_repair(vnfc, f"cleanup of {vnfc} failed: {why}", reasons)


def _vm_gone(draft: Draft, vnfc: VnfcName) -> None:
    """There is nothing left of it to clean up; only the VIM can bring its VM back."""
    where = draft.layout.vnfcs[vnfc]
    gone = draft.reason("vm-gone", where.vm or where.host)
    reasons: Reasons = (*draft.life(vnfc).why, gone)
    draft.interrupted(vnfc, "vm-gone", reasons)
    draft.change(vnfc, phase="down", why=reasons)
    if where.vm is not None:
        _vm_is_gone(draft, where.vm)
    draft.need_repair(vnfc, f"VM {where.vm} is gone", reasons, gone=True)


def _deadline_passed(draft: Draft) -> None:
    for pending in draft.desk.hanging():
        action = pending.action
        if isinstance(action, IsolateVnfc):
            if draft.layout.vnfcs[action.vnfc].vm is None:
                # Nothing wider can end it, so its own answer, however late, is still welcome.
                draft.desk.wait_on(action.id)
            else:
                draft.desk.settle(action.id)
            _isolation_failed(draft, action.vnfc, f"no answer within {pending.limit_s:g} s")
        elif isinstance(action, StartVnfc):
            if draft.hosts.get(draft.layout.vnfcs[action.vnfc].host, False):
                draft.desk.settle(action.id)
                _start_failed(draft, action.vnfc, f"no answer within {pending.limit_s:g} s", False)
            else:
                draft.desk.begin_anew(action.id)
    for counted in [key for key, end in draft.probations.items() if end <= draft.now]:
        draft.end_probation(counted)
