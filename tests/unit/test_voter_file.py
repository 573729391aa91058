"""The voter set on disk: the newest, whole, whoever writes it."""

import fcntl
import os
from pathlib import Path

import pytest

from holdfast.errors import UserError, WorldError
from holdfast.model.granting import FAST, VoterSet, voter_set
from holdfast.model.names import HostName
from holdfast.runtime import voter_file

A, B, C = (HostName(name) for name in "abc")
FIRST = voter_set((A, B), FAST)
SECOND = voter_set((A, B, C), FAST, after=FIRST)


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "voters"
    assert voter_file.read(path) is None
    voter_file.keep(path, FIRST)
    voter_file.keep(path, SECOND)
    assert voter_file.read(path) == SECOND


def test_an_older_one_never_takes_the_place_of_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "voters"
    voter_file.keep(path, SECOND)
    voter_file.keep(path, FIRST)
    assert voter_file.read(path) == SECOND


def test_what_somebody_left_behind_who_was_killed_while_writing_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "voters"
    voter_file.keep(path, FIRST)
    path.with_name("voters.4711").write_bytes(b'{"version": 9')
    assert voter_file.read(path) == FIRST


def test_the_hot_process_does_not_wait_for_somebody_who_is_writing(tmp_path: Path) -> None:
    path = tmp_path / "voters"
    voter_file.keep(path, FIRST)
    other = os.open(path.with_name("voters.lock"), os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        with pytest.raises(WorldError, match="is being written by somebody else"):
            voter_file.keep(path, SECOND, is_patient=False)
    finally:
        os.close(other)
    assert voter_file.read(path) == FIRST


def test_a_disk_that_does_not_take_it_says_so_and_keeps_the_former_one(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"could not be written to .*/voters: No such file or directory"):
        voter_file.keep(tmp_path / "gone" / "voters", FIRST)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": "x"}', b"\xff"])
def test_something_else_in_its_place_is_refused_and_not_taken_for_a_new_disk(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "voters"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no voter set") as told:
        voter_file.read(path)
    assert "new disk" in told.value.hint
    with pytest.raises(UserError):
        voter_file.keep(path, SECOND)


def test_versions_count_and_not_who_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "voters"
    voter_file.keep(path, SECOND)
    other = VoterSet(2, (A,), FAST.length_ns, FAST.length_ns)
    voter_file.keep(path, other)
    assert voter_file.read(path) == SECOND
