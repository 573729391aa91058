"""The managers' decisions once more, slice by slice, for a deployment whose journals nobody keeps whole.

In:   the managers' journals from the start of the deployment, slice by slice. Out: what a core now decides otherwise.
Always: a step is followed once all of it has been written; a leader may have begun with any of the states that its
forerunner came to of late, and each with which it decides as it did is followed on. What cannot be followed (something
was not written, or two wrote at once) is left out from there on, and said.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.lab.sim.replay import Otherwise, Reached, follow, is_torn, steps_of, term_in_force
from holdfast.model.layout import Layout
from holdfast.model.names import Party
from holdfast.model.records import Opened, Record, Seen
from holdfast.runtime.given import parties_of
from holdfast.runtime.manager_process import core_of
from holdfast.runtime.seat import Core

STATES_MAX = 200
"""So many of the latest states a leader may have begun with."""
WAYS_MAX = 20
"""So many different ones are followed on at the same time, the likeliest first."""
STEPS_TO_BEGIN = 12
"""A leader is followed from so many steps on: fewer tell too little of what it began with."""

_ENCODER = msgspec.msgpack.Encoder()


class Replay:
    """Of all managers of one deployment."""

    def __init__(self, layout: Layout) -> None:
        self._managers = {party: _Reigns(core_of(layout, party)) for party in parties_of(layout)}

    def take(self, journals: Mapping[str, Sequence[Record]]) -> list[str]:
        """The next slice: what is decided otherwise now."""
        wrong = []
        for records in journals.values():
            manager = self._managers.get(records[0].by) if records else None
            if manager is not None:
                wrong += [f"{records[0].by}: {text}" for text in manager.take(records)]
        return wrong

    @property
    def lost(self) -> dict[Party, str]:
        """Who is not followed any more, and why."""
        return {party: manager.lost for party, manager in self._managers.items() if manager.lost}


class _Reigns:
    """Those that led as one party, one after the other."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._ways: list[list[Reached]] = [[Reached(core.initial(), 0)]]
        """How it may have come to be as it is: of each the latest states."""
        self._is_cut = False
        """There were more than could be followed."""
        self._held: list[Record] = []
        """What has not been followed yet."""
        self._highest = 0
        self.lost = ""

    def take(self, records: Sequence[Record]) -> list[str]:
        if self.lost:
            return []
        self._held += records
        if is_torn(list(records)):
            self.lost = "something of its journal could not be written"
        elif not self._goes_up(records):
            self.lost = "two wrote to its journal at once"
        if self.lost:
            self._held.clear()
            return []
        pieces = _pieces(self._held)
        for place, piece in enumerate(pieces):
            otherwise = self._follow(piece, is_over=place < len(pieces) - 1)
            if otherwise is not None:
                self.lost = "it decided otherwise"
                return [] if self._is_cut else [otherwise.text]
        return []

    def _goes_up(self, records: Sequence[Record]) -> bool:
        for record in records:
            if record.n <= self._highest:
                return False
            self._highest = record.n
        return True

    def _follow(self, piece: list[Record], *, is_over: bool) -> Otherwise | None:
        """What one process wrote, or has added to it; what is not complete is held for the next time."""
        seen = [place for place, record in enumerate(piece) if isinstance(record, Seen)]
        end = len(piece) if is_over else seen[-1] if seen else 0
        begins = isinstance(piece[0], Opened)
        if begins and not is_over and (len(seen) <= STEPS_TO_BEGIN or term_in_force(piece) is None):
            end = 0
        self._held = piece[end:]
        steps = steps_of(piece[:end])
        if not end or (begins and term_in_force(piece) is None):
            return None
        if not begins:
            return self._go_on([(way, way[-1].value) for way in self._ways], steps)
        term = term_in_force(piece) or 0
        latest = sorted((one for way in self._ways for one in way), key=lambda one: -one.last_n)
        begun = [self._core.under_term(one.value, term) for one in latest]
        self._is_cut = False
        return self._go_on([([Reached(value, piece[0].n)], value) for value in _different(begun)], steps)

    def _go_on(self, begun: list[tuple[list[Reached], Any]], steps: list[Any]) -> Otherwise | None:
        ways: list[list[Reached]] = []
        best: Otherwise | None = None
        for way, value in begun:
            states, otherwise = follow(self._core, value, steps)
            if otherwise is None:
                ways.append([*way, *states][-STATES_MAX:])
            elif best is None or otherwise.n > best.n:
                best = otherwise
        if not ways:
            return best
        different = {_ENCODER.encode(way[-1].value): way for way in reversed(ways)}
        self._ways = list(different.values())[::-1][:WAYS_MAX]
        self._is_cut = self._is_cut or len(different) > WAYS_MAX
        return None


def _different(values: Iterable[Any]) -> list[Any]:
    return list({_ENCODER.encode(value): value for value in values}.values())


def _pieces(records: list[Record]) -> list[list[Record]]:
    """What each process wrote; the first may go on with what an earlier slice began."""
    pieces: list[list[Record]] = []
    for record in records:
        if isinstance(record, Opened) or not pieces:
            pieces.append([])
        pieces[-1].append(record)
    return pieces
