"""A component's own copy of its state in its own folder: a snapshot and a log of the updates since.

In: entries, snapshots. Out: after a restart, position and state as they were. What always holds: each
record is handed to the operating system before `append` returns, so the end of the process loses nothing
(the end of the machine may); a record cut short by it is dropped; snapshot and log belong together by a
generation number, so that a log is never applied to another snapshot than its own.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from holdfast.errors import WorldError
from holdfast.state.frames import Entry
from holdfast.wire.component import Position

COMPACT_BYTES = 1 << 20
"""A log is replaced by a snapshot when it is longer than this, and than twice the last snapshot."""

_RECORD = struct.Struct("!IIBQQ")
"""Length and checksum of the payload, kind, epoch, sequence."""
_SNAPSHOT = struct.Struct("!8sIQQQQ")
"""Mark, checksum, generation, fence, epoch, sequence."""
_MARK = b"HFstate1"
_UPDATE, _FENCE = 1, 2


class Recovered(NamedTuple):
    snapshot: bytes | None
    """State at `base`, None for none."""
    base: Position
    entries: list[Entry]
    fence: int
    """Newest epoch that was known."""
    put_aside: str = ""
    """Where a damaged snapshot was put; this component then begins without state, and so as a stale one."""

    @property
    def position(self) -> Position:
        return self.entries[-1].position if self.entries else self.base


class LocalLog:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(folder, exist_ok=True)
        self._generation = 0
        self._fence = 0
        self._file = -1
        self._log_bytes = 0
        self._snapshot_bytes = 0

    def recover(self) -> Recovered:
        """Read what is there and go on writing behind it."""
        recovered = self._read_snapshot()
        entries, fence, length = self._read_log(recovered.base, recovered.fence)
        self._fence = fence
        self._open_log(length)
        self._remove_strangers()
        return recovered._replace(entries=entries, fence=fence)

    def append(self, entry: Entry) -> None:
        self._write(_UPDATE, entry.position, entry.payload)

    def fence(self, epoch: int) -> None:
        """Remember that this epoch is known."""
        if epoch > self._fence:
            self._fence = epoch
            self._write(_FENCE, Position(epoch, 0), b"")

    @property
    def wants_compaction(self) -> bool:
        return self._log_bytes > max(COMPACT_BYTES, 2 * self._snapshot_bytes)

    def replace(self, position: Position, state: bytes, rest: Iterable[Entry] = ()) -> None:
        """Begin anew from this state at this position, followed by the entries of `rest`."""
        self._close_file()
        old = self._path(f"log.{self._generation}")
        self._generation += 1
        self._open_log(0)
        for entry in rest:
            self.append(entry)
        self._write_snapshot(position, state)
        if os.path.exists(old):
            os.unlink(old)

    def close(self) -> None:
        self._close_file()

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _write(self, kind: int, position: Position, payload: bytes) -> None:
        data = _RECORD.pack(len(payload), _checksum(kind, position, payload), kind, *position) + payload
        if os.write(self._file, data) != len(data):
            raise WorldError(f"no room for state in {self._folder}")
        self._log_bytes += len(data)

    def _open_log(self, length: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path(f"log.{self._generation}"), flags, 0o600)
        os.truncate(self._file, length)
        self._log_bytes = length

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write_snapshot(self, position: Position, state: bytes) -> None:
        head = _SNAPSHOT.pack(_MARK, zlib.crc32(state), self._generation, self._fence, *position)
        with open(self._path("snapshot.new"), "wb") as file:
            file.write(head)
            file.write(state)
        os.rename(self._path("snapshot.new"), self._path("snapshot"))
        self._snapshot_bytes = len(state)

    def _read_snapshot(self) -> Recovered:
        try:
            with open(self._path("snapshot"), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return Recovered(None, Position(), [], 0)
        state = data[_SNAPSHOT.size :]
        if len(data) >= _SNAPSHOT.size:
            mark, checksum, generation, fence, epoch, sequence = _SNAPSHOT.unpack_from(data)
            if mark == _MARK and checksum == zlib.crc32(state):
                self._generation = generation
                self._snapshot_bytes = len(state)
                return Recovered(state, Position(epoch, sequence), [], fence)
        aside = self._path("snapshot.broken")
        os.rename(self._path("snapshot"), aside)
        return Recovered(None, Position(), [], 0, aside)

    def _read_log(self, base: Position, fence: int) -> tuple[list[Entry], int, int]:
        """Entries, newest epoch known, and the length of what is whole."""
        try:
            with open(self._path(f"log.{self._generation}"), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return [], fence, 0
        entries: list[Entry] = []
        at, last = 0, base
        while len(data) - at >= _RECORD.size:
            length, checksum, kind, epoch, sequence = _RECORD.unpack_from(data, at)
            end = at + _RECORD.size + length
            payload = data[at + _RECORD.size : end]
            position = Position(epoch, sequence)
            if end > len(data) or checksum != _checksum(kind, position, payload):
                break
            if kind == _UPDATE:
                if sequence != last.sequence + 1 or epoch < last.epoch:
                    break
                entries.append(Entry(epoch, sequence, payload))
                last = position
            fence = max(fence, epoch)
            at = end
        return entries, fence, at

    def _remove_strangers(self) -> None:
        """What a restart in the middle of `replace` has left."""
        keep = {"snapshot", f"log.{self._generation}"}
        for name in os.listdir(self._folder):
            if name not in keep and (name.startswith("log.") or name == "snapshot.new"):
                os.unlink(self._path(name))


def _checksum(kind: int, position: Position, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_RECORD.pack(len(payload), 0, kind, *position)))
