"""Did two ever own the service at once? Judged from outside: by ARP/ND answers and by the names in its answers.

In: the owners watcher's and the probes' files. Out: milliseconds of two owners (0.0 if none) and the evidence.
Late packets accuse nobody: for the *old* owner the time counts at which it was asked, for the *new* one the time at
which its answer was received. So whoever is found here did own the address after the other one had shown itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.lab.judges.asked import OwnersRun
from holdfast.lab.judges.probed import ProbeRun

ANSWER_AGE_MAX_S = 0.010
"""How old a question may be that an answer is taken for, when its sender has left some unanswered."""
FRESH_S = 0.0025
"""An answer within this time is one to the newest question: the watcher reads all answers before it asks again."""
GONE_AFTER_S = 0.050
"""A MAC that leaves all questions of this time unanswered has given the address up; it may come back in good order."""


class TwoOwners(NamedTuple):
    """One proof: from `begin` to `end` both were there."""

    begin: float
    end: float
    text: str


class Judged(NamedTuple):
    ms: float
    proofs: tuple[TwoOwners, ...]
    asked: bool
    """False if there was nothing to judge from."""


def judge_owners(owners: Sequence[OwnersRun], probes: Sequence[ProbeRun]) -> Judged:
    proofs: list[TwoOwners] = []
    for run in owners:
        proofs += by_mac(run)
    for probe in probes:
        proofs += by_name(probe)
    proofs.sort()
    asked = any(run.answers for run in owners) or any(probe.owners for probe in probes)
    return Judged(1000 * covered(proofs), tuple(proofs), asked)


def covered(spans: Iterable[TwoOwners]) -> float:
    """How many seconds the spans cover, overlaps counted once."""
    total, reached = 0.0, float("-inf")
    for begin, end, _ in sorted(spans):
        if end > reached:
            total += end - max(begin, reached)
            reached = end
    return total


class _Reply(NamedTuple):
    at: float
    asked_at: float
    mac: str
    fresh: int | None
    """The newest question, where the answer came too soon after it to belong to an earlier one."""


def _replies(run: OwnersRun) -> list[_Reply]:
    """Each answer with the question it is taken for.

    An owner answers every question once and in order, so an answer belongs to the first question its sender has not
    answered yet; one that had left questions out (it did not own the address then) is taken to answer one of the
    last 10 ms. Both choices are the earliest possible ones, so they never make an overlap longer than it was. Whether
    two answered the *same* question is judged by `fresh` alone, where there is no choice.
    """
    next_of: dict[str, int] = defaultdict(int)
    found: list[_Reply] = []
    newest = -1
    for answer in sorted((a for a in run.answers if a.kind == "answer"), key=lambda a: a.at):
        while newest + 1 < len(run.asked_at) and run.asked_at[newest + 1] <= answer.at:
            newest += 1
        if newest < 0:
            continue
        question = next_of[answer.mac]
        while question < newest and run.asked_at[question] < answer.at - ANSWER_AGE_MAX_S:
            question += 1
        question = min(question, newest)
        next_of[answer.mac] = question + 1
        fresh = newest if answer.at - run.asked_at[newest] < FRESH_S else None
        found.append(_Reply(answer.at, run.asked_at[question], answer.mac, fresh))
    return found


def by_mac(run: OwnersRun) -> list[TwoOwners]:
    """Two MAC addresses that answered the same question, or an old one asked after a new one had answered."""
    replies = _replies(run)
    return _same_question(run, replies) + _old_after_new(run, replies)


def _same_question(run: OwnersRun, replies: list[_Reply]) -> list[TwoOwners]:
    by_question: dict[int, dict[str, float]] = defaultdict(dict)
    for reply in replies:
        if reply.fresh is not None:
            by_question[reply.fresh].setdefault(reply.mac, reply.at)
    return [
        TwoOwners(
            run.asked_at[question],
            max(macs.values()),
            f"{' and '.join(sorted(macs))} both answered for {run.address}, asked once",
        )
        for question, macs in by_question.items()
        if len(macs) > 1
    ]


def _old_after_new(run: OwnersRun, replies: list[_Reply]) -> list[TwoOwners]:
    """Two times of ownership by different MACs that overlap."""
    stretches = _stretches(replies)
    proofs: list[TwoOwners] = []
    for i, old in enumerate(stretches):
        for new in stretches[i + 1 :]:
            if old.mac != new.mac and old.last_asked > new.first_at:
                text = f"{old.mac} was asked and answered for {run.address} after {new.mac} had answered"
                proofs.append(TwoOwners(new.first_at, min(old.last_asked, new.last_at), text))
    return proofs


class _Stretch(NamedTuple):
    first_at: float
    """First answer received."""
    mac: str
    last_asked: float
    """When the last question was asked that it answered."""
    last_at: float


def _stretches(replies: list[_Reply]) -> list[_Stretch]:
    """Each time during which one MAC answered again and again, whatever others did meanwhile, by their begin."""
    open_: dict[str, _Stretch] = {}
    found: list[_Stretch] = []
    for reply in replies:
        now = open_.get(reply.mac)
        if now is not None and reply.at - now.last_at > GONE_AFTER_S:
            found.append(now)
            now = None
        open_[reply.mac] = _Stretch(now.first_at if now else reply.at, reply.mac, reply.asked_at, reply.at)
    return sorted([*found, *open_.values()])


def by_name(probe: ProbeRun) -> list[TwoOwners]:
    """A request sent after a newer owner's first answer, and still answered by the older one.

    Newer is the higher epoch; where the function tells no epoch, or the same one for both, whoever came later.
    """
    first: dict[tuple[str, int], float] = {}
    """When each owner (in each epoch) was first heard of."""
    last_sent: dict[tuple[str, int], float] = {}
    named: list[tuple[float, float, str, int]] = [
        (answer.at, answer.sent_at, answer.owner, answer.epoch) for answer in probe.answers() if answer.owner
    ]
    named += [(at, probe.sent_at[n], owner, epoch) for n, at, owner, epoch in probe.extras if owner]
    for at, sent_at, owner, epoch in sorted(named):
        who = (owner, epoch)
        first.setdefault(who, at)
        last_sent[who] = max(last_sent.get(who, sent_at), sent_at)
    proofs: list[TwoOwners] = []
    for old, old_sent in last_sent.items():
        newer = [at for who, at in first.items() if who != old and _is_newer(who, old, first)]
        begin = min(newer, default=old_sent)
        if old_sent > begin:
            text = f"{old[0]} (epoch {old[1]}) answered a request sent after a newer owner had answered"
            proofs.append(TwoOwners(begin, old_sent, text))
    return proofs


def _is_newer(who: tuple[str, int], old: tuple[str, int], first: dict[tuple[str, int], float]) -> bool:
    if who[1] != old[1] and who[1] >= 0 and old[1] >= 0:
        return who[1] > old[1]
    return first[who] > first[old]
