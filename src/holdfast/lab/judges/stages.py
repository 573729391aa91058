"""How long each stage of a recovery took, and how long the outage was allowed to be.

In: facts and the client's figures. Out: milliseconds. Detect ends when the manager in charge sees the failure (where a
successor takes over by itself: when an agent does); decide, when something is ordered; isolate, when nothing of the
failed one can run any more, or, where hosts hold grants, can answer any more; recover, when the client gets its answers
again. The times in between are ours, both ends are the world's: the fault, and the client.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from holdfast.lab.judges.evidence import Evidence
from holdfast.lab.judges.facts import Fact
from holdfast.lab.judges.marks import Episode, Mark

BELOW_ONE_SECOND_MS = 1000.0
ALLOWANCE_MS = 100.0
"""On top of a measured start time: for detecting, deciding and isolating."""

LEADER_LIMIT_S = 1.5
"""Within this time another manager leads when the leader is lost (docs/etcd.md); what takes longer is the outage's."""

ISOLATED = ("known-gone", "cleanup-ok", "isolate-ok", "quiesce-ok")
SEEN = ("detect", "aware", "host-failed")
FIRST_ORDERS = ("cleanup", "isolate", "quiesce", "set-active", "take-over", "vnfc-start", "repair-request")


class Stages(NamedTuple):
    """In milliseconds; None where a run has no such moment."""

    detect: float | None = None
    decide: float | None = None
    isolate: float | None = None
    recover: float | None = None


def stages(within: Episode, marks: Sequence[Mark]) -> Stages:
    first = _firsts(marks)
    detected = _earliest(first, _detections(within, marks))
    decided = _earliest(first, FIRST_ORDERS)
    back = first.get("service-back")
    # With a restart the VNFC that failed is gone at once; what must end before the service is started counts.
    starts = [at for name in ("set-active", "take-over", "vnfc-start") if (at := first.get(name)) is not None]
    isolated = [
        mark.at for mark in marks if mark.name in ISOLATED and (not starts or mark.at <= min(starts)) and mark.at
    ]
    isolated_at = first.get("claimed") if within.layout.grants is not None else None
    isolated_at = isolated_at or max(isolated, default=None)
    return Stages(
        _span(within.begin, detected),
        _span(detected, decided),
        _span(decided, isolated_at),
        _span(isolated_at if isolated_at is not None else decided, back),
    )


def _detections(within: Episode, marks: Sequence[Mark]) -> tuple[str, ...]:
    if within.fault.kind == "switchover":
        return ("asked",)
    by_itself = any(mark.name == "set-active" and mark.fact.by.startswith("agent:") for mark in marks)
    return ("found", *SEEN) if by_itself else SEEN


def _firsts(marks: Sequence[Mark]) -> dict[str, float]:
    found: dict[str, float] = {}
    for mark in marks:
        found[mark.name] = min(mark.at, found.get(mark.name, mark.at))
    return found


def _earliest(first: Mapping[str, float], names: Sequence[str]) -> float | None:
    return min((first[name] for name in names if name in first), default=None)


def _span(begin: float | None, end: float | None) -> float | None:
    if begin is None or end is None:
        return None
    # A decision can rest on a proof that is older than itself (the VM is known gone): the stage then took no time.
    return max(0.0, 1000 * (end - begin))


class Limit(NamedTuple):
    ms: float | None
    """None where it cannot be told."""
    text: str


def outage_limit(
    evidence: Evidence, all_facts: Sequence[Fact], within: Episode, back_at: float | None, failures: int = 1
) -> Limit:
    """How long the outage may be in this run.

    Args:
        back_at: when the outage ended; None if it did not.
        failures: how many faults fell into it, one upon the other before the client had noticed that it was over.
    """
    run = evidence.run
    if run.outage_limit_ms is not None:
        return Limit(run.outage_limit_ms, f"{run.outage_limit_ms:.0f} ms")
    if run.outage in ("none", "below-one-second"):
        return Limit(BELOW_ONE_SECOND_MS, "one second")
    if run.outage == "known-off":
        return _known_off_limit(evidence, all_facts, within)
    until = back_at if back_at is not None else float("inf")
    if within.fault.kind == "down-and-up":
        return _cold_start_limit(all_facts, within)
    first_fault = min(fault.at for fault in evidence.faults)
    vnfc = _start_s(all_facts, "StartVnfc", within.group, within.failed, first_fault)
    if vnfc is None:
        return Limit(None, "the component's own start was not recorded")
    times = f"{failures} times " if failures > 1 else ""
    parts, total = [f"{times}start of the VNFC {1000 * vnfc:.0f} ms"], failures * vnfc
    restarted = {
        str(fact.fields["vm"])
        for fact in all_facts
        if (fact.verb, fact.kind) == ("ended", "StartVm") and within.begin <= fact.at <= until
    } & within.vms
    if restarted:
        vm = _start_s(all_facts, "StartVm", frozenset(evidence.layout.vms), frozenset(restarted), first_fault)
        if vm is None:
            return Limit(None, "the VM's own start was not recorded")
        parts.append(f"start of the VM {1000 * vm:.0f} ms")
        total += vm
    led = _leader_s(all_facts, within, until)
    if led:
        parts.append(f"another leader of the managers {1000 * led:.0f} ms")
        total += led
    host = _host_s(all_facts, within, until)
    if host:
        parts.append(f"the host's power off and on {1000 * host:.0f} ms")
        total += host
    ms = 1000 * total + failures * ALLOWANCE_MS
    return Limit(ms, f"{ms:.0f} ms ({', '.join(parts)}, and {times}{ALLOWANCE_MS:.0f} ms)")


def _start_s(
    all_facts: Sequence[Fact], kind: str, alike: frozenset[str], preferred: frozenset[str], before: float
) -> float | None:
    """How long a start took when all was well: of these entities, or else of their like."""
    begun: dict[str, Fact] = {}
    took: dict[str, float] = {}
    for fact in all_facts:
        if fact.kind != kind or fact.at >= before:
            continue
        entity = str(fact.fields.get("vm") or fact.fields.get("vnfc"))
        if fact.verb == "begun":
            begun[entity] = fact
        elif fact.verb == "ended" and fact.fields["ok"] and entity in begun and entity in alike:
            took[entity] = max(took.get(entity, 0.0), fact.at - begun[entity].at)
    chosen = [took[name] for name in preferred if name in took] or list(took.values())
    return max(chosen, default=None)


def _leader_s(all_facts: Sequence[Fact], within: Episode, until: float) -> float:
    """Until another manager led, where the one that led was lost with the fault: measured, up to what is promised."""
    charge = next(iter(within.variables["$charge"]))
    leads = [
        fact.at
        for fact in all_facts
        if (fact.verb, fact.kind, fact.by) == ("marked", "leads", charge) and within.begin <= fact.at <= until
    ]
    return min(min(leads) - within.begin, LEADER_LIMIT_S) if leads else 0.0


def _host_s(all_facts: Sequence[Fact], within: Episode, until: float) -> float:
    """From the first order to the power switch until the host's agent joined: the host's own time, measured here."""
    power = [
        fact.at
        for fact in all_facts
        if fact.verb == "decided" and fact.kind == "FenceHost" and within.begin <= fact.at <= until
    ]
    if not power:
        return 0.0
    joined = [
        fact.at
        for fact in all_facts
        if fact.kind == "AgentJoined" and fact.fields.get("host") in within.hosts and power[0] < fact.at <= until
    ]
    return min(joined, default=until) - power[0]


def _known_off_limit(evidence: Evidence, all_facts: Sequence[Fact], within: Episode) -> Limit:
    """Until a fence device or a person said so, nobody could know that the host is off: what comes then is ours."""
    said = [fault.at for fault in evidence.run.faults if fault.kind == "lock"]
    said += [
        fact.at
        for fact in all_facts
        if (fact.verb, fact.kind) == ("ended", "FenceHost")
        and fact.fields["ok"]
        and fact.fields["host"] in within.hosts
    ]
    known = min((at for at in said if at >= within.begin), default=None)
    if known is None:
        return Limit(None, "neither a fence device nor a person said that the host is off")
    waited = 1000 * (known - within.begin)
    ms = waited + BELOW_ONE_SECOND_MS
    return Limit(ms, f"{ms:.0f} ms (until the host was known to be off {waited:.0f} ms, and one second)")


def _cold_start_limit(all_facts: Sequence[Fact], within: Episode) -> Limit:
    """As long as the first start took, from its first journal to the service, and the time to end everything."""
    opened = [fact.at for fact in all_facts if fact.verb == "opened"]
    first = [at for at in opened if at < within.begin]
    again = [at for at in opened if at >= within.begin]
    active = [
        fact.at
        for fact in all_facts
        if (fact.verb, fact.kind) == ("ended", "Activate")
        and fact.fields["ok"]
        and fact.fields.get("service") == within.service
    ]
    if not first or not again or not active or active[0] >= within.begin:
        return Limit(None, "the first start was not recorded")
    start, down = active[0] - min(first), min(again) - within.begin
    ms = 1000 * (start + down) + ALLOWANCE_MS
    return Limit(ms, f"{ms:.0f} ms (first start {1000 * start:.0f} ms, going down {1000 * down:.0f} ms)")
