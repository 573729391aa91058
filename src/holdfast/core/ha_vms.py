"""VMs as the HA manager hears of them: gone, isolated, up again, given up.

In: messages of the VNFM, and agents that find a VM gone. Out: the changed state. Always holds: a VM that is gone
takes all its VNFCs with it, each failing once, whoever brings the news first; nothing is started in it
before the VNFM says that it is up with a newer boot.
"""

from msgspec.structs import replace

from holdfast.core.escalation import Counter
from holdfast.core.ha_incidents import fail, isolated, report
from holdfast.core.ha_turn import Turn
from holdfast.model.limits import VM_NEWS_WAIT_S
from holdfast.model.messages import Message, VmFailed, VmIsolated, VmNotRepaired, VmUp
from holdfast.model.names import VmName, VnfcName
from holdfast.model.reasons import Reason


def vm_message(turn: Turn, message: Message) -> None:
    match message:
        case VmFailed():
            reason = Reason("vm-failed", message.vm, message.cause, turn.seen)
            if _take_down(turn, message.vm, message.boot, reason):
                # It may be an error on a VM that still runs, so each VNFC is cleaned up before it is succeeded.
                for name in turn.in_vm(message.vm):
                    fail(turn, name, "vm-gone", message.cause)
        case VmIsolated():
            reason = Reason("vm-isolated", message.vm, "", turn.seen)
            if _take_down(turn, message.vm, message.boot, reason):
                _is_confirmed_gone(turn, message.vm, reason)
        case VmUp():
            _up(turn, message)
        case VmNotRepaired():
            known = turn.vms.get(message.vm)
            if known is not None and (message.boot == 0 or message.boot >= known.boot):
                given_up = Reason("vm-not-repaired", message.vm, message.why, turn.seen)
                turn.put_vm(message.vm, replace(known, up=False, told=True, given_up=given_up, news=given_up))
        case _:
            pass  # Other messages are for VNFM and VIM.


def _take_down(turn: Turn, vm: VmName, boot: int, reason: Reason) -> bool:
    """Take note that nothing can be started in this life of the VM any more; False if it is an earlier one."""
    known = turn.vms.get(vm)
    if known is None or 0 < boot < known.boot:
        return False
    turn.wakes.pop(vm, None)
    news = replace(known, up=False, told=True, boot=max(boot, known.boot), news=reason, given_up=None)
    turn.put_vm(vm, news)
    return True


def _is_confirmed_gone(turn: Turn, vm: VmName, proof: Reason) -> None:
    """The NFVI level says that what was in the VM is gone. That frees what had failed before.

    One that we believed well may have been started in a newer life of the VM while the message was on its
    way; it has failed for us, and its agent is asked to end whatever there is.
    """
    for name in turn.in_vm(vm):
        if turn.vnfc(name).phase in ("failed", "stopping"):
            isolated(turn, name, proof)
        else:
            fail(turn, name, "vm-gone", proof.detail)


def _take_along(turn: Turn, vm: VmName, proof: Reason) -> None:
    """Nothing in this VM runs any more: what was in it has failed and is isolated at the same moment."""
    for name in turn.in_vm(vm):
        if turn.vnfc(name).phase == "stopping":
            isolated(turn, name, proof)
        fail(turn, name, "vm-gone", proof.detail)
        isolated(turn, name, proof)


def vm_gone_by_agent(turn: Turn, name: VnfcName, why: str, confirmed: bool = False) -> None:
    """An agent finds the VM of this VNFC gone; `confirmed` where it had to look to answer an action."""
    vm = turn.vm_of(name)
    if vm is None:
        return
    known = turn.vms[vm]
    current = turn.vnfc(name).boot >= known.boot
    reason = Reason("vm-gone", vm, why, turn.seen)
    if known.up and current:
        turn.put_vm(vm, replace(known, up=False, told=False, news=reason))
        turn.wakes[vm] = turn.now + VM_NEWS_WAIT_S
    if not current:
        fail(turn, name, "vm-gone", why)
        isolated(turn, name, reason)
    elif confirmed:
        _take_along(turn, vm, reason)
    else:
        fail(turn, name, "vm-gone", why)
        for other in turn.in_vm(vm):
            fail(turn, other, "vm-gone", why)


def _up(turn: Turn, message: VmUp) -> None:
    known = turn.vms.get(message.vm)
    if known is None or message.boot <= known.boot:
        return
    # What ran in an earlier life of the VM is gone with it, told or not.
    _is_confirmed_gone(turn, message.vm, Reason("vm-gone", message.vm, "", turn.seen))
    news = Reason("vm-up", message.vm, "", turn.seen)
    turn.wakes.pop(message.vm, None)
    fresh = replace(
        turn.vms[message.vm],
        boot=message.boot,
        up=True,
        told=True,
        news=news,
        given_up=None,
        condemned=None,
        failures=Counter(),
    )
    turn.put_vm(message.vm, fresh)
    for name in turn.in_vm(message.vm):
        group = turn.groups[turn.group_of(name)]
        for service, now in group.services.items():
            if now.tried and now.holder is None:
                turn.put_service(service, replace(now, tried=0))


def ask_for_repair(turn: Turn, name: VnfcName) -> None:
    """Nobody at the NFVI level has spoken of this VM for long: ask for its repair, so that it is repaired at all."""
    vm = turn.vm_of(name)
    if vm is None:
        return
    known = turn.vms[vm]
    if known.up or known.told or known.news is None or vm in turn.wakes or turn.vnfc(name).incident is None:
        return
    turn.put_vm(vm, replace(known, told=True))
    waited = Reason("time-limit-passed", vm, f"no word of it within {VM_NEWS_WAIT_S:g} s", turn.seen)
    report(turn, name, "vm-gone", (known.news, waited), repair_vm=True)
