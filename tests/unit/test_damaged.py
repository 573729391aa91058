"""Every byte of every file that we keep, changed or missing: it is told with file and place, and gone on from."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.core.explain import incidents, tell
from holdfast.errors import UserError, WorldError
from holdfast.model.actions import OpenIncident
from holdfast.model.granting import FAST, voter_set
from holdfast.model.names import HA, HostName, IncidentId, Party
from holdfast.model.reasons import Reason
from holdfast.model.records import Decided, Marked, Opened, Record
from holdfast.runtime import voter_file
from holdfast.runtime.agent_terms import Followed, Terms
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.manager_process import DAMAGED, make_seats
from holdfast.store.damaged import kept_aside, open_sound, times_damaged
from holdfast.store.journal import Broken, Journal, read
from holdfast.store.port import Saved, Store
from holdfast.store.sqlite import LogDamaged, SqliteStore, StoreDamaged
from holdfast.store.sums import with_sum
from tests.scripts.layouts import registry
from tests.unit.judged_runs import good_run
from tests.unit.test_cli import holdfast

FLIPS = (0x01, 0xFF)


def flipped(content: bytes, stride: int = 1) -> Iterator[tuple[int, bytes]]:
    """The content with one byte changed: every byte that is not 0, and of those that are one in `stride`."""
    for place, byte in enumerate(content):
        if byte or place % stride == 0:
            for flip in FLIPS:
                yield place, content[:place] + bytes([byte ^ flip]) + content[place + 1 :]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Two processes, one after the other."""
    path = tmp_path / "run" / "journal" / "ha.jsonl"
    for at in (1.0, 5.0):
        written = Journal(path, HA)
        written.opened(at, 1000.0 + at, 42)
        opened = OpenIncident(IncidentId("ha#1"), "registry-1", None, "killed")
        reason = (Reason("vnfc-failed", "registry-1", "killed: signal 9", (1,)),)
        written.write([Decided(at + 0.5, HA, written.number(), 1, opened, reason)])
        written.write([Marked(at + 1.0, HA, written.number(), "told", "é")])
        written.close()
    return path


def taken_in(path: Path) -> tuple[list[Record], list[Broken]]:
    broken: list[Broken] = []
    return list(read(path, broken.append)), broken


def test_a_journal_with_any_byte_changed_is_told_with_its_line_or_is_what_it_was(journal: Path) -> None:
    content, whole = journal.read_bytes(), taken_in(journal)[0]
    assert len(whole) == 6
    for place, changed in flipped(content):
        journal.write_bytes(changed)
        records, broken = taken_in(journal)
        lines = content[:place].count(b"\n") + 1
        if broken:
            assert {one.line for one in broken} <= {lines, lines + 1}, place
            assert all(one in whole for one in records), place
            assert not any(one.is_cut for one in broken), place
            assert len(records) >= len(whole) - 2, place
        else:
            assert records == whole, place


def test_a_journal_cut_anywhere_keeps_all_that_is_before_the_cut(journal: Path) -> None:
    content, whole = journal.read_bytes(), taken_in(journal)[0]
    for length in range(len(content)):
        journal.write_bytes(content[:length])
        records, broken = taken_in(journal)
        assert records == whole[: len(records)]
        begun = content[:length].count(b"\n")
        assert len(records) in (begun, begun + 1)
        assert bool(broken) == (length > 0 and len(records) == begun and content[length - 1 : length] != b"\n")
        assert all(one.is_cut and one.offset <= length for one in broken)
        # Whoever writes next begins on a line of its own, and what is cut off is told as such.
        again = Journal(journal, HA)
        again.opened(9.0, 1009.0, 43)
        again.close()
        after, still = taken_in(journal)
        assert isinstance(after[-1], Opened)
        assert (len(after), [one.is_cut for one in still]) == (len(records) + 1, [True] * len(still))


def test_why_goes_on_behind_a_damaged_line_and_says_so(journal: Path, tmp_path: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"told", b"tell")
    journal.write_bytes(b"".join(lines))
    status, output, error = holdfast(tmp_path, "why", "--folder", str(tmp_path / "run"))
    assert status == 1
    assert "ha#1" in output
    assert "ha.jsonl:3: not a record of format 1: its checksum does not fit" in error
    assert f"the line begins at byte {len(lines[0]) + len(lines[1])}" in error
    assert "hint: " in error
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:30])
    status, _, error = holdfast(tmp_path, "why", "--folder", str(tmp_path / "run"))
    assert (status, "ha.jsonl:3: cut off when its writer ended" in error) == (0, True)


@pytest.mark.parametrize("name", ["uc1", "uc2", "host off unheard"])
def test_what_is_told_of_an_incident_bears_the_loss_of_any_record(name: str) -> None:
    evidence = good_run(name)
    whole = len(incidents(evidence.records, evidence.layout))
    for lost in range(len(evidence.records)):
        left = [*evidence.records[:lost], *evidence.records[lost + 1 :]]
        found = incidents(left, evidence.layout)
        assert len(found) <= whole + 1
        for one in found:
            assert tell(one, left, evidence.layout)


def save_some(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    for version in range(6):
        changes: dict[str, bytes | None] = {"state.a": os.urandom(20), f"part{version}": b"x" * version}
        store.save(HA, changes | ({"part1": None} if version == 4 else {}), version)
    return store


def test_a_store_with_any_byte_changed_is_told_or_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ha.db"
    store = save_some(path)
    whole = store.load(HA)
    store.close()
    content = path.read_bytes()
    told: list[str] = []
    for place, changed in flipped(content, stride=97):
        path.write_bytes(changed)
        try:
            opened = SqliteStore(path)
        except StoreDamaged as damaged:
            told.append(damaged.message)
        else:
            assert opened.load(HA) == whole, place
            opened.close()
    assert len(told) > 500
    assert all("ha.db is damaged: " in one for one in told)


def test_a_log_with_any_byte_of_its_last_saves_changed_is_told(tmp_path: Path) -> None:
    store = save_some(tmp_path / "ha.db")
    log = tmp_path / "ha.db-wal"
    base, content = (tmp_path / "ha.db").read_bytes(), log.read_bytes()
    begin = len(content) - 2 * (4096 + 24)
    copy = tmp_path / "copy"
    copy.mkdir()
    store.close()
    for place, changed in flipped(content[begin:], stride=997):
        (copy / "ha.db").write_bytes(base)
        (copy / "ha.db-wal").write_bytes(content[:begin] + changed)
        with pytest.raises(LogDamaged, match=r"frame \d+ of ha\.db-wal has changed"):
            SqliteStore(copy / "ha.db")
        assert place < len(content)
    (copy / "ha.db").write_bytes(base)
    (copy / "ha.db-wal").write_bytes(b"\x00" + content[1:])
    with pytest.raises(LogDamaged, match=r"the header of ha\.db-wal has changed"):
        SqliteStore(copy / "ha.db")


def test_what_a_later_log_has_left_over_of_an_earlier_one_is_no_damage(tmp_path: Path) -> None:
    store = save_some(tmp_path / "ha.db")
    store.tidy()
    version = store.save(HA, {"state.a": b"later"}, 6)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("ha.db", "ha.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    again = SqliteStore(copy / "ha.db")
    assert (again.load(HA).version, again.load(HA).parts["state.a"]) == (version, b"later")
    again.close()


def test_a_damaged_store_is_kept_aside_and_an_empty_one_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "ha.db"
    save_some(path).close()
    for times in (1, 2):
        content = bytearray(path.read_bytes())
        content[-40] ^= 0xFF
        path.write_bytes(content)
        store = open_sound(path)
        assert store.load(HA) == Saved(0, {})
        assert kept_aside(path)[-1].read_bytes() == content
        assert times_damaged(path) == times
        store.save(HA, {"state.a": b"anew"}, 0)
        store.close()
    assert [one.name for one in kept_aside(path)] == ["ha.db.damaged-1", "ha.db.damaged-2"]


def test_where_the_log_is_damaged_what_was_saved_before_is_gone_on_from(tmp_path: Path) -> None:
    store = save_some(tmp_path / "ha.db")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("ha.db", "ha.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    content = bytearray((copy / "ha.db-wal").read_bytes())
    content[-40] ^= 0xFF
    (copy / "ha.db-wal").write_bytes(content)
    again = open_sound(copy / "ha.db")
    assert again.load(HA).version == 5
    assert (copy / "ha.db.damaged-1-wal").read_bytes() == content
    again.close()


def test_a_store_that_an_older_version_wrote_has_no_checksums_and_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "ha.db"
    store = save_some(path)
    store._base.execute("DELETE FROM parts WHERE name=''")
    store._base.execute("PRAGMA user_version=0")
    store.close()
    again = SqliteStore(path)
    assert again.save(HA, {"state.a": b"2"}, 6) == 7
    again.close()
    third = SqliteStore(path)
    assert third.load(HA).parts["state.a"] == b"2"
    assert set(third._sums[HA]) == set(third.load(HA).parts)
    third.close()


def test_a_store_that_has_a_checksum_of_each_part_is_read_and_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "ha.db"
    store = save_some(path)
    version, parts = store.load(HA).version, store.load(HA).parts
    each = msgspec.json.encode({"version": version, "parts": {name: zlib.crc32(one) for name, one in parts.items()}})
    store._base.execute("UPDATE parts SET content=? WHERE name=''", (with_sum(each),))
    store.close()
    again = SqliteStore(path)
    assert again.load(HA).parts == parts
    again._base.execute("UPDATE parts SET content=? WHERE name='state.a'", (b"another",))
    again.close()
    with pytest.raises(StoreDamaged, match=r"state\.a has changed"):
        SqliteStore(path)


def test_a_part_that_is_missing_or_in_another_place_is_told(tmp_path: Path) -> None:
    changes = ("DELETE FROM parts WHERE name='state.a'", "UPDATE parts SET name='b' WHERE name='state.a'")
    for number, change in enumerate(changes):
        path = tmp_path / f"{number}.db"
        store = save_some(path)
        store._base.execute(change)
        store.close()
        with pytest.raises(StoreDamaged, match="has changed since it was saved, or is missing"):
            SqliteStore(path)


def close_all(stores: list[Store], journals: list[Journal]) -> None:
    for store in stores:
        store.close()
    for journal in journals:
        journal.close()


def test_a_manager_whose_store_was_damaged_says_so_and_gives_no_number_again(tmp_path: Path) -> None:
    folder, parties = RunFolder(tmp_path / "run"), (HA, Party("vnfm:core"))
    layout = registry()
    seats, stores, journals = make_seats(layout, folder, parties)
    for seat in seats:
        seat.keep()
    close_all(stores, journals)
    content = bytearray(folder.state(HA).read_bytes())
    content[-40] ^= 0xFF
    folder.state(HA).write_bytes(content)
    (ha, vnfm), stores, journals = make_seats(layout, folder, parties)
    assert f"{folder.state(HA)}.damaged-1" in ha.view.alarms[f"{DAMAGED}:ha"]
    assert ha.state.ledger.actions >= 1_000_000
    assert all(group.epoch >= 1_000_000 for group in ha.state.groups.values())
    assert (vnfm.view.alarms, vnfm.state.ledger.actions) == ({}, 0)
    close_all(stores, journals)
    kept_aside(folder.state(HA))[0].unlink()
    (ha, _), stores, journals = make_seats(layout, folder, parties)
    assert ha.view.alarms == {}
    close_all(stores, journals)


def test_a_voter_set_with_any_byte_changed_or_missing_is_refused_or_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "voters"
    voters = voter_set((HostName("a"), HostName("b")), FAST)
    voter_file.keep(path, voters)
    content = path.read_bytes()
    cut = [(length, content[:length]) for length in range(len(content))]
    refused: list[str] = []
    for place, changed in (*flipped(content), *cut):
        path.write_bytes(changed)
        try:
            assert voter_file.read(path) == voters, place
        except UserError as error:
            refused.append(error.message)
    assert len(refused) > len(content)
    assert all(f"{path} is no voter set" in one for one in refused)


def test_terms_with_any_byte_changed_or_missing_are_kept_aside_or_are_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "terms.json"
    Terms(path, pytest.fail).admit(HA, 7, "abc")
    content = path.read_bytes()
    cut = [(length, content[:length]) for length in range(len(content))]
    for place, changed in (*flipped(content), *cut):
        path.write_bytes(changed)
        said: list[str] = []
        newest = Terms(path, said.append)._newest
        if said:
            assert (newest, path.exists()) == ({}, False), place
            assert path.with_suffix(".damaged").read_bytes() == changed
            assert "terms.json cannot be read" in said[0]
        else:
            assert newest == {HA: Followed(7, "abc")}, place


def test_what_lies_aside_already_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ha.db"
    path.write_bytes(b"no store at all" * 10)
    (tmp_path / "ha.db.damaged-1").mkdir()
    (tmp_path / "ha.db.damaged-2").write_bytes(b"")
    open_sound(path).close()
    assert times_damaged(path) == 3
    assert kept_aside(path)[2].read_bytes() == b"no store at all" * 10


def test_a_store_that_cannot_be_opened_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"ha\.db cannot be opened"):
        open_sound(tmp_path / "missing" / "ha.db")
    first = open_sound(tmp_path / "ha.db")
    with pytest.raises(WorldError, match="is locked") as told:
        open_sound(tmp_path / "ha.db")
    assert "another manager" in told.value.hint
    first.close()
    assert kept_aside(tmp_path / "ha.db") == []
