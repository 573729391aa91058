"""The newest updates of a state, in order, and where they begin.

What always holds: entries follow one another by sequence without a gap, epochs never fall, and a
position (epoch, sequence) that is found here means that all before it is the same on both sides: an epoch
has one writer. What is older than the bounds is forgotten, except what is not yet acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from holdfast.state.frames import Entry
from holdfast.wire.component import Position

ENTRIES_KEPT = 4096
BYTES_KEPT = 4 << 20


class History:
    def __init__(self, base: Position, entries: Iterable[Entry] = ()) -> None:
        self.base = base
        """Position before the first entry that is kept."""
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> Position:
        return self._entries[-1].position if self._entries else self.base

    def append(self, entry: Entry) -> None:
        last = self.last
        if entry.sequence != last.sequence + 1 or entry.epoch < last.epoch:
            raise ValueError(f"{entry.position} cannot follow {last}")
        self._entries.append(entry)
        self._bytes += len(entry.payload)

    def after(self, sequence: int) -> Sequence[Entry] | None:
        """Entries behind this sequence number; None where they are not kept any more."""
        skipped = sequence - self.base.sequence
        if skipped < 0:
            return None
        if skipped >= len(self._entries):
            return ()
        if skipped == len(self._entries) - 1:
            return (self._entries[-1],)  # the usual case: one new entry
        return [self._entries[index] for index in range(skipped, len(self._entries))]

    def holds(self, position: Position) -> bool:
        """Whether this position is part of our history, as far as it is kept."""
        if position == self.base:
            return True
        index = position.sequence - self.base.sequence - 1
        return 0 <= index < len(self._entries) and self._entries[index].epoch == position.epoch

    def at(self, sequence: int) -> Position:
        """Position of an entry that is kept (or of the base)."""
        if sequence == self.base.sequence:
            return self.base
        return self._entries[sequence - self.base.sequence - 1].position

    def trim(self, acknowledged: int) -> None:
        """Forget the oldest entries above the bounds, none of them newer than `acknowledged`."""
        entries = self._entries
        while (len(entries) > ENTRIES_KEPT or self._bytes > BYTES_KEPT) and entries[0].sequence <= acknowledged:
            entry = entries.popleft()
            self._bytes -= len(entry.payload)
            self.base = entry.position
