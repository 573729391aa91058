"""The single checks of a run: service restored, errors cleared, repair completed, updates kept, nothing left behind.

In: the evidence. Out: a `Check` each: true, false, or None where the evidence does not tell, and always a text that
says what was found. The orders and the owners have judges of their own (orders.py, owners.py).
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from holdfast.lab.judges.evidence import Evidence
from holdfast.lab.judges.facts import Fact
from holdfast.lab.judges.open_items import still_open
from holdfast.lab.judges.probed import PUT, Gap, ProbeRun
from holdfast.lab.judges.stages import Limit
from holdfast.model.layout import Group, Layout, grant_suffices, in_charge
from holdfast.model.names import VnfcName

END_WINDOW_S = 0.2
LISTED_MAX = 5
CHECKPOINT_LATE = 0.2
"""By how much of its period a checkpoint may be late: its timer and its writing share the machine with all else."""
CHECKPOINT_TAKES_S = 0.005


class Check(NamedTuple):
    ok: bool | None
    text: str
    of_time: bool = False
    """What does not hold is a length of time alone: a machine that is busy with something else can do this."""


def listed(texts: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    every = list(texts)
    more = f" and {len(every) - LISTED_MAX} more" if len(every) > LISTED_MAX else ""
    return "; ".join(every[:LISTED_MAX]) + more


def restored(
    probe: ProbeRun | None, outage: Gap | None, limit: Limit, *, none_lost_since: float | None = None
) -> Check:
    """The client is answered at the end, and was not left alone for longer than allowed (or at all)."""
    if probe is None or not probe.sent:
        return Check(None, "there was no probe")
    if not probe.answered_well_at_the_end(END_WINDOW_S):
        return Check(False, f"requests of the last {1000 * END_WINDOW_S:.0f} ms were not answered")
    lost = 0 if none_lost_since is None else probe.lost_since(none_lost_since)
    if lost:
        return Check(False, f"{lost} of {probe.sent} requests were not answered, and none may be lost here")
    if outage is None:
        return Check(None, "no outage could be measured")
    length_ms = 1000 * outage.length_s
    if limit.ms is None:
        return Check(None, f"outage {length_ms:.1f} ms; what it may be is not known: {limit.text}")
    if length_ms < limit.ms:
        return Check(True, f"outage {length_ms:.1f} ms, below {limit.text}")
    if probe.noise_s > 0.5 * outage.length_s:
        return Check(
            None, f"outage {length_ms:.1f} ms, but the probe itself paused for {1000 * probe.noise_s:.0f} ms", True
        )
    return Check(False, f"outage {length_ms:.1f} ms, not below {limit.text}", True)


def cleared(all_facts: Sequence[Fact]) -> Check:
    """Every report has been cleared, every incident closed, every alarm taken back."""
    if not all_facts:
        return Check(None, "there is no journal")
    open_ = still_open(all_facts)
    if open_:
        return Check(False, "still open: " + listed(f"{kind} {name} ({f.says()})" for (kind, name), f in open_.items()))
    return Check(True, "all reports, incidents and alarms are over")


def repaired(evidence: Evidence, all_facts: Sequence[Fact], since: float) -> Check:
    """Every incident ended as repaired, and the redundancy is again as declared."""
    if not all_facts:
        return Check(None, "there is no journal")
    bad: list[str] = []
    for fact in all_facts:
        if fact.kind == "CloseIncident" and fact.at >= since and fact.fields["outcome"] != "repaired":
            bad.append(f"incident {fact.fields['incident']} was given up ({fact.says()})")
    open_ = sorted(name for kind, name in still_open(all_facts) if kind == "incident")
    bad += [f"incident {incident} is not closed" for incident in open_]
    group = evidence.layout.groups[evidence.layout.services[evidence.run.service].group]
    bad += redundancy_missing(evidence.layout, group, all_facts)
    if bad:
        return Check(False, listed(bad))
    return Check(True, f"{', '.join(group.vnfcs)}: as declared")


def redundancy_missing(layout: Layout, group: Group, all_facts: Sequence[Fact]) -> list[str]:
    ready: dict[str, bool] = {}
    synced: dict[str, bool] = {}
    active: set[str] = set()
    newest, alone = 0, len(group.services) == 1
    party = in_charge(layout, group.vnf)
    """Whose link has told the rest of what is judged here; another's facts may be older."""
    for fact in all_facts:
        name = str(fact.fields.get("vnfc", ""))
        if name not in group.vnfcs:
            continue  # Epochs of other groups are counted apart.
        match fact.verb, fact.kind:
            case "seen", "VnfcReady":
                ready[name] = True
            case "ended", "StartVnfc" if fact.fields["ok"]:
                ready[name] = True
            case "seen", "AgentJoined" if name and fact.by == party:
                ready[name] = fact.fields["condition"] == "ready"
            case ("seen", "VnfcFailed") | ("ended", "IsolateVnfc"):
                ready[name] = synced[name] = False
                active.discard(name)
            case "seen", "ServiceTaken" if not alone or int(fact.fields["epoch"]) >= newest:
                # Word of a take-over may come when the service was taken over from that one, too.
                newest = max(newest, int(fact.fields["epoch"]))
                active = {name} if alone else active | {name}
            case "ended", "Activate" if fact.fields["ok"]:
                # Not when it is decided: a manager that is cut off decides what nobody hears of.
                newest = max(newest, int(fact.fields.get("epoch", 0)))
                active = {name} if alone else active | {name}
            case "ended", "Quiesce" if fact.fields["ok"]:
                active.discard(name)
                synced[name] = False
            case "seen", "StandbySynced" if int(fact.fields["epoch"]) >= newest:
                synced[str(fact.fields["standby"])] = True
            case "seen", "StandbyLost" if int(fact.fields["epoch"]) >= newest:
                # One that was succeeded may go on asking for a while; nobody follows it.
                synced[str(fact.fields["standby"])] = False
    needed = len(group.services) if group.reserve == "late-spare" else len(group.vnfcs)
    up = [name for name in group.vnfcs if ready.get(name)]
    missing = []
    if len(up) < needed:
        down = [name for name in group.vnfcs if not ready.get(name)]
        missing.append(f"{len(up)} of {needed} VNFCs are ready; not {', '.join(down)}")
    component = layout.components[group.name]
    if group.state == "internal" and group.reserve == "standby" and component.replication is not None:
        missing += [
            f"{name} is not in sync with the active"
            for name in group.vnfcs
            if VnfcName(name) not in active and ready.get(name) and not synced.get(name)
        ]
    return missing


def updates(evidence: Evidence) -> Check:
    """No acknowledged update is lost; with periodic replication, none from before the last passing of state."""
    run = evidence.run
    probes = [probe for probe in (evidence.probe, *evidence.further_probes) if probe is not None]
    if run.sync == "none":
        return Check(True, "the function keeps no state")
    if not probes:
        return Check(None, "there was no probe")
    lost = [(probe, n) for probe in probes for n in probe.lost_updates]
    if run.sync == "synchronous" and lost:
        return Check(False, f"{len(lost)} acknowledged updates are lost, first that of request {lost[0][1]}")
    early = [n for probe, n in lost if not _since_last_checkpoint(evidence, probe, n)]
    if early:
        return Check(False, f"{len(early)} updates from before the last checkpoint are lost, first request {early[0]}")
    if not all(probe.verified for probe in probes):
        return Check(None, "not every acknowledged update could be read back")
    acknowledged = sum(sum(1 for _ in acknowledged_updates(probe)) for probe in probes)
    if lost:
        return Check(True, f"{len(lost)} of {acknowledged} updates are lost, all since the last checkpoint")
    return Check(True, f"all {acknowledged} acknowledged updates are there")


def _since_last_checkpoint(evidence: Evidence, probe: ProbeRun, update: int) -> bool:
    """Whether some fault came so soon after this update that no checkpoint need lie between.

    A fault takes a moment to take effect: until the silence that it made began, the function still acknowledged.
    """
    period_s = evidence.run.sync_period_s * (1 + CHECKPOINT_LATE) + CHECKPOINT_TAKES_S
    at = probe.answered_at[update]
    faults = sorted(fault.at for fault in evidence.faults)
    for fault_at, until in zip(faults, [*faults[1:], float("inf")], strict=True):
        silence = probe.outage(fault_at, until)
        last = max(fault_at, silence.begin) if silence is not None else fault_at
        if fault_at - period_s <= at <= last:
            return True
    return False


def acknowledged_updates(probe: ProbeRun) -> Iterable[int]:
    return (n for n, kind in enumerate(probe.kinds) if kind == PUT and probe.answered_at[n] >= 0)


def leftovers(evidence: Evidence) -> Check:
    found = evidence.run.leftovers
    if found is None:
        return Check(None, "nobody has looked")
    return Check(not found, f"left behind: {listed(found)}" if found else "nothing was left behind")


def not_judged(evidence: Evidence) -> tuple[str, ...]:
    """After a lie about the power of a host nobody outside can tell who has written to storage meanwhile."""
    layout = evidence.layout
    group = layout.groups[layout.services[evidence.run.service].group]
    if not grant_suffices(layout, group.name):
        liars = dict.fromkeys(
            fault.entity for fault in evidence.run.faults if (fault.kind, fault.detail) == ("fence-mode", "lies-fully")
        )
        return tuple(
            f"storage of {evidence.run.service}: {host} may have run on after its fence device had said that it is "
            "off; whether it wrote meanwhile is not seen from outside"
            for host in liars
        )
    return ()


def updates_lost(evidence: Evidence) -> int:
    return sum(p.updates_lost for p in chain((evidence.probe,), evidence.further_probes) if p is not None)
