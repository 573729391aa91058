"""Did what failed too often really fail too often, and was what it rests on ever observed?

In: the layout, records of all parties in order of time. Out: violations. Always: counted are the observations that a
reason names, at the times that the journal has for them.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

from holdfast.lab.judges.facts import Fact
from holdfast.lab.judges.words import Violation
from holdfast.model.events import OF_ITS_ZONE, Received
from holdfast.model.layout import Escalation, Layout
from holdfast.model.messages import VmUp
from holdfast.model.names import HostName, VmName, VnfcName
from holdfast.model.reasons import Reason
from holdfast.model.records import Decided, Record, Seen

AGENTS = "agent:"
OLD_S = 0.001
"""Times of journals are exact to less than that."""


class Observed:
    """When each party observed what."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, int], list[float]] = defaultdict(list)
        self._up: dict[tuple[str, str], list[float]] = defaultdict(list)

    def take(self, record: Seen) -> None:
        self._times[record.by, record.n].append(record.at)
        if isinstance(record.event, Received) and isinstance(record.event.message, VmUp):
            self._up[record.by, record.event.message.vm].append(record.at)

    def at(self, party: str, number: int) -> float | None:
        """When it was observed, the last time: a leader may use numbers again that its forerunner could not save."""
        times = self._times.get((party, number))
        return times[-1] if times else None

    def up_before(self, party: str, vm: str, at: float) -> float:
        """When the party had last heard that the VM begins a new life."""
        times = self._up.get((party, vm), [])
        place = bisect_right(times, at)
        return times[place - 1] if place else float("-inf")


def rests_on_observations(layout: Layout, records: Iterable[Record]) -> list[Violation]:
    """Every reason names what its party has observed, and says `too often` only of what is."""
    observed = Observed()
    said: set[tuple[str, Reason]] = set()
    wrong: list[Violation] = []
    for record in records:
        if isinstance(record, Seen):
            observed.take(record)
        elif isinstance(record, Decided) and not record.by.startswith(AGENTS):
            for reason in record.reasons:
                if (record.by, reason) in said:
                    continue  # It was judged when it was new.
                said.add((record.by, reason))
                what = f"{record.by} decided {type(record.action).__name__} (record {record.n})"
                missing = [number for number in reason.seen if observed.at(record.by, number) is None]
                if missing:
                    text = f"{what} for {reason.code}, and has observed no number {missing[0]}"
                    wrong.append(Violation("reasons", text, record.at))
                elif reason.code == "too-many-failures":
                    wrong += [
                        Violation("counted", f"{what}: {text}", record.at)
                        for text in _not_so_many(layout, observed, record, reason)
                    ]
    return wrong


def _not_so_many(layout: Layout, observed: Observed, record: Decided, reason: Reason) -> list[str]:
    rule = _rule(layout, record.by, reason.about)
    times = [at for number in reason.seen if (at := observed.at(record.by, number)) is not None]
    if rule is None or not times:
        return []
    since = max(times) - rule.probation_s - OLD_S
    if record.by.startswith("vnfm") and reason.about in layout.vms:
        since = max(since, observed.up_before(record.by, reason.about, record.at))
    counted = sum(at >= since for at in times)
    needed = rule.maximum if reason.about in layout.hosts else rule.maximum + 1
    if counted >= min(needed, 16):
        return []
    return [f"{reason.about} is said to have failed too often, after {counted} failures; {rule.maximum} are allowed"]


def _rule(layout: Layout, party: str, about: str) -> Escalation | None:
    """The rule by which that party counts."""
    if about in layout.hosts:
        return layout.hosts[HostName(about)].escalation
    if about in layout.vnfcs:
        return layout.vnfs[layout.vnfcs[VnfcName(about)].vnf].vnfc_escalation
    if about not in layout.vms:
        return None
    if party == "vim":
        return layout.vms[VmName(about)].escalation
    rules = [layout.vnfs[one.vnf].vnfc_escalation for one in layout.vnfcs.values() if one.vm == about]
    return min(rules, key=lambda one: one.maximum, default=None)


def started_too_often(layout: Layout, all_facts: Sequence[Fact]) -> list[Violation]:
    """What a VNFM is in charge of is not started once more in a VM in which it has failed too often."""
    wrong: list[Violation] = []
    counts: dict[tuple[str, str], tuple[float, int]] = {}
    """VNFM and VM: when the first failure of this probation was, and how many there are since."""
    for fact in all_facts:
        if not fact.by.startswith("vnfm"):
            continue
        vm = _vm_of(layout, fact)
        rule = _rule(layout, fact.by, vm)
        began, failures = counts.get((fact.by, vm), (fact.at, 0))
        if rule is None:
            continue
        if (fact.verb, fact.kind) == ("heard", "VmUp"):
            counts.pop((fact.by, vm), None)
        elif (fact.verb, fact.kind) == ("seen", "VnfcFailed") and fact.fields["cause"] not in OF_ITS_ZONE:
            is_over = fact.at >= began + rule.probation_s
            counts[fact.by, vm] = (fact.at, 1) if is_over else (began, failures + 1)
        is_too_often = failures > rule.maximum and fact.at < began + rule.probation_s - OLD_S
        if is_too_often and (fact.verb, fact.kind) == ("decided", "StartVnfc"):
            text = f"{fact.fields['vnfc']} is started after {failures} failures in VM {vm}"
            wrong.append(Violation("counted", f"{text}; {rule.maximum} are allowed ({fact.says()})", fact.at))
    return wrong


def _vm_of(layout: Layout, fact: Fact) -> str:
    vnfc = layout.vnfcs.get(VnfcName(str(fact.fields.get("vnfc", ""))))
    return str(fact.fields.get("vm") or (vnfc.vm if vnfc is not None else None) or "")
