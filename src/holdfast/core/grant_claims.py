"""The claim set of one agent: what it claims, each change with a number, so that a voter can be told what it lacks.

Always: numbers only grow, and each belongs to one change; of a service only its latest change is kept. A voter that has
recorded the set up to a number knows the latest change of every service whose number is not above it.
"""

from collections.abc import Iterator
from typing import Literal

from holdfast.model.granting import CHANGES_BYTES_MAX, CLAIMS_MAX, Change, How, Step
from holdfast.model.names import ServiceName

Condition = Literal["asking", "joining", "held", "lapsed", "closing"]
CHANGE_OVERHEAD_BYTES = 25


class Entry:
    """The latest change of one service, and how far it has come."""

    __slots__ = (
        "condition",
        "dark_since_ns",
        "epoch",
        "free",
        "granted",
        "mask",
        "number",
        "older",
        "proven_ns",
        "service",
        "step",
    )

    def __init__(self, service: ServiceName, epoch: int, number: int, step: Step) -> None:
        self.service = service
        self.epoch = epoch
        self.number = number
        self.step: Step = step
        self.condition: Condition = "asking"
        self.mask = 0
        """A bit for each voter whose latest ACK promises this."""
        self.older = 0
        """A bit for each voter that refuses it because its epoch is too old."""
        self.free = 0
        """A bit for each voter that says: nobody is promised this here, or it is granted to the waiting one."""
        self.granted = 0
        """A bit for each voter that has granted it to the waiting one, because its holder has released it."""
        self.proven_ns = 0
        """It was safe to answer until then, by promises counted before the mask changed."""
        self.dark_since_ns = 0
        """When it lapsed."""

    @property
    def is_live(self) -> bool:
        return self.step in ("take", "wait", "watch") and self.condition != "closing"


class Claims:
    def __init__(self) -> None:
        self.number = 0
        self._entries: dict[ServiceName, Entry] = {}
        self._told: dict[int, tuple[tuple[Change, ...], int]] = {}

    def get(self, service: ServiceName) -> Entry | None:
        return self._entries.get(service)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    @property
    def is_full(self) -> bool:
        return len(self._entries) >= CLAIMS_MAX

    def put(self, service: ServiceName, epoch: int, step: How) -> Entry:
        """Claim it from now on."""
        return self._put(Entry(service, epoch, self._next(), step))

    def end(self, entry: Entry, step: Literal["drop", "release"]) -> Entry:
        """Claim it no longer. It stays in the set, so that voters that missed it are told."""
        return self._put(Entry(entry.service, entry.epoch, self._next(), step))

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _put(self, entry: Entry) -> Entry:
        # Put anew at the end: the order of the entries is that of their numbers.
        former = self._entries.pop(entry.service, None)
        if former is not None and former.epoch == entry.epoch and former.is_live and entry.step == "take":
            # What was granted to the waiting one stays so when it takes. After a drop nothing does.
            entry.proven_ns = former.proven_ns
        self._entries[entry.service] = entry
        self._told.clear()
        return entry

    def since(self, base: int) -> tuple[tuple[Change, ...], int]:
        """What a voter lacks that has recorded `base`, as much as one message takes; and how far that reaches."""
        if base >= self.number:
            return (), self.number
        told = self._told.get(base)
        if told is None:
            told = self._told[base] = self._collect(base)
        return told

    def _collect(self, base: int) -> tuple[tuple[Change, ...], int]:
        lacking: list[Entry] = []
        for entry in reversed(self._entries.values()):
            if entry.number <= base:
                break
            lacking.append(entry)
        changes: list[Change] = []
        size = 0
        for entry in reversed(lacking):
            size += len(entry.service.encode()) + CHANGE_OVERHEAD_BYTES
            if size > CHANGES_BYTES_MAX and changes:
                return tuple(changes), changes[-1].number
            changes.append(Change(entry.number, entry.service, entry.epoch, entry.step))
        return tuple(changes), self.number
