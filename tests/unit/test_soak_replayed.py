"""Managers' decisions once more, slice by slice: journals of real cores, cut anywhere, one leader after another."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from holdfast.lab.soak.replayed import STEPS_TO_BEGIN, Replay
from holdfast.model.events import Event, ManagerStarted, Observed
from holdfast.model.layout import Layout
from holdfast.model.names import HA
from holdfast.model.records import Decided, Marked, Opened, Record, Seen
from holdfast.runtime.manager_process import core_of
from holdfast.store.journal import GAP
from tests.unit.judged_runs import good_run

JOURNAL = "journal/ha.jsonl"
RUN = good_run("uc1 granted")
EVENTS = [record.event for record in RUN.records if isinstance(record, Seen) and record.by == HA]


class Led:
    """The journal of managers that lead one after the other."""

    def __init__(self, layout: Layout) -> None:
        self.core = core_of(layout, HA)
        self.states: list[Any] = [self.core.initial()]
        self.records: list[Record] = []
        self.at = 0.0

    def _next(self) -> int:
        self.at += 0.01
        return self.records[-1].n + 1 if self.records else 1

    def begins(self, term: int, lag: int = 0) -> None:
        """Another one leads, with the state that was stored so many events ago."""
        self.records.append(Opened(self.at, HA, self._next(), self.at, pid=term))
        self.records.append(Marked(self.at, HA, self._next(), "leads", HA, f"term {term}"))
        self.states.append(self.core.under_term(self.states[-1 - lag], term))

    def sees(self, events: Sequence[Event]) -> None:
        for event in events:
            n = self._next()
            self.records.append(Seen(self.at, HA, n, event))
            state, decisions = self.core.step(self.states[-1], Observed(n, event), self.at)
            self.states.append(state)
            for one in decisions:
                self.records.append(Decided(self.at, HA, self._next(), n, one.action, one.reasons, one.incident))


def led() -> Led:
    journal = Led(RUN.layout)
    journal.begins(1)
    journal.sees(EVENTS)
    journal.begins(2, lag=2)
    journal.sees([ManagerStarted(), *EVENTS])
    return journal


def in_slices(records: Sequence[Record], size: int) -> tuple[list[str], Replay]:
    replay = Replay(RUN.layout)
    wrong = []
    for at in range(0, len(records), size):
        wrong += replay.take({JOURNAL: records[at : at + size]})
    return wrong, replay


@pytest.mark.parametrize("size", [1, 2, 7, 50, 10_000])
def test_what_was_decided_is_decided_again_however_the_journal_is_cut(size: int) -> None:
    records = led().records
    assert len([record for record in records if isinstance(record, Seen)]) > 2 * STEPS_TO_BEGIN
    wrong, replay = in_slices(records, size)
    assert wrong == []
    assert replay.lost == {}


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("which", [10, -10])
def test_a_decision_that_would_be_another_one_now_is_told_once(size: int, which: int) -> None:
    records = led().records
    decided = [record for record in records if isinstance(record, Decided)][which]
    other = structs.replace(decided, reasons=decided.reasons[:1] * 7)
    wrong, replay = in_slices([other if record is decided else record for record in records], size)
    assert len(wrong) == 1
    assert wrong[0].startswith(f"ha: record {decided.on}, ")
    assert replay.lost == {HA: "it decided otherwise"}


def test_a_journal_that_cannot_be_followed_is_left_out_and_that_is_said() -> None:
    records = led().records
    torn = [*records[:50], Marked(records[50].at, HA, records[50].n, GAP, "", ""), *records[60:]]
    wrong, replay = in_slices(torn, 20)
    assert (wrong, replay.lost) == ([], {HA: "something of its journal could not be written"})
    wrong, replay = in_slices([*records[:50], *records[40:]], 20)
    assert (wrong, replay.lost) == ([], {HA: "two wrote to its journal at once"})
