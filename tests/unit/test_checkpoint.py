"""Checkpoints in a folder: whole or not there, newest first, one writer at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.errors import UserError, WorldError
from holdfast.state.checkpoint import BROKEN_KEPT, CHECKPOINTS_KEPT, CheckpointFolder, Fenced, Loaded
from holdfast.wire.component import Position


@contextmanager
def _writer(folder: Path, epoch: int) -> Iterator[CheckpointFolder]:
    writer = CheckpointFolder(str(folder), epoch, lock_limit_s=0.05)
    try:
        yield writer
    finally:
        writer.close()


def _loaded(folder: Path, epoch: int = 99) -> Loaded:
    with _writer(folder, epoch) as writer:
        return writer.claim()


def _files(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.startswith(kind + "."))


def test_an_empty_folder_holds_no_state(tmp_path: Path) -> None:
    assert _loaded(tmp_path / "new", 1) == Loaded(Position(), None, [], [])


def test_the_newest_checkpoint_is_loaded(tmp_path: Path) -> None:
    with _writer(tmp_path, 3) as writer:
        writer.claim()
        for sequence in (10, 20, 30):
            writer.save(b"state %d" % sequence, sequence)
    assert _loaded(tmp_path) == Loaded(Position(3, 30), b"state 30", [], [])
    assert len(_files(tmp_path, "checkpoint")) == CHECKPOINTS_KEPT


def test_updates_behind_a_checkpoint_are_loaded_once_they_are_synced(tmp_path: Path) -> None:
    with _writer(tmp_path, 3) as writer:
        writer.claim()
        writer.append(b"before any checkpoint")
        writer.sync()
    assert _loaded(tmp_path, 3) == Loaded(Position(3, 1), None, [b"before any checkpoint"], [])
    with _writer(tmp_path, 4) as writer:
        assert writer.claim().position == Position(3, 1)
        writer.save(b"state", 1)
        assert writer.append(b"u") == Position(4, 2)
        writer.append(b"v")
        writer.sync()
        writer.append(b"not synced")
    assert _loaded(tmp_path) == Loaded(Position(4, 3), b"state", [b"u", b"v"], [])


def test_updates_of_several_writers_in_turn_are_found_in_order(tmp_path: Path) -> None:
    for epoch in range(1, 6):
        with _writer(tmp_path, epoch) as writer:
            assert writer.claim().position.sequence == epoch - 1
            writer.append(b"%d" % epoch)
            writer.sync()
    assert _loaded(tmp_path).updates == [b"1", b"2", b"3", b"4", b"5"]


def test_a_journal_cut_anywhere_gives_the_updates_before_the_cut(tmp_path: Path) -> None:
    with _writer(tmp_path, 1) as writer:
        writer.claim()
        for update in (b"aa", b"bb", b"cc"):
            writer.append(update)
        writer.sync()
    [journal] = _files(tmp_path, "journal")
    whole = journal.read_bytes()
    for length in range(len(whole) + 1):
        journal.write_bytes(whole[:length])
        folder = tmp_path / f"copy{length}"
        folder.mkdir()
        (folder / journal.name).write_bytes(whole[:length])
        assert _loaded(folder).updates == [b"aa", b"bb", b"cc"][: length * 3 // len(whole)]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    with _writer(tmp_path, 3) as writer:
        writer.claim()
        writer.save(b"good", 10)
        writer.append(b"u")
        writer.sync()
        writer.save(b"newer", 11)
        writer.append(b"v")
        writer.sync()
    newest = _files(tmp_path, "checkpoint")[-1]
    data = newest.read_bytes()
    newest.write_bytes({"cut": data[:-2], "flip": data[:-1] + b"?", "empty": b""}[damage])
    loaded = _loaded(tmp_path)
    assert (loaded.state, loaded.updates, loaded.position) == (b"good", [b"u", b"v"], Position(3, 11 + 1))
    assert [path.name for path in _files(tmp_path, "broken")] == loaded.put_aside


def test_damaged_checkpoints_do_not_pile_up(tmp_path: Path) -> None:
    with _writer(tmp_path, 3) as writer:
        writer.claim()
        for sequence in range(BROKEN_KEPT + 3):
            (tmp_path / f"broken.{3:020d}.{sequence:020d}").write_bytes(b"")
        writer.save(b"s", 100)
        writer.save(b"s", 101)
    assert len(_files(tmp_path, "broken")) == BROKEN_KEPT


def test_an_interrupted_write_changes_nothing(tmp_path: Path) -> None:
    with _writer(tmp_path, 3) as writer:
        writer.claim()
        writer.save(b"good", 10)
    (tmp_path / "checkpoint.new").write_bytes(b"half a checkpoi")
    assert _loaded(tmp_path).state == b"good"


def test_a_writer_with_an_older_epoch_is_refused(tmp_path: Path) -> None:
    with _writer(tmp_path, 3) as old, _writer(tmp_path, 4) as new:
        old.claim()
        old.save(b"old", 1)
        old.append(b"on its way")
        assert new.claim().state == b"old"
        with pytest.raises(Fenced, match="epoch 3"):
            old.sync()
        with pytest.raises(Fenced, match="epoch 3"):
            old.save(b"too late", 2)
        with pytest.raises(Fenced, match="older than 4"):
            old.claim()
    assert _loaded(tmp_path).state == b"old"


def test_a_writer_that_never_claimed_is_refused(tmp_path: Path) -> None:
    with _writer(tmp_path, 3) as writer, pytest.raises(Fenced):
        writer.save(b"state", 1)


def test_a_folder_held_by_another_writer_is_waited_for_and_then_reported(tmp_path: Path) -> None:
    import fcntl

    with _writer(tmp_path, 3) as writer:
        held = os.open(tmp_path / "fence", os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WorldError, match="held by another writer"):
            writer.claim()
        os.close(held)
        assert writer.claim().state is None


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot use"):
        CheckpointFolder(str(tmp_path / "file"), 1)


def test_journals_are_removed_with_the_checkpoints_they_followed(tmp_path: Path) -> None:
    with _writer(tmp_path, 1) as writer:
        writer.claim()
        for sequence in range(1, 30):
            writer.append(b"u")
            writer.sync()
            writer.save(b"s", sequence)
    assert len(_files(tmp_path, "journal")) <= CHECKPOINTS_KEPT + 1
