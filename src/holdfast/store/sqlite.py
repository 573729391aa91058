"""The store of one machine: an SQLite file, no server to start.

Write-ahead log with `synchronous=NORMAL`: a commit is a write into the page cache, without a wait for
the disk. So a killed process loses nothing; a power failure may lose the last saves but never tears
one. Checkpoints, the only place that waits for the disk, run from `tidy` when the manager is idle.
Each party has its own file, so that a stopped manager process never holds a lock that another needs.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from holdfast.errors import WorldError
from holdfast.model.names import Party
from holdfast.store.port import Saved, StoreBroken, Superseded, Waiting

_SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (party TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (party TEXT, name TEXT, content BLOB NOT NULL, PRIMARY KEY (party, name)) WITHOUT ROWID
"""
_CHECKPOINT_PAGES = 20_000
"""Safety net for a manager that is never idle; `tidy` comes first otherwise."""


class SqliteStore:
    """`Store` in one file, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        try:
            self._base = sqlite3.connect(path, timeout=1.0, isolation_level=None)
            # Exclusive: no shared-memory file, fewer system calls, and a second process is refused at once.
            self._base.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            # One by one: `executescript` would commit between them.
            for statement in _SCHEMA.split(";"):
                self._base.execute(statement)
        except sqlite3.Error as error:
            raise WorldError(
                f"the store {path} cannot be opened: {error}",
                "is another manager of this deployment running, is the file system full or read-only?",
            ) from error
        self._path = path

    def load(self, party: Party) -> Saved:
        try:
            row = self._base.execute("SELECT version FROM versions WHERE party=?", (party,)).fetchone()
            parts = dict(self._base.execute("SELECT name, content FROM parts WHERE party=? ORDER BY name", (party,)))
        except sqlite3.Error as error:
            raise WorldError(f"the store {self._path} cannot be read: {error}", "is the disk well?") from error
        if not all(isinstance(content, bytes) for content in parts.values()):
            raise WorldError(f"the store {self._path} holds what no manager has written", "restore it, or remove it")
        return Saved(int(row[0]) if row else 0, parts)

    def save(self, party: Party, changes: Mapping[str, bytes | None], expected: int) -> int:
        removed = [(party, name) for name, content in changes.items() if content is None]
        written = [(party, name, content) for name, content in changes.items() if content is not None]
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                self._claim(party, expected)
                if removed:
                    self._base.executemany("DELETE FROM parts WHERE party=? AND name=?", removed)
                if written:
                    self._base.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", written)
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreBroken(f"the store {self._path} cannot keep a change: {error}") from error
        return expected + 1

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
