"""The journals of a running deployment, read as they grow."""

from pathlib import Path

from holdfast.lab.tail import JournalTail
from holdfast.model.actions import CloseIncident, NoteService, OpenIncident
from holdfast.model.names import HA, VIM, IncidentId, ServiceName, VnfcName
from holdfast.model.reasons import Reason
from holdfast.model.records import CARRIES, Decided, Marked
from holdfast.store.journal import Journal
from tests.unit.judged_runs import good_run

FOUND = good_run("uc1")
CLOSED = next(r for r in FOUND.records if isinstance(r, Decided) and isinstance(r.action, CloseIncident))
OPENED = next(r for r in FOUND.records if isinstance(r, Decided) and isinstance(r.action, OpenIncident))


def test_a_line_whose_writer_was_killed_in_it_is_counted_and_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "ha.jsonl", HA)
    journal.write([OPENED])
    with (tmp_path / "ha.jsonl").open("ab") as file:
        file.write(b'{"type":"Decided","at":1.0,"by\n')
    journal.write([CLOSED])
    journal.close()
    tail = JournalTail(tmp_path, FOUND.layout)
    assert (tail.read(), tail.unreadable) == (sorted([OPENED, CLOSED], key=lambda record: record.at), 1)


def test_what_is_forgotten_is_no_more_than_what_is_over(tmp_path: Path) -> None:
    other = OpenIncident(IncidentId("ha#99"), "registry-2", None, "killed")
    open_still = Decided(OPENED.at, HA, 999, 1, other, (Reason("vnfc-failed", "x", "y"),))
    journal = Journal(tmp_path / "ha.jsonl", HA)
    journal.write([OPENED, open_still, CLOSED])
    journal.close()
    tail = JournalTail(tmp_path, FOUND.layout)
    tail.read()
    tail.forget()
    assert (tail.records, tail.closed, set(tail.opened), set(tail.by)) == ([], set(), {"ha#99"}, {"ha#99"})


def test_who_leads_is_told_by_the_newest_term_whoever_speaks_last(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "ha.jsonl", HA)
    tail = JournalTail(tmp_path, FOUND.layout)
    said = []
    for n, (name, detail) in enumerate(
        [
            ("leads", "term 3"),
            ("lapsed", "term 3: the leadership could not be renewed"),
            ("leads-on", "term 3 goes on"),
            ("followed", "term 3: does not reach the agent of h4, which others hear: gives way"),
            ("leads", "term 4"),
            ("followed", "term 3: h2 leads the managers"),
        ],
        start=1,
    ):
        journal.write([Marked(float(n), HA, n, name, HA, detail)])
        tail.read()
        said.append(tail.leaderless())
    journal.close()
    assert said == [[], [HA], [], [HA], [], []]
    assert VIM not in tail.leads


def test_what_a_leader_has_noted_and_lost_is_put_right_by_what_its_successor_carries_on(tmp_path: Path) -> None:
    one, other = ServiceName("registry"), ServiceName("dns")
    because = (Reason("operator-asked", "x"),)
    journal = Journal(tmp_path / "ha.jsonl", HA)
    journal.write([
        Decided(1.0, HA, 1, 1, NoteService(one, "interrupted", VnfcName("registry-1"), 1), because),
        Decided(1.1, HA, 2, 1, NoteService(other, "provided", VnfcName("dns-2"), 2), because),
        Marked(2.0, HA, 3, CARRIES, HA, "alarm:x provided:registry=registry-1"),
    ])  # fmt: skip
    journal.close()
    tail = JournalTail(tmp_path, FOUND.layout)
    tail.read()
    assert tail.providers == {one: VnfcName("registry-1"), other: None}
