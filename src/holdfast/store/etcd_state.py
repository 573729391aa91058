"""How the state of a party lies in etcd, and how a change of it is one transaction.

    <folder>/state/<party>/version        who wrote last; how often the key was written is the party's version
    <folder>/state/<party>/part/<name>    one part of the state
    <folder>/term                         the term of the managers' leader: writes of an older leader are refused

In:   changes, and what they build on.
Out:  transactions; what their answers mean.
Always: pure. A transaction that was carried out without our hearing of it is recognised when it is repeated,
because it leaves the mark of its writer in the version key.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from msgspec import Struct

from holdfast.model.names import Party
from holdfast.store.etcd_words import (
    Compare,
    Found,
    Op,
    Range,
    Txn,
    TxnDone,
    delete,
    get,
    is_value,
    is_version,
    put,
    under,
)
from holdfast.store.port import Saved, Superseded


class Write(Struct, frozen=True):
    """One change of one party's state."""

    party: Party
    changes: Mapping[str, bytes | None]
    expected: int


class Fence(Struct, frozen=True):
    """Only while this term stands may be written."""

    key: bytes
    term: int

    def compare(self) -> Compare:
        return is_value(self.key, term_text(self.term))


def term_text(term: int) -> bytes:
    return str(term).encode()


def term_key(folder: str) -> bytes:
    return f"{folder}/term".encode()


def party_range(folder: str, party: Party) -> Range:
    return under(f"{folder}/state/{party}/".encode())


def _version_key(folder: str, party: Party) -> bytes:
    return f"{folder}/state/{party}/version".encode()


def _part_key(folder: str, party: Party, name: str) -> bytes:
    return f"{folder}/state/{party}/part/{name}".encode()


def saved_in(folder: str, party: Party, found: Found) -> Saved:
    """What a range over all keys of a party says."""
    version_key, begin = _version_key(folder, party), _part_key(folder, party, "")
    version = 0
    parts: dict[str, bytes] = {}
    for pair in found.kvs:
        if pair.key == version_key:
            version = pair.version
        elif pair.key.startswith(begin):
            parts[pair.key[len(begin) :].decode()] = pair.value
    return Saved(version, dict(sorted(parts.items())))


def save_txn(folder: str, writes: Sequence[Write], mark: bytes, fence: Fence | None) -> Txn:
    """All writes, of different parties, or none of them.

    Args:
        folder: the deployment's.
        writes: at most one a party.
        mark: this writer, and which of its writes it is.
        fence: the term under which is written.
    """
    keys = [_version_key(folder, write.party) for write in writes]
    compare = [is_version(key, write.expected) for key, write in zip(keys, writes, strict=True)]
    if fence is not None:
        compare.append(fence.compare())
    versions = (put(key, mark) for key in keys)
    parts = (
        _part_op(folder, write.party, name, content) for write in writes for name, content in write.changes.items()
    )
    asked = [*keys, *([fence.key] if fence else [])]
    return Txn(tuple(compare), tuple(chain(versions, parts)), tuple(get(key) for key in asked))


def _part_op(folder: str, party: Party, name: str, content: bytes | None) -> Op:
    key = _part_key(folder, party, name)
    return delete(key) if content is None else put(key, content)


def check_saved(writes: Sequence[Write], mark: bytes, fence: Fence | None, done: TxnDone, where: str) -> None:
    """Raises Superseded unless the writes stand, be it since an earlier try."""
    if done.succeeded:
        return
    found = [answer.response_range.first() for answer in done.responses]
    pairs = list(zip(writes, found, strict=False))
    if all(pair.value == mark and pair.version == write.expected + 1 for write, pair in pairs):
        return
    for write, pair in pairs:
        if pair.version != write.expected:
            raise Superseded(
                f"the state of {write.party} in {where} is at version {pair.version}, not {write.expected}"
            )
    term = found[-1].value.decode(errors="replace") or "none"
    raise Superseded(f"{where} is led under term {term}, not {fence.term if fence else 0}")
