"""The journal keeps what was written, numbers on after a restart, and never stops its writer."""

import os
from pathlib import Path

import pytest

from holdfast.errors import WorldError
from holdfast.model.events import ManagerStarted
from holdfast.model.names import HA
from holdfast.model.records import Marked, Opened, Record, Seen
from holdfast.store.journal import GAP, Journal, read


def mark(journal: Journal, name: str) -> Record:
    return Marked(at=1.0, by=HA, n=journal.number(), name=name)


def names(path: Path) -> list[str]:
    return [record.name for record in read(path) if isinstance(record, Marked)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "ha.jsonl"


def test_records_come_back_as_they_were_written(path: Path) -> None:
    journal = Journal(path, HA)
    journal.opened(1.5, 1000.0, 42)
    seen = Seen(at=2.0, by=HA, n=journal.number(), event=ManagerStarted())
    journal.write([seen])
    journal.close()
    assert list(read(path)) == [Opened(at=1.5, by=HA, n=1, wall=1000.0, pid=42), seen]


def test_numbers_go_on_after_a_restart(path: Path) -> None:
    journal = Journal(path, HA)
    journal.write([mark(journal, "a"), mark(journal, "b")])
    journal.close()
    again = Journal(path, HA)
    assert again.number() == 3
    again.close()


def test_numbers_go_on_behind_a_line_longer_than_the_part_that_is_read_first(path: Path) -> None:
    journal = Journal(path, HA)
    journal.write([mark(journal, "a")])
    journal.write([Marked(at=1.0, by=HA, n=journal.number(), name="long", detail="x" * 300_000)])
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"type":"Marked","at":1.0,"by":"ha","n":9' + b"9" * 100_000)
    again = Journal(path, HA)
    assert again.last_n == 2
    again.close()


def test_a_last_line_cut_off_by_a_kill_is_passed_over_and_the_next_process_begins_on_a_new_line(path: Path) -> None:
    journal = Journal(path, HA)
    journal.write([mark(journal, "a")])
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"type":"Marked","at":1.')
    assert names(path) == ["a"]
    again = Journal(path, HA)
    again.opened(2.0, 0.0, 1)
    again.write([mark(again, "b")])
    again.close()
    assert names(path) == ["a", "b"]


@pytest.mark.parametrize("line", [b"not json", b'{"type":"Unknown"}', b'{"type":"Marked","at":"x"}', b"\xff\xfe"])
def test_a_broken_line_in_the_middle_is_reported_with_file_and_line(path: Path, line: bytes) -> None:
    journal = Journal(path, HA)
    journal.write([mark(journal, "a")])
    journal.close()
    good = path.read_bytes()
    path.write_bytes(good + line + b"\n" + good)
    with pytest.raises(WorldError, match=r"ha.jsonl:2: not a record"):
        list(read(path))


def test_a_broken_line_that_is_complete_is_reported_at_the_end_too(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"rubbish\n")
    with pytest.raises(WorldError, match=r"ha.jsonl:1: not a record"):
        list(read(path))


def test_a_missing_journal_is_reported_with_its_name(path: Path) -> None:
    with pytest.raises(WorldError, match=r"ha\.jsonl cannot be read"):
        list(read(path))


def test_a_full_disk_costs_records_but_not_the_writer_and_is_told_once(path: Path) -> None:
    told: list[str] = []
    journal = Journal(path, HA, told.append)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._file)
    os.close(full)
    journal.write([mark(journal, "a")])
    journal.write([mark(journal, "b"), mark(journal, "c")])
    assert journal.lost == 3
    assert len(told) == 1
    assert "No space left" in told[0]
    good = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(good, journal._file)
    os.close(good)
    journal.write([mark(journal, "d")])
    journal.close()
    assert names(path) == [GAP, "d"]


def test_whoever_has_nothing_to_write_says_what_was_lost_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the folder should be")
    told: list[str] = []
    back: list[bool] = []
    journal = Journal(tmp_path / "journal" / "ha.jsonl", HA)
    journal.when_lost(told.append, lambda: back.append(True))
    journal.catch_up(1.0)
    journal.write([mark(journal, "a")])
    journal.catch_up(2.0)
    assert (journal.is_losing, back) == (True, [])
    (tmp_path / "journal").unlink()
    journal.catch_up(3.0)
    journal.catch_up(4.0)
    journal.close()
    assert (journal.is_losing, back) == (False, [True])
    assert names(tmp_path / "journal" / "ha.jsonl") == [GAP]


def test_a_folder_that_cannot_be_written_does_not_stop_the_writer(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the folder should be")
    told: list[str] = []
    journal = Journal(tmp_path / "journal" / "ha.jsonl", HA, told.append)
    journal.write([mark(journal, "a")])
    assert journal.lost == 1
    assert len(told) == 1
    journal.close()


def test_the_first_record_of_a_process_is_late_rather_than_lost(tmp_path: Path) -> None:
    """What the times of all others are counted from stands in it."""
    (tmp_path / "journal").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "journal" / "ha.jsonl", HA)
    journal.opened(3.0, 1000.0, 7)
    journal.write([mark(journal, "a")])
    (tmp_path / "journal").unlink()
    journal.write([mark(journal, "b")])
    journal.write([mark(journal, "c")])
    journal.close()
    first, gap, *others = read(tmp_path / "journal" / "ha.jsonl")
    assert isinstance(first, Opened)
    assert (first.at, first.wall, first.pid) == (3.0, 1000.0, 7)
    assert isinstance(gap, Marked)
    assert (gap.name, gap.detail) == (GAP, "1 records lost")
    assert [one.name for one in others if isinstance(one, Marked)] == ["b", "c"]
