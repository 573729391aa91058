"""The store of one machine: an SQLite file, no server to start.

Write-ahead log with `synchronous=NORMAL`: a commit is a write into the page cache, without a wait for
the disk. So a killed process loses nothing; a power failure may lose the last saves but never tears
one. Checkpoints, the only place that waits for the disk, run from `tidy` when the manager is idle.
Each party has its own file, so that a stopped manager process never holds a lock that another needs.
SQLite has no checksums of its own, so each save keeps one of every part: what has changed on the disk is not believed.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

import msgspec
from msgspec import Struct

from holdfast.errors import WorldError
from holdfast.model.names import Party
from holdfast.store import sqlite_wal
from holdfast.store.port import Saved, StoreBroken, Superseded, Waiting
from holdfast.store.sums import checked, with_sum

_SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (party TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (party TEXT, name TEXT, content BLOB NOT NULL, PRIMARY KEY (party, name)) WITHOUT ROWID
"""
_CHECKPOINT_PAGES = 20_000
"""Safety net for a manager that is never idle; `tidy` comes first otherwise."""
_SUMS = ""
"""Name of the part that holds the checksums of the others."""
_WITH_SUMS = 1
"""`user_version` of a file in which every party has checksums; older ones have none."""
_FORMATS = {b"\x01\x01", b"\x02\x02"}
"""Of a file, at byte 18: with another one SQLite says that it is read-only."""
_NO_DAMAGE = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM,
)  # fmt: skip


class StoreDamaged(WorldError):
    """What is in the file is not what was written."""


class LogDamaged(StoreDamaged):
    """The last saves cannot be read (or the process was killed while it wrote one); what was saved before is sound."""


class Sums(Struct, frozen=True):
    """What was saved: the version, and the checksums of all parts, mixed into one.

    There may be thousands of parts, of which a save changes a few.
    """

    version: int = 0
    parts: dict[str, int] = {}
    """Of each part, as it was first done; replaced by the next save."""
    mixed: int | None = None


class SqliteStore:
    """`Store` in one file, held by one process at a time."""

    pieces = 4096

    def __init__(self, path: Path, *, may_lack_the_last: bool = False) -> None:
        """Open it.

        Args:
            path: the file.
            may_lack_the_last: go by what was saved up to the first damage in the log.

        Raises:
            StoreDamaged: something in it has changed.
            WorldError: it cannot be opened.
        """
        self._path = path
        self._sums: dict[str, dict[str, int]] = {}
        """Of each part of a party, as it is saved."""
        self._mixed: dict[str, int] = {}
        _look_from_outside(path, may_lack_the_last)
        try:
            self._base = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        except sqlite3.Error as error:
            self._refuse(error)
        try:
            self._prepare()
            wrong = self._damage()
        except (sqlite3.Error, ValueError) as error:  # Also words of SQLite that are no text.
            self._base.close()
            self._refuse(error)
        if wrong:
            self._base.close()
            raise StoreDamaged(f"the store {path} is damaged: {wrong}")

    def _refuse(self, error: Exception) -> NoReturn:
        number = getattr(error, "sqlite_errorcode", None)
        if number is not None and number & 0xFF in _NO_DAMAGE:
            raise WorldError(
                f"the store {self._path} cannot be opened: {error}",
                "is another manager of this deployment running, is the file system full or read-only?",
            ) from error
        raise StoreDamaged(f"the store {self._path} is damaged: {error}") from error

    def _prepare(self) -> None:
        # Exclusive: no shared-memory file, fewer system calls, and a second process is refused at once.
        self._base.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=NORMAL")
        self._base.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        is_new = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        # One by one: `executescript` would commit between them.
        for statement in _SCHEMA.split(";"):
            self._base.execute(statement)
        if is_new:
            self._base.execute(f"PRAGMA user_version={_WITH_SUMS}")

    def _damage(self) -> str:
        """What is not as it was saved; empty if everything is."""
        found = [str(row[0]) for row in self._base.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            return "; ".join(found)
        is_summed = self._base.execute("PRAGMA user_version").fetchone()[0] != 0
        versions: dict[str, int] = dict(self._base.execute("SELECT party, version FROM versions"))
        rows = self._base.execute("SELECT party, name, content FROM parts ORDER BY party, name").fetchall()
        parts: dict[str, dict[str, bytes]] = {party: {} for party in versions}
        for party, name, content in rows:
            if party not in parts:
                return f"it has parts of {party!r}, and no version"
            parts[party][name] = content
        for party, of in parts.items():
            summed = of.pop(_SUMS, None)
            if summed is None and not is_summed:
                continue
            wrong = self._not_as_saved(party, versions[party], of, summed)
            if wrong:
                return wrong
        return ""

    def _not_as_saved(self, party: str, version: int, parts: dict[str, bytes], summed: object) -> str:
        try:
            sums = msgspec.json.decode(checked(summed if isinstance(summed, bytes) else b""), type=Sums)
        except ValueError as error:
            return f"the checksums of {party!r}: {error}"
        if sums.version != version:
            return f"{party!r} is at version {version}, and {sums.version} was saved"
        otherwise = [name for name in {*parts, *sums.parts} if sums.parts.get(name) != _plain_sum(parts.get(name))]
        if sums.mixed is None and otherwise:
            return f"of {party!r}: {', '.join(sorted(map(str, otherwise)))} has changed since it was saved"
        if not all(isinstance(name, str) and isinstance(content, bytes) for name, content in parts.items()):
            return f"of {party!r}: something has changed since it was saved, and is no part any more"
        known = {name: _sum(name, content) for name, content in parts.items()}
        if sums.mixed not in (None, _mixed(known.values())):
            return f"of {party!r}: one of {len(parts)} parts has changed since it was saved, or is missing"
        self._sums[party] = known
        return ""

    def load(self, party: Party) -> Saved:
        try:
            row = self._base.execute("SELECT version FROM versions WHERE party=?", (party,)).fetchone()
            parts = dict(self._base.execute("SELECT name, content FROM parts WHERE party=? ORDER BY name", (party,)))
        except sqlite3.Error as error:
            raise WorldError(f"the store {self._path} cannot be read: {error}", "is the disk well?") from error
        parts.pop(_SUMS, None)
        if not all(isinstance(content, bytes) for content in parts.values()):
            raise WorldError(f"the store {self._path} holds what no manager has written", "restore it, or remove it")
        return Saved(int(row[0]) if row else 0, parts)

    def save(self, party: Party, changes: Mapping[str, bytes | None], expected: int) -> int:
        removed = [(party, name) for name, content in changes.items() if content is None]
        written = [(party, name, content) for name, content in changes.items() if content is not None]
        known = self._sums[party] if party in self._sums else self._summed(party)
        now = {name: _sum(name, content) for _, name, content in written}
        mixed = _mixed(known.values()) if party not in self._mixed else self._mixed[party]
        for name in changes:
            mixed ^= known.get(name, 0) ^ now.get(name, 0)
        written.append((party, _SUMS, with_sum(msgspec.json.encode(Sums(expected + 1, mixed=mixed)))))
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                self._claim(party, expected)
                if removed:
                    self._base.executemany("DELETE FROM parts WHERE party=? AND name=?", removed)
                self._base.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", written)
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreBroken(f"the store {self._path} cannot keep a change: {error}") from error
        for _, name in removed:
            known.pop(name, None)
        known |= now
        self._sums[party], self._mixed[party] = known, mixed
        return expected + 1

    def _summed(self, party: Party) -> dict[str, int]:
        """Of what an older version has saved, without checksums."""
        return {name: _sum(name, content) for name, content in self.load(party).parts.items()}

    def _claim(self, party: Party, expected: int) -> None:
        if expected == 0:
            claimed = self._base.execute("INSERT OR IGNORE INTO versions VALUES (?, 1)", (party,)).rowcount
        else:
            claimed = self._base.execute(
                "UPDATE versions SET version=version+1 WHERE party=? AND version=?", (party, expected)
            ).rowcount
        if claimed != 1:
            raise Superseded(f"the state of {party} in {self._path} is no longer at version {expected}")

    def is_kept(self, party: Party, version: int) -> bool:
        return True

    @property
    def waiting(self) -> Waiting:
        """Nothing: a save is done when it returns."""
        return Waiting()

    def tidy(self) -> None:
        try:
            self._base.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise StoreBroken(f"the store {self._path} cannot be tidied: {error}") from error

    def close(self) -> None:
        self._base.close()


def _plain_sum(content: bytes | None) -> int | None:
    return None if not isinstance(content, bytes) else zlib.crc32(content)


def _sum(name: str, content: bytes) -> int:
    """Of the part under its name."""
    return zlib.crc32(content, zlib.crc32(name.encode()))


def _mixed(sums: Iterable[int]) -> int:
    mixed = 0
    for one in sums:
        mixed ^= one
    return mixed


def _look_from_outside(path: Path, may_lack_the_last: bool) -> None:
    """What SQLite would not say, or not as it is."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        head = b""  # SQLite says why.
    if head and (head[:16] != b"SQLite format 3\0" or head[18:20] not in _FORMATS):
        raise StoreDamaged(f"the store {path} is damaged: it does not begin as an SQLite file does")
    wrong = "" if may_lack_the_last else sqlite_wal.damage_of(path.with_name(f"{path.name}-wal"))
    if wrong:
        raise LogDamaged(f"the store {path} is damaged: {wrong}")
