"""The verdict on one episode of a soak, from runs of the real cores."""

from dataclasses import replace

import pytest
from msgspec import structs

from holdfast.lab.judges.asked import OwnerAnswer, OwnersRun
from holdfast.lab.judges.checks import redundancy_missing
from holdfast.lab.judges.evidence import Evidence
from holdfast.lab.judges.facts import facts
from holdfast.lab.judges.leading import Former
from holdfast.lab.judges.open_items import still_open
from holdfast.lab.judges.soaked import Before, DoneFault, EpisodeNotes, judge_episode, last_owners, telling
from holdfast.lab.judges.verdict import Verdict
from holdfast.model.actions import Activate
from holdfast.model.events import ServiceTaken, StandbySynced
from holdfast.model.names import HA, ActionId, ServiceName
from holdfast.model.records import Decided, Marked, Record, Seen
from tests.unit.judged_runs import RUNS, good_run


def notes_of(evidence: Evidence, *done: DoneFault) -> EpisodeNotes:
    over = max((fault.until for fault in done), default=evidence.run.began_at)
    return EpisodeNotes(
        seed=3,
        number=5,
        planned=tuple(fault.planned for fault in done),
        done=done,
        left_out=(),
        over_at=over,
        recovered_at=over + 0.25,
        limit_s=30.0,
        probed=(evidence.run.service,),
    )


def struck(evidence: Evidence, kind: str = "kill-vnfc", planned: str = "500 kill-vnfc active registry") -> DoneFault:
    fault = evidence.run.faults[0]
    return DoneFault(kind, fault.entity, fault.at, fault.at, planned)


def judged(name: str = "uc1 granted") -> tuple[Evidence, EpisodeNotes]:
    evidence = good_run(name)
    return evidence, notes_of(evidence, struck(evidence))


def wrong(verdict: Verdict) -> dict[str, str]:
    return {name: check.text for name, check in verdict.checks.items() if check.ok is not True}


def test_an_episode_that_went_well_passes() -> None:
    evidence, notes = judged()
    verdict = judge_episode(evidence, notes, Before())
    assert (verdict.verdict, wrong(verdict)) == ("pass", {})
    assert (verdict.scenario, verdict.repeat, verdict.seed, verdict.repair_ms) == ("soak", 5, 3, 250.0)
    assert evidence.probe is not None
    assert (verdict.sent, verdict.lost) == (evidence.probe.sent, evidence.probe.lost)


def test_what_is_not_as_declared_in_time_fails_with_what_is_missing() -> None:
    evidence, notes = judged()
    late = structs.replace(notes, recovered_at=None, missing=("kept is not answered",))
    assert wrong(judge_episode(evidence, late, Before())) == {
        "restored": "not as declared within 30 s of the last fault's end: kept is not answered"
    }


def test_a_client_without_an_account_leaves_it_unknown() -> None:
    evidence, notes = judged()
    verdict = judge_episode(replace(evidence, probe=None), structs.replace(notes, probed=()), Before())
    assert (verdict.verdict, verdict.checks["restored"].text) == ("unknown", "the clients of registry left no account")


def test_a_lost_update_fails() -> None:
    evidence, notes = judged()
    assert evidence.probe is not None
    verdict = judge_episode(replace(evidence, probe=replace(evidence.probe, lost_updates=[7])), notes, Before())
    assert wrong(verdict) == {"updates": "1 acknowledged updates of registry are lost, first request 7"}


def test_an_exception_that_nobody_handles_fails() -> None:
    evidence, notes = judged()
    bug = structs.replace(notes, bugs=("log/agent-h1: KeyError: 'x'",))
    assert wrong(judge_episode(evidence, bug, Before())) == {"bugs": "log/agent-h1: KeyError: 'x'"}


def test_what_is_still_open_fails() -> None:
    evidence, notes = judged()
    closing = next(r for r in reversed(evidence.records) if "CloseIncident" in str(r))
    cut = replace(evidence, records=tuple(record for record in evidence.records if record.at < closing.at))
    assert "cleared" in wrong(judge_episode(cut, notes, Before()))


def test_a_decision_without_what_it_rests_on_fails_unless_that_was_in_the_slice_before() -> None:
    evidence = good_run("uc1 granted")
    notes = notes_of(evidence, struck(evidence), struck(evidence))
    decision = next(r for r in evidence.records if isinstance(r, Decided) and r.by == "ha" and r.at > notes.done[0].at)
    seen = next(r for r in evidence.records if isinstance(r, Seen) and (r.by, r.n) == ("ha", decision.on))
    without = replace(evidence, records=tuple(record for record in evidence.records if record is not seen))
    assert "not in its journal" in wrong(judge_episode(without, notes, Before()))["order"]
    assert "order" not in wrong(judge_episode(without, notes, Before(records=(seen,))))


@pytest.mark.parametrize("lasts_s", [0.05, 400.0])
def test_an_episode_is_judged_from_its_own_slice_and_what_the_ones_before_still_tell(lasts_s: float) -> None:
    """The start in one slice, a quiet episode in the next, the failure in the third."""
    evidence, notes = judged()
    at = notes.done[0].at
    start = tuple(record for record in evidence.records if record.at < at)
    rest = tuple(record for record in evidence.records if record.at >= at)
    before = Before(lasts_s=lasts_s)
    for slice_ in (start[: len(start) // 2], start[len(start) // 2 :], ()):
        before.follow(slice_)
    assert wrong(judge_episode(replace(evidence, records=rest), notes, before)) == {}
    assert "repaired" in wrong(judge_episode(replace(evidence, records=rest), notes, Before()))


@pytest.mark.parametrize("name", sorted(RUNS))
def test_what_still_tells_says_the_same_as_all_of_it(name: str) -> None:
    evidence = good_run(name)
    every = facts(evidence.records)
    for end in range(0, len(every), 7):
        told, kept = every[:end], telling(every[:end])
        for group in evidence.layout.groups.values():
            missing = redundancy_missing(evidence.layout, group, told)
            assert redundancy_missing(evidence.layout, group, kept) == missing, (end, group.name)
        assert set(still_open(kept)) == set(still_open(told))
    assert telling(kept) == kept


def test_word_of_a_take_over_that_comes_after_the_next_one_makes_no_active() -> None:
    """One that was cut off had taken the service, and was succeeded before anybody heard of that."""
    evidence = good_run("uc1 granted")
    synced = min(
        (record for record in evidence.records if isinstance(record, Seen) and isinstance(record.event, StandbySynced)),
        key=lambda record: record.at,
    )
    assert isinstance(synced.event, StandbySynced)
    service = ServiceName(evidence.run.service)
    group = evidence.layout.groups[evidence.layout.services[service].group]
    for epoch, missing in ((synced.event.epoch - 1, []), (synced.event.epoch + 1, [synced.event.vnfc])):
        taken = ServiceTaken(synced.event.standby, 1, service, epoch)
        told = (*(record for record in evidence.records if record.at <= synced.at), Seen(synced.at, HA, 9999, taken))
        said = [f"{name} is not in sync with the active" for name in missing]
        assert redundancy_missing(evidence.layout, group, facts(told)) == said


def test_an_activation_that_nobody_heard_of_makes_no_active() -> None:
    """A manager that is cut off decides one; who syncs with the real active, under a lower epoch, is in sync."""
    evidence = good_run("uc1 granted")
    synced = max(
        (record for record in evidence.records if isinstance(record, Seen) and isinstance(record.event, StandbySynced)),
        key=lambda record: record.at,
    )
    assert isinstance(synced.event, StandbySynced)
    service = ServiceName(evidence.run.service)
    unheard = Activate(ActionId("ha/9"), synced.event.standby, 1, service, synced.event.epoch + 1)
    decided = Decided(synced.at - 0.001, synced.by, 9999, 9998, unheard, ())
    group = evidence.layout.groups[evidence.layout.services[service].group]
    assert redundancy_missing(evidence.layout, group, facts((*evidence.records, decided))) == []


def owners_run(*answers: tuple[float, str]) -> OwnersRun:
    return OwnersRun(
        "10.77.0.100",
        0.005,
        100.0,
        130.0,
        [at for at, _ in answers],
        [OwnerAnswer(at + 0.001, mac) for at, mac in answers],
    )


@pytest.mark.parametrize(
    ("kind", "silent_at", "moved_at", "fails"),
    [
        ("kill-agent", 110.0, 110.0, False),
        ("kill-store", 110.0, 110.0, True),
        ("fence-hangs", 110.0, 110.0, True),
        ("kill-agent", 125.0, 125.0, True),
        ("kill-agent", 109.2, 125.0, False),
    ],
)
def test_an_address_moves_only_for_a_cause(kind: str, silent_at: float, moved_at: float, fails: bool) -> None:
    """A cause counts until all is as declared again, and for three seconds more; a silence is that of what began it."""
    seen = owners_run((101.0, "aa"), (silent_at - 0.005, "aa"), (moved_at, "bb"))
    evidence = replace(good_run("agent away"), owners=(seen,))
    done = DoneFault(kind, "h1", 109.0, 109.5, "9 kill-agent h1")
    notes = structs.replace(notes_of(evidence, done), recovered_at=112.0, vnfcs={"bb": "registry-2"})
    order = wrong(judge_episode(evidence, notes, Before())).get("order", "")
    assert ("10.77.0.100 moved from aa to host2" in order) == fails


def test_a_move_between_two_episodes_is_seen_by_the_second() -> None:
    evidence = replace(good_run("agent away"), owners=(owners_run((101.0, "bb")),))
    notes = notes_of(evidence)
    assert "order" not in wrong(judge_episode(evidence, notes, Before(owner={"10.77.0.100": "bb"})))
    assert "moved from aa to bb" in wrong(judge_episode(evidence, notes, Before(owner={"10.77.0.100": "aa"})))["order"]
    assert last_owners(evidence) == {"10.77.0.100": "bb"}


def test_a_fault_that_was_alone_is_judged_by_its_order() -> None:
    evidence, notes = judged()
    store = notes_of(evidence, struck(evidence, "kill-store", "500 kill-store h1"))
    assert "nothing-moves: never" in wrong(judge_episode(evidence, store, Before()))["order"]
    standby = notes_of(evidence, struck(evidence, planned="500 kill-vnfc standby registry"))
    assert "standby-failure: never" in wrong(judge_episode(evidence, standby, Before()))["order"]
    assert "order" not in wrong(judge_episode(evidence, notes, Before()))


def test_where_a_fence_device_lied_lost_updates_on_storage_blame_nobody_and_that_is_said() -> None:
    evidence = good_run("fenced by a lie")
    assert evidence.probe is not None
    lost = replace(evidence, probe=replace(evidence.probe, lost_updates=[7]))
    lie = DoneFault("fence-lies", "host1", evidence.run.began_at, evidence.run.ended_at, "0 fence-lies host1 for 900")
    verdict = judge_episode(lost, notes_of(evidence, lie, lie), Before())
    assert "updates" not in wrong(verdict)
    assert verdict.not_judged == (
        "updates of billing: the fence device of host1 lied; that two wrote to the storage is not seen",
    )
    assert "updates" in wrong(judge_episode(lost, notes_of(evidence), Before()))


def test_after_a_single_fault_a_service_has_to_be_back_as_its_level_promises() -> None:
    evidence, notes = judged()
    promised = judge_episode(evidence, notes, Before()).checks["level"]
    assert (promised.ok, promised.text) == (True, "each service was back as its level promises")
    strict = structs.replace(evidence.layout, sal_s=dict.fromkeys(evidence.layout.sal_s, 0.0))
    late = judge_episode(replace(evidence, layout=strict), notes, Before()).checks["level"]
    assert (late.ok, late.of_time) == (False, True)
    assert "allows 0 s after kill-vnfc registry-1" in late.text
    twice = notes_of(evidence, struck(evidence), struck(evidence))
    assert judge_episode(replace(evidence, layout=strict), twice, Before()).checks["level"].ok is True


def test_one_manager_leads_at_a_time_over_all_slices() -> None:
    evidence, notes = judged()
    name = "journal/ha.jsonl"
    decided = next(record for record in evidence.records if isinstance(record, Decided) and record.by == "ha")
    leads = Marked(decided.at - 1.0, HA, decided.n + 100, "leads", "ha", "term 2")
    # One that was stopped before it wrote has decided in time.
    early = structs.replace(decided, at=leads.at - 1.0)
    by_the_new_one = structs.replace(decided, n=leads.n + 1)
    for record, is_late in ((decided, True), (early, False), (by_the_new_one, False)):
        whole = Former()
        assert [one.judge for one in whole.led({name: [leads, record]})] == ["leaders"] * is_late
        before = Before()
        before.former.follow({name: [leads]})
        found = judge_episode(replace(evidence, by_file={name: list[Record]([record])}), notes, before).checks[
            "leaders"
        ]
        assert found.ok is not is_late
        assert ("another one had begun to lead" in found.text) is is_late


def test_a_number_that_an_earlier_slice_has_given_is_not_given_again() -> None:
    evidence, notes = judged()
    name = "journal/ha.jsonl"
    records = [record for record in evidence.records if record.by == "ha"]
    latest: list[Record] = list([record for record in records if isinstance(record, Decided)][-3:])
    slices: list[dict[str, list[Record]]] = [{name: records}, {name: latest}]
    nothing: dict[str, list[Record]] = {}
    for further in (nothing, {name: [Marked(0.0, HA, 1, "leads", "ha", "term 1")]}):
        before = Before()
        before.former.follow(slices[0])
        before.former.follow(further)
        again = judge_episode(replace(evidence, by_file=slices[1]), notes, before).checks["leaders"]
        assert again.ok is False
        assert "was given long before" in again.text
    assert judge_episode(replace(evidence, by_file=slices[0]), notes, Before()).checks["leaders"].ok is True
