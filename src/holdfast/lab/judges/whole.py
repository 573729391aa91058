"""Judges for runs in which anything may happen at any time: what must hold whatever the faults, and what once they end.

In: facts from the journals, faults with their times, moves of addresses as the network saw them.
Out: violations, each with the judge that saw it and what it saw. None of them knows how the product decides.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from holdfast.lab.judges.checks import redundancy_missing
from holdfast.lab.judges.counting import rests_on_observations, started_too_often
from holdfast.lab.judges.facts import Fact, facts
from holdfast.lab.judges.open_items import still_open
from holdfast.lab.judges.proofs import acknowledged, gone_first, host_of, left_alone
from holdfast.lab.judges.words import Struck, Violation
from holdfast.model.layout import Layout
from holdfast.model.records import TAKING, Decided, Marked, Record, Seen

HARMLESS = frozenset({"clock-bends", "kill-manager", "freeze-manager", "kill-store", "freeze-store", "store-away"})
"""Faults that are no reason to move a service."""
AGENTS = "agent:"
"""Agents decide by what their grants tell them, and journal that beside; only managers journal events as seen."""
SETTLED_S = 3.0
"""What happens later than this after a fault's end is not its doing; with promises of seconds it takes longer."""
NS = 1_000_000_000
TOLD_MAX = 3
"""Of one kind; what follows is mostly the same once more."""
REPAIRS = ("StartVm", "StartHost")
GIVEN = (
    "repair-acknowledged",
    "repair-requested",
    "error-reported",
    "repair-configured",
    "declared",
    "vm-gone",
    "host-up",
    "host-fenced",
    "host-vouched-off",
    "repair-requested",
    "operator-asked",
)
"""With one of these reasons a VM or host may be started."""


def open_at_the_end(all_facts: Sequence[Fact], at_s: float) -> list[Violation]:
    """Every report cleared, every incident closed, every alarm taken back."""
    return [
        Violation("cleared", f"still open: {kind} {name} ({fact.says()})", at_s)
        for (kind, name), fact in still_open(all_facts).items()
    ]


def redundancy(layout: Layout, all_facts: Sequence[Fact], at_s: float) -> list[Violation]:
    """The declared redundancy is there again."""
    return [
        Violation("redundancy", f"{group.name}: {missing}", at_s)
        for group in layout.groups.values()
        for missing in redundancy_missing(layout, group, all_facts)
    ]


def reasons(records: Iterable[Record]) -> list[Violation]:
    """Every decision names reasons, and what it says was seen had been seen by the one that decided.

    What an agent goes by, when it follows a standing order, it has noted with a mark.
    """
    seen: dict[str, set[int]] = defaultdict(set)
    wrong: list[Violation] = []
    for record in records:
        if isinstance(record, Seen) or (isinstance(record, Marked) and record.name == TAKING):
            seen[record.by].add(record.n)
        elif isinstance(record, Decided):
            what = f"{record.by} decided {type(record.action).__name__} (record {record.n})"
            if not record.reasons:
                wrong.append(Violation("reasons", f"{what} without a reason", record.at))
            elif not record.by.startswith(AGENTS) and record.on not in seen[record.by]:
                wrong.append(Violation("reasons", f"{what} on an event that is not in its journal", record.at))
    return wrong


def repairs(all_facts: Sequence[Fact], records: Iterable[Record]) -> list[Violation]:
    """No repair of a VM or host without leave; never two repairers at one VNFC at once."""
    wrong: list[Violation] = []
    for record in records:
        if isinstance(record, Decided) and type(record.action).__name__ in REPAIRS:
            codes = {reason.code for reason in record.reasons}
            if codes.isdisjoint(GIVEN):
                what = f"{record.by} decided {type(record.action).__name__} (record {record.n})"
                wrong.append(Violation("repairs", f"{what} with no leave among {sorted(codes)}", record.at))
    under_way: dict[str, tuple[str, str]] = {}
    for fact in all_facts:
        if fact.kind != "StartVnfc" or fact.verb not in ("begun", "ended"):
            continue
        name, number = str(fact.fields.get("vnfc", "")), str(fact.fields.get("id", ""))
        party = number.rpartition("/")[0]
        if fact.verb == "begun":
            other = under_way.get(name)
            if other is not None and other[0] != party:
                text = f"{party} and {other[0]} both start {name} ({fact.says()})"
                wrong.append(Violation("repairs", text, fact.at))
            under_way[name] = (party, number)
        elif under_way.get(name, ("", ""))[1] == number:
            del under_way[name]
    return wrong


def of_journals(layout: Layout, records: Sequence[Record], told: Sequence[Fact] | None = None) -> list[Violation]:
    """Whatever journals alone can show: of decisions, of what they rest on, and of their order.

    Args:
        layout: what is deployed.
        records: of all machines.
        told: the same as facts, where they are known already.
    """
    seen = told if told is not None else facts(records)
    found = (
        reasons(records),
        repairs(seen, records),
        rests_on_observations(layout, sorted(records, key=lambda record: (record.at, record.by, record.n))),
        started_too_often(layout, seen),
        gone_first(layout, seen),
        acknowledged(layout, seen),
        left_alone(seen),
    )
    return [violation for violations in found for violation in violations[:TOLD_MAX]]


class Move(Struct, frozen=True):
    """An address is answered at a host, and was not answered there before. The first one of an address is no move."""

    at_s: float
    silent_s: float
    """The last answer of the former one before that."""
    address: str
    host: str


def moved_for_nothing(layout: Layout, moves: Sequence[Move], faults: Sequence[Struck]) -> list[Violation]:
    """No service moves while nothing is wrong, nor for a fault that is no reason to, nor for one on another host.

    A move that ends a silence is the doing of what was wrong as the silence began, however long it lasted.

    Args:
        layout: where everything is.
        moves: of all addresses, in order.
        faults: all that was done.
    """
    # A voter that starts is silent for as long as a promise, and may then have to wait for the end of one.
    settled_s = SETTLED_S + (2 * layout.grants.lengths.length_ns / NS if layout.grants is not None else 0.0)
    at: dict[str, str] = {}
    since: dict[str, float] = {}
    wrong: list[Violation] = []
    for move in moves:
        former, at[move.address] = at.get(move.address), move.host
        came_s, since[move.address] = since.get(move.address, move.at_s), move.at_s
        if former is None or _is_given_back(layout, move.address, move.host, move.at_s - came_s):
            continue
        near = [one for one in faults if one.at_s <= move.at_s and move.silent_s <= one.until_s + settled_s]
        harmful = [fault for fault in near if fault.kind not in HARMLESS]
        if not harmful or _is_elsewhere(layout, former, harmful):
            why = "nothing" if not near else ", ".join(f"{fault.kind} {fault.entity}" for fault in near)
            what = f"{move.address} moved from {former} to {move.host}"
            wrong.append(Violation("moved", f"{what}, and wrong was {why}", move.at_s))
    return wrong


def _is_given_back(layout: Layout, address: str, host: str, elsewhere_s: float) -> bool:
    """Whether the descriptor asks for it: it is preferred there, and was elsewhere for as long as is written."""
    for service in layout.services.values():
        group = layout.groups[service.group]
        if service.address.partition("/")[0] != address or group.auto_adjust_s is None:
            continue
        first = group.vnfcs[group.services.index(service.name)]
        return layout.vnfcs[first].host == host and elsewhere_s >= group.auto_adjust_s
    return False


def _is_elsewhere(layout: Layout, host: str, faults: Sequence[Struck]) -> bool:
    """Whether all that was wrong was on one other host: a majority of the voters was never concerned."""
    places = {host_of(layout, fault.entity) for fault in faults}
    return len(places) == 1 and None not in places and host not in places and len(layout.hosts) > 2
