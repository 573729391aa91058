"""One episode of a soak, judged: drawn faults, alone or over one another, in a deployment that lives on.

In:   the episode's evidence and `EpisodeNotes`, and what the journals said before it (`Before`). Out: a `Verdict` with
the checks below.
Always: what an earlier episode was blamed for already, none that follows is blamed for.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from holdfast.lab.judges import checks, whole
from holdfast.lab.judges.checks import Check, listed
from holdfast.lab.judges.evidence import Evidence
from holdfast.lab.judges.facts import Fact, facts
from holdfast.lab.judges.leading import Former
from holdfast.lab.judges.open_items import still_open
from holdfast.lab.judges.orders import judge_orders
from holdfast.lab.judges.owners import judge_owners
from holdfast.lab.judges.probed import ProbeRun
from holdfast.lab.judges.promised import within_level
from holdfast.lab.judges.verdict import Checked, Result, Verdict
from holdfast.lab.judges.words import Struck
from holdfast.model.layout import Layout, grant_suffices
from holdfast.model.names import ServiceName, VnfcName
from holdfast.model.records import Record

SCENARIO = "soak"
HARMLESS = whole.HARMLESS | {"fence-hangs", "fence-lies"}
"""A fence device alone moves nothing."""
PROBATION_S = 400.0
"""Failures are counted over five minutes at most (descriptor: `escalation`)."""
REDUNDANCY_KINDS = frozenset(
    {"VnfcReady", "StartVnfc", "AgentJoined", "VnfcFailed", "IsolateVnfc", "Activate", "ServiceTaken", "Quiesce"}
    | {"StandbySynced", "StandbyLost"}
)
"""Facts that tell who is ready, active and in sync."""


class DoneFault(Struct, frozen=True):
    kind: str
    entity: str
    at: float
    until: float
    """When it was taken back, or had been done."""
    planned: str
    """As it was drawn."""


class LeftOut(Struct, frozen=True):
    """A fault that was drawn and could not be done as things were."""

    kind: str
    place: str
    why: str


class EpisodeNotes(Struct, frozen=True):
    """`episode.json`: what the lab knows of an episode beside the evidence that any run leaves."""

    seed: int
    number: int
    planned: tuple[str, ...]
    done: tuple[DoneFault, ...]
    left_out: tuple[LeftOut, ...]
    over_at: float
    """When the last fault was over."""
    recovered_at: float | None
    """Since when everything has been as declared; None if that did not come within the limit."""
    limit_s: float
    missing: tuple[str, ...] = ()
    """What was not as declared at the limit."""
    probed: tuple[ServiceName, ...] = ()
    """Which service each probe file is about."""
    vnfcs: dict[str, str] = {}
    """VNFC by the MAC of its VM."""
    bugs: tuple[str, ...] = ()
    """Exceptions that nobody handled, as processes said them in their logs."""


@dataclass
class Before:
    """What came before an episode, as far as it matters for it."""

    facts: list[Fact] = field(default_factory=list)
    """Of what is older than the records: only what still tells how things are."""
    records: tuple[Record, ...] = ()
    """Of the last while, by time."""
    owner: dict[str, str] = field(default_factory=dict)
    """MAC that answered last, by address."""
    former: Former = field(default_factory=Former)
    """Who led, and which numbers were given."""
    lasts_s: float = PROBATION_S
    """For so long a decision may rest on what was seen."""

    def follow(self, records: Sequence[Record]) -> None:
        """Another slice."""
        every = [*self.records, *records]
        limit = max((record.at for record in every), default=0.0) - self.lasts_s
        old = [record for record in every if record.at < limit]
        self.facts = telling([*self.facts, *facts(old)])
        self.records = tuple(record for record in every if record.at >= limit)


def telling(all_facts: Iterable[Fact]) -> list[Fact]:
    """The facts that say how things are now: the last of each kind from each party about each VNFC, and what is open.

    Everything older has been overtaken, so a run of many hours needs no more memory than one of a minute.
    """
    every = list(all_facts)
    last: dict[tuple[str, ...], int] = {}
    for number, fact in enumerate(every):
        if fact.kind in REDUNDANCY_KINDS and fact.fields.get("vnfc"):
            about = (str(fact.fields["vnfc"]), str(fact.fields.get("standby", "")), str(fact.fields.get("ok", "")))
            last[fact.by, fact.verb, fact.kind, *about] = number
    kept = {id(fact) for fact in still_open(every).values()} | {id(every[number]) for number in last.values()}
    return [fact for fact in every if id(fact) in kept]


@dataclass(frozen=True)
class Replayed:
    """What came of giving the managers' cores once more what the journals say was observed."""

    otherwise: tuple[str, ...] = ()
    """What is decided otherwise now."""
    lost: tuple[str, ...] = ()
    """Which managers' journals cannot be followed, and why."""


def judge_episode(
    evidence: Evidence,
    notes: EpisodeNotes,
    before: Before,
    replayed: Replayed = Replayed(),
) -> Verdict:
    seen = [*before.facts, *facts([*before.records, *evidence.records])]
    probes = dict(zip(notes.probed, _probes(evidence), strict=False))
    owners = judge_owners(evidence.owners, list(probes.values()))
    order = list(_order(evidence, notes, before))
    doubtful = _doubtful(evidence.layout, notes)
    proofs = [proof.text for proof in owners.proofs]
    found: dict[str, Check] = {
        "restored": _restored(evidence.layout, notes, probes),
        "order": Check(
            not order, listed(order) or "decisions with their reasons, repairs with leave, moves for a cause"
        ),
        "cleared": checks.cleared(seen),
        "repaired": _repaired(evidence.layout, seen, evidence.run.ended_at),
        "two_owners": Check(
            (not proofs) if owners.asked else None, listed(proofs) or "never two owners of an address at once"
        ),
        "updates": _updates(evidence.layout, probes, doubtful),
        "leaders": _leaders(evidence, before.former),
        "level": _level(evidence.layout, notes, probes),
        "replay": Check(not replayed.otherwise, listed(replayed.otherwise) or "cores decide the same again"),
        "bugs": Check(not notes.bugs, listed(notes.bugs) or "no exception that nobody handles"),
    }
    return Verdict(
        scenario=SCENARIO,
        repeat=notes.number,
        world="live",
        seed=notes.seed,
        verdict=result_of(found, evidence.run.unknown),
        checks={name: Checked(*check) for name, check in found.items()},
        sal=None,
        sal_wanted=None,
        outage_ms=_outage_ms(notes, probes.values()),
        lost=sum(probe.lost for probe in probes.values()),
        sent=sum(probe.sent for probe in probes.values()),
        two_owners_ms=round(owners.ms, 3) if owners.asked else None,
        updates_lost=sum(len(lost) for lost in _lost(evidence.layout, probes).values()),
        stages_ms={},
        repair_ms=None if notes.recovered_at is None else round(1000 * (notes.recovered_at - notes.over_at), 3),
        noise_ms=round(1000 * max((probe.noise_s for probe in probes.values()), default=0.0), 3),
        violations=tuple(order),
        unknown=evidence.run.unknown,
        not_judged=(
            *(f"updates of {name}: {why}" for name, why in doubtful.items()),
            *(f"replay of {why}" for why in replayed.lost),
        ),
        dir=str(evidence.folder),
    )


def result_of(found: dict[str, Check], unknown: Sequence[str]) -> Result:
    if any(check.ok is False for check in found.values()):
        return "fail"
    return "unknown" if unknown or any(check.ok is None for check in found.values()) else "pass"


def _probes(evidence: Evidence) -> Iterator[ProbeRun]:
    yield from (probe for probe in (evidence.probe, *evidence.further_probes) if probe is not None)


def _restored(layout: Layout, notes: EpisodeNotes, probes: dict[ServiceName, ProbeRun]) -> Check:
    unheard = [name for name in layout.services if name not in probes]
    if unheard:
        return Check(None, f"the clients of {', '.join(unheard)} left no account")
    if notes.recovered_at is None:
        missing = listed(notes.missing) or "it did not stay so"
        return Check(False, f"not as declared within {notes.limit_s:g} s of the last fault's end: {missing}")
    silent = [name for name, probe in probes.items() if not probe.answered_well_at_the_end()]
    if silent:
        return Check(False, f"not answered at the end: {', '.join(silent)}")
    return Check(True, f"as declared {notes.recovered_at - notes.over_at:.1f} s after the last fault's end")


def _repaired(layout: Layout, seen: Sequence[Fact], at: float) -> Check:
    missing = [violation.text for violation in whole.redundancy(layout, seen, at)]
    return Check(not missing, listed(missing) or "all VNFCs as declared")


def _lost(layout: Layout, probes: dict[ServiceName, ProbeRun]) -> dict[ServiceName, list[int]]:
    """Lost updates of the services that keep state."""
    return {name: probe.lost_updates for name, probe in probes.items() if _keeps_state(layout, name)}


def _keeps_state(layout: Layout, name: ServiceName) -> bool:
    return layout.groups[layout.services[name].group].state != "none"


def _doubtful(layout: Layout, notes: EpisodeNotes) -> dict[ServiceName, str]:
    """Services on storage where a fence device has lied: nobody outside can tell who has written meanwhile."""
    liars = [fault.entity for fault in notes.done if fault.kind == "fence-lies"]
    if not liars:
        return {}
    text = f"the fence device of {', '.join(dict.fromkeys(liars))} lied; that two wrote to the storage is not seen"
    return {name: text for name, one in layout.services.items() if not grant_suffices(layout, one.group)}


def _updates(layout: Layout, probes: dict[ServiceName, ProbeRun], doubtful: Collection[ServiceName]) -> Check:
    lost = {name: numbers for name, numbers in _lost(layout, probes).items() if numbers and name not in doubtful}
    if lost:
        return Check(
            False,
            listed(
                f"{len(n)} acknowledged updates of {name} are lost, first request {n[0]}" for name, n in lost.items()
            ),
        )
    unread = [name for name, probe in probes.items() if _keeps_state(layout, name) and not probe.verified]
    if unread:
        return Check(None, f"not every acknowledged update of {', '.join(unread)} could be read back")
    return Check(True, "all acknowledged updates are there")


def _leaders(evidence: Evidence, former: Former) -> Check:
    wrong = [*former.led(evidence.by_file), *former.again(evidence.by_file)]
    return Check(not wrong, listed(one.text for one in wrong) or "one leads at a time, and each number is given once")


def _level(layout: Layout, notes: EpisodeNotes, probes: dict[ServiceName, ProbeRun]) -> Check:
    """What its service availability level promises is promised after a single failure."""
    if len(notes.done) != 1:
        return Check(True, "promised after one fault only")
    (done,) = notes.done
    fault = Struck(done.kind, done.entity, done.at, done.until)
    wrong: list[str] = []
    noisy: list[str] = []
    for name, probe in probes.items():
        found = within_level(layout, layout.services[name], outage := probe.outage(done.at), fault)
        is_noise = outage is not None and probe.noise_s >= outage.length_s / 2
        (noisy if is_noise else wrong).extend(one.text for one in found)
    if noisy and not wrong:
        return Check(None, f"its client itself was late: {listed(noisy)}", of_time=True)
    # Whether it is answered at all is judged by `restored`.
    return Check(not wrong, listed(wrong) or "each service was back as its level promises", of_time=bool(wrong))


def _outage_ms(notes: EpisodeNotes, probes: Iterable[ProbeRun]) -> float | None:
    """The longest silence of any service."""
    since = min((fault.at for fault in notes.done), default=0.0)
    gaps = [gap.length_s for probe in probes if (gap := probe.outage(since)) is not None]
    return round(1000 * max(gaps), 3) if gaps else None


# --- order


def _order(evidence: Evidence, notes: EpisodeNotes, before: Before) -> Iterator[str]:
    begin = min((record.at for record in evidence.records), default=0.0)
    found = whole.of_journals(evidence.layout, [*before.records, *evidence.records])
    struck = [
        Struck(
            "kill-manager" if fault.kind in HARMLESS else fault.kind, fault.entity, fault.at,
            max(fault.until, notes.recovered_at or evidence.run.ended_at),
        )
        for fault in notes.done
    ]  # fmt: skip
    found += whole.moved_for_nothing(evidence.layout, list(moves(evidence, notes, before)), struck)
    yield from (f"{one.judge}: {one.text}" for one in found if one.at_s >= begin)
    yield from _order_of_one(evidence, notes)


def moves(evidence: Evidence, notes: EpisodeNotes, before: Before) -> Iterator[whole.Move]:
    """When which address was answered at another host; first where it was at the end of the episode before."""
    for run in evidence.owners:
        last, answered_s = "", 0.0
        answers = [(answer.at, answer.mac) for answer in run.answers if answer.kind == "answer"]
        former = before.owner.get(run.address)
        for at, mac in [*([(run.began_at, former)] if former else []), *sorted(answers)]:
            place = _place(evidence.layout, notes, run.address, mac)
            if place != last:
                last = place
                yield whole.Move(at, answered_s, run.address, place)
            answered_s = at


def _place(layout: Layout, notes: EpisodeNotes, address: str, mac: str) -> str:
    """The host; of a VNFC in no VM, which answers with its host's own MAC, the one that it is placed on."""
    name = notes.vnfcs.get(mac)
    if name is not None:
        return layout.vnfcs[VnfcName(name)].host
    service = next(one for one in layout.services.values() if one.address.partition("/")[0] == address)
    on_hosts = [one.host for one in layout.vnfcs.values() if one.group == service.group and one.vm is None]
    return on_hosts[0] if len(on_hosts) == 1 else mac


def last_owners(evidence: Evidence) -> dict[str, str]:
    found: dict[str, str] = {}
    for run in evidence.owners:
        own = [answer for answer in run.answers if answer.kind == "answer"]
        if own:
            found[run.address] = max(own, key=lambda answer: answer.at).mac
    return found


def order_of(layout: Layout, fault: DoneFault) -> tuple[str, ServiceName | None]:
    """Name of the order (data/orders.yaml) by which a fault that was alone is judged, and of the service it struck."""
    if fault.kind in HARMLESS:
        return "nothing-moves", None
    vnfc = next((one for one in layout.vnfcs.values() if one.name == fault.entity), None)
    if fault.kind != "kill-vnfc" or vnfc is None or layout.groups[vnfc.group].state != "internal":
        return "", None
    was_active = " active " in f" {fault.planned} "
    return ("uc1-granted" if was_active else "standby-failure"), layout.groups[vnfc.group].services[0]


def _order_of_one(evidence: Evidence, notes: EpisodeNotes) -> Iterator[str]:
    """The order of the use case, where one fault struck alone."""
    if len(notes.done) != 1:
        return
    order, service = order_of(evidence.layout, notes.done[0])
    if not order:
        return
    probes = dict(zip(notes.probed, _probes(evidence), strict=False))
    if service is not None and service not in probes:
        return  # An order that ends with the client's answers needs a client.
    chosen = service or evidence.run.service
    alone = structs.replace(evidence.run, scenario="", use_case=order, service=chosen, faults=evidence.run.faults[:1])
    one = Evidence(alone, evidence.layout, evidence.records, probes.get(chosen), folder=evidence.folder)
    yield from (f"{order}: {violation.rule}: {violation.text}" for violation in judge_orders(one) or ())


# --- files

NOTES = "episode.json"


def save_notes(notes: EpisodeNotes, folder: Path) -> None:
    (folder / NOTES).write_bytes(msgspec.json.format(msgspec.json.encode(notes), indent=2) + b"\n")


def load_notes(folder: Path) -> EpisodeNotes:
    return msgspec.json.decode((folder / NOTES).read_bytes(), type=EpisodeNotes)
