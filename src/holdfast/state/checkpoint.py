"""Checkpoints in a folder of shared storage (SY-3), for one writer at a time.

In: the state as bytes, or single updates between two checkpoints (the journal). Out: after any end of the
writer, the newest checkpoint that is whole and the updates that followed it. What always holds: a checkpoint
is there wholly or not at all; what `save` or `sync` returned from is on stable storage; a writer whose epoch
is older than one that has claimed the folder is refused at its next write; what is damaged is put aside
(never deleted at once) and the one before it is used.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from holdfast.errors import UserError, WorldError
from holdfast.wire.component import Position

CHECKPOINTS_KEPT = 2
BROKEN_KEPT = 4
JOURNAL_COMPACT_BYTES = 1 << 20
"""A journal longer than this (and than twice the last checkpoint) is replaced by a checkpoint."""
LOCK_RETRY_S = 0.002

_HEAD = struct.Struct("!8sIQQQ")
"""Mark, checksum of all behind it, length of the state, epoch, sequence."""
_RECORD = struct.Struct("!IIQQ")
"""Length of the update, checksum, epoch, sequence."""
_MARK = b"HFcheck1"


class Fenced(WorldError):
    """Another writer with a newer epoch has claimed this storage: this one is out of office."""


class Loaded(NamedTuple):
    """What the storage holds: a checkpoint and the updates behind it."""

    position: Position
    """Of the newest update; epoch and sequence of the checkpoint where none followed."""
    state: bytes | None
    updates: list[bytes]
    put_aside: list[str]
    """Files that were damaged: their new names."""


class CheckpointFolder:
    """The checkpoints of one service in one folder, as the writer of one epoch sees them."""

    def __init__(self, folder: str, epoch: int, *, lock_limit_s: float = 1.0) -> None:
        self.folder = folder
        self.epoch = epoch
        self.position = Position()
        self._lock_limit_s = lock_limit_s
        self._journal = -1
        self._journal_bytes = 0
        self._checkpoint_bytes = 0
        self._unsynced = b""
        try:
            os.makedirs(folder, exist_ok=True)
            self._lock = os.open(self._path("fence"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(
                f"cannot use {folder!r} for checkpoints: {error.strerror}", "give a folder that can be written to"
            ) from error

    def claim(self) -> Loaded:
        """Take office: from now on writers with an older epoch are refused. Gives what the storage holds."""
        with self._locked() as fence:
            if fence > self.epoch:
                raise Fenced(f"epoch {self.epoch} is older than {fence}, which has claimed {self.folder}")
            self._write_fence()
            loaded = self._load()
            self._remove_empty_journals()
            # A journal of our own: another writer's may end in a record that was cut short.
            self._begin_journal(Position(self.epoch, loaded.position.sequence))
            self.position = loaded.position
            return loaded

    def save(self, state: bytes, sequence: int) -> None:
        """Write a checkpoint of the state after update `sequence`. Raises Fenced."""
        with self._locked() as fence:
            self._check(fence)
            self._unsynced = b""
            try:
                self._save(state, Position(self.epoch, sequence))
            except OSError as error:
                raise WorldError(f"cannot write a checkpoint to {self.folder}: {error.strerror}") from error

    def append(self, update: bytes) -> Position:
        """Note one update behind the last checkpoint; it is safe after the next `sync`."""
        self.position = Position(self.epoch, self.position.sequence + 1)
        head = _RECORD.pack(len(update), _checksum(self.position, update), *self.position)
        self._unsynced += head + update
        return self.position

    def sync(self) -> None:
        """Make all appended updates safe, in one write. Raises Fenced."""
        if not self._unsynced:
            return
        with self._locked() as fence:
            self._check(fence)
            data, self._unsynced = self._unsynced, b""
            try:
                self._write_journal(data)
            except OSError as error:
                # Records behind one that was cut short would not be found again.
                self._close_journal()
                raise WorldError(f"cannot write updates to {self.folder}: {error.strerror}") from error

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the journal has become long enough for a new checkpoint."""
        return self._journal_bytes > max(JOURNAL_COMPACT_BYTES, 2 * self._checkpoint_bytes)

    def close(self) -> None:
        self._close_journal()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the folder; gives the epoch that has claimed it."""
        ends = time.monotonic() + self._lock_limit_s
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise WorldError(
                        f"{self.folder} is held by another writer for more than {self._lock_limit_s} s"
                    ) from None
                time.sleep(LOCK_RETRY_S)
        try:
            text = os.pread(self._lock, 32, 0).strip()
            yield int(text) if text.isdigit() else 0
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _write_fence(self) -> None:
        # Always 20 digits: written in place in one piece, so that it is never shorter than it was.
        os.pwrite(self._lock, b"%020d\n" % self.epoch, 0)
        os.fsync(self._lock)

    def _check(self, fence: int) -> None:
        if fence != self.epoch:
            raise Fenced(f"epoch {self.epoch} does not hold {self.folder}: it was claimed under epoch {fence}")

    def _save(self, state: bytes, position: Position) -> None:
        name = _name("checkpoint", position)
        head = _HEAD.pack(_MARK, zlib.crc32(state, _seed(position)), len(state), *position)
        with open(self._path("checkpoint.new"), "wb") as file:
            file.write(head)
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        os.rename(self._path("checkpoint.new"), self._path(name))
        self._begin_journal(position)
        self._checkpoint_bytes = len(state)
        self.position = position
        self._sync_folder()
        self._remove_old()

    def _begin_journal(self, position: Position) -> None:
        self._close_journal()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._journal = os.open(self._path(_name("journal", position)), flags, 0o600)
        self._journal_bytes = 0

    def _write_journal(self, data: bytes) -> None:
        if self._journal < 0:
            raise WorldError("no journal: claim the folder first", "after a failed write save a checkpoint")
        if os.write(self._journal, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fdatasync(self._journal)
        self._journal_bytes += len(data)

    def _remove_empty_journals(self) -> None:
        for _, name in self._names("journal"):
            if os.path.getsize(self._path(name)) == 0:
                os.unlink(self._path(name))

    def _sync_folder(self) -> None:
        number = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def _remove_old(self) -> None:
        checkpoints = self._names("checkpoint")
        for _, name in checkpoints[CHECKPOINTS_KEPT:]:
            os.unlink(self._path(name))
        if len(checkpoints) > CHECKPOINTS_KEPT:
            oldest = checkpoints[CHECKPOINTS_KEPT - 1][0]
            for position, name in self._names("journal"):
                if position < oldest:
                    os.unlink(self._path(name))
        for _, name in self._names("broken")[BROKEN_KEPT:]:
            os.unlink(self._path(name))

    def _names(self, kind: str) -> list[tuple[Position, str]]:
        """Files of this kind, newest first."""
        found = []
        for name in os.listdir(self.folder):
            word, _, rest = name.partition(".")
            epoch, _, sequence = rest.partition(".")
            if word == kind and epoch.isdigit() and sequence.isdigit():
                found.append((Position(int(epoch), int(sequence)), name))
        return sorted(found, reverse=True)

    def _load(self) -> Loaded:
        put_aside: list[str] = []
        for position, name in self._names("checkpoint"):
            with open(self._path(name), "rb") as file:
                state = _state(file.read(), position)
            if state is not None:
                reached, updates = self._replay(position)
                return Loaded(reached, state, updates, put_aside)
            aside = _name("broken", position)
            os.rename(self._path(name), self._path(aside))
            put_aside.append(aside)
        reached, updates = self._replay(Position())
        return Loaded(reached, None, updates, put_aside)

    def _replay(self, position: Position) -> tuple[Position, list[bytes]]:
        """Updates behind the checkpoint, through all journals that follow one another without a gap.

        Where a newer checkpoint was damaged, the journal before it still leads to the same state.
        """
        updates: list[bytes] = []
        for start, name in reversed(self._names("journal")):
            if start.sequence != position.sequence or start < position:
                continue
            with open(self._path(name), "rb") as file:
                data = file.read()
            at = 0
            while len(data) - at >= _RECORD.size:
                length, checksum, epoch, sequence = _RECORD.unpack_from(data, at)
                update = data[at + _RECORD.size : at + _RECORD.size + length]
                found = Position(epoch, sequence)
                if len(update) < length or checksum != _checksum(found, update):
                    break
                updates.append(update)
                position = found
                at += _RECORD.size + length
        return position, updates

    def _close_journal(self) -> None:
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1


def _name(kind: str, position: Position) -> str:
    return f"{kind}.{position.epoch:020d}.{position.sequence:020d}"


def _seed(position: Position) -> int:
    return zlib.crc32(b"%d:%d" % position)


def _checksum(position: Position, update: bytes) -> int:
    return zlib.crc32(update, _seed(position))


def _state(data: bytes, position: Position) -> bytes | None:
    """The state in a checkpoint file, None for a damaged one."""
    state = data[_HEAD.size :]
    if len(data) < _HEAD.size:
        return None
    mark, checksum, length, epoch, sequence = _HEAD.unpack_from(data)
    is_whole = mark == _MARK and length == len(state) and (epoch, sequence) == position
    return state if is_whole and checksum == zlib.crc32(state, _seed(position)) else None
