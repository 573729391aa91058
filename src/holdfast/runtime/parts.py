"""How a state becomes the named parts that a store keeps, so that a step writes what it has changed and no more.

In:   a state (its fields are values or mappings), step by step; parts as they were loaded.
Out:  the parts that have changed since the last ones that were kept; the values that parts hold.
Always: a big mapping is in pieces (`<name>/<piece>`), each with the entries of some of its keys, always of the same.
Its order is not kept: it is restored from what a state begins with, and from the numbers in the keys.
"""

import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Raw, Struct

from holdfast.core.book import Book, differences
from holdfast.core.ledger import Ledger

IN_PIECES = frozenset(
    {"alarms", "epochs", "groups", "incidents", "pending", "reports", "services", "timers", "under_way", "vms"}
    | {"vnfcs", "wakes"}
)
"""Mappings that may be as large as the deployment, or as what is wrong with it."""
_NUMBERS = re.compile(r"([0-9]+)")
_DIGITS_MAX = 18
"""Of a number of ours; what is longer, and was never written by us, is a word."""
Changes = dict[str, bytes | None]


def named(prefix: str, value: Struct) -> dict[str, Any]:
    """The fields of a state by the names of their parts; a ledger's, too."""
    found: dict[str, Any] = {}
    for field in value.__struct_fields__:
        one = getattr(value, field)
        if isinstance(one, Ledger):
            found[f"{prefix}.{field}"] = (one.party, one.actions, one.incidents)
            found |= {f"{prefix}.{field}.pending": one.pending, f"{prefix}.{field}.taken": one.taken}
        else:
            found[f"{prefix}.{field}"] = one
    return found


class Parts:
    """What the store has of one party.

    Args:
        pieces: how many a mapping may be split into.
        stored: the parts that the store has now.
    """

    def __init__(self, pieces: int, stored: Mapping[str, bytes]) -> None:
        self._pieces = pieces
        self._encode = msgspec.msgpack.Encoder()
        self._kept: dict[str, Any] = {}
        """The values behind the parts in the store, as far as this process has saved them."""
        self._members: dict[str, dict[int, dict[str, None]]] = {}
        """By mapping and piece: the keys in it."""
        self._foreign = dict(stored)
        """Parts that an earlier process left, perhaps split otherwise, till the first save: what is the same is not
        written again, and what is not set any more is removed."""

    def changes(self, values: Mapping[str, Any]) -> Changes:
        """What has to be written to keep these values."""
        changed: Changes = {}
        for name, value in values.items():
            before = self._kept.get(name)
            if value is before and not (isinstance(value, Book) and value.changed):
                continue
            if isinstance(value, dict) and name.rpartition(".")[2] in IN_PIECES:
                self._pieces_changed(name, before if before is not None else {}, value, changed)
            elif name not in self._kept or before != value:
                changed[name] = self._encode.encode(value)
        if not self._foreign:
            return changed
        gone = {name: None for name in self._foreign if name not in changed}
        return gone | {name: content for name, content in changed.items() if self._foreign.get(name) != content}

    def _pieces_changed(self, name: str, before: Mapping[str, Any], value: Mapping[str, Any], changed: Changes) -> None:
        members = self._members.setdefault(name, {})
        touched: dict[int, None] = {}
        own = value is before and isinstance(value, Book)
        for key in tuple(value.changed) if own else differences(before, value):  # type: ignore[attr-defined]
            piece = crc32(key.encode()) % self._pieces
            touched[piece] = None
            keys = members.setdefault(piece, {})
            if key in value:
                keys[key] = None
            else:
                keys.pop(key, None)
        for piece in touched:
            there = {key: value[key] for key in members[piece] if key in value}
            changed[f"{name}/{piece}"] = self._encode.encode(there) if there else None
            if not members[piece]:
                del members[piece]  # Its keys are over: with numbers in them, the next ones are in other pieces.

    def kept(self, values: Mapping[str, Any]) -> None:
        """The store has taken them."""
        self._kept = dict(values)
        self._foreign = {}
        for value in values.values():
            if isinstance(value, Book):
                value.changed.clear()


def loaded(parts: Mapping[str, bytes], name: str, first: Mapping[str, Any] | None = None) -> bytes | None:
    """One value, encoded as a whole; None if the parts do not have it.

    Args:
        parts: as the store has them.
        name: of the value.
        first: for a mapping: what a state begins with, whose order its keys have.
    """
    begin = f"{name}/"
    pieces = [content for part, content in parts.items() if part.startswith(begin)]
    if not pieces:
        return parts.get(name)
    decode = msgspec.msgpack.Decoder(dict[str, Raw]).decode
    entries: dict[str, Raw] = {}
    for content in pieces:
        entries |= decode(content)
    places = {key: place for place, key in enumerate(first or ())}
    ordered = sorted(entries, key=lambda key: (places.get(key, len(places)), _natural(key)))
    return msgspec.msgpack.encode({key: entries[key] for key in ordered})


def _natural(key: str) -> list[tuple[int, str]]:
    """Numbers by their size, so that what was numbered comes in the order in which it was."""
    words = _NUMBERS.split(key)
    return [
        (int(word), "") if place % 2 and len(word) <= _DIGITS_MAX else (0, word) for place, word in enumerate(words)
    ]


def state_from(parts: Mapping[str, bytes], fresh: Struct) -> bytes:
    """The saved state, encoded as a whole; a field that an older version did not save has its first value."""
    fields: dict[str, Raw] = {}
    for field in fresh.__struct_fields__:
        name, first = f"state.{field}", getattr(fresh, field)
        content = _ledger(parts, name) if isinstance(first, Ledger) else None
        content = content or loaded(parts, name, first if isinstance(first, dict) else None)
        fields[field] = Raw(content if content is not None else msgspec.msgpack.encode(first))
    return msgspec.msgpack.encode(fields)


def _ledger(parts: Mapping[str, bytes], name: str) -> bytes | None:
    """A ledger in parts of its own; None if an older version saved it as one."""
    if f"{name}.taken" not in parts:
        return None
    party, actions, incidents = msgspec.msgpack.decode(parts[name], type=tuple[str, int, int])
    empty = msgspec.msgpack.encode({})
    return msgspec.msgpack.encode(
        {
            "party": party,
            "actions": actions,
            "incidents": incidents,
            "pending": Raw(loaded(parts, f"{name}.pending") or empty),
            "taken": Raw(parts[f"{name}.taken"]),
        }
    )
