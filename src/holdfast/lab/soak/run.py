"""A stretch of a soak, inside its nest: one deployment, and episodes of faults in it, one after the other.

In:   a plan, the number of the first episode, when to end. Out: a folder for each episode with its evidence, told as
it is written.
Always: an episode whose deployment does not come back as declared is the stretch's last one; nothing is judged here.
"""

import os
import shutil
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import msgspec

from holdfast import descriptor
from holdfast.drivers.ports import mac_of, port_name
from holdfast.errors import HoldfastError, WorldError
from holdfast.lab.acts import Stuck
from holdfast.lab.drawn import LOAD_MS, words_of
from holdfast.lab.judges import whole
from holdfast.lab.judges.evidence import Fault, RunEvidence, write_run
from holdfast.lab.judges.facts import facts
from holdfast.lab.judges.soaked import SCENARIO, Before, EpisodeNotes, save_notes
from holdfast.lab.live_acts import LiveActs
from holdfast.lab.probing import SecondClient
from holdfast.lab.run import BASE, CLIENT_ADDRESSES, SETTLE_LIMIT_S
from holdfast.lab.soak.clients import Clients, owners_file, probe_file
from holdfast.lab.soak.ground import LiveGround
from holdfast.lab.soak.nemesis import Nemesis
from holdfast.lab.soak.plan import CONTROL, LAYOUT, RECOVER_LIMIT_S, SoakPlan, draw_episode
from holdfast.lab.soak.slices import Slices
from holdfast.lab.tail import JournalTail
from holdfast.lab.world import LiveWorld
from holdfast.model.layout import Layout
from holdfast.model.names import LAB
from holdfast.model.records import Marked
from holdfast.store.journal import Journal

LOOK_S = 0.1
QUIET_S = 1.0
"""For so long everything has to stay as declared: what was done last may not have been noticed before."""
CONTEXT_S = 10.0
"""An order that is still under way when an episode ends is not older."""
TRACEBACK = b"Traceback (most recent call last)"
START = "start"
"""Folder of a stretch's slice from before its first episode."""


class Told(msgspec.Struct, omit_defaults=True):
    """What a stretch says to whoever started it: one line of JSON each."""

    step: str = ""
    """What it does now."""
    episode: int = 0
    """Number of the episode that has begun."""
    fault: str = ""
    written: str = ""
    """Name of the folder with the evidence of an episode, or of the start."""
    left: tuple[str, ...] | None = None
    """What the deployment left behind, at the end of the stretch."""
    trouble: str = ""
    """Why this stretch proves nothing more."""


class Stretch:
    def __init__(self, plan: SoakPlan, first: int, end_at: float, tell: Callable[[Told], None]) -> None:
        self._plan, self._first, self._end_at, self._tell = plan, first, end_at, tell
        self.layout = descriptor.load(LAYOUT)
        self.world = LiveWorld(self.layout, BASE, "hosts", CLIENT_ADDRESSES, CONTROL)
        self._slices = Slices(self.world.folder.root, ("journal", "log"))
        self._before = Before(lasts_s=CONTEXT_S)
        self._ground: LiveGround | None = None
        self._nemesis: Nemesis | None = None

    def play(self) -> None:
        """Episodes until the end; everything is taken down again."""
        try:
            self._play()
            left = self.world.close()
        except KeyboardInterrupt:
            # The nest ends what runs in it. What is outside of it is the quota of who is starved.
            self.world.feed_all()
            raise
        except (Stuck, HoldfastError, OSError) as error:
            self._heal()
            self._tell(Told(trouble=str(error)))
            left = self.world.close()
        self._tell(Told(left=tuple(left)))

    def _heal(self) -> None:
        if self._nemesis is not None:
            self._nemesis.heal()

    def _play(self) -> None:
        self._tell(Told(step="starting hosts, VMs and components"))
        self.world.open()
        self.tail = JournalTail(self.world.folder.root / "journal", self.layout)
        self._settle()
        self._acts = LiveActs(self.world, self._no_second())
        self._ground = LiveGround(self.world, self._acts)
        start = self._plan.out / START
        # That of an earlier deployment tells nothing of this one.
        shutil.rmtree(start, ignore_errors=True)
        start.mkdir()
        self._journal = Journal(self.world.folder.root / "journal" / "lab.jsonl", LAB)
        self._open_journal()
        self._slice(start)
        self._tell(Told(written=START))
        for number in count(self._first):
            if number > (self._plan.last or number) or (time.monotonic() >= self._end_at and number > self._plan.first):
                break
            if not self._episode(number):
                break
        self._ground.close()

    def _open_journal(self) -> None:
        """Each slice tells the time of the day."""
        self._journal.opened(time.monotonic(), time.time(), os.getpid())

    def _no_second(self) -> SecondClient:
        service = next(iter(self.layout.services.values()))
        return SecondClient(self.world, service, "registry", self._plan.out)

    def _settle(self) -> None:
        end = time.monotonic() + SETTLE_LIMIT_S
        while not (self.tail.provided() and self.tail.in_sync()):
            if time.monotonic() > end:
                raise Stuck(f"the services were not provided within {SETTLE_LIMIT_S:g} s after the start")
            time.sleep(LOOK_S)
            self.tail.read()

    # --- one episode

    def _episode(self, number: int) -> bool:
        """Whether everything was as declared at its end."""
        assert self._ground is not None
        self._tell(Told(episode=number))
        self._open_journal()
        out = self._plan.out / "episodes" / str(number)
        out.mkdir(parents=True, exist_ok=True)
        planned = draw_episode(self._plan.seed, number, self.layout)
        clients = Clients(self.world, number, out)
        nemesis = self._nemesis = Nemesis(
            self.layout, self._ground, self.tail.providers.get, time.monotonic, self._wait, self._note
        )
        began_at = time.monotonic()
        try:
            began_at = clients.wait_ready()
            nemesis.play(planned)
            self._wait_until(began_at + LOAD_MS / 1000)
            over_at = time.monotonic()
            recovered_at, missing = self._recovered(clients, over_at)
        except WorldError as error:
            # A service that was provided is not, though nothing was done to it.
            over_at, recovered_at, missing = time.monotonic(), None, [error.message]
        troubles = [*nemesis.troubles, *clients.stop()]
        ended_at = time.monotonic()
        names, bugs = self._slice(out)
        notes = EpisodeNotes(
            seed=self._plan.seed,
            number=number,
            planned=tuple(words_of(fault) for fault in planned),
            done=tuple(nemesis.done),
            left_out=tuple(nemesis.left_out),
            over_at=over_at,
            recovered_at=recovered_at,
            limit_s=RECOVER_LIMIT_S,
            missing=tuple(missing),
            probed=tuple(s.name for at, s in enumerate(clients.services) if (out / probe_file(at)).is_file()),
            vnfcs=_by_mac(self.layout),
            bugs=tuple(bugs),
        )
        save_notes(notes, out)
        self._write(notes, clients, began_at, ended_at, names, troubles)
        self._tell(Told(written=str(number)))
        return recovered_at is not None and not troubles

    def _wait(self, seconds: float) -> None:
        time.sleep(min(seconds, LOOK_S))
        self.tail.read()

    def _wait_until(self, end: float) -> None:
        while (left := end - time.monotonic()) > 0:
            self._wait(left)

    def _note(self, fault: str) -> None:
        self._journal.write([Marked(time.monotonic(), LAB, self._journal.number(), "fault", "", fault)])
        self._tell(Told(fault=fault))

    def _recovered(self, clients: Clients, over_at: float) -> tuple[float | None, list[str]]:
        """Since when everything is as declared and stays so; None and what is missing at the limit."""
        since: float | None = None
        while True:
            missing = self._missing(clients)
            now = time.monotonic()
            if missing:
                since = None
                if now > over_at + RECOVER_LIMIT_S:
                    return None, missing
            else:
                since = since or now
                if now >= since + QUIET_S:
                    return since, []
            time.sleep(LOOK_S)

    def _missing(self, clients: Clients) -> list[str]:
        self.tail.read()
        missing = [f"{name} is not answered" for name in clients.silent()]
        missing += [f"{name} is off" for name in self.layout.hosts if not self.world.is_on(name)]
        # What managers have noted tells how things are only while there are some.
        missing += [f"nobody leads {party}" for party in self.tail.leaderless()]
        missing += ["no manager process leads"] if not self._acts.has_leader() else []
        missing += [f"{name} is not provided" for name in self.layout.services if not self.tail.providers.get(name)]
        if missing or not set(self.tail.opened) <= self.tail.closed:
            return missing or [f"incident {name} is open" for name in set(self.tail.opened) - self.tail.closed]
        seen = [*self._before.facts, *facts([*self._before.records, *self.tail.records])]
        found = [*whole.redundancy(self.layout, seen, 0.0), *whole.open_at_the_end(seen, 0.0)]
        return [violation.text for violation in found]

    # --- what is left of it

    def _slice(self, out: Path) -> tuple[list[str], list[str]]:
        """Journals and logs of the time since the last slice; names of the journals, and what bugs the logs tell of."""
        names = self._slices.take(out)
        self.tail.read()
        self._slices.give_back()
        self._before.follow(self.tail.records)
        self.tail.forget()
        bugs = [
            f"{name}: {text[text.index(TRACEBACK) :].strip().splitlines()[-1].decode(errors='replace')}"
            for name in names
            if name.startswith("log/") and TRACEBACK in (text := (out / name).read_bytes())
        ]
        return [name for name in names if name.startswith("journal/")], bugs

    def _write(
        self,
        notes: EpisodeNotes,
        clients: Clients,
        began_at: float,
        ended_at: float,
        journals: list[str],
        troubles: list[str],
    ) -> None:
        out = self._plan.out / "episodes" / str(notes.number)
        (out / "layout.json").write_bytes(msgspec.json.format(msgspec.json.encode(self.world.layout), indent=1))
        begun = [Fault(at=one.at, kind=one.kind, entity=one.entity) for one in notes.done]
        over = [
            Fault(at=one.until, kind="over:", entity=one.entity, starts=False, detail=one.kind)
            for one in notes.done
            if " for " in one.planned
        ]
        count_of = range(len(clients.services))
        write_run(
            RunEvidence(
                scenario=SCENARIO,
                use_case="soak",
                service=clients.services[0].name,
                began_at=began_at,
                ended_at=ended_at,
                faults=tuple(sorted([*begun, *over], key=lambda fault: fault.at)),
                journals=tuple(journals),
                probes=tuple(name for at in count_of if (out / (name := probe_file(at))).is_file()),
                owners=tuple(name for at in count_of if (out / (name := owners_file(at))).is_file()),
                unknown=tuple(troubles),
                repeat=notes.number,
                seed=notes.seed,
            ),
            out / "run.json",
        )


def _by_mac(layout: Layout) -> dict[str, str]:
    return {
        mac_of("inner", port_name(layout.name, vnfc.vm)).hex(":"): vnfc.name
        for vnfc in layout.vnfcs.values()
        if vnfc.vm is not None
    }
