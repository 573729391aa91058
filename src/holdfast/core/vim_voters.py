"""The voter set of a deployment with grants: one member more or less at a time, each step brought to its end.

In: a draft in which it stands who is there, who is confirmed off, and what voters go by. Out: SetVoters for agents,
NoteVoters, alarms. Always holds: a version is made when the one before is sealed (docs/grants.md), and is told to
nobody before the store has it; all that are there have it on disk before anybody is told to go by it, so that they
change over within a heartbeat of one another; what a voter lacks is told to it again whenever it joins.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec.structs import replace

from holdfast.core.ledger import Reasons
from holdfast.core.vim_draft import NO_INCIDENT, Draft
from holdfast.core.vim_state import VotersNow
from holdfast.core.voter_rules import VoterChange, who_comes, who_leaves
from holdfast.model.actions import NoteVoters, RaiseAlarm, SetVoters
from holdfast.model.granting import SECOND, VoterSet, quorum, surely_ns, voter_set
from holdfast.model.layout import first_voters, witnesses_of
from holdfast.model.messages import HostsAre
from holdfast.model.names import HA, HostName, IncidentId
from holdfast.model.reasons import Code, Reason

KEEP_LIMIT_S = 2.0
"""Those that have it not on disk after this are not waited for, if the others are a majority."""
AGAIN_S = 5.0
"""Pause after an agent could not do it."""
OFF_FOR_LONG_S = 60.0
"""A host that is confirmed off for so long is not expected back soon."""
SEAL, USE = "voters:seal", "voters:use"
"""Names of timers."""


# What is told.


def voters_told(draft: Draft, host: HostName, known: VoterSet | None) -> None:
    """An agent has joined, and says what its voter goes by. If that is newer, our own store has forgotten it."""
    now = draft.voters
    if now is None or known is None or host not in draft.layout.hosts:
        return
    if known.version > now.current.version:
        reason = draft.reason("voters-newer", host, f"version {known.version}")
        now = VotersNow(known, why=(reason,), is_used=True, is_sealed=not known.previous)
        draft.timers.pop(SEAL, None)
    if known.version == now.current.version and known != now.current:
        reason = draft.reason("voters-differ", host, f"version {known.version}")
        _raise(draft, host, f"host {host} goes by another voter set of the same version", (reason,))
    draft.voters = replace(now, kept={**now.kept, host: known.version}, used={**now.used, host: known.version})


def voters_set(draft: Draft, action: SetVoters) -> None:
    """It is on that host's disk, or gone by there."""
    now, host, version = draft.voters, action.host, action.voters.version
    if now is None:
        return
    kept = {**now.kept, host: max(version, now.kept.get(host, 0))}
    used = {**now.used, host: max(version, now.used.get(host, 0))} if action.use else now.used
    draft.voters = replace(now, kept=kept, used=used)
    _calm(draft, host, (draft.reason("voters-acknowledged", host, f"version {version}"),))


def voters_not_set(draft: Draft, action: SetVoters, why: str) -> None:
    reason = draft.reason("repair-failed", action.host, f"voter set {action.voters.version}: {why}")
    draft.timers[f"voter:{action.host}"] = draft.now + AGAIN_S
    _raise(draft, action.host, f"the voter of host {action.host} cannot go by the present voter set: {why}", (reason,))


def voters_time(draft: Draft, name: str) -> None:
    """A time limit of the present version has passed."""
    if draft.voters is None:
        return
    if name == "seal":
        acknowledged = ", ".join(
            host for host in draft.voters.current.previous if draft.voters.used.get(host) == draft.voters.version
        )
        why = (draft.reason("voters-acknowledged", acknowledged, f"version {draft.voters.version}"),)
        draft.voters = replace(draft.voters, is_sealed=True, why=why)
        _note(draft, "sealed")
    else:
        draft.voters = replace(draft.voters, is_late=True)


def _raise(draft: Draft, host: HostName, text: str, reasons: Reasons) -> None:
    if host not in draft.alarmed_voters:
        draft.alarmed_voters[host] = None
        draft.desk.note(RaiseAlarm(f"voters:{host}", text), reasons)


def _calm(draft: Draft, host: HostName, reasons: Reasons) -> None:
    if host in draft.alarmed_voters:
        del draft.alarmed_voters[host]
        draft.clear_alarm(f"voters:{host}", reasons)


# What follows.


def plan_voters(draft: Draft) -> None:
    if draft.voters is None:
        first = first_voters(draft.layout)
        if first is None:
            return
        why = (draft.reason("declared", draft.layout.name),)
        draft.voters = VotersNow(first, why=why, is_used=True, is_sealed=True)
        _note(draft, "sealed")
    _seal(draft)
    _change(draft)
    _use(draft)
    _tell(draft)


def _note(draft: Draft, state: Literal["made", "used", "sealed"]) -> None:
    now = draft.voters
    assert now is not None, "nothing was made yet"
    draft.desk.note(NoteVoters(now.current, state), now.why)


def _seal(draft: Draft) -> None:
    """So many of those before have acknowledged that the others are no majority; and their promises have run out."""
    now = draft.voters
    assert now is not None, "planned"
    if now.is_sealed or not now.is_used or SEAL in draft.timers:
        return
    before = now.current.previous
    behind = [host for host in before if now.used.get(host, 0) < now.version]
    if len(behind) >= quorum(before):
        return
    rho_ppm = draft.layout.grants.lengths.rho_ppm if draft.layout.grants is not None else 0
    draft.timers[SEAL] = draft.now + surely_ns(now.current.length_max_ns, rho_ppm) / SECOND


def _use(draft: Draft) -> None:
    now = draft.voters
    assert now is not None, "planned"
    if now.is_used:
        return
    members = now.current.members
    concerned = [host for host in dict.fromkeys((*now.current.previous, *members)) if _is_expected(draft, host)]
    lacking = [host for host in concerned if now.kept.get(host, 0) < now.version]
    # To one alone it can be told at once: there is nobody to change over together with.
    if lacking and len(concerned) > 1:
        kept = [host for host in members if now.kept.get(host, 0) >= now.version]
        if not now.is_late or len(kept) < quorum(members):
            return
    draft.timers.pop(USE, None)
    draft.voters = replace(now, is_used=True)
    _note(draft, "used")


def _tell(draft: Draft) -> None:
    """Every voter that is there and lacks it; also those that are no members: they may become one again."""
    now = draft.voters
    assert now is not None, "planned"
    for host in draft.layout.hosts:
        has = now.used.get(host, 0) if now.is_used else now.kept.get(host, 0)
        if not draft.host(host).joined or has >= now.version or f"voter:{host}" in draft.timers:
            continue
        if not _is_telling(draft, host, now):
            draft.desk.drop(host, lambda one: isinstance(one, SetVoters))
            draft.desk.order(SetVoters(draft.desk.number(), host, now.current, now.is_used), now.why)


def _is_telling(draft: Draft, host: HostName, now: VotersNow) -> bool:
    told = [one for one in draft.desk.awaited(host) if isinstance(one, SetVoters)]
    return any(one.voters == now.current and one.use == now.is_used for one in told)


def tell_others(draft: Draft) -> None:
    """Who votes decides whether a role can be given at all; on one that is locked nothing is started."""
    first, now = first_voters(draft.layout), draft.voters
    before = draft.told or HostsAre(IncidentId(NO_INCIDENT), 0, first.members if first is not None else (), ())
    voters = now.current.members if now is not None and now.is_used else before.members
    locked = {host: life.locked for host in draft.layout.hosts if (life := draft.host(host)).locked is not None}
    if (before.members, before.locked) == (voters, tuple(locked)):
        return
    reasons = (*(now.why if now is not None and voters != before.members else ()), *locked.values())
    draft.told = told = HostsAre(IncidentId(NO_INCIDENT), before.number + 1, voters, tuple(locked))
    for message in draft.desk.awaited_messages():
        if isinstance(message.message, HostsAre):
            draft.desk.settle(message.id)
    for party in (HA, *dict.fromkeys(vnfm for vnfms in draft.region.vnfms_on.values() for vnfm in vnfms)):
        draft.desk.send(party, told, reasons or (draft.reason("operator-asked", "unlock"),))


# The next version.


def _change(draft: Draft) -> None:
    now = draft.voters
    assert now is not None, "planned"
    if not (now.is_used and now.is_sealed) or _is_unsettled(draft, now):
        return
    members = now.current.members
    off = {host: life.off for host in draft.layout.hosts if (life := draft.host(host)).off is not None}
    strange = [host for host in members if host not in draft.layout.hosts]
    for_good = [host for host in off if _is_for_good(draft, host)]
    leaves = who_leaves(members, [*off, *strange], [*for_good, *strange])
    comes = who_comes(members, off, [host for host in draft.layout.hosts if _may_vote(draft, now, host)])
    # Who comes back makes the rest surer; but not while there is no majority at all.
    is_dark = sum(host not in off for host in members) < quorum(members)
    change = leaves if leaves is not None and (is_dark or comes is None) else comes
    if change is not None:
        _make(draft, now, change, off)


def _make(draft: Draft, now: VotersNow, change: VoterChange, off: Mapping[HostName, Reason]) -> None:
    assert draft.layout.grants is not None, "planned"
    members = change.applied(now.current.members)
    witnesses = tuple(host for host in witnesses_of(draft.layout) if host in members)
    following = voter_set(members, draft.layout.grants.lengths, witnesses=witnesses, after=now.current)
    proof = off.get(change.host)
    code: Code = "voter-leaves" if change.kind == "leaves" else "voter-comes"
    why = (*((proof,) if proof is not None else ()), draft.reason(code, change.host, change.why))
    draft.voters = VotersNow(following, kept=now.kept, used=now.used, why=why, is_used=False)
    draft.timers[USE] = draft.now + KEEP_LIMIT_S
    _note(draft, "made")


def _is_unsettled(draft: Draft, now: VotersNow) -> bool:
    """Some member that lives has not yet caught up: a further change would find it two versions behind."""
    for host in now.current.members:
        if not _is_expected(draft, host):
            continue
        is_behind = now.used.get(host, 0) < now.version and f"voter:{host}" not in draft.timers
        if is_behind or not draft.host(host).joined:
            return True
    return False


def _is_expected(draft: Draft, host: HostName) -> bool:
    """Its voter goes on, as far as is known: its agent is there, or only starts again and could not be told yet."""
    life = draft.host(host)
    if life.off is not None or life.is_silent:
        return False
    return life.joined or f"away:{host}" in draft.timers


def _may_vote(draft: Draft, now: VotersNow, host: HostName) -> bool:
    life = draft.host(host)
    is_there = life.joined and not life.is_silent and life.phase == "up" and life.off is None
    return is_there and now.used.get(host, 0) >= now.version


def _is_for_good(draft: Draft, host: HostName) -> bool:
    life = draft.host(host)
    return life.locked is not None or draft.now - life.off_since >= OFF_FOR_LONG_S


def helps_to_be_off(draft: Draft, host: HostName) -> bool:
    """Whether the others go on better as voters once it is confirmed that this silent host is off."""
    if draft.voters is None:
        return False
    off = {other for other in draft.layout.hosts if draft.host(other).off is not None}
    change = who_leaves(draft.voters.current.members, off | {host}, ())
    return change is not None and host in draft.voters.current.members
