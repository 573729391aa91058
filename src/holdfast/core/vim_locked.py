"""Hosts that a person has locked: off by a person's word, and left alone until a person says otherwise.

In: HostLocked, HostUnlocked. Out: the draft changed as by a fence device's word, but nothing is switched on. Always
holds: a host that is heard is not locked by this; what was begun to switch it is called off; while it is locked nothing
is started on it and it does not vote, whether its agent is there or not.
"""

from holdfast.core.vim_draft import Draft
from holdfast.core.vim_hosts import back_in_use, ended_with_host, switch_on
from holdfast.core.vim_repair import condemn
from holdfast.model.actions import FenceHost, RaiseAlarm, Refuse, StartHost
from holdfast.model.names import HostName
from holdfast.model.reasons import Reason


def host_locked(draft: Draft, host: HostName) -> None:
    """A person says that it is off."""
    asked = draft.reason("operator-asked", f"lock {host}")
    obstacle = _why_not(draft, host)
    if obstacle is not None:
        draft.desk.note(Refuse("lock", host), (asked, obstacle))
        return
    vouched = draft.reason("host-vouched-off", host)
    condemn(draft, host, "a person says that it is off", (asked, vouched), is_urgent=True)
    draft.desk.drop(host, lambda action: isinstance(action, FenceHost | StartHost))
    for timer in ("away", "fence", "start"):
        draft.timers.pop(f"{timer}:{host}", None)
    ended_with_host(draft, host, vouched)
    text = f"host {host} is locked, because a person has said that it is off: `holdfast unlock {host}` takes it back"
    draft.desk.note(RaiseAlarm(f"locked:{host}", text), (asked, vouched), draft.host(host).incident)
    draft.change_host(host, phase="locked", locked=vouched, unisolated=())


def _why_not(draft: Draft, host: HostName) -> Reason | None:
    life = draft.host(host)
    if host not in draft.layout.hosts:
        return draft.reason("declared", "no such host", host)
    if life.locked is not None:
        return Reason("host-vouched-off", host, "it is locked already", life.locked.seen)
    # An agent that has just gone may only be starting again, while everything on its host goes on.
    is_near = life.joined or f"away:{host}" in draft.timers
    return draft.reason("host-up", host) if is_near and not life.is_silent else None


def host_unlocked(draft: Draft, host: HostName) -> None:
    """A person wants it back."""
    asked = draft.reason("operator-asked", f"unlock {host}")
    life = draft.host(host)
    if life.locked is None:
        draft.desk.note(Refuse("unlock", host), (asked, draft.reason("not-locked", host)))
        return
    draft.clear_alarm(f"locked:{host}", (asked,))
    draft.change_host(host, phase="starting", locked=None, why=(asked,))
    if life.joined:
        back_in_use(draft, host)
    elif draft.has_fence(host):
        switch_on(draft, host)
