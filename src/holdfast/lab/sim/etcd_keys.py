"""The keys of a simulated etcd: every version of each, and what transactions make of them.

In:   transactions that were agreed on, in order.
Out:  what they answer; the keys as they were at a revision; what changed with one.
Always: as etcd does it. A transaction that changes something is one revision, one that does not is none; a key that is
made again after it was deleted counts its versions from 1; revisions before a compaction are gone.
"""

from collections.abc import Iterable
from typing import NamedTuple

from holdfast.store.etcd_words import Change, Compare, Found, KeyValue, Op, OpDone, Range, Txn

OPS_MAX = 128
REQUEST_BYTES_MAX = 3 << 19
MESSAGE_BYTES_MAX = 2 << 20
INVALID, EXHAUSTED = 3, 8
"""Codes of gRPC."""


class Result(NamedTuple):
    """What a transaction answers, whichever member is asked."""

    succeeded: bool
    responses: tuple[OpDone, ...]


class Keys:
    """The state that all members come to, one after the other."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        """Nothing at or before this revision can be watched any more."""
        self._versions: dict[bytes, list[KeyValue]] = {}
        """Of each key, oldest first; version 0: it was deleted."""
        self._changes: dict[int, tuple[Change, ...]] = {}

    def apply(self, txn: Txn) -> Result:
        succeeded = all(self._holds(compare) for compare in txn.compare)
        changes: list[Change] = []
        responses = tuple([self._done(op, changes) for op in (txn.success if succeeded else txn.failure)])
        if changes:
            self.revision += 1
            self._changes[self.revision] = tuple(changes)
        return Result(succeeded, responses)

    def range(self, wanted: Range, at: int) -> tuple[KeyValue, ...]:
        """The keys as they were at a revision, in order."""
        if not wanted.range_end:
            found = self._at(wanted.key, at)
            return (found,) if found.version else ()
        keys = sorted(key for key in self._versions if is_in(wanted, key))
        return tuple(pair for key in keys if (pair := self._at(key, at)).version)

    def changes(self, revision: int) -> tuple[Change, ...]:
        """What became another with this revision."""
        return self._changes.get(revision, ())

    def compact(self, revision: int) -> None:
        """Forget what was before a revision."""
        self.compacted = max(self.compacted, min(revision, self.revision))
        for old in [one for one in self._changes if one <= self.compacted]:
            del self._changes[old]
        for key, versions in list(self._versions.items()):
            past = [number for number, one in enumerate(versions) if one.mod_revision <= self.compacted]
            kept = versions[past[-1] :] if past else versions
            if kept[-1].version == 0 and len(kept) == 1:
                del self._versions[key]
            else:
                self._versions[key] = kept

    def copy(self, at: int) -> "Keys":
        """The newest versions up to a revision, as a snapshot keeps them."""
        copied = Keys()
        copied.revision = copied.compacted = at
        for key in self._versions:
            found = self._at(key, at)
            if found.version:
                copied._versions[key] = [found]
        return copied

    def _at(self, key: bytes, revision: int) -> KeyValue:
        for one in reversed(self._versions.get(key, ())):
            if one.mod_revision <= revision:
                return one
        return KeyValue(key)

    def _holds(self, compare: Compare) -> bool:
        found = self._newest(compare.key)
        match compare.target:
            case "VERSION":
                return found.version == compare.version
            case "MOD":
                return (found.mod_revision if found.version else 0) == compare.mod_revision
            case "VALUE":
                return found.version > 0 and found.value == compare.value

    def _newest(self, key: bytes) -> KeyValue:
        versions = self._versions.get(key)
        return versions[-1] if versions else KeyValue(key)

    def _done(self, op: Op, changes: list[Change]) -> OpDone:
        revision = self.revision + 1
        if op.request_put is not None:
            key, value = op.request_put.key, op.request_put.value
            pair = KeyValue(key, value, revision, self._newest(key).version + 1)
            self._versions.setdefault(key, []).append(pair)
            changes.append(Change(pair))
        elif op.request_delete_range is not None:
            for found in self.range(op.request_delete_range, revision):
                gone = KeyValue(found.key, b"", revision, 0)
                self._versions[found.key].append(gone)
                changes.append(Change(gone, "DELETE"))
        elif op.request_range is not None:
            return OpDone(Found(kvs=self.range(op.request_range, revision)))
        return OpDone()


def is_in(wanted: Range, key: bytes) -> bool:
    return wanted.key <= key < wanted.range_end if wanted.range_end else key == wanted.key


def why_not(txn: Txn) -> tuple[int, str] | None:
    """Code and words with which etcd refuses a transaction before anything is done; None if it takes it."""
    branches = (txn.success, txn.failure)
    size = sum(_size(branch) for branch in branches)
    if size > MESSAGE_BYTES_MAX:
        return EXHAUSTED, f"grpc: received message larger than max ({size} vs. {MESSAGE_BYTES_MAX})"
    if size > REQUEST_BYTES_MAX:
        return INVALID, "etcdserver: request is too large"
    if max(len(txn.compare), len(txn.success), len(txn.failure)) > OPS_MAX:
        return INVALID, "etcdserver: too many operations in txn request"
    if any(_writes_twice(branch) for branch in branches):
        return INVALID, "etcdserver: duplicate key given in txn request"
    return None


def _size(ops: Iterable[Op]) -> int:
    puts = (op.request_put for op in ops if op.request_put is not None)
    return sum(len(one.key) + len(one.value) for one in puts)


def _writes_twice(ops: Iterable[Op]) -> bool:
    """A key put twice, or put and deleted."""
    puts: set[bytes] = set()
    deleted: list[Range] = []
    for op in ops:
        if op.request_put is not None:
            if op.request_put.key in puts:
                return True
            puts.add(op.request_put.key)
        elif op.request_delete_range is not None:
            deleted.append(op.request_delete_range)
    return any(is_in(gone, key) for gone in deleted for key in puts)
