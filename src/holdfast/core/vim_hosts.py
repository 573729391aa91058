"""What becomes of hosts: their agents come and go, they are switched off and on.

In: news of agents and of the power driver. Out: the draft changed. Always holds: a host counts as off only
when its fence device has said so; then everything on it is isolated at once.
"""

from holdfast.core.escalation import Counter
from holdfast.core.ledger import UNANSWERED_S, Reasons
from holdfast.core.vim_draft import NO_INCIDENT, Draft
from holdfast.core.vim_repair import RETRY_S, begin_repair, condemn, fault_in_vm, start_failed_again, try_again
from holdfast.core.vim_voters import OFF_FOR_LONG_S, helps_to_be_off, voters_told
from holdfast.model.actions import FenceHost, IsolateVm, RaiseAlarm, Refuse, StartHost, StartVm
from holdfast.model.events import AgentJoined, HostFailed, VmFact
from holdfast.model.layout import grant_suffices
from holdfast.model.messages import HostIsOff, VmIsolated
from holdfast.model.names import HostName, IncidentId, VmName
from holdfast.model.reasons import Reason

AGENT_AWAY_LIMIT_S = 5.0
"""An agent that dies is started again well within this; longer means that its host has failed."""

LOOK_ANEW_S = 1.0
"""Agents that are there have joined a new manager well within this, and have told it whom they do not hear."""

UNMET_LIMIT_S = 30.0
"""At the very first start agents and managers are started by hand, one host after the other."""

GONE_WHEN_JOINED = "absent when its agent joined"


# Agents.


def agent_joined(draft: Draft, event: AgentJoined) -> None:
    host = event.host
    if host not in draft.layout.hosts:
        return
    life = draft.change_host(host, joined=True, is_silent=False, has_joined=True, life=event.life, off=None)
    draft.timers.pop(f"off:{host}", None)
    draft.timers.pop(f"unmet:{host}", None)
    voters_told(draft, host, event.voters)
    vms = draft.region.vms_on.get(host, ())
    draft.desk.give_time(lambda action: isinstance(action, StartVm | IsolateVm) and action.vm in vms)
    if life.phase == "starting":
        _host_is_back(draft, host)
    elif life.phase == "fence-failed" and life.only_away:
        draft.change_host(host, seen_vms=event.vms)
        _call_off(draft, host)
        return
    elif life.phase in ("condemned", "fencing", "fence-failed", "locked"):
        draft.change_host(host, seen_vms=event.vms)
        up = {fact.vm for fact in event.vms if fact.condition == "up"}
        for vm in (vm for vm in life.unisolated if vm not in up):
            _died_on_condemned(draft, vm, host, GONE_WHEN_JOINED)
        return  # Unless that was called off just now, it is to be switched off all the same, or to be left alone.
    else:
        _host_is_here(draft, host)
    _reconcile_all(draft, host, event.vms)


def agent_lost(draft: Draft, host: HostName) -> None:
    """By itself no fault: agents are started again, and what runs on the host goes on without."""
    if host not in draft.layout.hosts:
        return
    draft.change_host(host, joined=False)
    _is_away(draft, host)


def _is_away(draft: Draft, host: HostName) -> None:
    if draft.host(host).phase == "up":
        draft.change_host(host, phase="away", why=(draft.reason("agent-away", host),))
        draft.timers[f"away:{host}"] = draft.now + AGENT_AWAY_LIMIT_S


def host_failed(draft: Draft, event: HostFailed) -> None:
    """Other hosts' agents agree that it is silent, so there is no need to wait any longer for its agent.

    It is switched off where that is needed: a service there may be taken over only then, VMs there are to be repaired,
    or the others vote better without it. What the end of its grant makes free is not waited for here. News of a life of
    it that was followed by the one which has joined are old: they were late, or told to a manager that has only begun
    to lead.
    """
    host = event.host
    if host not in draft.layout.hosts:
        return
    if draft.host(host).has_joined and event.is_of_another_life(draft.host(host).life):
        # Fencing it now would switch off a host that is well, for a failure that is over.
        old = draft.reason("host-lives-anew", host, f"the failure found by {event.by} is an older one")
        draft.desk.note(Refuse("fence", host), (old,))
        return
    draft.change_host(host, is_silent=True, life=event.life or draft.host(host).life)
    _is_away(draft, host)
    if _is_looked_at_anew(draft, host):
        draft.timers.pop(f"fence:{host}", None)
        draft.change_host(host, phase="condemned", is_urgent=True)
    if draft.host(host).phase != "away" or not _needs_to_be_off(draft, host):
        return
    silent = draft.reason("host-failed", host, f"found by {event.by}" + (f": {event.detail}" if event.detail else ""))
    if draft.has_fence(host):
        draft.timers.pop(f"away:{host}", None)
        condemn(draft, host, "it is silent", (silent,), is_urgent=True, only_away=True)


def look_anew(draft: Draft, host: HostName) -> None:
    """A manager begins, and another one was having the host switched off because it was silent.

    It may be back: then nothing is against it any more, and to say the same to its device once more would switch off a
    host that is well. Its agent, or those of others that do not hear it, say so within a moment.
    """
    life = draft.host(host)
    if life.phase != "fencing" or not life.only_away:
        return
    draft.desk.drop(host, lambda action: isinstance(action, FenceHost))
    draft.change_host(host, phase="fence-failed")
    draft.timers[f"fence:{host}"] = draft.now + LOOK_ANEW_S


def _is_looked_at_anew(draft: Draft, host: HostName) -> bool:
    """Not one whose device was asked in vain: that is asked again in a while."""
    life = draft.host(host)
    return life.phase == "fence-failed" and life.only_away and not life.fence_alarmed


def host_returned(draft: Draft, host: HostName) -> None:
    """It only paused, if the link to its agent was never broken; else it is back when its agent joins."""
    if host not in draft.layout.hosts:
        return
    life = draft.change_host(host, is_silent=False)
    if not life.joined:
        return
    if life.phase == "away":
        _host_is_here(draft, host)
    elif life.phase == "fence-failed" and life.only_away:
        _call_off(draft, host)


def _needs_to_be_off(draft: Draft, host: HostName) -> bool:
    layout = draft.layout
    if layout.grants is None:
        return False
    if helps_to_be_off(draft, host):
        return True
    repaired = any(vm.host == host and vm.repair != "none" for vm in layout.vms.values())
    beyond_grant = any(vnfc.host == host and not grant_suffices(layout, vnfc.group) for vnfc in layout.vnfcs.values())
    return repaired or beyond_grant


def agent_away_too_long(draft: Draft, host: HostName) -> None:
    life = draft.host(host)
    if life.phase != "away":
        return
    late = draft.reason("time-limit-passed", host, f"its agent is away for {AGENT_AWAY_LIMIT_S:g} s")
    reasons = (*life.why, late)
    if draft.has_fence(host):
        condemn(draft, host, "its agent is away", reasons, is_urgent=True, only_away=True)
        return
    draft.desk.note(RaiseAlarm(f"host:{host}", f"the agent of host {host} is away"), reasons)
    draft.desk.note(Refuse("fence", host), (*reasons, Reason("zone-above-unknown", host)))
    draft.change_host(host, is_alarmed=True)


def expect_all(draft: Draft) -> None:
    """Every host has an agent, also one that holds nothing: a witness that nobody has started would not be missed."""
    for host in draft.layout.hosts:
        if draft.host(host).phase == "unknown":
            draft.timers[f"unmet:{host}"] = draft.now + UNMET_LIMIT_S


def never_joined(draft: Draft, host: HostName) -> None:
    if draft.host(host).phase != "unknown":
        return
    late = draft.reason("time-limit-passed", host, f"its agent has not joined within {UNMET_LIMIT_S:g} s")
    draft.desk.note(RaiseAlarm(f"host:{host}", f"the agent of host {host} has not joined so far"), (late,))
    draft.change_host(host, is_alarmed=True)


def _host_is_here(draft: Draft, host: HostName) -> None:
    life = draft.host(host)
    reasons = (draft.reason("host-up", host),)
    if life.is_alarmed:
        draft.clear_alarm(f"host:{host}", reasons)
    draft.timers.pop(f"away:{host}", None)
    draft.change_host(host, phase="up", why=reasons, is_alarmed=False)


def _host_is_back(draft: Draft, host: HostName) -> None:
    """It was off, and its agent runs again: its VMs may be started. Its incident ends with the last of them."""
    draft.desk.drop(host, lambda action: isinstance(action, StartHost))
    draft.timers.pop(f"start:{host}", None)
    _host_is_here(draft, host)
    draft.change_host(host, is_urgent=False, only_away=False, unisolated=())


def back_in_use(draft: Draft, host: HostName) -> None:
    """It was to be left alone, and its agent was there meanwhile."""
    seen = draft.host(host).seen_vms or ()
    _host_is_back(draft, host)
    _reconcile_all(draft, host, seen)


def _call_off(draft: Draft, host: HostName, why: Reasons = ()) -> None:
    """It could not be switched off, and there is nothing against it any more: what runs there goes on."""
    life = draft.host(host)
    reasons = (*why, draft.reason("host-up", host))
    draft.timers.pop(f"fence:{host}", None)
    if life.fence_alarmed:
        draft.clear_alarm(f"fence:{host}", reasons)
    if life.incident is not None:
        draft.desk.close_incident(life.incident, reasons)
    _host_is_here(draft, host)
    draft.change_host(host, incident=None, is_urgent=False, only_away=False, unisolated=(), fence_alarmed=False)
    for vm in draft.region.vms_on.get(host, ()):
        _goes_on(draft, vm, reasons)
    if life.seen_vms is not None:
        _reconcile_all(draft, host, life.seen_vms)


def _goes_on(draft: Draft, vm: VmName, reasons: Reasons) -> None:
    """It was to end with its host. One that was being started then may be up or not: it is ended, and started anew."""
    life = draft.vm(vm)
    if life.phase != "failed" or life.repair is not None:
        return
    if life.announced == life.boot:
        draft.change(vm, phase="up")
    else:
        draft.change(vm, why=reasons)


# VMs, as an agent sees them when it joins.


def _reconcile_all(draft: Draft, host: HostName, seen: tuple[VmFact, ...]) -> None:
    facts = {fact.vm: fact for fact in seen}
    for vm in draft.region.vms_on.get(host, ()):
        _reconcile(draft, vm, facts.get(vm, VmFact(vm, 0, "absent")))
    draft.change_host(host, seen_vms=None)


def _reconcile(draft: Draft, vm: VmName, fact: VmFact) -> None:
    """Compare what is believed of a VM with what its agent sees."""
    life = draft.vm(vm)
    draft.touched_vms[vm] = None
    if fact.condition == "up" and fact.boot > life.boot:
        vm_is_up(draft, vm, fact.boot)
        return
    is_same = fact.condition == "up" and fact.boot == life.boot
    match life.phase:
        case "up" if not is_same:
            vm_died(draft, vm, life.boot, GONE_WHEN_JOINED)
        case "down" if fact.condition == "up":
            # It was confirmed gone, and is there (a fence device that lied): it has to go before it may start.
            draft.change(vm, phase="failed", why=(*life.why, draft.reason("vm-ran-on", vm)))
        case "stuck":
            draft.timers.pop(f"isolate:{vm}", None)
            draft.change(vm, phase="failed")
        case "given-up" if draft.layout.vms[vm].repair != "none" and not draft.is_known(vm):
            # Its host, or this manager, has started again since: once more, though its probation is not over.
            try_again(draft, vm, (draft.reason("host-up", draft.layout.vms[vm].host),))
        case _:
            pass  # As believed, or an action about it is outstanding and is sent again.


def vm_is_up(draft: Draft, vm: VmName, boot: int) -> None:
    life = draft.vm(vm)
    if boot < life.boot or (boot == life.boot and life.phase != "starting"):
        return
    draft.forget_actions(vm)
    draft.change(vm, phase="up", boot=boot, why=(draft.reason("vm-up", vm),))


def vm_died(draft: Draft, vm: VmName, boot: int, cause: str) -> None:
    """Seen from the NFVI. News about an earlier life, or about what is being repaired, is no new fault."""
    if vm not in draft.layout.vms:
        return
    life = draft.vm(vm)
    host = draft.layout.vms[vm].host
    if boot < life.boot:
        return
    if life.phase == "failed" and draft.host(host).phase in ("condemned", "fencing", "fence-failed"):
        _died_on_condemned(draft, vm, host, cause)
        return
    if life.phase not in ("up", "starting"):
        return
    if life.phase == "starting":
        start_failed(draft, vm, f"it died while it was starting ({cause})")
        return
    fault_in_vm(draft, vm, cause or "died", (draft.reason("vm-failed", vm, cause),))


def _died_on_condemned(draft: Draft, vm: VmName, host: HostName, cause: str) -> None:
    """It ran on a host that is to be switched off. It is told now and repaired later, whatever becomes of the host.

    If nothing was against the host but that this VM could not be ended, nothing is against it any more.
    """
    life = draft.host(host)
    reasons = (draft.reason("vm-failed", vm, cause),)
    if life.seen_vms:
        draft.change_host(host, seen_vms=tuple(fact for fact in life.seen_vms if fact.vm != vm))
    if draft.vm(vm).repair is None:
        begin_repair(draft, vm, cause or "died", reasons)
    if vm not in life.unisolated:
        return
    left = tuple(name for name in life.unisolated if name != vm)
    draft.change_host(host, unisolated=left, only_away=not left)
    if not left and life.phase == "fence-failed" and draft.is_heard(host):
        _call_off(draft, host, reasons)


def start_failed(draft: Draft, vm: VmName, why: str) -> None:
    """A start that failed leaves nobody to ask: no VNFM knows of this life yet."""
    life = draft.vm(vm)
    reasons = (draft.reason("start-failed", vm, why),)
    draft.forget_actions(vm)
    if life.repair is None:
        fault_in_vm(draft, vm, "it could not be started", reasons)
        return
    draft.change(vm, phase="failed", why=reasons)
    start_failed_again(draft, vm, reasons)


# Switched off and on.


def host_is_off(draft: Draft, host: HostName, detail: str) -> None:
    """Its fence device has confirmed it; it is to come on again."""
    life = draft.host(host)
    if life.life not in (0, life.fenced_life):
        # It was heard in another life since: nobody knows whether it went off before that life began, or after.
        draft.change_host(host, phase="condemned", is_urgent=True, why=(*life.why, draft.reason("host-up", host)))
        return
    ended_with_host(draft, host, draft.reason("host-fenced", host, detail))
    switch_on(draft, host)


def ended_with_host(draft: Draft, host: HostName, proof: Reason) -> None:
    """It is off: everything on it is isolated at once; whoever has something there is told."""
    life = draft.host(host)
    reasons = (*life.why, proof) if proof not in life.why else life.why
    draft.timers.pop(f"fence:{host}", None)
    if life.fence_alarmed:
        draft.clear_alarm(f"fence:{host}", reasons)
    by_person = proof.code == "host-vouched-off"
    cause = f"host {host} {'is off' if by_person else 'was switched off'}"
    for vm in draft.region.vms_on.get(host, ()):
        _goes_with_host(draft, vm, host, cause, reasons)
    if life.life:
        gone = HostIsOff(life.incident or IncidentId(NO_INCIDENT), host, proof.detail, life.life, by_person)
        draft.tell(draft.region.vnfms_on.get(host, ()), gone, reasons)
    draft.change_host(
        host,
        phase="starting",
        joined=False,
        seen_vms=None,
        why=reasons,
        errors=Counter(),
        fence_alarmed=False,
        off=proof,
        off_since=draft.now,
    )
    draft.timers[f"off:{host}"] = draft.now + OFF_FOR_LONG_S


def _goes_with_host(draft: Draft, vm: VmName, host: HostName, cause: str, reasons: Reasons) -> None:
    life = draft.vm(vm)
    if life.phase == "down" or (life.phase == "given-up" and draft.layout.vms[vm].repair == "none"):
        return
    if life.repair is None:
        incident = draft.host(host).incident
        begin_repair(draft, vm, cause, reasons, of_host=incident, negotiate=False)
    draft.forget_actions(vm)
    repair = draft.change(vm, phase="down", why=reasons).repair
    if repair is not None and draft.is_known(vm):
        draft.tell(draft.concerned(vm), VmIsolated(repair.incident, vm, life.boot), reasons)


def switch_on(draft: Draft, host: HostName) -> None:
    life = draft.host(host)
    action = StartHost(draft.desk.number(), host)
    draft.desk.order(action, life.why, life.incident, power_limit(draft, host))


def not_switched_on(draft: Draft, host: HostName, why: str) -> None:
    """Its alarm is up already; try again in a while."""
    if draft.host(host).phase != "starting":
        return
    reasons = (draft.reason("repair-failed", host, f"not switched on: {why}"),)
    draft.desk.note(Refuse("restart", host), reasons, draft.host(host).incident)
    draft.timers[f"start:{host}"] = draft.now + RETRY_S


def not_switched_off(draft: Draft, host: HostName, why: str) -> None:
    """Hold: nothing on it may be started elsewhere or again until its device says that it is off."""
    life = draft.host(host)
    if life.only_away and draft.is_heard(host):
        _call_off(draft, host)
        return
    reasons = (*life.why, draft.reason("repair-failed", host, f"not switched off: {why}"))
    if not life.fence_alarmed:
        draft.desk.note(RaiseAlarm(f"fence:{host}", f"host {host} could not be switched off: {why}"), reasons)
        draft.desk.note(Refuse("restart", host), (*reasons, Reason("zone-above-unknown", host)), life.incident)
    draft.change_host(host, phase="fence-failed", fence_alarmed=True)
    draft.timers[f"fence:{host}"] = draft.now + RETRY_S


def power_limit(draft: Draft, host: HostName) -> float:
    """Beyond the limits of all levels: the driver itself says what each of them has answered."""
    assert draft.has_fence(host), f"{host} has no fence device"
    return draft.layout.hosts[host].fence_limit_s + UNANSWERED_S
