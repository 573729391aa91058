"""The verdict: a good run passes; each check is broken once, and makes it fail, or unknown if nothing can be told."""

from array import array
from collections.abc import Sequence
from dataclasses import replace as changed
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.lab.judges.asked import OwnerAnswer, OwnersRun, save_owners
from holdfast.lab.judges.evidence import Evidence, Fault, load_evidence, read_journal, write_run
from holdfast.lab.judges.probed import GET, PUT, ProbeRun, save_probe
from holdfast.lab.judges.verdict import CHECKS, Verdict, judge, judge_folder
from holdfast.model.actions import Activate, ClearAlarm, CloseIncident, FenceHost, OpenIncident, RaiseAlarm, Send
from holdfast.model.events import StandbySynced, VnfcReady
from holdfast.model.layout import in_charge
from holdfast.model.messages import ErrorCleared
from holdfast.model.names import HA, VIM, ActionId
from holdfast.model.records import Decided, Ended, Marked, Record, Seen
from tests.unit.judged_runs import RUNS, good_run
from tests.unit.judged_stage import STEP_S


def with_records(evidence: Evidence, records: Sequence[Record]) -> Evidence:
    return changed(evidence, records=tuple(records))


def with_run(evidence: Evidence, **fields: object) -> Evidence:
    return changed(evidence, run=replace(evidence.run, **fields))


def with_probe(evidence: Evidence, **fields: object) -> Evidence:
    assert evidence.probe is not None
    return changed(evidence, probe=changed(evidence.probe, **fields))  # type: ignore[arg-type]


def fails(verdict: Verdict) -> list[str]:
    return [name for name, check in verdict.checks.items() if check.ok is False]


@pytest.mark.parametrize("name", RUNS)
def test_a_good_run_passes_with_all_checks(name: str) -> None:
    verdict = judge(good_run(name))
    assert {check: found.ok for check, found in verdict.checks.items()} == dict.fromkeys(CHECKS, True)
    assert verdict.verdict == "pass"


def test_the_figures_of_a_take_over_are_the_clients() -> None:
    verdict = judge(good_run("uc1"))
    assert verdict.outage_ms == pytest.approx(4.0)
    assert verdict.lost == 20 + 3  # before the first start, and in the outage
    assert (verdict.sal, verdict.two_owners_ms, verdict.updates_lost) == (1, 0.0, 0)
    stages = verdict.stages_ms
    assert stages == {"detect": 1.0, "decide": 0.0, "isolate": 2.0, "recover": 0.6}
    assert sum(ms or 0 for ms in stages.values()) == pytest.approx(3.6, abs=0.01)
    assert verdict.repair_ms == pytest.approx(11.0)


def test_an_order_that_was_not_kept_fails() -> None:
    evidence = good_run("uc1")
    at = evidence.run.faults[0].at
    late = [
        replace(r, at=at) if isinstance(r, Decided) and isinstance(r.action, Activate) else r for r in evidence.records
    ]
    verdict = judge(with_records(evidence, late))
    assert fails(verdict) == ["order"]
    assert verdict.verdict == "fail"
    assert verdict.violations


def test_lines_that_could_not_be_read_make_a_broken_order_unknown() -> None:
    evidence = good_run("uc1")
    fewer = [r for r in evidence.records if not (isinstance(r, Decided) and isinstance(r.action, Activate))]
    verdict = judge(changed(with_records(evidence, fewer), unreadable_lines=1))
    assert verdict.checks["order"].ok is None
    assert verdict.verdict == "unknown"


@pytest.mark.parametrize("kind", [ErrorCleared, CloseIncident])
def test_what_is_never_cleared_fails(kind: type) -> None:
    evidence = good_run("uc1")

    def is_it(record: Record) -> bool:
        if not isinstance(record, Decided):
            return False
        action = record.action
        return isinstance(action.message if isinstance(action, Send) else action, kind)

    verdict = judge(with_records(evidence, [r for r in evidence.records if not is_it(r)]))
    assert "cleared" in fails(verdict)


def test_an_alarm_that_stays_fails() -> None:
    evidence = good_run("uc2")
    left = [r for r in evidence.records if not (isinstance(r, Decided) and isinstance(r.action, ClearAlarm))]
    assert any(isinstance(r, Decided) and isinstance(r.action, RaiseAlarm) for r in left)
    assert fails(judge(with_records(evidence, left))) == ["cleared"]


def test_an_incident_given_up_is_not_repaired() -> None:
    evidence = good_run("uc1")
    given_up = [
        replace(r, action=replace(r.action, outcome="not-repaired"))
        if isinstance(r, Decided) and isinstance(r.action, CloseIncident)
        else r
        for r in evidence.records
    ]
    assert fails(judge(with_records(evidence, given_up))) == ["repaired"]


def test_a_standby_that_is_not_there_or_not_in_sync_is_not_repaired() -> None:
    evidence = good_run("uc1")
    begin = evidence.run.faults[0].at
    not_synced = [
        r for r in evidence.records if not (isinstance(r, Seen) and isinstance(r.event, StandbySynced) and r.at > begin)
    ]
    verdict = judge(with_records(evidence, not_synced))
    assert "not in sync" in verdict.checks["repaired"].text
    assert verdict.checks["repaired"].ok is False
    not_ready = [
        r
        for r in evidence.records
        if not (isinstance(r, Seen) and isinstance(r.event, VnfcReady) and r.at > begin)
        and not (isinstance(r, Ended) and r.what == "StartVnfc" and r.at > begin)
    ]
    assert "1 of 2 VNFCs" in judge(with_records(evidence, not_ready)).checks["repaired"].text


def test_where_nothing_may_be_noticed_one_lost_request_fails() -> None:
    evidence = with_run(good_run("one network"), outage="none")
    assert evidence.probe is not None
    sent = evidence.probe.sent_at
    answered = array("d", [at + 0.0001 for at in sent])
    assert judge(with_probe(evidence, answered_at=answered)).verdict == "pass"
    answered[len(answered) // 2] = -1.0
    verdict = judge(with_probe(evidence, answered_at=answered))
    assert fails(verdict) == ["restored"]
    assert verdict.checks["restored"].text == f"1 of {len(sent)} requests were not answered, and none may be lost here"


def test_a_service_that_is_not_answered_at_the_end_is_not_restored() -> None:
    evidence = good_run("uc1")
    assert evidence.probe is not None
    times = array("d", evidence.probe.answered_at)
    times[-100:] = array("d", [-1.0] * 100)
    verdict = judge(with_probe(evidence, answered_at=times))
    assert fails(verdict) == ["restored"]


def slowed(probe: ProbeRun, after: float, by: float) -> ProbeRun:
    """The same answers, those after this moment later."""

    def moved(times: "array[float]") -> "array[float]":
        return array("d", [at + by if at > after else at for at in times])

    return changed(
        probe, sent_at=moved(probe.sent_at), answered_at=moved(probe.answered_at), stopped_at=probe.stopped_at + by
    )


def slow(evidence: Evidence, seconds: float) -> Evidence:
    assert evidence.probe is not None
    gap = evidence.probe.outage(evidence.run.faults[0].at)
    assert gap is not None
    return changed(evidence, probe=slowed(evidence.probe, gap.end - STEP_S / 5, seconds))


def test_an_outage_of_a_second_and_more_is_too_long_where_a_standby_was_running() -> None:
    verdict = judge(slow(good_run("uc5"), 1.0))
    assert "restored" in fails(verdict)
    assert verdict.outage_ms is not None
    assert verdict.outage_ms > 1000
    assert judge(slow(good_run("uc5"), 0.9)).verdict == "pass"


def test_the_service_availability_level_reached_is_the_best_that_fits() -> None:
    assert judge(slow(good_run("uc5"), 5.0)).sal == 1
    assert judge(slow(good_run("uc5"), 7.0)).sal == 2
    assert judge(slow(good_run("uc5"), 20.0)).sal == 3
    assert judge(slow(good_run("uc5"), 60.0)).sal is None


def test_without_redundancy_the_measured_start_and_a_little_more_is_allowed() -> None:
    evidence = with_run(good_run("uc7"), outage="start-time")
    assert judge(evidence).verdict == "pass"
    verdict = judge(slow(evidence, 0.2))
    assert fails(verdict) == ["restored"]
    assert "start of the VNFC" in verdict.checks["restored"].text


def test_the_vms_own_start_is_allowed_where_the_vm_was_restarted() -> None:
    evidence = with_run(good_run("uc8"), outage="start-time")
    text = judge(evidence).checks["restored"].text
    assert "start of the VM" in text
    slower = [
        replace(r, at=r.at - 0.5) if getattr(r, "what", "") == "StartVm" and type(r).__name__ == "Begun" else r
        for r in evidence.records
    ]
    assert judge(slow(with_records(evidence, slower), 0.3)).checks["restored"].ok is True


def test_a_leader_that_was_lost_with_the_fault_has_its_time_to_be_followed_and_no_more() -> None:
    evidence = with_run(good_run("uc7"), outage="start-time")
    begin = evidence.run.faults[0].at

    def led_after(seconds: float, outage_s: float) -> Verdict:
        leads = Marked(begin + seconds, HA, 900, "leads", "ha", "term 2")
        other = replace(leads, by=in_charge(evidence.layout, next(iter(evidence.layout.vnfs))), n=901)
        return judge(slow(with_records(evidence, [*evidence.records, leads, other]), outage_s))

    assert fails(judge(slow(evidence, 1.2))) == ["restored"]
    verdict = led_after(1.2, 1.2)
    assert verdict.checks["restored"].ok is True
    assert "another leader of the managers 1200 ms" in verdict.checks["restored"].text
    assert fails(led_after(2.5, 2.6)) == ["restored"]


def test_a_take_over_without_managers_is_split_into_stages_by_what_agents_have_noted() -> None:
    verdict = judge(good_run("host off unheard"))
    assert verdict.verdict == "pass"
    stages = verdict.stages_ms
    assert stages == {"detect": 4.0, "decide": 1.0, "isolate": 0.0, "recover": 1.6}


def test_until_somebody_knew_that_the_host_is_off_nothing_is_counted_and_then_one_second() -> None:
    evidence = with_run(good_run("uc5"), outage="known-off")
    begin = evidence.run.faults[0].at

    def said_after(seconds: float, outage_s: float) -> Verdict:
        said = Fault(at=begin + seconds, kind="lock", entity="h1", starts=False)
        return judge(slow(with_run(evidence, faults=(*evidence.run.faults, said)), outage_s))

    def confirmed_after(seconds: float, outage_s: float) -> Verdict:
        host = next(iter(evidence.layout.vms.values())).host
        action = ActionId("vim/900")
        order = Decided(begin, VIM, 900, 0, FenceHost(action, host), ())
        done = Ended(begin + seconds, VIM, 901, action, "FenceHost", host, ok=True)
        return judge(slow(with_records(evidence, [*evidence.records, order, done]), outage_s))

    for after in (said_after, confirmed_after):
        assert after(3.0, 3.9).checks["restored"].ok is True
        assert "until the host was known to be off 3000 ms, and one second" in after(3.0, 3.9).checks["restored"].text
        assert fails(after(3.0, 4.1)) == ["restored"]
    assert judge(evidence).checks["restored"].ok is None


def test_an_unrecorded_start_leaves_the_limit_unknown() -> None:
    evidence = with_run(good_run("uc7"), outage="start-time")
    left = [r for r in evidence.records if getattr(r, "what", "") != "StartVnfc"]
    assert judge(with_records(evidence, left)).checks["restored"].ok is None


def test_a_pause_of_the_probe_itself_makes_a_long_outage_unknown() -> None:
    evidence = slow(good_run("uc5"), 1.5)
    assert judge(with_probe(evidence, pauses=[(1.0, 1.4)])).checks["restored"].ok is None


def test_two_owners_fail() -> None:
    evidence = good_run("uc5")
    questions = [n * 0.005 for n in range(100)]
    answers = [OwnerAnswer(at + 0.0001 * k, f"02:00:00:00:00:0{k}") for at in questions for k in (1, 2)]
    run = OwnersRun("10.77.0.100", 0.005, 0.0, 0.5, questions, answers)
    verdict = judge(changed(evidence, owners=(run,)))
    assert fails(verdict) == ["two_owners"]
    assert verdict.two_owners_ms is not None
    assert verdict.two_owners_ms > 400


def with_fence_mode(evidence: Evidence, mode: str) -> Evidence:
    lie = Fault(evidence.run.began_at, "fence-mode", "host1", starts=False, detail=mode)
    return with_run(evidence, faults=(lie, *evidence.run.faults))


def test_who_wrote_to_storage_while_a_device_lied_is_said_not_to_be_judged() -> None:
    lied = judge(with_fence_mode(good_run("fenced by a lie"), "lies-fully"))
    assert (lied.verdict, len(lied.not_judged)) == ("pass", 1)
    assert "storage of billing: host1 may have run on" in lied.not_judged[0]
    assert judge(with_fence_mode(good_run("host fenced"), "hangs")).not_judged == ()
    assert judge(with_fence_mode(good_run("uc1 granted"), "lies-fully")).not_judged == ()


def with_state(evidence: Evidence, lost: list[int], sync: str, **fields: object) -> Evidence:
    assert evidence.probe is not None
    kinds = bytearray(PUT if n % 2 == 0 else GET for n in range(evidence.probe.sent))
    return with_run(with_probe(evidence, kinds=kinds, lost_updates=lost, **fields), sync=sync)


def test_a_lost_update_fails_with_synchronous_replication() -> None:
    evidence = good_run("uc1")
    assert judge(with_state(evidence, [], "synchronous")).verdict == "pass"
    assert fails(judge(with_state(evidence, [4], "synchronous"))) == ["updates"]


def test_with_periodic_replication_only_updates_since_the_last_passing_may_be_lost() -> None:
    evidence = good_run("uc1")
    assert evidence.probe is not None
    fault = evidence.run.faults[0].at
    answered = [n for n, at in enumerate(evidence.probe.answered_at) if 0 <= at < fault]
    recent = with_run(with_state(evidence, answered[-3:], "periodic"), sync_period_s=0.010)
    verdict = judge(recent)
    assert verdict.checks["updates"].ok is True
    assert verdict.updates_lost == 3
    early = with_run(with_state(evidence, answered[-30:], "periodic"), sync_period_s=0.010)
    assert judge(early).checks["updates"].ok is False


def test_updates_that_could_not_be_read_back_are_unknown() -> None:
    verdict = judge(with_state(good_run("uc1"), [], "synchronous", verified=False))
    assert verdict.checks["updates"].ok is None
    assert verdict.verdict == "unknown"


def test_leftovers_fail_and_not_having_looked_is_unknown() -> None:
    evidence = good_run("uc1")
    assert fails(judge(with_run(evidence, leftovers=("namespace hf-vm1",)))) == ["leftovers"]
    assert judge(with_run(evidence, leftovers=None)).verdict == "unknown"


def test_a_world_that_lacks_something_never_passes() -> None:
    verdict = judge(with_run(good_run("uc1"), unknown=("no real-time priority",)))
    assert verdict.verdict == "unknown"
    assert verdict.unknown == ("no real-time priority",)


def test_a_fault_without_effect_proves_nothing_even_if_checks_fail() -> None:
    evidence = good_run("uc1")
    fault = replace(evidence.run.faults[0], took_effect=False, detail="the process survived")
    verdict = judge(with_run(evidence, faults=(fault,), leftovers=("x",)))
    assert verdict.verdict == "unknown"
    assert "survived" in verdict.unknown[0]


def test_a_run_without_any_evidence_is_unknown() -> None:
    evidence = with_run(good_run("uc1"), faults=(), leftovers=None)
    verdict = judge(changed(evidence, records=(), probe=None))
    assert verdict.verdict == "unknown"
    # That the function keeps no state, and that nothing was healed, is known without any.
    assert all(check.ok is None for name, check in verdict.checks.items() if name not in {"updates", "healed"})


def test_what_only_prepares_begins_no_episode() -> None:
    evidence = good_run("uc1")
    early = Fault(100.01, "put-file", "registry-1", starts=False)
    assert judge(with_run(evidence, faults=(early, *evidence.run.faults))).verdict == "pass"


def test_a_run_is_judged_from_its_folder_alone(tmp_path: Path) -> None:
    evidence = good_run("uc1")
    assert evidence.probe is not None
    lines = [msgspec.json.encode(record) for record in evidence.records]
    (tmp_path / "all.jsonl").write_bytes(b"\n".join(lines) + b'\n{"type":"Seen","at"\n')
    (tmp_path / "layout.json").write_bytes(msgspec.json.encode(evidence.layout))
    save_probe(evidence.probe, tmp_path / "probe.bin")
    answers = [OwnerAnswer(0.1, "02:00:00:00:00:01")]
    save_owners(OwnersRun("10.77.0.100", 0.005, 0.0, 1.0, [0.0], answers), tmp_path / "o")
    run = replace(evidence.run, journals=("all.jsonl",), probes=("probe.bin", "never.bin"), owners=("o",))
    write_run(run, tmp_path / "run.json")
    loaded = load_evidence(tmp_path / "run.json")
    assert loaded.records == evidence.records
    assert loaded.unreadable_lines == 1
    verdict = judge_folder(tmp_path)
    assert verdict.verdict == "pass"
    assert verdict.dir == str(tmp_path)
    assert read_journal(tmp_path / "all.jsonl")[1] == 1


def test_incidents_that_stay_open_are_named() -> None:
    evidence = good_run("uc1")
    opened = [r for r in evidence.records if isinstance(r, Decided) and isinstance(r.action, OpenIncident)]
    left = [r for r in evidence.records if not (isinstance(r, Decided) and isinstance(r.action, CloseIncident))]
    verdict = judge(with_records(evidence, left))
    assert opened
    assert "ha#1" in verdict.checks["cleared"].text
    assert "ha#1" in verdict.checks["repaired"].text
