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
from holdfast.model.granting import IN_DOUBT, OLDER_MAY_COME_BACK
from holdfast.model.records import Marked, Record

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
    is_older: bool = False
    """The old one has the lower epoch of the two: it may have answered again, and not all the while."""


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
    for begin, end, *_ in sorted(spans):
        if end > reached:
            total += end - max(begin, reached)
            reached = end
    return total


class _Reply(NamedTuple):
    at: float
    mac: str
    earliest: int
    """Number of the earliest question that this can be the answer to."""
    latest: int
    """Number of the latest one: the last that was asked before the answer came."""


def _replies(run: OwnersRun) -> list[_Reply]:
    """Each answer with the questions it can belong to.

    An owner answers every question once and in order, so an answer belongs at the earliest to the first question its
    sender has not answered yet; if it had left some out (it did not own the address then), to one of the last 10 ms.
    """
    next_of: dict[str, int] = defaultdict(int)
    found: list[_Reply] = []
    latest = -1
    for answer in sorted((a for a in run.answers if a.kind == "answer"), key=lambda a: a.at):
        while latest + 1 < len(run.asked_at) and run.asked_at[latest + 1] <= answer.at:
            latest += 1
        if latest < 0:
            continue
        earliest = next_of[answer.mac]
        while earliest < latest and run.asked_at[earliest] < answer.at - ANSWER_AGE_MAX_S:
            earliest += 1
        earliest = min(earliest, latest)
        next_of[answer.mac] = earliest + 1
        found.append(_Reply(answer.at, answer.mac, earliest, latest))
    return found


def by_mac(run: OwnersRun) -> list[TwoOwners]:
    """Two times of ownership by different MACs that overlap.

    The old one answered a question that the new one had answered as well, or a later one. The question is taken as the
    earliest possible for the old one, and as the latest possible for the new one.
    """
    stretches = _stretches(_replies(run))
    proofs: list[TwoOwners] = []
    for i, old in enumerate(stretches):
        for new in stretches[i + 1 :]:
            if old.mac == new.mac or old.last_question < new.first_question:
                continue
            last_asked, begin = run.asked_at[old.last_question], run.asked_at[new.first_question]
            end = max(new.first_at, min(last_asked, new.last_at))
            text = f"{old.mac} answered for {run.address} as well when {new.mac} did"
            proofs.append(TwoOwners(begin, end, text))
    return proofs


class _Stretch(NamedTuple):
    first_at: float
    """First answer received."""
    mac: str
    first_question: int
    last_question: int
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
        first_at, first_question = (now.first_at, now.first_question) if now else (reply.at, reply.latest)
        open_[reply.mac] = _Stretch(first_at, reply.mac, first_question, reply.earliest, reply.at)
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
            numbered = [who for who, at in first.items() if at == begin and who[1] > old[1] >= 0]
            proofs.append(TwoOwners(begin, old_sent, text, is_older=bool(numbered)))
    return proofs


def foreseen(proofs: Iterable[TwoOwners], records: Iterable[Record]) -> list[TwoOwners]:
    """Older epochs that have come back after a voter had said, in the meantime, that one may.

    It had forgotten which epochs are over, and of those that remember it could reach too few. Nothing else excuses
    them: not what a voter has said before the newer one answered, and never two at once.
    """
    said = [
        record.at
        for record in records
        if isinstance(record, Marked) and record.name == IN_DOUBT and record.detail.endswith(OLDER_MAY_COME_BACK)
    ]
    return [one for one in proofs if one.is_older and any(one.begin <= at <= one.end for at in said)]


def _is_newer(who: tuple[str, int], old: tuple[str, int], first: dict[tuple[str, int], float]) -> bool:
    if who[1] != old[1] and who[1] >= 0 and old[1] >= 0:
        return who[1] > old[1]
    return first[who] > first[old]
