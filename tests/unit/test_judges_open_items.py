"""What counts as still open when leaders have changed."""

from holdfast.lab.judges.facts import Fact
from holdfast.lab.judges.open_items import still_open
from holdfast.model.records import CARRIES


def fact(verb: str, kind: str, by: str, at: float, **fields: str) -> Fact:
    return Fact(verb, kind, by, at, int(at * 10), 0, fields)


OPENED = fact("decided", "OpenIncident", "ha", 1.0, incident="ha#1")
RAISED = fact("decided", "RaiseAlarm", "ha", 1.1, alarm="held:s")
REPORTED = fact("sent", "ErrorReport", "ha", 1.2, incident="ha#1", to="vnfm:a")


def carries(by: str, detail: str) -> Fact:
    return fact("marked", CARRIES, by, 2.0, about=by, detail=detail)


def test_what_nobody_closes_stays_open() -> None:
    assert set(still_open([OPENED, RAISED, REPORTED])) == {
        ("incident", "ha#1"),
        ("alarm", "held:s"),
        ("report", "ha#1"),
    }


def test_a_new_leader_goes_on_with_what_it_names() -> None:
    assert set(still_open([OPENED, RAISED, carries("ha", "incident:ha#1")])) == {("incident", "ha#1")}


def test_a_report_is_over_when_its_receiver_does_not_know_it_and_not_when_its_sender_forgets() -> None:
    assert ("report", "ha#1") in still_open([REPORTED, carries("ha", "")])
    assert still_open([REPORTED, carries("vnfm:a", "")]) == {}
    assert ("report", "ha#1") in still_open([REPORTED, carries("vnfm:a", "report:ha#1")])


def test_another_manager_takes_nothing_back() -> None:
    assert set(still_open([OPENED, carries("vim", "")])) == {("incident", "ha#1")}
