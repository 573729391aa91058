"""Marks: the points of a run that the orders speak of, found in the journal and in what the client saw.

In: facts, the probe's figures, one episode (from a fault to the next one). Out: `Mark`s by time. Which records make
a mark stands in data/orders.yaml and nowhere else.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from holdfast.lab.judges.evidence import Evidence, Fault
from holdfast.lab.judges.facts import Fact
from holdfast.lab.judges.probed import ProbeRun
from holdfast.model.layout import Layout, in_charge
from holdfast.model.names import ServiceName, VnfcName, VnfName, vnfm_party

VERBS = ("seen", "heard", "decided", "sent", "begun", "ended", "done", "undone", "marked", "probe")
LONG_AGO = float("-inf")
VARIABLE = re.compile(r"\$[a-z]+")


class Mark(NamedTuple):
    name: str
    at: float
    """When it was, at the latest."""
    since: float
    """When it was, at the earliest; the same as `at` where the record gives the moment itself."""
    fact: Fact

    def field(self, name: str) -> Any:
        return self.fact.fields.get(name)


@dataclass(frozen=True)
class Episode:
    """One fault and what followed, until the next fault: the values of the variables in orders.yaml."""

    fault: Fault
    until: float
    layout: Layout
    service: ServiceName
    vnf: VnfName
    failed: frozenset[str]
    group: frozenset[str]
    vms: frozenset[str]
    is_probed: bool = True
    """Whether the probe's service is the one that the fault struck."""
    hosts: frozenset[str] = frozenset()
    vnfms: frozenset[str] = frozenset()
    variables: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def begin(self) -> float:
        return self.fault.at

    def holds(self, at: float) -> bool:
        return self.begin <= at < self.until


@dataclass(frozen=True)
class MarkRule:
    name: str
    says: str
    sources: tuple[dict[str, Any], ...]
    late: bool = False


def episodes(evidence: Evidence, all_facts: Sequence[Fact]) -> list[Episode]:
    """One for each fault that the run is judged by."""
    faults = sorted(evidence.faults, key=lambda fault: fault.at)
    ends = [fault.at for fault in faults[1:]] + [float("inf")]
    return [
        episode(evidence.layout, evidence.run.service, fault, until, all_facts)
        for fault, until in zip(faults, ends, strict=False)
    ]


def episode(layout: Layout, probed: ServiceName, fault: Fault, until: float, all_facts: Sequence[Fact]) -> Episode:
    struck = _struck(layout, probed, fault, all_facts)
    service = _service_of(layout, probed, struck)
    group = layout.groups[layout.services[service].group]
    failed = frozenset(name for name in struck if name in group.vnfcs)
    vms = {str(vm) for name in failed if (vm := layout.vnfcs[VnfcName(name)].vm)}
    vms |= {fault.entity} & set(layout.vms)
    hosts = {layout.vnfcs[VnfcName(name)].host for name in failed} | ({fault.entity} & set(layout.hosts))
    vms |= {name for name, vm in layout.vms.items() if vm.host == fault.entity}
    vnfms = {vnfm_party(layout.vnfs[c.vnf].vnfm) for c in layout.vnfcs.values() if c.vm in vms}
    vnfms.add(vnfm_party(layout.vnfs[group.vnf].vnfm))
    named = frozenset({fault.detail}) & set(group.vnfcs)
    variables: dict[str, frozenset[Any]] = {
        "$failed": failed,
        "$group": frozenset(group.vnfcs),
        "$others": frozenset(group.vnfcs) - failed,
        "$service": frozenset({service}),
        "$charge": frozenset({in_charge(layout, group.vnf)}),
        "$vnf": frozenset({group.vnf}),
        "$vm": frozenset(vms),
        "$host": frozenset(hosts),
        "$vnfms": frozenset(vnfms),
        "$named": named,
        "$unnamed": frozenset(group.vnfcs) - named,
    }
    return Episode(
        fault, until, layout, service, group.vnf, failed, frozenset(group.vnfcs), frozenset(vms), service == probed,
        frozenset(hosts), frozenset(vnfms), {name: frozenset(map(str, value)) for name, value in variables.items()},
    )  # fmt: skip


def _struck(layout: Layout, probed: ServiceName, fault: Fault, all_facts: Sequence[Fact]) -> set[str]:
    """The VNFCs that the fault was done to."""
    entity = fault.entity
    if entity in layout.vnfcs:
        return {entity}
    if entity in layout.vms:
        return {c.name for c in layout.vnfcs.values() if c.vm == entity}
    if entity in layout.hosts:
        return {c.name for c in layout.vnfcs.values() if c.host == entity}
    if fault.kind == "switchover":
        holder = [
            str(fact.fields["vnfc"])
            for fact in all_facts
            if fact.kind == "NoteService"
            and fact.fields["service"] == probed
            and fact.fields["state"] == "provided"
            and fact.at <= fault.at
        ]
        return {holder[-1]} if holder else set()
    return set(layout.vnfcs)


def _service_of(layout: Layout, probed: ServiceName, struck: set[str]) -> ServiceName:
    """The probed service if the fault struck its group, else one of the group that was struck."""
    if not struck or struck & set(layout.groups[layout.services[probed].group].vnfcs):
        return probed
    group = layout.vnfcs[VnfcName(min(struck))].group
    return next((name for name, service in layout.services.items() if service.group == group), probed)


def find_marks(
    rules: Iterable[MarkRule], all_facts: Sequence[Fact], probe: ProbeRun | None, within: Episode
) -> list[Mark]:
    """All marks of the episode, by time."""
    found: list[Mark] = []
    inside = [fact for fact in all_facts if within.holds(fact.at)]
    for rule in rules:
        for source in rule.sources:
            if "probe" in source:
                found += _of_probe(rule, probe, within)
                continue
            found += [
                Mark(rule.name, fact.at, LONG_AGO if rule.late else fact.at, fact)
                for fact in inside
                if matches(source, fact, within.variables)
            ]
    found.sort(key=lambda mark: (mark.at, mark.fact.by, mark.fact.n))
    return found


def matches(source: Mapping[str, Any], fact: Fact, variables: Mapping[str, frozenset[str]]) -> bool:
    for key, wanted in source.items():
        if key in VERBS:
            if fact.verb != key or not fnmatchcase(fact.kind, str(wanted)):
                return False
        elif not _fits(wanted, fact.by if key == "by" else fact.fields.get(key), variables):
            return False
    return True


def _fits(wanted: Any, found: Any, variables: Mapping[str, frozenset[str]]) -> bool:
    if isinstance(wanted, list):
        return any(_fits(one, found, variables) for one in wanted)
    if isinstance(wanted, bool):
        return found is wanted
    if isinstance(wanted, str) and wanted.startswith("$"):
        return found is not None and str(found) in variables[wanted]
    if isinstance(wanted, str) and (variable := VARIABLE.search(wanted)) is not None:
        return any(_fits(wanted.replace(variable[0], value), found, variables) for value in variables[variable[0]])
    return found is not None and fnmatchcase(str(found), str(wanted))


def _of_probe(rule: MarkRule, probe: ProbeRun | None, within: Episode) -> list[Mark]:
    back = service_back(probe, within) if probe is not None and within.is_probed else None
    if back is None:
        return []
    since, at, owner = back
    fact = Fact("probe", "service-back", "client", at, 0, 0, {"owner": owner, "service": within.service})
    return [Mark(rule.name, at, since, fact)]


def service_back(probe: ProbeRun, within: Episode) -> tuple[float, float, str] | None:
    """When the service was back after the episode's fault: (not before, first answer, who answered).

    The first answer from another owner, or in another epoch, than before the fault; where the function tells neither,
    the end of the longest silence. It was not back while a request that was sent later than that got no answer.
    """
    answers = probe.answers()
    before = [answer for answer in answers if answer.at < within.begin]
    after = [answer for answer in answers if within.holds(answer.at)]
    if not after:
        return None
    # The newest owner, not the last answer: one that was under way during an earlier change may have come late.
    old = max(((a.epoch, a.at, a.owner) for a in before), default=None)
    new = [a for a in after if old is not None and a.epoch > old[0]]
    if not new and (old is None or old[0] < 0):
        new = [a for a in after if old is not None and a.owner != old[2]]
    if new:
        first = new[0]
    else:
        gap = probe.outage(within.begin, within.until)
        found = [a for a in after if gap is not None and gap.ended and a.at == gap.end]
        if not found:
            return None
        first = found[0]
    unanswered = [
        sent_at
        for sent_at, answered_at in zip(probe.sent_at, probe.answered_at, strict=True)
        if answered_at < 0 and sent_at < first.at
    ]
    since = max(unanswered, default=within.begin)
    return max(since, within.begin), first.at, first.owner
