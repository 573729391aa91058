"""The run of one seed: a drawn deployment, drawn faults, clients, judges.

In:   a plan. Out: an `Outcome`: what was violated, what was covered, how much happened.
Always: the same plan gives the same outcome. Journals are kept only if asked for.
"""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from holdfast import descriptor
from holdfast.drivers.ports import mac_of, port_name
from holdfast.lab.drawn import LOAD_MS
from holdfast.lab.judges import whole
from holdfast.lab.judges.facts import Fact, facts
from holdfast.lab.judges.leading import blamed, given_once, one_leader
from holdfast.lab.judges.owners import by_name, foreseen
from holdfast.lab.judges.promised import within_level
from holdfast.lab.judges.words import Struck, Violation
from holdfast.lab.sim.client import SimProbe
from holdfast.lab.sim.draw import Plan
from holdfast.lab.sim.journals import encoded
from holdfast.lab.sim.nemesis import Done, Nemesis
from holdfast.lab.sim.replay import decided_otherwise
from holdfast.lab.sim.run import MEMORY, SimTail, plugged
from holdfast.lab.sim.site import NS
from holdfast.lab.sim.tap import Tap
from holdfast.lab.sim.world import SimWorld
from holdfast.model.layout import Service
from holdfast.model.names import VnfcName
from holdfast.model.records import Begun, Ended

MS = 1_000_000
SETTLE_LIMIT_MS = 15_000
RECOVER_LIMIT_MS = 20_000
"""Once faults are over, everything is as declared within this time."""
LOOK_MS = 25
"""Between two looks whether all is as it should be."""
BEFORE_MS = 50
"""From the first request until the times of faults begin to count."""
LATE_ANSWERS_MS = 50
LEAST_MS = 3_000
"""No run is shorter."""
EVERY_NS = 10 * MS
QUIET_NS = 40 * MS
"""Clients ask every 10 ms while something happens, and no more often than this while nothing does."""
REQUESTS_MAX = 6_000
READ_BACK_LIMIT_NS = 2 * NS
ANSWERED_WITHIN_S = 0.2


class Outcome(Struct):
    seed: int
    violations: list[Violation]
    covered: list[tuple[str, str]]
    """Kind of each fault that took effect, and the phase of a recovery that it fell into."""
    events: int
    simulated_ms: int
    recovered_ms: int
    """From the end of the last fault until everything was as declared."""
    left_out: int = 0


def run_seed(plan: Plan, keep: Path | None = None) -> Outcome:
    """Run it; with `keep`, its journals are left there."""
    disks = Path(tempfile.mkdtemp(prefix="holdfast-sim-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        (disks / "drawn.yaml").write_text(plan.descriptor)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            run = SeedRun(plan, disks)
            outcome = run.play()
            if keep is not None:
                run.keep(keep)
                (keep / "log.txt").write_text(said.getvalue())
            run.world.close()
        return outcome
    finally:
        shutil.rmtree(disks, ignore_errors=True)


class SeedRun:
    def __init__(self, plan: Plan, disks: Path) -> None:
        self.plan = plan
        layout = self.layout = plugged(descriptor.load(disks / "drawn.yaml"))
        world = self.world = SimWorld(layout, plan.seed, disks)
        self.timeline = world.timeline
        self._set_losses(plan.loss, plan.doubling)
        self.tail = SimTail(world)
        self._vnfc_by_mac = {
            mac_of("inner", port_name(layout.name, vnfc.vm)).hex(":"): vnfc.name
            for vnfc in layout.vnfcs.values()
            if vnfc.vm is not None
        }
        self.addresses = {one.address.partition("/")[0]: one for one in layout.services.values() if one.address}
        self.tap = Tap(self.timeline, self.addresses, world.owners, self._look_closely)
        for node in world.nodes.values():
            node.host.tapped = self.tap.changed
        self.nemesis = Nemesis(world, plan, self._active, self._phase, self._look_closely)
        self.probes: dict[str, SimProbe] = {}
        self.violations: list[Violation] = []
        self._facts: list[Fact] = []
        """What the records say, and how many there were then."""
        self._told = 0

    # --- what can be seen from outside

    def _active(self, service: Service) -> VnfcName | None:
        owners = self.world.owners(service.address.partition("/")[0])
        return self._vnfc_by_mac.get(owners[0][1]) if owners else None

    def _look_closely(self) -> None:
        for probe in self.probes.values():
            probe.look_closely()

    def _phase(self) -> str:
        """How far the recovery is that is under way, if any."""
        self.tail.read()
        if set(self.tail.opened) <= self.tail.closed:
            return "steady"
        begun: dict[str, str] = {}
        for record in self.tail.records:
            if isinstance(record, Begun):
                begun[record.action] = record.what
            elif isinstance(record, Ended):
                begun.pop(record.action, None)
        working = set(begun.values())
        if not self.tail.provided():
            if working & {"IsolateVnfc", "IsolateVm", "FenceHost"}:
                return "isolating"
            return "taking over" if working & {"Activate"} else "deciding"
        return "repairing" if working else "waiting"

    def _is_answered(self) -> bool:
        now_s = self.timeline.now_ns / NS
        return all(now_s - probe.recorder.last_answer_at < ANSWERED_WITHIN_S for probe in self.probes.values())

    def _is_as_declared(self) -> bool:
        self.tail.read()
        if not (self.tail.provided() and set(self.tail.opened) <= self.tail.closed):
            return False
        seen = self._seen()
        return not whole.redundancy(self.layout, seen, 0.0) and not whole.open_at_the_end(seen, 0.0)

    def _seen(self) -> list[Fact]:
        if self._told != len(self.tail.records):
            self._facts, self._told = facts(self.tail.records), len(self.tail.records)
        return self._facts

    # --- the run

    def play(self) -> Outcome:
        self.world.open()
        if not self._until(SETTLE_LIMIT_MS, lambda: self.tail.provided() and self.tail.in_sync()):
            self._violated("start", "the services were not provided")
            return self._outcome(0)
        client = self.world.client()
        for number, (address, service) in enumerate(self.addresses.items()):
            self.probes[address] = SimProbe(
                client, address, service.port, EVERY_NS, REQUESTS_MAX, f"p{number}-", quiet_ns=QUIET_NS
            )
        self._pass(BEFORE_MS)
        self.nemesis.begin()
        # Where nothing goes wrong, all that can be shown is that nothing moves meanwhile.
        least_ns = LEAST_MS * MS if self.plan.faults else self.timeline.now_ns + LOAD_MS * MS
        while not self.nemesis.is_over:
            self._pass(LOOK_MS)
        self._pass(max(0, (least_ns - self.timeline.now_ns) // MS))
        self._set_losses(0.0, 0.0)  # A fault like any other, and over with the others.
        over_ns = self.timeline.now_ns
        if not self._until(RECOVER_LIMIT_MS, lambda: self._is_answered() and self._is_as_declared()):
            self._judge_liveness()
        recovered_ms = (self.timeline.now_ns - over_ns) // MS
        self._end_load()
        self._judge()
        return self._outcome(recovered_ms)

    def _set_losses(self, loss: float, doubling: float) -> None:
        """Which share of all packets between hosts is lost, and which doubled."""
        for net in self.world.site.nets.values():
            net.loss, net.doubling = loss, doubling

    def _pass(self, ms: int) -> None:
        self.timeline.run(self.timeline.now_ns + ms * MS)

    def _until(self, limit_ms: int, condition: Callable[[], bool]) -> bool:
        end_ns = self.timeline.now_ns + limit_ms * MS
        while self.timeline.now_ns < end_ns:
            self._pass(LOOK_MS)
            self.tail.read()
            if condition():
                return True
        return False

    def _end_load(self) -> None:
        for probe in self.probes.values():
            probe.stop()
        self._pass(LATE_ANSWERS_MS)
        for address, probe in self.probes.items():
            if self._keeps_state(self.addresses[address]):
                probe.read_back(READ_BACK_LIMIT_NS)

    def _keeps_state(self, service: Service) -> bool:
        return self.layout.groups[service.group].state != "none"

    # --- judging

    def _violated(self, judge: str, text: str) -> None:
        self.violations.append(Violation(judge, text, self.timeline.now_ns / NS))

    def _judge_liveness(self) -> None:
        now_s = self.timeline.now_ns / NS
        for address, probe in self.probes.items():
            last = probe.recorder.last_answer_at
            if now_s - last >= ANSWERED_WITHIN_S:
                self._violated("service", f"{self.addresses[address].name} is not answered; last at {last:.3f} s")
        seen = self._seen()
        self.violations += whole.open_at_the_end(seen, now_s)
        self.violations += whole.redundancy(self.layout, seen, now_s)
        for service in (name for name in self.layout.services if not self.tail.providers.get(name)):
            self._violated("noted", f"no manager has noted that {service} is provided")

    def _judge(self) -> None:
        self.tail.read()
        for overlap in self.tap.overlaps[:3]:
            at_s = overlap.at_ns / NS
            self.violations.append(Violation("owners", f"{overlap.address}: {' and '.join(overlap.owners)}", at_s))
        moves: list[whole.Move] = []
        for address, probe in self.probes.items():
            name = self.addresses[address].name
            result = probe.result()
            for at_ns, moved, host in self.tap.moves:
                if moved == address:
                    at_s = at_ns / NS
                    moves.append(whole.Move(at_s, result.last_answer_s(at_s), address, host))
            proofs = by_name(result)
            excused = foreseen(proofs, self.tail.records)
            for proof in [one for one in proofs if one not in excused][:3]:
                self.violations.append(Violation("owners", f"{name}: {proof.text}", proof.begin))
            if len(self.nemesis.done) == 1:
                (fault,) = _struck(self.nemesis.done)
                outage = result.outage(fault.at_s)
                self.violations += within_level(self.layout, self.addresses[address], outage, fault)
            if self._keeps_state(self.addresses[address]):
                if result.lost_updates:
                    first = result.lost_updates[0]
                    text = f"{name}: {len(result.lost_updates)} acknowledged updates are lost, first request {first}"
                    self.violations.append(Violation("updates", text, result.sent_at[first]))
                elif not result.verified and not self.violations:
                    self._violated("service", f"{name}: not every acknowledged update could be read back")
        self.violations += whole.of_journals(self.layout, self.tail.records, self._seen())
        journals = {node.name: node.folder for node in self.world.nodes.values()}
        self.violations += decided_otherwise(self.layout, journals, self.timeline.now_ns / NS)
        self.violations += one_leader(self.tail.by_file.values())
        struck = _struck(self.nemesis.done)
        if all(fault.kind != "restore-store" for fault in struck):  # Who leads then may not know the last numbers.
            self.violations += given_once(self.tail.by_file.values())[: whole.TOLD_MAX]
        self.violations += blamed(self.layout, self._seen(), struck)[: whole.TOLD_MAX]
        self.violations += whole.moved_for_nothing(self.layout, moves, struck)
        for trouble in self.world.site.troubles[:3]:
            self.violations.append(Violation("bug", f"{trouble.process}: {trouble.text}", trouble.at_ns / NS))

    def _outcome(self, recovered_ms: int) -> Outcome:
        return Outcome(
            self.plan.seed,
            self.violations,
            [(done.kind, done.phase) for done in self.nemesis.done],
            self.timeline.happened,
            self.timeline.now_ns // MS,
            recovered_ms,
            len(self.nemesis.left_out),
        )

    def keep(self, folder: Path) -> None:
        """Leave everything for whoever wants to know what happened."""
        folder.mkdir(parents=True, exist_ok=True)
        records = sorted(self.tail.records, key=lambda record: record.at)
        (folder / "journal.jsonl").write_bytes(encoded(records))
        lines = [
            f"{done.at_ns / NS:.6f} {done.kind} {done.entity} until {done.until_ns / NS:.6f} ({done.phase})"
            for done in self.nemesis.done
        ]
        lines += [f"{at_ns / NS:.6f} {address} at {host}" for at_ns, address, host in self.tap.moves]
        lines += [f"{one.at_s:.6f} VIOLATED {one.judge}: {one.text}" for one in self.violations]
        (folder / "events.txt").write_text("\n".join(sorted(lines, key=lambda line: float(line.split()[0]))) + "\n")
        (folder / "descriptor.yaml").write_text(self.plan.descriptor)


def _struck(done: Sequence[Done]) -> list[Struck]:
    return [Struck(one.kind, one.entity, one.at_ns / NS, one.until_ns / NS) for one in done]
