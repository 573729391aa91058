"""What is measured on several hosts: each case with its scenario, what one run of it tells, and what it shall reach.

In:   the evidence that a run has left (`run.json` and what it names), the judges' verdict, what was watched beside it.
Out:  figures of one run, by name. They come from the client's own record and from journals, nowhere else; only
processor time is read from the kernel.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from holdfast.lab.judges.evidence import Evidence
from holdfast.lab.judges.probed import PUT, ProbeRun
from holdfast.lab.judges.verdict import Verdict
from holdfast.lab.steps import CONTROL
from holdfast.model.actions import Activate, NoteService
from holdfast.model.events import HostFailed, ServiceTaken
from holdfast.model.names import ServiceName, VnfcName
from holdfast.model.records import Decided, Marked, Seen

SCENARIOS = Path(__file__).parent / "scenarios"
Figures = dict[str, float]

FIGURES = {
    "lost": "lost requests",
    "outage_ms": "outage, ms",
    "two_owners_ms": "two owners, ms",
    "updates_ms": "no update acknowledged, ms",
    "lost_after_heal": "lost after the heal",
    "control_ms": "control back, ms",
    "failovers": "false failovers",
    "host_failed": "hosts found failed",
    "lapses": "lapses of grants",
    "core": "processor of the holder, % of a core",
    "core_hot": "of it, hot process",
    "core_agent": "of it, agent",
    "services": "services held",
}


@dataclass(frozen=True)
class Goal:
    figure: str
    of: Literal["median", "max", "min"]
    limit: float
    is_strict: bool = False
    """Below the limit, not at it."""

    def __str__(self) -> str:
        if self.of == "min":
            return f"at least {self.limit:g}"
        return f"{self.of} {'<' if self.is_strict else '≤'} {self.limit:g}"

    def is_reached(self, value: float) -> bool:
        if self.of == "min":
            return value >= self.limit
        return value < self.limit if self.is_strict else value <= self.limit


@dataclass(frozen=True)
class Case:
    name: str
    says: str
    scenario: str
    """One of the lab's, or a file in `bench/scenarios`."""
    figures: Callable[[Evidence, Verdict], Figures]
    goals: tuple[Goal, ...]
    shown: tuple[str, ...] = ()
    """Figures that are shown without a goal."""
    beside: Literal["", "busy", "processor"] = ""
    """What is done, or watched, during the long step of the scenario."""
    is_long: bool = False
    peers: tuple[str, str, str] = ("", "", "")
    """Under `PEERS`; measured earlier, as the page says."""

    def file(self) -> str:
        own = SCENARIOS / f"{self.scenario}.yaml"
        return str(own) if own.is_file() else self.scenario


PEERS = ("keepalived, tuned", "keepalived, default", "Pacemaker, tuned to default")


# --- what a run tells


UNDER_WAY_S = 0.005
"""Asked so shortly before the next fault, a request that it kept from being answered is that fault's."""


def _lost_between(probe: ProbeRun, begin: float, end: float) -> int:
    requests = zip(probe.sent_at, probe.answered_at, strict=True)
    return sum(1 for sent, answered in requests if begin <= sent < end and answered < 0)


def _updates_ms(probe: ProbeRun, since: float) -> float:
    """The longest time in which no update was acknowledged. One that is late is not lost, but its client has waited."""
    numbers = zip(probe.kinds, probe.answered_at, strict=False)
    times = sorted(at for kind, at in numbers if kind == PUT and at >= 0)
    gaps = [after - before for before, after in pairwise([*times, probe.stopped_at]) if after > since]
    return round(1000 * max(gaps, default=0.0), 1)


def _probe(evidence: Evidence) -> ProbeRun:
    if evidence.probe is None:
        raise LookupError("the run has no probe")
    return evidence.probe


def _at(evidence: Evidence, kind: str) -> float:
    found = next((fault.at for fault in evidence.run.faults if fault.kind == kind), None)
    if found is None:
        raise LookupError(f"the step {kind} was not done")
    return found


def failure(evidence: Evidence, verdict: Verdict) -> Figures:
    """The whole run counts, the repair too: whatever the client lost."""
    found = {"lost": verdict.lost, "outage_ms": verdict.outage_ms, "two_owners_ms": verdict.two_owners_ms}
    known = {name: float(value) for name, value in found.items() if value is not None}
    return known | {"updates_ms": _updates_ms(_probe(evidence), evidence.faults[0].at)}


def partition(evidence: Evidence, verdict: Verdict) -> Figures:
    healed = _at(evidence, "heal")
    after = _lost_between(_probe(evidence), healed, float("inf"))
    return failure(evidence, verdict) | {"lost_after_heal": float(after)}


def leader_killed(evidence: Evidence, verdict: Verdict) -> Figures:
    """Until the component is killed that shows that the new leader does its work."""
    killed = _at(evidence, "kill-leader")
    marks = [one.at for one in evidence.records if isinstance(one, Marked) and one.name == CONTROL and one.at > killed]
    if not marks:
        raise LookupError("the managers did not answer again")
    lost = _lost_between(_probe(evidence), killed, _at(evidence, "kill-vnfc") - UNDER_WAY_S)
    return {"lost": float(lost), "control_ms": round(1000 * (marks[0] - killed), 1)}


def store_away(evidence: Evidence, verdict: Verdict) -> Figures:
    """While the store is away and nothing else has failed."""
    begun, end = _at(evidence, "kill-store"), _at(evidence, "kill-vnfc") - UNDER_WAY_S
    return {"lost": float(_lost_between(_probe(evidence), begun, end)), "seconds": round(end - begun, 1)}


def nothing_moves(evidence: Evidence, verdict: Verdict) -> Figures:
    """What moved although nothing had failed, since the client's first answer."""
    since = evidence.run.began_at
    later = [one for one in evidence.records if since <= one.at < evidence.run.ended_at]
    taken = [one for one in later if isinstance(one, Seen) and isinstance(one.event, ServiceTaken)]
    given = [one for one in later if isinstance(one, Decided) and isinstance(one.action, Activate)]
    failed = [one for one in later if isinstance(one, Seen) and isinstance(one.event, HostFailed) and one.by == "ha"]
    lapsed = [one for one in later if isinstance(one, Marked) and one.name == "grant-lapsed"]
    figures = {
        "failovers": len(taken) + len(given),
        "host_failed": len(failed),
        "lapses": len(lapsed),
        "lost": verdict.lost or 0,
        "seconds": round(_probe(evidence).stopped_at - since, 1),
    }
    return {name: float(value) for name, value in figures.items()}


def many_services(evidence: Evidence, verdict: Verdict) -> Figures:
    holders: dict[ServiceName, VnfcName | None] = {}
    for one in evidence.records:
        if isinstance(one, Decided) and isinstance(one.action, NoteService):
            holders[one.action.service] = one.action.vnfc if one.action.state == "provided" else None
    hosts = {name: vnfc.host for name, vnfc in evidence.layout.vnfcs.items()}
    held = sum(vnfc is not None and hosts[vnfc] == HOLDER for vnfc in holders.values())
    return nothing_moves(evidence, verdict) | {"services": float(held)}


HOLDER = "h1"
"""The host of `services-200` whose processes are watched."""

# --- the cases

FAST = (Goal("lost", "median", 80), Goal("two_owners_ms", "max", 0))
MINORITY = (*FAST, Goal("lost_after_heal", "max", 0))
SILENT = (Goal("lost", "median", 80), Goal("two_owners_ms", "max", 0))
OFF_PEERS = ("29 (unsafe)", "3234", "1851 to 6400")
CUT_PEERS = ("two owners 4990 ms", "two owners 2389 ms", "two owners 5656 to 10550 ms")
UPDATES = ("updates_ms",)
BUSY_GOALS = (Goal("failovers", "max", 0),)

CASES = (
    Case(
        "crash",
        "the active's process is killed, its host lives",
        "uc1-three-hosts",
        failure,
        (Goal("lost", "median", 12), Goal("two_owners_ms", "max", 0)),
        UPDATES,
        peers=("7", "616", "556 to 5409"),
    ),
    Case("host-off", "host off, `fast`", "host-off", failure, FAST, UPDATES, peers=OFF_PEERS),
    Case(
        "host-off-managers-leader",
        "host off, `fast`, the managers' leader on it",
        "host-off-managers-leader",
        failure,
        FAST,
        UPDATES,
        peers=OFF_PEERS,
    ),
    Case(
        "host-off-store-leader",
        "host off, `fast`, etcd's leader on it",
        "host-off-store-leader",
        failure,
        FAST,
        UPDATES,
        peers=OFF_PEERS,
    ),
    Case(
        "host-off-both-leaders",
        "host off, `fast`, both leaders on it",
        "host-off-both-leaders",
        failure,
        FAST,
        UPDATES,
        peers=OFF_PEERS,
    ),
    Case(
        "host-off-default",
        "host off, `default`",
        "host-off-default",
        failure,
        (Goal("lost", "median", 300), Goal("two_owners_ms", "max", 0)),
        UPDATES,
        peers=OFF_PEERS,
    ),
    Case(
        "partition",
        "the active's host is cut off, 1 s",
        "partition-active-minority",
        partition,
        MINORITY,
        UPDATES,
        peers=CUT_PEERS,
    ),
    Case(
        "partition-managers-leader",
        "the same, the managers' leader on it",
        "partition-managers-leader",
        partition,
        MINORITY,
        UPDATES,
        peers=CUT_PEERS,
    ),
    Case(
        "partition-store-leader",
        "the same, etcd's leader on it",
        "partition-store-leader",
        partition,
        MINORITY,
        UPDATES,
        peers=CUT_PEERS,
    ),
    Case("agent-frozen", "agent stopped on the active's host", "agent-frozen", failure, SILENT, UPDATES),
    Case("agent-starved", "agent starved on the active's host", "agent-starved", failure, SILENT, UPDATES),
    Case(
        "leader-killed",
        "the managers' leader is killed",
        "manager-killed",
        leader_killed,
        (Goal("lost", "max", 0), Goal("control_ms", "max", 2000, is_strict=True)),
    ),
    Case(
        "store-away",
        "two of three etcd members lost",
        "store-away",
        store_away,
        (Goal("lost", "max", 0),),
        is_long=True,
    ),
    Case(
        "busy-default",
        "all cores busy, nothing fails, `default`",
        "busy-default",
        nothing_moves,
        BUSY_GOALS,
        ("lapses", "host_failed", "lost"),
        beside="busy",
        is_long=True,
    ),
    Case(
        "busy-fast",
        "all cores busy, nothing fails, `fast`",
        "busy-fast",
        nothing_moves,
        BUSY_GOALS,
        ("lapses", "host_failed", "lost"),
        beside="busy",
        is_long=True,
        peers=("0 in 60 s (2 without real-time priority)", "0 in 60 s", "0 in 60 s"),
    ),
    Case(
        "services-200",
        "one host holds 200 services, nothing happens, `default`",
        "services-200",
        many_services,
        (Goal("core", "median", 3, is_strict=True), Goal("services", "min", 200), Goal("failovers", "max", 0)),
        ("core_hot", "core_agent", "lapses"),
        beside="processor",
        is_long=True,
    ),
)


def by_name() -> Mapping[str, Case]:
    return {case.name: case for case in CASES}
