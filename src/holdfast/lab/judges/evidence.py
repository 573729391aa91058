"""The evidence of one run, as files: `run.json` names them all and says what was done to the world.

In: `run.json` (a `RunEvidence`, written by the lab when the run is over) and the files it names, relative to its own
folder. Out: `Evidence`, everything read and merged by time. A line of a journal that cannot be read (its writer was
killed in the middle of it) is counted, never guessed at.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from holdfast.lab.judges.asked import OwnersRun, load_owners
from holdfast.lab.judges.probed import ProbeRun, load_probe
from holdfast.model.layout import Layout
from holdfast.model.names import ServiceName
from holdfast.model.records import Record

Outage = Literal["none", "below-one-second", "known-off", "start-time"]
"""How long the client may be without answers. none: no request may stay without one; known-off: one second, and as
long as it took until a fence device or a person said that the host is off; start-time: as long as a start takes."""
WEAR_OUT = "wear-out"
"""Kind of a fault that is repeated until it points to more than the VNFC (UC9)."""


class Fault(Struct, frozen=True):
    """Something the lab did to the world."""

    at: float
    """When it was done (monotonic seconds; just before the signal was sent)."""
    kind: str
    """The step's verb: `kill-vnfc`, `kill-vm`, `switchover`, `put-file`, `hold` …"""
    entity: str
    """VNFC, VM, host, VNF (switchover) or manager it was done to; never `active`: the name itself."""
    starts: bool = True
    """Begins an episode that is judged. False for what only prepares or frames one (hold, release, put-file …)."""
    order: str = ""
    """Name of the order in orders.yaml that this fault is judged by; empty: by the scenario's name or use case."""
    took_effect: bool = True
    detail: str = ""


class RunEvidence(Struct, frozen=True):
    """`run.json`: what was run, what was done, and where the evidence lies."""

    scenario: str
    use_case: str
    """As in the scenario (`UC1`, `UC2-configured`, `switchover` …): orders.yaml has an order for it."""
    service: ServiceName
    """The service that the probe asks."""
    began_at: float
    """The probe's first good answer (or the start of the run, without one)."""
    ended_at: float
    faults: tuple[Fault, ...]
    layout: str = "layout.json"
    journals: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    """The first one is the client of `service`; further ones count for lost updates and owners only."""
    second: str = ""
    """The probe of the second client, which was misled; it counts for lost updates and owners, too."""
    owners: tuple[str, ...] = ()
    outage: Outage = "below-one-second"
    outage_limit_ms: float | None = None
    """Takes the place of `outage` where it is set."""
    sync: Literal["synchronous", "periodic", "none"] = "none"
    sync_period_s: float = 0.1
    """Time between two checkpoints, or two passings of state, with `periodic`."""
    leftovers: tuple[str, ...] | None = None
    """What the run left behind (namespaces, processes, addresses); None while nobody has looked."""
    unknown: tuple[str, ...] = ()
    """Why this run cannot prove anything, if so: a fault without effect, no real-time priority …"""
    repeat: int = 0
    world: Literal["live", "sim"] = "live"
    seed: int | None = None
    format: int = 1


@dataclass(frozen=True)
class Evidence:
    run: RunEvidence
    layout: Layout
    records: tuple[Record, ...]
    """Of all parties, by time."""
    probe: ProbeRun | None
    further_probes: tuple[ProbeRun, ...] = ()
    second: ProbeRun | None = None
    """That of the second client; among the further ones as well."""
    owners: tuple[OwnersRun, ...] = ()
    unreadable_lines: int = 0
    folder: Path = Path(".")
    by_file: dict[str, list[Record]] = field(default_factory=dict)
    """The same records as each party on each host has written them."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those that begin an episode. Each failure of a worn-out VNFC is judged on its own."""
        return tuple(fault for fault in self.run.faults if fault.starts or fault.kind == WEAR_OUT)


def write_run(run: RunEvidence, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")


def read_run(path: Path) -> RunEvidence:
    return msgspec.json.decode(path.read_bytes(), type=RunEvidence)


def read_journal(path: Path) -> tuple[list[Record], int]:
    """The records of one journal, and how many lines could not be read."""
    decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
    records: list[Record] = []
    unreadable = 0
    for line in path.read_bytes().splitlines():
        if not line.strip():
            continue
        try:
            records.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            unreadable += 1
    return records, unreadable


def merged(journals: list[list[Record]]) -> tuple[Record, ...]:
    """All records by time; those of one party keep their order."""
    every = [record for journal in journals for record in journal]
    every.sort(key=lambda record: record.at)
    return tuple(every)


def load_evidence(path: Path) -> Evidence:
    """Read `run.json` and all that it names."""
    run = read_run(path)
    folder = path.parent
    by_file, unreadable = {}, 0
    for name in run.journals:
        by_file[name], bad = read_journal(folder / name)
        unreadable += bad
    probes = [load_probe(folder / name) for name in run.probes if (folder / name).is_file()]
    second = load_probe(folder / run.second) if run.second and (folder / run.second).is_file() else None
    return Evidence(
        run=run,
        layout=msgspec.json.decode((folder / run.layout).read_bytes(), type=Layout),
        records=merged(list(by_file.values())),
        probe=probes[0] if probes else None,
        further_probes=(*probes[1:], *([second] if second is not None else [])),
        second=second,
        owners=tuple(load_owners(folder / name) for name in run.owners if (folder / name).is_file()),
        unreadable_lines=unreadable,
        folder=folder,
        by_file=by_file,
    )
