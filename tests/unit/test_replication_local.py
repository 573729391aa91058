"""The component's own copy of its state: what a restart finds, whatever the process was doing when it ended."""

from pathlib import Path

from holdfast.state.frames import Entry
from holdfast.state.local import COMPACT_BYTES, LocalLog
from holdfast.wire.component import Position


def _recovered(folder: Path) -> tuple[bytes | None, list[bytes], Position, int]:
    log = LocalLog(str(folder))
    found = log.recover()
    log.close()
    return found.snapshot, [entry.payload for entry in found.entries], found.position, found.fence


def _written(folder: Path, *payloads: bytes, epoch: int = 7) -> None:
    log = LocalLog(str(folder))
    position = log.recover().position
    for number, payload in enumerate(payloads, 1):
        log.append(Entry(epoch, position.sequence + number, payload))
    log.close()


def test_a_new_folder_holds_nothing(tmp_path: Path) -> None:
    assert _recovered(tmp_path / "state") == (None, [], Position(), 0)


def test_updates_and_the_newest_epoch_survive_a_restart(tmp_path: Path) -> None:
    _written(tmp_path, b"a", b"b")
    log = LocalLog(str(tmp_path))
    log.recover()
    log.fence(9)
    log.close()
    assert _recovered(tmp_path) == (None, [b"a", b"b"], Position(7, 2), 9)
    _written(tmp_path, b"c", epoch=9)
    assert _recovered(tmp_path) == (None, [b"a", b"b", b"c"], Position(9, 3), 9)


def test_a_log_cut_anywhere_loses_only_what_was_cut(tmp_path: Path) -> None:
    _written(tmp_path, b"first", b"second")
    file = tmp_path / "log.0"
    whole = file.read_bytes()
    size = len(whole) // 2 + 1
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        _, updates, position, _ = _recovered(tmp_path)
        assert updates == [b"first", b"second"][: position.sequence]
        assert position.sequence == (1 if length >= len(whole) - size - 0 and length >= 30 else 0)


def test_a_log_goes_on_behind_its_last_whole_record(tmp_path: Path) -> None:
    _written(tmp_path, b"first", b"second")
    file = tmp_path / "log.0"
    file.write_bytes(file.read_bytes()[:-1])
    _written(tmp_path, b"third")
    assert _recovered(tmp_path) == (None, [b"first", b"third"], Position(7, 2), 7)


def test_a_snapshot_replaces_the_log(tmp_path: Path) -> None:
    _written(tmp_path, b"a", b"b", b"c")
    log = LocalLog(str(tmp_path))
    log.recover()
    log.replace(Position(7, 2), b"state", [Entry(7, 3, b"c")])
    log.append(Entry(7, 4, b"d"))
    log.close()
    assert _recovered(tmp_path) == (b"state", [b"c", b"d"], Position(7, 4), 7)


def test_a_snapshot_may_lead_back_before_updates_that_were_never_acknowledged(tmp_path: Path) -> None:
    _written(tmp_path, b"a", b"never acknowledged")
    log = LocalLog(str(tmp_path))
    log.recover()
    log.replace(Position(7, 1), b"a")
    log.close()
    assert _recovered(tmp_path) == (b"a", [], Position(7, 1), 7)


def test_a_restart_in_the_middle_of_a_replacement_finds_the_old_state(tmp_path: Path) -> None:
    _written(tmp_path, b"a")
    (tmp_path / "log.1").write_bytes(b"")
    (tmp_path / "snapshot.new").write_bytes(b"half")
    assert _recovered(tmp_path) == (None, [b"a"], Position(7, 1), 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.0"]


def test_a_log_that_grows_long_asks_for_a_snapshot(tmp_path: Path) -> None:
    log = LocalLog(str(tmp_path))
    log.recover()
    wanted = []
    for number in range(1, 6):
        log.append(Entry(1, number, b"x" * (COMPACT_BYTES // 5 + 1)))
        wanted.append(log.wants_compaction)
    assert wanted == [False, False, False, False, True]
    log.replace(Position(1, 5), b"short")
    assert log.wants_compaction is False
    log.close()


def test_a_damaged_snapshot_is_put_aside_and_not_taken_for_a_state(tmp_path: Path) -> None:
    log = LocalLog(str(tmp_path))
    log.recover()
    log.replace(Position(1, 5), b"state")
    log.append(Entry(1, 6, b"update"))
    log.close()
    (tmp_path / "snapshot").write_bytes((tmp_path / "snapshot").read_bytes()[:-1] + b"X")
    log = LocalLog(str(tmp_path))
    found = log.recover()
    log.close()
    assert found == (None, Position(), [], 0, str(tmp_path / "snapshot.broken"))
    assert _recovered(tmp_path) == (None, [], Position(), 0)
