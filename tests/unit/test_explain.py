"""`why`: incidents of several parties told as one, in sentences that rest on the journal alone."""

from collections.abc import Callable
from typing import get_args

import pytest

from holdfast.core.explain import Incident, incidents, tell, why_runs_where
from holdfast.core.explain_words import happened, ordered, said
from holdfast.model import actions, events, messages
from holdfast.model.actions import CloseIncident
from holdfast.model.granting import FAST, voter_set
from holdfast.model.names import HostName, IncidentId, VmName
from holdfast.model.records import Decided, Record
from tests.unit.judged_runs import RUNS, good_run

X = IncidentId("x")


def told(name: str) -> tuple[Incident, str]:
    evidence = good_run(name)
    last = incidents(evidence.records, evidence.layout)[-1]
    return last, "\n".join(tell(last, evidence.records, evidence.layout))


def test_one_fault_is_one_incident_whoever_saw_it() -> None:
    evidence = good_run("uc2")
    found = incidents(evidence.records, evidence.layout)
    assert len(found) == 1
    assert set(found[0].about) == {"registry-1", "vm1"}
    assert found[0].parties == ("ha", "vim")
    assert found[0].outcome == "repaired"


def test_it_is_one_incident_too_where_the_ha_manager_hears_of_it_last() -> None:
    evidence = good_run("uc2 vim first")
    assert len(incidents(evidence.records, evidence.layout)) == 1


def test_two_faults_are_two_incidents() -> None:
    evidence = good_run("uc1 standby first")
    found = incidents(evidence.records, evidence.layout)
    assert [incident.about for incident in found] == [("registry-2",), ("registry-1",)]


def test_a_take_over_by_standing_order_is_told_with_who_decided_it_and_why_nobody_was_asked() -> None:
    incident, text = told("host off unheard")
    assert incident.ids == ("ha#1", "vim#1")
    assert (
        "+0.0 ms  agent of host2 gives registry-2 the active role for registry (epoch 2), because nobody holds "
        "registry (its holder's promise has run out, and host1 has failed) and registry-2 was to follow "
        "(number 1 of 1 in order 1, epoch 2), so that nobody need be asked." in text
    )
    assert "agent of host2: active role for registry-2 confirmed." in text
    assert "HA manager saw: registry-2 has taken registry over by standing order (epoch 2)." in text
    assert "When the HA manager heard of it, service registry was provided again, by registry-2 (epoch 2)" in text
    assert text.count("gives registry-2 the active role") == 1


def test_a_host_and_what_ran_in_its_vms_are_one_incident() -> None:
    evidence = good_run("host fenced")
    assert [one.about for one in incidents(evidence.records, evidence.layout)] == [("billing-1", "host1")]


def test_a_take_over_is_told_from_sight_to_repair() -> None:
    incident, text = told("uc1")
    assert text.startswith("Incident ha#1: registry-1 failed (signal 9); service registry was interrupted; over after")
    assert "HA manager saw: registry-1 failed (signal 9; run 1)." in text
    assert "HA manager isolates registry-1 (cleans it up), for the same reason." in text
    assert "isolation of registry-1 confirmed" in text
    assert "HA manager gives registry-2 the active role for registry (epoch 2), because" in text
    assert "registry-2 holds the newest state" in text
    assert "By the HA manager's own view service registry was interrupted for" in text
    assert "what a client noticed is not in the journal" in text
    assert incident.id == "ha#1"


def test_the_widest_failure_comes_first_and_what_it_took_along_behind_it() -> None:
    _, text = told("uc2")
    assert (
        "VM vm1 died (ended by the lab), and registry-1 with it; service registry was interrupted;"
        in text.splitlines()[0]
    )


def test_no_party_is_called_by_its_address() -> None:
    text = "\n".join(told(name)[1] for name in ("uc1", "uc2", "uc4 crossing", "uc9"))
    assert "VNFM core" in text
    assert not [line for line in text.splitlines() if " ha " in line or " vim " in line or "by vnfm:" in line]


def test_reasons_are_said_once_and_not_repeated_by_what_they_lead_to() -> None:
    _, text = told("uc2")
    lines = text.splitlines()
    assert sum(line.endswith("for the same reason.") for line in lines) > 3
    assert not [line for line in lines if "because" in line and line.count("VM vm1 is up") > 1]


def test_a_vm_that_was_only_reported_is_in_error_and_has_not_died() -> None:
    headline = told("uc9")[1].splitlines()[0]
    assert "nginx-1 failed (signal 9) and VM vm1 was in error (too many failures in it); service nginx was" in headline


def test_an_alarm_is_told_when_it_is_raised_and_when_it_is_cleared() -> None:
    _, text = told("uc2")
    assert text.index("VIM raises an alarm: ") < text.index("VIM clears the alarm ")


def test_what_is_not_done_is_told_with_its_reason() -> None:
    _, text = told("uc2")
    assert "HA manager does not start registry-1 now, because" in text
    assert "VM vm1 must be up first" in text


def test_counters_are_told_where_they_decided_something() -> None:
    _, text = told("uc9")
    assert "Counted: vm1 has failed too often (4 failures in it within 60 s, 3 allowed)." in text


def test_what_is_under_way_is_told_while_it_is() -> None:
    evidence = good_run("uc1")
    at = evidence.run.faults[0].at
    early = [record for record in evidence.records if record.at < at + 0.0025]
    found = incidents(early, evidence.layout)
    assert found[-1].closed_at is None
    text = "\n".join(tell(found[-1], early, evidence.layout))
    assert "it is not over yet" in text
    assert "service registry is still interrupted" in text


def test_an_incident_that_is_given_up_says_so() -> None:
    evidence = good_run("uc1")

    def given_up(record: Record) -> Record:
        if isinstance(record, Decided) and isinstance(record.action, CloseIncident):
            return Decided(
                record.at,
                record.by,
                record.n,
                record.on,
                CloseIncident(record.action.incident, "not-repaired"),
                record.reasons,
                record.incident,
            )
        return record

    records = [given_up(record) for record in evidence.records]
    incident = incidents(records, evidence.layout)[0]
    assert incident.outcome == "not-repaired"
    assert "given up without repair" in tell(incident, records)[0]


def test_who_provides_a_service_and_why_this_one() -> None:
    evidence = good_run("uc1")
    lines = why_runs_where("registry", evidence.records)
    assert lines[0] == "Service registry is provided by registry-2 (epoch 2)."
    assert "because" in lines[1]
    assert why_runs_where("nothing", evidence.records) == ["No service of nothing is in the journal."]


def test_a_name_that_only_begins_alike_is_another_vnf() -> None:
    assert why_runs_where("regi", good_run("uc1").records) == ["No service of regi is in the journal."]


def test_a_service_that_nobody_provides_is_told_as_such() -> None:
    evidence = good_run("uc1")
    early = [record for record in evidence.records if record.at < evidence.run.faults[0].at + 0.002]
    assert why_runs_where("registry", early) == ["Service registry is interrupted: nobody provides it now."]


@pytest.mark.parametrize("name", RUNS)
def test_every_incident_of_every_use_case_can_be_told(name: str) -> None:
    evidence = good_run(name)
    for incident in incidents(evidence.records, evidence.layout):
        lines = tell(incident, evidence.records, evidence.layout)
        assert len(lines) > 3
        assert all(line.endswith((".", "?")) for line in lines)
        assert all(len(line) < 1000 and "  ()" not in line for line in lines)


EXAMPLES: dict[str, object] = {
    "vnfcs": (),
    "vms": (),
    "within_s": 1.0,
    "successors": (),
    "message": messages.VmUp(X, VmName("x"), 1),
    "voters": voter_set((HostName("x"),), FAST),
}


def test_no_word_is_missing() -> None:
    sentences: list[tuple[object, Callable[..., str]]] = [
        (events.Event, happened),
        (messages.Message, said),
        (actions.Action, ordered),
    ]
    for kinds, words in sentences:
        for kind in get_args(kinds):
            fields = {name: EXAMPLES.get(name, "x") for name in kind.__struct_fields__}
            assert words(kind(**fields)), kind
