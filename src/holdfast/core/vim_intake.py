"""What an event means to the VIM: it is written into the draft; what has to be done about it is the plan's business.

In: one event. Out: the draft changed, with incidents opened and VNFMs told of what has failed. Always holds:
news about an earlier life of a VM or an action given up changes nothing.
"""

from typing import assert_never

from holdfast.core.ledger import Pending
from holdfast.core.vim_draft import Draft
from holdfast.core.vim_hosts import (
    agent_away_too_long,
    agent_joined,
    agent_lost,
    expect_all,
    host_failed,
    host_is_off,
    host_returned,
    look_anew,
    never_joined,
    not_switched_off,
    not_switched_on,
    start_failed,
    switch_on,
    vm_died,
    vm_is_up,
)
from holdfast.core.vim_locked import host_locked, host_unlocked
from holdfast.core.vim_messages import message_received
from holdfast.core.vim_networks import forget_word_of, look_at, network_heard, network_silent
from holdfast.core.vim_repair import not_isolated, remind, try_again
from holdfast.core.vim_voters import voters_not_set, voters_set, voters_time
from holdfast.model.actions import FenceHost, IsolateVm, SetVoters, StartHost, StartVm
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
    VnfcFailed,
    VnfcIsolated,
    VnfcReady,
)
from holdfast.model.messages import VmIsolated
from holdfast.model.names import HostName, VmName


def take_in(draft: Draft, event: Event) -> None:
    match event:
        case ManagerStarted():
            draft.store_on, draft.store_members = event.store_on, event.store_members
            _manager_started(draft)
        case DeadlinePassed():
            _deadline_passed(draft)
        case AgentJoined():
            forget_word_of(draft, event.host)
            agent_joined(draft, event)
        case AgentLost():
            forget_word_of(draft, event.host)
            agent_lost(draft, event.host)
        case HostFailed():
            host_failed(draft, event)
        case VmBooted():
            if event.vm in draft.layout.vms:
                vm_is_up(draft, event.vm, event.boot)
        case VmDied():
            vm_died(draft, event.vm, event.boot, event.cause)
        case ActionDone():
            pending = draft.desk.settle(event.action)
            if pending is not None:
                _done(draft, pending, event.detail)
        case ActionFailed():
            pending = draft.desk.settle(event.action)
            if pending is not None:
                _failed(draft, pending, event.why)
        case Received():
            if draft.desk.is_news(event):
                message_received(draft, event)
        case HostReturned():
            host_returned(draft, event.host)
        case NetworkSilent():
            network_silent(draft, event)
        case NetworkHeard():
            network_heard(draft, event)
        case HostLocked():
            host_locked(draft, event.host)
        case HostUnlocked():
            host_unlocked(draft, event.host)
        case (
            VnfcReady()
            | VnfcFailed()
            | VnfcIsolated()
            | StandbyLost()
            | StandbySynced()
            | ServiceTaken()
            | SwitchoverAsked()
            | LossAccepted()
        ):
            pass  # For VNFM and HA manager: the VIM knows nothing of what runs in its VMs.
        case _:
            assert_never(event)


def _manager_started(draft: Draft) -> None:
    """All that is outstanding is sent again now; agents that were there have their time to join again."""
    draft.desk.give_time(lambda action: True)
    for host in tuple(draft.hosts):
        if draft.host(host).phase == "away":
            draft.change_host(host, phase="up")
        draft.change_host(host, has_joined=False)
        look_anew(draft, host)
        agent_lost(draft, host)
    expect_all(draft)


def _done(draft: Draft, pending: Pending, detail: str) -> None:
    match pending.action:
        case StartVm() as started:
            vm_is_up(draft, started.vm, started.boot)
        case IsolateVm() as isolate:
            vm_is_isolated(draft, isolate.vm)
        case FenceHost() as fence:
            if draft.host(fence.host).phase in ("fencing", "fence-failed"):
                host_is_off(draft, fence.host, detail)
        case SetVoters() as told:
            voters_set(draft, told)
        case _:
            pass  # A host that was switched on is back when its agent joins; messages need no more.


def _failed(draft: Draft, pending: Pending, why: str) -> None:
    match pending.action:
        case StartVm() as start:
            if draft.vm(start.vm).phase == "starting" and draft.vm(start.vm).boot == start.boot:
                start_failed(draft, start.vm, why)
        case IsolateVm() as isolate:
            if draft.vm(isolate.vm).phase == "isolating":
                not_isolated(draft, isolate.vm, why)
        case FenceHost() as fence:
            not_switched_off(draft, fence.host, why)
        case StartHost() as start_host:
            not_switched_on(draft, start_host.host, why)
        case SetVoters() as told:
            voters_not_set(draft, told, why)
        case _:
            pass


def vm_is_isolated(draft: Draft, vm: VmName) -> None:
    life = draft.vm(vm)
    if life.phase not in ("isolating", "stuck"):
        return
    reasons = (draft.reason("vm-isolated", vm),)
    draft.timers.pop(f"isolate:{vm}", None)
    if life.repair is not None and life.repair.held:
        draft.clear_alarm(f"isolate:{vm}", reasons)
        draft.change_repair(vm, held=False)
    draft.change(vm, phase="down", why=reasons)
    if life.repair is not None and draft.is_known(vm):
        draft.tell(draft.concerned(vm), VmIsolated(life.repair.incident, vm, life.boot), reasons)


# Time.


def _deadline_passed(draft: Draft) -> None:
    for pending in draft.desk.hanging():
        _hangs(draft, pending)
    for key in [key for key, due in draft.timers.items() if due <= draft.now]:
        if draft.timers.pop(key, None) is not None:
            kind, name = key.split(":", 1)
            _due(draft, kind, name)


def _hangs(draft: Draft, pending: Pending) -> None:
    action = pending.action
    if isinstance(action, StartVm) and not draft.is_heard(draft.layout.vms[action.vm].host):
        draft.desk.begin_anew(action.id)  # Nothing can be known of it while its agent is away.
        return
    draft.desk.settle(action.id)
    _failed(draft, pending, f"no answer within {pending.limit_s:g} s")


def _due(draft: Draft, kind: str, name: str) -> None:
    match kind:
        case "ack":
            remind(draft, VmName(name))
        case "again":
            try_again(draft, VmName(name))
        case "isolate":
            if draft.vm(VmName(name)).phase == "stuck":
                draft.change(VmName(name), phase="failed")
        case "away":
            agent_away_too_long(draft, HostName(name))
        case "unmet":
            never_joined(draft, HostName(name))
        case "fence":
            if draft.host(HostName(name)).phase == "fence-failed":
                draft.change_host(HostName(name), phase="condemned", is_urgent=True)
        case "network":
            look_at(draft, name)
        case "start":
            if draft.host(HostName(name)).phase == "starting":
                switch_on(draft, HostName(name))
        case "voters":
            voters_time(draft, name)
        case "voter" | "off":
            pass  # Planned anew with every step.
