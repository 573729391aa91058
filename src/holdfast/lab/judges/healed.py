"""After a heal: did the owner say so, was a client that had missed the take-over answered again, was it told once?

In: the evidence. Out: one check. Judged is every heal of a cut during which another host took the service over; where
nobody did, there is nothing to put right. What is said on the wire counts, as a client saw it.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdfast.lab.judges.asked import OwnerAnswer
from holdfast.lab.judges.checks import Check, listed
from holdfast.lab.judges.evidence import Evidence, Fault
from holdfast.lab.judges.facts import Fact
from holdfast.lab.judges.probed import Answer, ProbeRun

ANNOUNCED_WITHIN_S = 1.0
CORRECTED_WITHIN_S = 1.0
"""A kernel that nobody corrects doubts its neighbour after ten seconds and more."""
MISLEAD_TAKES_S = 0.05
"""From the record of the step to its effect."""


class Heal(NamedTuple):
    """One heal, and what it ended."""

    cut: Fault
    """The first cut since the heal before."""
    at: float
    until: float
    """The next fault."""
    owner: str
    """MAC that answered last before the heal."""
    former: str
    """MAC that answered last before the cut."""


def healed(evidence: Evidence, all_facts: Sequence[Fact], two_owners_ms: float) -> Check:
    heals = [fault for fault in evidence.run.faults if fault.kind == "heal"]
    if not heals:
        return Check(True, "nothing was healed")
    answers = sorted((a for run in evidence.owners for a in run.answers), key=lambda answer: answer.at)
    if not answers:
        return Check(None, "nobody asked who owns the address")
    taken = [heal for heal in _heals(evidence, heals, answers) if heal.owner != heal.former]
    if not taken:
        return Check(True, "nothing was taken over while the network was cut")
    said: list[str] = []
    for heal in taken:
        wrong = [*_claimed(heal, answers), *_told_twice(heal, all_facts)]
        announced = _announced(heal, answers)
        if not announced or announced[0].at >= heal.at + ANNOUNCED_WITHIN_S:
            is_late_alone = bool(announced) and not wrong
            text = f"{heal.owner} did not announce the address within {ANNOUNCED_WITHIN_S:g} s after the heal"
            return Check(False, listed([text, *wrong]), is_late_alone)
        if wrong:
            return Check(False, listed(wrong))
        said.append(f"the owner announced itself {_ms(announced[0].at - heal.at)} after the heal")
        of_second = _second_client(evidence, heal)
        if of_second is not None:
            if not of_second.ok:
                return of_second
            said.append(of_second.text)
    return Check(True, "; ".join([*said, f"{two_owners_ms:.1f} ms with two owners"]))


def _heals(evidence: Evidence, heals: Sequence[Fault], answers: Sequence[OwnerAnswer]) -> Iterator[Heal]:
    own = [answer for answer in answers if answer.kind == "answer"]
    times = [answer.at for answer in own]
    since = float("-inf")
    for heal in heals:
        cuts = [fault for fault in evidence.run.faults if fault.kind == "cut" and since < fault.at < heal.at]
        later = [fault.at for fault in evidence.run.faults if fault.starts and fault.at > heal.at]
        since = heal.at
        if not cuts:
            continue
        before, during = bisect_left(times, cuts[0].at), bisect_left(times, heal.at)
        if before and during:
            until = min(later, default=float("inf"))
            yield Heal(cuts[0], heal.at, until, own[during - 1].mac, own[before - 1].mac)


def _announced(heal: Heal, answers: Sequence[OwnerAnswer]) -> list[OwnerAnswer]:
    return [
        answer
        for answer in answers
        if answer.kind == "announcement" and answer.mac == heal.owner and heal.at <= answer.at < heal.until
    ]


def _claimed(heal: Heal, answers: Sequence[OwnerAnswer]) -> Iterator[str]:
    others = [answer for answer in answers if heal.at <= answer.at < heal.until and answer.mac != heal.owner]
    if others:
        yield f"{others[0].mac} claimed the address {_ms(others[0].at - heal.at)} after the heal, as well"


def _told_twice(heal: Heal, all_facts: Sequence[Fact]) -> Iterator[str]:
    """Of one leader: what was not stored is closed by nobody, and the next leader finds out anew what it lacks."""
    reigns: Counter[str] = Counter()
    about: dict[str, tuple[str, str, int]] = {}
    ended: set[str] = set()
    for fact in all_facts:
        match fact.verb, fact.kind:
            case "marked", "leads":
                reigns[fact.by] += 1
            case "decided", "OpenIncident" if heal.cut.at <= fact.at < heal.until:
                about[fact.fields["incident"]] = (fact.by, str(fact.fields["about"]), reigns[fact.by])
            case "decided", "CloseIncident":
                ended.add(fact.fields["incident"])
    for (by, entity, _), times in Counter(of for incident, of in about.items() if incident in ended).items():
        if times > 1:
            yield f"{by} told of {times} incidents about {entity} where there was one"


def _second_client(evidence: Evidence, heal: Heal) -> Check | None:
    """Of a client that was misled between cut and heal; None if there was none."""
    misled = [f for f in evidence.run.faults if f.kind == "mislead" and heal.cut.at < f.at < heal.at]
    if not misled:
        return None
    probe = evidence.second
    if probe is None:
        return Check(None, "nothing is known of the client that was misled")
    answers = probe.answers()
    if not any(answer.at <= misled[0].at for answer in answers):
        return Check(None, "the second client was not answered before it was misled")
    blind = _sent(probe, answers, misled[0].at + MISLEAD_TAKES_S, heal.at)
    if blind.answered or not blind.sent:
        return Check(None, f"the client that was misled had {blind.answered} of {blind.sent} requests answered")
    back = min((answer.at for answer in answers if answer.sent_at >= heal.at), default=None)
    if back is None or back - heal.at > CORRECTED_WITHIN_S:
        when = "never" if back is None else f"{_ms(back - heal.at)} after the heal"
        return Check(False, f"the client that was misled was answered again {when}", back is not None)
    return Check(True, f"the client that was misled was answered again {_ms(back - heal.at)} after it")


class _Sent(NamedTuple):
    sent: int
    answered: int


def _sent(probe: ProbeRun, answers: Sequence[Answer], since: float, until: float) -> _Sent:
    """Requests of that time, and how many of them were answered before its end."""
    sent = sum(since <= at < until for at in probe.sent_at)
    return _Sent(sent, sum(since <= answer.sent_at < until and answer.at < until for answer in answers))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
