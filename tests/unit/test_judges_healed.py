"""After a heal: the owner that announces itself, the client that was misled, the incident that is told once."""

from array import array
from collections.abc import Sequence
from dataclasses import replace as changed

import pytest
from msgspec.structs import replace

from holdfast.lab.judges.asked import OwnerAnswer, OwnersRun
from holdfast.lab.judges.checks import Check
from holdfast.lab.judges.evidence import Evidence, Fault
from holdfast.lab.judges.facts import facts
from holdfast.lab.judges.healed import healed
from holdfast.lab.judges.probed import ProbeRun
from holdfast.model.actions import CloseIncident, OpenIncident
from holdfast.model.names import HA, IncidentId, VnfcName
from holdfast.model.reasons import Reason
from holdfast.model.records import Decided, Marked
from tests.unit.judged_runs import good_run

FORMER, OWNER = "02:00:00:00:00:01", "02:00:00:00:00:02"
CUT, MISLED, HEAL, END = 1.0, 2.0, 3.0, 5.0
EVERY = 0.01


def fault(at: float, kind: str, entity: str = "host1", *, starts: bool = False) -> Fault:
    return Fault(at=at, kind=kind, entity=entity, starts=starts)


FAULTS = (fault(CUT, "cut", starts=True), fault(MISLED, "mislead", "registry-1"), fault(HEAL, "heal", "all"))


def owners(*more: OwnerAnswer, announced: Sequence[float] = (HEAL + 0.02,)) -> OwnersRun:
    """The former one answers until the cut, the owner from soon after it."""
    times = [n * EVERY for n in range(int(END / EVERY))]
    answers = [OwnerAnswer(at, FORMER) for at in times if at < CUT]
    answers += [OwnerAnswer(at, OWNER) for at in times if at > CUT + 0.05]
    answers += [OwnerAnswer(at, OWNER, "announcement") for at in (CUT + 0.05, *announced)]
    return OwnersRun("10.77.0.100", EVERY, 0.0, END, times, sorted([*answers, *more], key=lambda one: one.at))


def second(blind: tuple[float, float] = (MISLED + 0.01, HEAL + 0.03), begin: float = 1.5) -> ProbeRun:
    """It is answered within a millisecond, but not what it sends while it is blind."""
    sent = [n * EVERY for n in range(int(begin / EVERY), int(END / EVERY))]
    return ProbeRun(
        "registry", "10.77.0.100", 1, EVERY, 0.0, END,
        sent_at=array("d", sent),
        answered_at=array("d", [-1.0 if blind[0] <= at < blind[1] else at + 0.001 for at in sent]),
        owner=array("h", [-1] * len(sent)),
        epoch=array("q", [-1] * len(sent)),
    )  # fmt: skip


def evidence(watched: OwnersRun | None, probe: ProbeRun | None = None, faults: tuple[Fault, ...] = FAULTS) -> Evidence:
    base = good_run("healed")
    run = replace(base.run, faults=faults)
    return changed(base, run=run, records=(), owners=(watched,) if watched else (), second=probe)


def judged(of: Evidence) -> Check:
    return healed(of, facts(of.records), 0.0)


def test_an_owner_that_announces_itself_and_a_client_that_is_answered_again_are_well() -> None:
    check = judged(evidence(owners(), second()))
    assert check == Check(
        True,
        "the owner announced itself 20 ms after the heal; "
        "the client that was misled was answered again 31 ms after it; 0.0 ms with two owners",
    )


@pytest.mark.parametrize("announced", [(), (HEAL - 0.1,), (HEAL + 1.5,)])
def test_an_owner_that_is_silent_after_the_heal_is_found(announced: tuple[float, ...]) -> None:
    check = judged(evidence(owners(announced=announced), second()))
    assert (check.ok, check.text) == (False, f"{OWNER} did not announce the address within 1 s after the heal")
    assert check.of_time is (announced == (HEAL + 1.5,)), "that it came, and late, a busy machine can do"


@pytest.mark.parametrize("kind", ["answer", "announcement"])
def test_the_former_owner_that_claims_the_address_after_the_heal_is_found(kind: str) -> None:
    more = OwnerAnswer(HEAL + 0.2, FORMER, kind)  # type: ignore[arg-type]
    check = judged(evidence(owners(more), second()))
    assert (check.ok, check.text) == (False, f"{FORMER} claimed the address 200 ms after the heal, as well")


def test_whoever_has_it_after_the_next_fault_is_no_matter_of_this_heal() -> None:
    faults = (*FAULTS, fault(HEAL + 1.5, "kill-vnfc", "registry-2", starts=True))
    more = OwnerAnswer(HEAL + 1.6, FORMER)
    assert judged(evidence(owners(more), second(), faults)).ok is True


@pytest.mark.parametrize(("until", "when"), [(END, "never"), (HEAL + 1.2, "1201 ms after the heal")])
def test_a_client_that_stays_misled_is_found(until: float, when: str) -> None:
    check = judged(evidence(owners(), second((MISLED + 0.01, until))))
    assert (check.ok, check.text) == (False, f"the client that was misled was answered again {when}")
    assert check.of_time is (when != "never")


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        (None, "nothing is known of the client that was misled"),
        (second(begin=2.5), "the second client was not answered before it was misled"),
        (second((MISLED + 0.5, HEAL)), "the client that was misled had 45 of 95 requests answered"),
    ],
)
def test_a_client_that_was_not_misled_in_truth_proves_nothing(probe: ProbeRun | None, says: str) -> None:
    assert judged(evidence(owners(), probe)) == Check(None, says)


def test_a_heal_after_which_nothing_need_be_put_right_is_well() -> None:
    times = [n * EVERY for n in range(int(END / EVERY))]
    same = OwnersRun("10.77.0.100", EVERY, 0.0, END, times, [OwnerAnswer(at, FORMER) for at in times])
    assert judged(evidence(same)) == Check(True, "nothing was taken over while the network was cut")
    assert judged(evidence(same, faults=FAULTS[:1])) == Check(True, "nothing was healed")


def test_without_anybody_who_asked_nothing_can_be_told() -> None:
    assert judged(evidence(None)) == Check(None, "nobody asked who owns the address")


def incident(number: int, at: float, *, closed: bool = True) -> list[Decided]:
    name, why = IncidentId(f"ha#{number}"), (Reason("host-failed", "host1"),)
    opened = OpenIncident(name, VnfcName("registry-1"), None, "host")
    records = [Decided(at, HA, 100 * number, 1, opened, why, name)]
    if closed:
        records.append(Decided(at + 0.5, HA, 100 * number + 1, 1, CloseIncident(name, "repaired"), why, name))
    return records


def test_one_fault_that_is_told_as_several_incidents_is_found() -> None:
    base = evidence(owners(), second())
    once = changed(base, records=tuple(incident(1, CUT + 0.1)))
    assert judged(once).ok is True
    # What a leader began that was followed by another one, and was not stored, is over without a word.
    lost = changed(base, records=(*incident(1, CUT + 0.1, closed=False), *incident(2, HEAL + 0.1)))
    assert judged(lost).ok is True
    leads = Marked(CUT + 0.8, HA, 199, "leads", "ha", "term 2")
    anew = changed(base, records=(*incident(1, CUT + 0.1), leads, *incident(2, HEAL + 0.1)))
    assert judged(anew).ok is True
    twice = changed(base, records=(*incident(1, CUT + 0.1), *incident(2, HEAL + 0.1)))
    assert judged(twice) == Check(False, "ha told of 2 incidents about registry-1 where there was one")
