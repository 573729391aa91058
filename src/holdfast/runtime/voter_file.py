"""The voter set on a host's disk: the one thing that a voter must not forget, whatever ends.

In:   voter sets, from the agent (which has time) or from the hot process (when there is no agent that could).
Out:  the newest one that was written.
Always: whole or not at all, and on disk (fsync) when `keep` returns; an older one never takes the place of a newer one,
whoever was stopped in the middle of writing it. It has a checksum, so that one that has changed on the disk is not
taken for what was promised.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from holdfast.errors import UserError, WorldError
from holdfast.model.granting import VoterSet
from holdfast.model.reading import UNREADABLE
from holdfast.store.sums import checked, with_sum


def read(path: Path) -> VoterSet | None:
    """The newest voter set that was kept there; None on a new disk.

    Raises:
        UserError: something else is there. To go on with an older one would give the word of this voter away.
    """
    try:
        return msgspec.json.decode(checked(path.read_bytes()), type=VoterSet)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, *UNREADABLE) as error:
        raise UserError(
            f"{path} is no voter set: {error}",
            "remove it only if this host may count as one with a new disk (docs/grants.md, A6)",
        ) from error


def keep(path: Path, voters: VoterSet, *, is_patient: bool = True) -> None:
    """Have it on disk, unless a newer one is there.

    Args:
        path: of the file; its folder exists.
        voters: what to keep.
        is_patient: whether to wait for somebody else who is writing there now.

    Raises:
        WorldError: it could not be written, or somebody else is writing.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with _alone(path, is_patient):
            present = read(path)
            if present is not None and present.version >= voters.version:
                return
            with part.open("wb") as file:
                file.write(with_sum(msgspec.json.encode(voters)))
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            _sync(path.parent)
    except BlockingIOError as error:
        raise WorldError(f"{path} is being written by somebody else") from error
    except OSError as error:
        raise WorldError(f"the voter set could not be written to {path}: {error.strerror}") from error


@contextmanager
def _alone(path: Path, is_patient: bool) -> Iterator[None]:
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if is_patient else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
