"""Does one manager lead at a time, and is nobody blamed for what the one that blames has not done in time?

In: journals by file; facts; faults. Out: violations.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.lab.judges.facts import Fact
from holdfast.lab.judges.words import Struck, Violation
from holdfast.model.layout import Layout
from holdfast.model.names import VnfcName
from holdfast.model.records import Decided, Marked, Record, term_in

AGENTS = "agent:"
STOPS = frozenset(
    {"kill-vnfc", "freeze-vnfc", "cleanup-hangs", "kill-vm", "freeze-vm", "host-off", "freeze-host", "fence-lies"}
)
"""Faults after which a component does not answer its checks."""
SETTLED_S = 3.0


@dataclass
class _Reign:
    party: str
    term: int
    began_s: float
    last_s: float = 0.0
    last: str = ""
    """The last decision."""


def one_leader(journals: Iterable[Sequence[Record]]) -> list[Violation]:
    """Nobody decides any more when another one has begun to lead under a newer term.

    Args:
        journals: of each party on each host, in true time.
    """
    reigns: list[_Reign] = []
    for records in journals:
        for record in records:
            if isinstance(record, Marked) and record.name == "leads":
                reigns.append(_Reign(record.by, term_in(record.detail), record.at))
            elif isinstance(record, Decided) and reigns and reigns[-1].party == record.by:
                reigns[-1].last_s, reigns[-1].last = record.at, f"{type(record.action).__name__} (record {record.n})"
    wrong = []
    for reign in reigns:
        # Not simply those of a newer term: a store that was restored may give a term again.
        after = [other for other in reigns if other.party == reign.party and other.began_s > reign.began_s]
        next_one = min(after, key=lambda other: other.began_s, default=None)
        if next_one is not None and reign.last_s > next_one.began_s:
            text = f"{reign.party} decided {reign.last} under term {reign.term}, and term {next_one.term} had begun"
            wrong.append(Violation("leaders", text, reign.last_s))
    return wrong


def given_once(journals: Iterable[Sequence[Record]]) -> list[Violation]:
    """No number of an action is given twice, by whatever leader."""
    given: set[str] = set()
    wrong = []
    for record in sorted((one for records in journals for one in records), key=lambda one: (one.at, one.by, one.n)):
        number = getattr(record.action, "id", "") if isinstance(record, Decided) else ""
        if isinstance(record, Decided) and number and not record.by.startswith(AGENTS):
            if number in given:
                text = f"{number} is given to {type(record.action).__name__} (record {record.n}), and was given before"
                wrong.append(Violation("numbers", text, record.at))
            given.add(number)
    return wrong


@dataclass
class Former:
    """What earlier slices of journals have told, for slices that are judged one after the other.

    Managers of all hosts write to one journal there: whoever begins to lead goes on with the numbers of its records.
    """

    since: dict[str, float] = field(default_factory=dict)
    """By journal, when a manager last began to lead."""
    written: dict[str, int] = field(default_factory=dict)
    """By journal, the highest number of a record."""
    given: dict[str, int] = field(default_factory=dict)
    """By party, the highest number of an action before the last slice."""
    last: dict[str, set[int]] = field(default_factory=dict)
    """By party, the numbers of the last slice: a file may have been taken a little before another one."""

    def follow(self, journals: Mapping[str, Sequence[Record]]) -> None:
        """Another slice."""
        for party, numbers in self.last.items():
            self.given[party] = max(self.given.get(party, 0), *numbers)
        self.last = {}
        for name, records in journals.items():
            for record in records:
                if found := _numbered(record):
                    self.last.setdefault(found[0], set()).add(found[1])
            self.since[name], self.written[name], _ = self._late(name, records)

    def led(self, journals: Mapping[str, Sequence[Record]]) -> list[Violation]:
        """Nobody decides any more when another one has begun to lead; of the next slice."""
        return [wrong for name, records in journals.items() for wrong in self._late(name, records)[2]]

    def _late(self, name: str, records: Sequence[Record]) -> tuple[float, int, list[Violation]]:
        """When the last one began to lead, the highest number, and what was decided by one that led before it."""
        since, highest, wrong = self.since.get(name, -math.inf), self.written.get(name, 0), []
        for record in records:
            if isinstance(record, Marked) and record.name == "leads":
                since = record.at
            elif isinstance(record, Decided) and record.n <= highest and record.at > since:
                text = f"{record.by} decided {type(record.action).__name__} (record {record.n})"
                wrong.append(Violation("leaders", f"{text}, and another one had begun to lead", record.at))
            highest = max(highest, record.n)
        return since, highest, wrong

    def again(self, journals: Mapping[str, Sequence[Record]]) -> list[Violation]:
        """`given_once`, of the next slice and all that came before it."""
        wrong = given_once(journals.values())
        for record in (one for records in journals.values() for one in records):
            found = _numbered(record)
            if found and (found[1] <= self.given.get(found[0], 0) or found[1] in self.last.get(found[0], ())):
                text = f"{found[0]}/{found[1]} is given by record {record.n}, and was given long before"
                wrong.append(Violation("numbers", text, record.at))
        return wrong


def _numbered(record: Record) -> tuple[str, int] | None:
    """Party and number of the action that a manager has decided, if it has one."""
    action = getattr(record.action, "id", "") if isinstance(record, Decided) else ""
    if not action or record.by.startswith(AGENTS):
        return None
    party, _, number = action.rpartition("/")
    return party, int(number)


def blamed(layout: Layout, all_facts: Sequence[Fact], faults: Sequence[Struck]) -> list[Violation]:
    """No VNFC is found failed by its checks that no fault has stopped: an agent that was late itself has to know."""
    wrong = []
    for fact in all_facts:
        if (fact.verb, fact.kind) != ("seen", "VnfcFailed") or not _is_by_check(fact):
            continue
        vnfc = layout.vnfcs[VnfcName(str(fact.fields["vnfc"]))]
        around = {vnfc.name, vnfc.vm, vnfc.host}
        is_struck = any(
            fault.kind in STOPS and fault.entity in around and fault.at_s <= fact.at <= fault.until_s + SETTLED_S
            for fault in faults
        )
        if not is_struck:
            text = f"{vnfc.name} was found failed, and nothing had stopped it: {fact.fields['detail']} ({fact.says()})"
            wrong.append(Violation("blamed", text, fact.at))
    return wrong


def _is_by_check(fact: Fact) -> bool:
    return fact.fields["cause"] == "check" and str(fact.fields["detail"]).startswith("check ")
