"""What is special about the store in a file: full disks, wrong files, killed processes."""

import os
import signal
from pathlib import Path

import pytest

from holdfast.errors import WorldError
from holdfast.model.names import HA
from holdfast.store.port import StoreBroken
from holdfast.store.sqlite import SqliteStore


def test_a_file_that_is_no_store_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a data base at all" * 100)
    with pytest.raises(WorldError, match=r"state\.db is damaged: it does not begin as an SQLite file does"):
        SqliteStore(path)


def test_a_save_that_finds_no_room_says_so_and_the_old_content_stands(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    store.save(HA, {"a": b"1"}, 0)
    store._base.execute("PRAGMA max_page_count=1")
    with pytest.raises(StoreBroken, match="cannot keep a change"):
        store.save(HA, {"a": bytes(100_000)}, 1)
    assert store.load(HA).parts == {"a": b"1"}
    store._base.execute("PRAGMA max_page_count=100000")
    assert store.save(HA, {"a": b"2"}, 1) == 2
    store.close()


def test_a_process_that_is_killed_after_a_save_has_lost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    child = os.fork()
    if child == 0:
        store = SqliteStore(path)
        for version in range(50):
            store.save(HA, {"a": str(version + 1).encode()}, version)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    store = SqliteStore(path)
    assert store.load(HA).version == 50
    assert store.load(HA).parts == {"a": b"50"}
    store.close()
