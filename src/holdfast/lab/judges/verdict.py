"""The verdict on a run: pass, fail, or unknown, with every figure and every check that led to it.

In: the evidence. Out: `Verdict`. A run passes only if every check holds; one broken check makes it fail; evidence
that is missing makes it unknown, and so does a world that could not do what the run needs. A fault without effect
proves nothing, whatever came after it.
"""

from pathlib import Path
from typing import Literal

from msgspec import Struct

from holdfast.lab.judges import checks
from holdfast.lab.judges.checks import Check
from holdfast.lab.judges.evidence import Evidence, load_evidence
from holdfast.lab.judges.facts import Fact, facts
from holdfast.lab.judges.healed import healed
from holdfast.lab.judges.marks import Episode, Mark, episodes, find_marks
from holdfast.lab.judges.orders import judge_orders, load_orders
from holdfast.lab.judges.owners import Judged, judge_owners
from holdfast.lab.judges.probed import Gap, ProbeRun
from holdfast.lab.judges.stages import Stages, outage_limit, stages

Result = Literal["pass", "fail", "unknown"]
CHECKS = ("restored", "order", "cleared", "repaired", "healed", "two_owners", "updates", "leftovers")


class Checked(Struct, frozen=True, omit_defaults=True):
    ok: bool | None
    text: str
    of_time: bool = False
    """As in `Check`."""


class Verdict(Struct, frozen=True):
    scenario: str
    repeat: int
    world: str
    seed: int | None
    verdict: Result
    checks: dict[str, Checked]
    sal: int | None
    """The best service availability level that the outage fits; None if it fits none."""
    sal_wanted: int | None
    outage_ms: float | None
    lost: int | None
    sent: int | None
    two_owners_ms: float | None
    updates_lost: int | None
    stages_ms: dict[str, float | None]
    repair_ms: float | None
    noise_ms: float | None
    """Longest pause of the probe itself."""
    violations: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()
    """What this run says nothing about, though one might read it so; it does not change the verdict."""
    dir: str = ""


def judge(evidence: Evidence) -> Verdict:
    all_facts = facts(evidence.records)
    cut = episodes(evidence, all_facts)
    probe = evidence.probe
    worst, gap = _worst(probe, cut)
    marks = find_marks(load_orders().marks, all_facts, probe, worst) if worst is not None else []
    owners = judge_owners(evidence.owners, [p for p in (probe, *evidence.further_probes) if p is not None])
    found = _checks(evidence, all_facts, worst, gap, owners)
    order, violations = _order(evidence)
    found["order"] = order
    no_effect = [f"{f.kind} {f.entity} took no effect: {f.detail}" for f in evidence.run.faults if not f.took_effect]
    unknown = (*no_effect, *evidence.run.unknown)
    outage_s = gap.length_s if gap is not None else None
    return Verdict(
        scenario=evidence.run.scenario,
        repeat=evidence.run.repeat,
        world=evidence.run.world,
        seed=evidence.run.seed,
        verdict=_verdict(found, bool(no_effect), unknown),
        checks={name: Checked(*found[name]) for name in CHECKS},
        sal=_sal(evidence, outage_s),
        sal_wanted=evidence.layout.vnfs[worst.vnf].sal if worst is not None else None,
        outage_ms=_ms(outage_s),
        lost=probe.lost if probe is not None else None,
        sent=probe.sent if probe is not None else None,
        two_owners_ms=round(owners.ms, 3) if owners.asked else None,
        updates_lost=checks.updates_lost(evidence) if probe is not None else None,
        stages_ms=_rounded(stages(worst, marks) if worst is not None else Stages()),
        repair_ms=_repair_ms(all_facts, cut, worst),
        noise_ms=_ms(probe.noise_s) if probe is not None else None,
        violations=violations,
        unknown=unknown,
        not_judged=checks.not_judged(evidence),
        dir=str(evidence.folder),
    )


def judge_folder(folder: Path) -> Verdict:
    """Judge a run from what lies in its folder (`run.json` and what it names)."""
    return judge(load_evidence(folder / "run.json"))


def _worst(probe: ProbeRun | None, cut: list[Episode]) -> tuple[Episode | None, Gap | None]:
    """The episode with the longest outage, and that outage."""
    if probe is None or not cut:
        return (cut[-1] if cut else None), (probe.outage(probe.began_at) if probe is not None else None)
    gaps = [(probe.outage(within.begin, within.until), within) for within in cut]
    known = [(gap, within) for gap, within in gaps if gap is not None]
    if not known:
        return cut[-1], None
    # One silence can span several faults; it belongs to the last of them, whose recovery ended it.
    gap, within = max(known, key=lambda pair: (pair[0].length_s, pair[1].begin))
    return within, gap


def _checks(
    evidence: Evidence, all_facts: list[Fact], worst: Episode | None, gap: Gap | None, owners: Judged
) -> dict[str, Check]:
    first = min((fault.at for fault in evidence.faults), default=evidence.run.began_at)
    if worst is None:
        restored = Check(None, "nothing was done that the service could be restored from")
    else:
        back_at = gap.end if gap is not None and gap.ended else None
        failures = sum(gap.begin <= fault.at < gap.end for fault in evidence.faults) if gap is not None else 1
        limit = outage_limit(evidence, all_facts, worst, back_at, max(1, failures))
        since = evidence.run.began_at if evidence.run.outage == "none" else None
        restored = checks.restored(evidence.probe, gap, limit, none_lost_since=since)
    return {
        "restored": restored,
        "cleared": checks.cleared(all_facts),
        "repaired": checks.repaired(evidence, all_facts, first),
        "healed": healed(evidence, all_facts, owners.ms),
        "two_owners": _two_owners(owners),
        "updates": checks.updates(evidence),
        "leftovers": checks.leftovers(evidence),
    }


def _two_owners(owners: Judged) -> Check:
    if owners.proofs:
        return Check(False, f"{owners.ms:.1f} ms: " + checks.listed(proof.text for proof in owners.proofs))
    if not owners.asked:
        return Check(None, "nobody asked who owns the service")
    return Check(True, "never two owners of the address at once")


def _order(evidence: Evidence) -> tuple[Check, tuple[str, ...]]:
    if not evidence.records:
        return Check(None, "there is no journal"), ()
    violations = judge_orders(evidence)
    if violations is None:
        return Check(None, f"there is no order for {evidence.run.use_case!r} in orders.yaml"), ()
    texts = tuple(f"{violation.rule}: {violation.text}" for violation in violations)
    unread = evidence.unreadable_lines
    if violations and unread:
        return Check(None, f"{unread} journal lines could not be read; without them {checks.listed(texts)}"), texts
    if violations:
        return Check(False, checks.listed(texts)), texts
    return Check(True, "messages and actions in the order of the use case"), ()


def _verdict(found: dict[str, Check], no_effect: bool, unknown: tuple[str, ...]) -> Result:
    if no_effect:
        return "unknown"
    if any(check.ok is False for check in found.values()):
        return "fail"
    if unknown or any(check.ok is None for check in found.values()):
        return "unknown"
    return "pass"


def _sal(evidence: Evidence, outage_s: float | None) -> int | None:
    if outage_s is None:
        return None
    return min((level for level, limit in evidence.layout.sal_s.items() if outage_s <= limit), default=None)


def _repair_ms(all_facts: list[Fact], cut: list[Episode], worst: Episode | None) -> float | None:
    """From the fault to the end of the last incident that came of it."""
    if worst is None:
        return None
    # With several faults the repair of an earlier one may reach into a later episode; its own end counts.
    opened = {f.fields["incident"] for f in all_facts if f.kind == "OpenIncident" and worst.holds(f.at)}
    closings = [
        fact.at
        for fact in all_facts
        if fact.kind == "CloseIncident" and fact.fields["outcome"] == "repaired" and fact.fields["incident"] in opened
    ]
    return _ms(max(closings) - worst.begin) if closings else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)


def _rounded(measured: Stages) -> dict[str, float | None]:
    return {name: None if ms is None else round(ms, 3) for name, ms in measured._asdict().items()}


__all__ = ["CHECKS", "Checked", "Mark", "Verdict", "judge", "judge_folder"]
