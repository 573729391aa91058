"""One live run of a scenario, inside its nest: put the world up, let the load run, do the steps, collect the evidence.

In:   a scenario, the number of the repetition, a folder for what the run leaves behind.
Out:  that folder: `run.json` (what the judges read), journals, layout, probe and owners files, logs.
Always: nothing is judged here.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from holdfast import descriptor
from holdfast.errors import HoldfastError
from holdfast.lab.acts import Stuck
from holdfast.lab.judges.evidence import RunEvidence, write_run
from holdfast.lab.judges.probed import load_probe
from holdfast.lab.live_acts import LiveActs
from holdfast.lab.nest import limits_of_nest
from holdfast.lab.probing import Probing, SecondClient
from holdfast.lab.scenario import Scenario
from holdfast.lab.stage import Stage
from holdfast.lab.steps import perform
from holdfast.lab.tail import JournalTail
from holdfast.lab.world import LiveWorld
from holdfast.model.layout import Layout
from holdfast.model.names import LAB, ServiceName
from holdfast.model.records import Marked
from holdfast.store.journal import Journal

BASE = Path("/run/holdfast-lab")
CLIENT_ADDRESSES = ("10.77.0.250/24", "fd77::250/64")
SETTLE_LIMIT_S = 30.0


def run_live(scenario: Scenario, repeat: int, out: Path, say: Callable[[str], None]) -> None:
    """Carry the scenario out and write `run.json` with all it names into `out`.

    Whatever goes wrong on the way ends up in `unknown` of the evidence, with the reason: such a run proves nothing.
    """
    layout = descriptor.load(scenario.layout)
    missing = [need for need in scenario.needs if need in limits_of_nest()]
    journal = Journal(out / "journal" / "lab.jsonl", LAB)
    world = LiveWorld(layout, BASE, scenario.managers, CLIENT_ADDRESSES)
    run = _Run(scenario, repeat, out, layout, world, journal, say)
    run.unknown += [f"this machine's lab does not allow {need}" for need in missing]
    try:
        if not missing:
            run.play()
    except (Stuck, HoldfastError, OSError) as error:
        run.unknown.append(str(error))
    finally:
        run.finish()
        journal.close()


class _Run:
    def __init__(
        self,
        scenario: Scenario,
        repeat: int,
        out: Path,
        layout: Layout,
        world: LiveWorld,
        journal: Journal,
        say: Callable[[str], None],
    ) -> None:
        self.scenario, self.repeat, self.out, self.layout = scenario, repeat, out, layout
        self.world, self.journal, self.say = world, journal, say
        self.unknown: list[str] = []
        self.leftovers: tuple[str, ...] | None = None
        self.began_at = time.monotonic()
        self.stage: Stage | None = None
        service = layout.services[ServiceName(scenario.service)]
        self.second = SecondClient(world, service, scenario.client.kind, out)

    def mark(self, name: str, about: str, detail: str = "") -> float:
        at = time.monotonic()
        self.journal.write([Marked(at, LAB, self.journal.number(), name, about, detail)])
        return at

    def play(self) -> None:
        self.journal.opened(time.monotonic(), time.time(), os.getpid())
        self.say("starting hosts, VMs and components")
        self.world.open()
        tail = JournalTail(self.world.folder.root / "journal", self.layout)
        self._settle(tail)
        service = self.layout.services[ServiceName(self.scenario.service)]
        self.say("starting the load")
        probe = Probing(self.world, service, self.scenario.client, self.out)
        self.began_at = probe.wait_ready()
        acts = LiveActs(self.world, self.second)
        self.stage = Stage(self.scenario, self.world.layout, acts, tail, probe, self.mark, self.say)
        try:
            for step in self.scenario.steps:
                perform(self.stage, step)
        finally:
            self.say("stopping the load")
            probe.stop()
            self.second.stop()
            if not load_probe(probe.probe_file).realtime:
                self.unknown.append("the probe had no real-time priority (it takes root), so its figures prove nothing")

    def _settle(self, tail: JournalTail) -> None:
        end = time.monotonic() + SETTLE_LIMIT_S
        while not (tail.provided() and tail.in_sync()):
            if time.monotonic() > end:
                raise Stuck(f"the services were not provided within {SETTLE_LIMIT_S:g} s after the start")
            time.sleep(0.01)
            tail.read()

    def finish(self) -> None:
        """End the deployment, look for what it left behind, gather the evidence."""
        ended_at = time.monotonic()
        self.say("taking everything down")
        folder = self.world.folder.root
        journals = ["journal/lab.jsonl"]
        # Before anything is ended: hosts that go one after the other look like failures to managers of the others.
        for path in sorted((folder / "journal").glob("*.jsonl")):
            shutil.copyfile(path, self.out / "journal" / path.name)
            journals.append(f"journal/{path.name}")
        self.leftovers = tuple(self.world.close())
        if (folder / "log").is_dir():
            shutil.copytree(folder / "log", self.out / "log", dirs_exist_ok=True)
        (self.out / "layout.json").write_bytes(msgspec.json.format(msgspec.json.encode(self.layout), indent=1))
        write_run(
            RunEvidence(
                scenario=self.scenario.name,
                use_case=self.scenario.use_case,
                service=ServiceName(self.scenario.service),
                began_at=self.began_at,
                ended_at=ended_at,
                faults=tuple(self.stage.faults) if self.stage else (),
                journals=tuple(journals),
                probes=("probe.bin",),
                second=self.second.probe_file.name if self.second.probe_file.exists() else "",
                owners=("owners.bin",),
                outage=self.scenario.outage,
                sync=sync_of(self.layout, ServiceName(self.scenario.service), self.scenario.checkpoint_ms),
                sync_period_s=self.scenario.checkpoint_ms / 1000,
                leftovers=self.leftovers,
                unknown=tuple(self.unknown),
                repeat=self.repeat,
            ),
            self.out / "run.json",
        )


def sync_of(layout: Layout, service: ServiceName, checkpoint_ms: float) -> Literal["synchronous", "periodic", "none"]:
    """What the function promises of acknowledged updates."""
    component = layout.components[layout.services[service].group]
    if component.replication is not None:
        return component.replication.mode
    if component.storage:
        return "periodic" if checkpoint_ms else "synchronous"
    return "none"
