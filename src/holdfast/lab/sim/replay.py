"""The managers' decisions once more: cores that are given what the journals say was observed decide the same.

In:   the journals of all machines, as they were written. Out: violations where a core decides otherwise now.
Always: a leader's state is that of the store, which is its forerunner's after some event: the one after which the
number of its first record comes next, or else any after which it decides as it did. What a process that was killed had
no time to write is not missed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from holdfast.lab.judges.words import Violation
from holdfast.model.actions import Decision
from holdfast.model.events import Event, Observed
from holdfast.model.layout import Layout
from holdfast.model.names import HostName
from holdfast.model.records import Decided, Marked, Opened, Record, Seen
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import parties_of
from holdfast.runtime.manager_process import core_of
from holdfast.runtime.seat import BUG, Core
from holdfast.store.journal import GAP

_DECODER: "msgspec.json.Decoder[Record]" = msgspec.json.Decoder(Record)
_ENCODER = msgspec.json.Encoder()
TERM = "term "
TRIED_MAX = 400
"""States of forerunners that are tried, the latest first."""


class Step(NamedTuple):
    """One event and what was decided."""

    n: int
    at: float
    event: Event
    decisions: list[bytes]
    is_bug: bool


class _Reign(NamedTuple):
    """What one leader wrote."""

    host: HostName
    term: int
    began_s: float
    """By the calendar, which is the same for all."""
    before_n: int
    """The last number in the same file before it."""
    first_n: int
    steps: list[Step]
    is_torn: bool
    """Records of it could not be written."""


class Reached(NamedTuple):
    """A core's state, and the highest number in use when it was saved."""

    value: Any
    last_n: int


class Otherwise(NamedTuple):
    n: int
    text: str


def decided_otherwise(layout: Layout, journals: Mapping[HostName, RunFolder], at_s: float) -> list[Violation]:
    """For each manager the first decision that is another one now, if any."""
    found = []
    for party in parties_of(layout):
        reigns = [reign for host, folder in journals.items() for reign in _reigns(host, folder.journal(party))]
        reigns.sort(key=lambda reign: reign.began_s)
        found += [Violation("replay", f"{party}: {text}", at_s) for text in _replayed(core_of(layout, party), reigns)]
    return found


def _replayed(core: Core, reigns: list[_Reign]) -> Iterator[str]:
    states: list[Reached] = [Reached(core.initial(), 0)]
    for reign in reigns:
        if not reign.steps:
            continue
        if reign.is_torn or reign.first_n - 1 > max(reign.before_n, *(state.last_n for state in states)):
            return  # Its forerunner's journal, or its own, lacks what it could not write.
        followed = None
        best: Otherwise | None = None
        for state in _candidates(states, reign.first_n):
            followed, otherwise = _follow(core, state, reign)
            if otherwise is None:
                break
            if best is None or otherwise.n > best.n:
                best = otherwise
            followed = None
        if followed is None:
            if best is not None:
                yield f"term {reign.term} at {reign.host}: {best.text}"
            return  # From which state its successors went on cannot be known.
        states += followed


def _candidates(states: list[Reached], first_n: int) -> Iterator[Reached]:
    """Where the leader may have begun, the likeliest first."""
    newest = states[::-1]
    yield from (state for state in newest if state.last_n == first_n - 1)
    yield from (state for state in newest[:TRIED_MAX] if state.last_n != first_n - 1)


def _follow(core: Core, begun: Reached, reign: _Reign) -> tuple[list[Reached], Otherwise | None]:
    value = core.under_term(begun.value, reign.term)
    states, otherwise = follow(core, value, reign.steps)
    return [Reached(value, reign.first_n), *states], otherwise


def follow(core: Core, value: Any, steps: list[Step]) -> tuple[list[Reached], Otherwise | None]:
    """The states that come of these steps, up to the first of them in which something else is decided now, if any.

    Of the last one something may not have been written any more.
    """
    states: list[Reached] = []
    for place, step in enumerate(steps):
        if step.is_bug:
            continue
        try:
            value, decisions = core.step(value, Observed(step.n, step.event), step.at)
        except Exception as error:  # noqa: BLE001  # it did not fail then: that is what is looked for
            return states, Otherwise(step.n, f"record {step.n}, {_name(step.event)}: the core fails now: {error!r}")
        now = [_ENCODER.encode(decision) for decision in decisions]
        is_cut_off = place == len(steps) - 1 and step.decisions == now[: len(step.decisions)]
        if now != step.decisions and not is_cut_off:
            return states, Otherwise(step.n, _difference(step, now))
        states.append(Reached(value, step.n + len(now)))
    return states, None


def _difference(step: Step, now: list[bytes]) -> str:
    place = next(
        (place for place, (a, b) in enumerate(zip(step.decisions, now, strict=False)) if a != b),
        min(len(step.decisions), len(now)),
    )
    then = step.decisions[place].decode() if place < len(step.decisions) else "nothing more"
    again = now[place].decode() if place < len(now) else "nothing more"
    return f"record {step.n}, {_name(step.event)}: decided then: {then}; decided now: {again}"


def _name(event: Event) -> str:
    return type(event).__name__


def _reigns(host: HostName, path: Path) -> Iterator[_Reign]:
    """Each process that led, as it wrote."""
    if not path.exists():
        return
    records: list[Record] = []
    before_n = 0
    for line in path.read_bytes().splitlines():
        if line.strip():
            record = _DECODER.decode(line)
            if isinstance(record, Opened):
                yield from _reign(host, records, before_n)
                before_n = records[-1].n if records else 0
                records = []
            records.append(record)
    yield from _reign(host, records, before_n)


def _reign(host: HostName, records: list[Record], before_n: int) -> Iterator[_Reign]:
    term = term_in_force(records)
    if term is not None:
        steps = steps_of(records)
        yield _Reign(host, term, _wall(records[0]), before_n, records[0].n, steps, is_torn(records))


def term_in_force(records: list[Record]) -> int | None:
    """Under which a process led that wrote this; None if it did not lead."""
    return next((_term(record) for record in records if isinstance(record, Marked) and record.name == "leads"), None)


def is_torn(records: list[Record]) -> bool:
    """Whether some of what happened in between could not be written."""
    return any(isinstance(record, Marked) and record.name == GAP for record in records)


def steps_of(records: list[Record]) -> list[Step]:
    """Each event with what was decided because of it."""
    decided: dict[int, list[bytes]] = {}
    bugs = set()
    for place, record in enumerate(records):
        if isinstance(record, Decided):
            decision = Decision(record.action, record.reasons, record.incident) if record.reasons else record
            decided.setdefault(record.on, []).append(_ENCODER.encode(decision))
        elif isinstance(record, Marked) and record.name == BUG and isinstance(records[place - 1], Seen):
            bugs.add(records[place - 1].n)
    return [
        Step(record.n, record.at, record.event, decided.get(record.n, []), record.n in bugs)
        for record in records
        if isinstance(record, Seen)
    ]


def _wall(record: Record) -> float:
    return record.wall if isinstance(record, Opened) else 0.0


def _term(record: Marked) -> int:
    return int(record.detail.removeprefix(TERM))
