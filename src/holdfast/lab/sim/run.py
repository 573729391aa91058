"""One simulated run of a scenario: the same file, the same steps, the same judges as live.

In:   a scenario, a seed, a folder for what the run leaves behind.
Out:  that folder, as a live run leaves it; times are true time.
Always: the same seed gives the same run, byte for byte.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import structs

from holdfast import descriptor
from holdfast.errors import HoldfastError
from holdfast.lab.acts import Stuck
from holdfast.lab.judges.asked import save_owners
from holdfast.lab.judges.evidence import RunEvidence, write_run
from holdfast.lab.judges.probed import save_probe
from holdfast.lab.run import sync_of
from holdfast.lab.scenario import Scenario
from holdfast.lab.sim.acts import SimActs
from holdfast.lab.sim.client import SimProbe, SimWatcher
from holdfast.lab.sim.controller import Controller
from holdfast.lab.sim.end import end_all
from holdfast.lab.sim.journals import JournalReader, encoded
from holdfast.lab.sim.node import Node
from holdfast.lab.sim.second import SimSecond
from holdfast.lab.sim.site import NS, WALL_S
from holdfast.lab.sim.world import SimWorld
from holdfast.lab.stage import LOOK_EVERY_S, Stage
from holdfast.lab.steps import perform
from holdfast.lab.tail import JournalTail
from holdfast.model.layout import Host, Layout
from holdfast.model.names import LAB, ServiceName
from holdfast.model.records import Marked, Opened, Record

SETTLE_LIMIT_S = 30.0
READY_LIMIT_S = 20.0
LATE_ANSWERS_S = 0.3
READ_BACK_LIMIT_NS = 10 * NS
REQUESTS_MAX = 120_000
MEMORY = Path("/dev/shm")


def run_sim(scenario: Scenario, seed: int, out: Path, say: Callable[[str], None]) -> None:
    """Carry the scenario out and write `run.json` with all it names into `out`."""
    layout = plugged(descriptor.load(scenario.layout))
    disks = Path(tempfile.mkdtemp(prefix="holdfast-sim-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        run = _Run(scenario, seed, out, SimWorld(layout, seed, disks, scenario.managers), say)
        try:
            run.play()
        except (Stuck, HoldfastError) as error:
            run.unknown.append(str(error))
        run.finish()
        run.world.close()
    finally:
        shutil.rmtree(disks, ignore_errors=True)


def plugged(layout: Layout) -> Layout:
    """Each fence device of the lab knows which host, and which level of it, it is."""

    def device_of(host: Host, level: int, place: int) -> object:
        device = host.fence[level][place]
        return structs.replace(device, options={**device.options, "plug": host.name, "level": str(level + 1)})

    hosts = {
        name: structs.replace(
            host,
            fence=tuple(
                tuple(device_of(host, level, place) for place in range(len(devices)))
                for level, devices in enumerate(host.fence)
            ),
        )
        for name, host in layout.hosts.items()
    }
    return structs.replace(layout, hosts=hosts)


class SimTail(JournalTail):
    """The journals of all machines, as they grow."""

    def __init__(self, world: SimWorld) -> None:
        super().__init__(world.site.root, world.layout)
        self._world = world
        self._readers: dict[str, dict[Path, JournalReader]] = {}
        """Of each machine."""
        self._listed: dict[str, int] = {}
        """How many files its folder had."""
        self.by_file: dict[Path, list[Record]] = {}

    def read(self) -> list[Record]:
        fresh: list[Record] = []
        machines: list[Node | Controller] = [*self._world.nodes.values()]
        if self._world.controller is not None:
            machines.append(self._world.controller)
        for node in machines:
            for path, reader in self._readers_of(node).items():
                new = reader.read()
                self.by_file[path] += new
                fresh += new
        if fresh:
            fresh.sort(key=lambda record: record.at)
            for record in fresh:
                self._take(record)
            self.records += fresh
        return fresh

    def _readers_of(self, node: "Node | Controller") -> dict[Path, JournalReader]:
        """Of the files that are there now, by name."""
        readers = self._readers.setdefault(node.name, {})
        folder = f"{node.folder.root}/journal"
        names = os.listdir(folder) if os.path.isdir(folder) else []
        if len(names) != self._listed.get(node.name):
            self._listed[node.name] = len(names)
            for path in sorted(Path(folder, name) for name in names if name.endswith(".jsonl")):
                if path not in readers:
                    readers[path] = JournalReader(path, node.host, WALL_S)
                    self.by_file[path] = []
        return readers


class _Probed:
    """The probe as steps ask it."""

    def __init__(self, probe: SimProbe, acts: SimActs) -> None:
        self._probe = probe
        self._acts = acts

    def is_up(self, since: float) -> bool:
        if not self._probe.status:
            return False
        word, at = self._probe.status[-1].split()
        return word == "up" and (float(at) >= since or self._acts.now() - since > 0.1)


class _Run:
    def __init__(self, scenario: Scenario, seed: int, out: Path, world: SimWorld, say: Callable[[str], None]) -> None:
        self.scenario, self.seed, self.out, self.world, self.say = scenario, seed, out, world, say
        self.second = SimSecond(world, world.layout.services[ServiceName(scenario.service)])
        self.acts = SimActs(world, self.second)
        self.tail = SimTail(world)
        self.records: list[Record] = []
        self.unknown: list[str] = []
        self.stage: Stage | None = None
        self.probe: SimProbe | None = None
        self.watcher: SimWatcher | None = None
        self.began_at = 0.0

    def mark(self, name: str, about: str, detail: str = "") -> float:
        at = self.acts.now()
        self.records.append(Marked(at, LAB, len(self.records) + 1, name, about, detail))
        return at

    def play(self) -> None:
        self.records.append(Opened(0.0, LAB, 1, WALL_S))
        self.say("starting hosts, VMs and components")
        world, acts = self.world, self.acts
        world.open()
        self._until("the services being provided", lambda: self.tail.provided() and self.tail.in_sync(), SETTLE_LIMIT_S)
        service = world.layout.services[ServiceName(self.scenario.service)]
        address = service.address.partition("/")[0]
        self.say("starting the load")
        self.watcher = SimWatcher(world.client(), address)
        every_ns = round(self.scenario.client.every_ms * NS / 1000)
        client = world.client()
        # A kernel holds its first datagram until it knows the neighbour; this client does not.
        client.ask_owner(address)
        self._until("an answer for the address", lambda: address in client.neighbours, READY_LIMIT_S)
        probe = self.probe = SimProbe(
            client, address, service.port, every_ns, REQUESTS_MAX, "p-", self.scenario.client.kind
        )
        self._until("the first answer", lambda: probe.recorder.last_answer_at >= 0, READY_LIMIT_S)
        self.began_at = acts.now()
        self.stage = Stage(self.scenario, world.layout, acts, self.tail, _Probed(probe, acts), self.mark, self.say)
        for step in self.scenario.steps:
            perform(self.stage, step)

    def _until(self, what: str, condition: Callable[[], bool], limit_s: float) -> None:
        end = self.acts.now() + limit_s
        while not condition():
            if self.acts.now() > end:
                raise Stuck(f"{what} did not happen within {limit_s:g} s")
            self.acts.let_pass(LOOK_EVERY_S)
            self.tail.read()

    def finish(self) -> None:
        """Stop the load, end the deployment, look for what it left behind, gather the evidence."""
        self.say("stopping the load")
        if self.probe is not None and self.watcher is not None:
            self.probe.stop()
            self.acts.let_pass(LATE_ANSWERS_S)
            self.watcher.stop()
            self.probe.read_back(READ_BACK_LIMIT_NS)
            save_probe(self.probe.result(), self.out / "probe.bin")
            save_owners(self.watcher.run, self.out / "owners.bin")
        if self.second.probe is not None:
            self.second.probe.stop()
            self.second.probe.read_back(READ_BACK_LIMIT_NS)
            save_probe(self.second.probe.result(), self.out / "probe-2.bin")
        ended_at = self.acts.now()
        self.tail.read()
        self.say("taking everything down")
        journals = self._write_journals()
        leftovers = tuple(end_all(self.world))
        self.unknown += [f"{one.process}: {one.text}" for one in self.world.site.troubles]
        (self.out / "layout.json").write_bytes(msgspec.json.format(msgspec.json.encode(self.world.layout), indent=1))
        write_run(
            RunEvidence(
                scenario=self.scenario.name,
                use_case=self.scenario.use_case,
                service=ServiceName(self.scenario.service),
                began_at=self.began_at,
                ended_at=ended_at,
                faults=tuple(self.stage.faults) if self.stage else (),
                journals=journals,
                probes=("probe.bin",),
                second="probe-2.bin" if self.second.probe is not None else "",
                owners=("owners.bin",),
                outage=self.scenario.outage,
                sync=sync_of(self.world.layout, ServiceName(self.scenario.service), self.scenario.checkpoint_ms),
                sync_period_s=self.scenario.checkpoint_ms / 1000,
                leftovers=leftovers,
                unknown=tuple(self.unknown),
                world="sim",
                seed=self.seed,
            ),
            self.out / "run.json",
        )

    def _write_journals(self) -> tuple[str, ...]:
        names = {"lab.jsonl": self.records}
        for path, records in self.tail.by_file.items():
            host = path.parent.parent.name
            is_told = self.world.site.is_one_machine or path.stem.endswith(host)
            names[f"{path.stem}.jsonl" if is_told else f"{path.stem}-{host}.jsonl"] = records
        for name, records in names.items():
            (self.out / "journal" / name).write_bytes(encoded(records))
        return tuple(f"journal/{name}" for name in names)
