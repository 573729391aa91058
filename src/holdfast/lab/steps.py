"""The steps of a scenario, carried out on a live world.

In:   the steps of a scenario file, a running `LiveWorld`, the probe, the journals.
Out:  what was done and when, as `Fault`s for the judges, and as `Marked` records in the lab's own journal.
Errors: `Stuck` when something that a step waits for does not happen in time; `FaultFailed` when a fault has no effect.

The lab only ever does things to processes and files; it never asks the product to pretend.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from msgspec import structs

from holdfast.errors import PeerError
from holdfast.lab import faults
from holdfast.lab.judges.evidence import Fault
from holdfast.lab.probing import Probing
from holdfast.lab.scenario import Scenario, Step
from holdfast.lab.tail import JournalTail
from holdfast.lab.world import LiveWorld
from holdfast.model.layout import Group
from holdfast.model.names import HA, GroupName, HostName, ServiceName, VmName, VnfcName, VnfName
from holdfast.runtime.given import parties_of
from holdfast.runtime.outside import ask
from holdfast.wire.link_messages import AskStatus

AWAIT_LIMIT_S = 30.0
LOOK_EVERY_S = 0.004
LEADERS_TRIED_MAX = 12
STATUS_LIMIT_S = 0.5
CONTROL = "control"
"""Mark in the lab's journal: the managers answer again."""


class Stuck(Exception):
    """What a step waits for did not happen within its limit."""


@dataclass
class Stage:
    """Everything a step can use."""

    scenario: Scenario
    world: LiveWorld
    tail: JournalTail
    probe: Probing
    mark: Callable[[str, str, str], float]
    """Writes to the lab's journal (name, about, detail); returns the time of the record."""
    say: Callable[[str], None]
    faults: list[Fault] = field(default_factory=list)
    last_fault_at: float = 0.0

    def perform(self, step: Step) -> None:
        self.say(str(step))
        VERBS[step.verb](self, step)

    def until(self, what: str, condition: Callable[[], bool], limit_s: float = AWAIT_LIMIT_S) -> None:
        end = time.monotonic() + limit_s
        while True:
            self.tail.read()
            if condition():
                return
            if time.monotonic() > end:
                raise Stuck(f"{what} did not happen within {limit_s:g} s")
            time.sleep(LOOK_EVERY_S)

    # --- names --------------------------------------------------------------------------------------------------

    def group(self) -> Group:
        layout = self.world.layout
        return layout.groups[GroupName(layout.services[ServiceName(self.scenario.service)].group)]

    def vnfc(self, word: str) -> VnfcName:
        """`active`, `standby` of the scenario's service, `same` as in the last step with a file, or a VNFC's name."""
        if word == "same":
            return VnfcName(next(fault.entity for fault in reversed(self.faults) if fault.kind == "put-file"))
        self.tail.read()
        active = self.tail.providers.get(ServiceName(self.scenario.service))
        if word == "active":
            if active is None:
                raise Stuck(f"nobody is active for {self.scenario.service}")
            return active
        if word == "standby":
            return next(name for name in self.group().vnfcs if name != active)
        return VnfcName(word)

    def vm(self, word: str) -> VmName:
        """A VM's own name, or the VM of that VNFC."""
        if word in self.world.layout.vms:
            return VmName(word)
        vm = self.world.layout.vnfcs[self.vnfc(word)].vm
        if vm is None:
            raise Stuck(f"{word} is not in a VM")
        return vm

    def host(self, word: str) -> HostName:
        """A host's own name, the host of that VNFC, or `same`: the host of the last such step."""
        if word == "same":
            return HostName(
                next(fault.entity for fault in reversed(self.faults) if fault.entity in self.world.layout.hosts)
            )
        if word in self.world.layout.hosts:
            return HostName(word)
        return self.world.layout.vnfcs[self.vnfc(word)].host

    # --- what is written down -----------------------------------------------------------------------------------

    def note(self, kind: str, entity: str, at: float, *, starts: bool, order: str = "") -> None:
        self.faults.append(Fault(at=at, kind=kind, entity=entity, starts=starts, order=order))
        if starts:
            self.last_fault_at = at

    def hurt(self, step: Step, entity: str, act: Callable[[], object], *, starts: bool = True) -> None:
        """Write down what is about to be done, do it, and check that it took effect."""
        at = self.mark("fault" if starts else "staged", entity, step.verb)
        self.note(step.verb, entity, at, starts=starts)
        try:
            act()
        except faults.FaultFailed as error:
            self.faults[-1] = structs.replace(self.faults[-1], took_effect=False, detail=error.message)
            raise


def _load(stage: Stage, step: Step) -> None:
    time.sleep(int(step.words[0].removesuffix("ms")) / 1000)


def _kill_vnfc(stage: Stage, step: Step) -> None:
    name = stage.vnfc(step.words[0])
    stage.hurt(step, name, lambda: faults.kill_vnfc(stage.world.folder.vnfc(name)))


def _kill_vm(stage: Stage, step: Step) -> None:
    name = stage.vm(step.words[0])
    stage.hurt(step, name, lambda: faults.kill_sandbox(name))


def _freeze_vnfc(stage: Stage, step: Step) -> None:
    name = stage.vnfc(step.words[0])
    stage.hurt(step, name, lambda: faults.freeze_vnfc(stage.world.folder.vnfc(name)))


def _kill_manager(stage: Stage, step: Step) -> None:
    which = step.words[0]
    pids = faults.manager_processes(which)
    stage.hurt(step, which, lambda: faults.kill_process(f"manager {which}", pids), starts=False)


def _hold(stage: Stage, step: Step) -> None:
    which = step.words[0]
    pids = faults.manager_processes(which)
    stage.hurt(step, which, lambda: faults.hold(f"manager {which}", pids), starts=False)


def _release(stage: Stage, step: Step) -> None:
    which = step.words[0]
    pids = faults.manager_processes(which)
    stage.hurt(step, which, lambda: faults.release(f"manager {which}", pids), starts=False)


def _host_off(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(step, name, lambda: stage.world.switch_off(name))


def _host_on(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(step, name, lambda: stage.world.switch_on(name), starts=False)


def _freeze_host(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    pids = faults.below(stage.world.first_process(name))
    stage.hurt(step, name, lambda: faults.hold(f"host {name}", pids))


def _thaw_host(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    pids = faults.below(stage.world.first_process(name))
    stage.hurt(step, name, lambda: faults.release(f"host {name}", pids), starts=False)


def _kill_agent(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(
        step,
        name,
        lambda: faults.kill_process(f"agent of {name}", faults.agent_processes(name, with_hot=False)),
        starts=False,
    )


def _freeze_agent(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(step, name, lambda: faults.hold(f"agent of {name}", faults.agent_processes(name, with_hot=True)))


def _thaw_agent(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(
        step,
        name,
        lambda: faults.release(f"agent of {name}", faults.agent_processes(name, with_hot=True)),
        starts=False,
    )


def _starve_agent(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(step, name, lambda: stage.mark("starved", name, stage.world.starve_agent(name)))


def _feed_agent(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(step, name, lambda: stage.world.feed_agent(name), starts=False)


def _leader(stage: Stage) -> int:
    socket = stage.world.folder.socket(HA)
    stage.until("a leader of the managers", lambda: faults.leader_process(socket) is not None)
    pid = faults.leader_process(socket)
    if pid is None:
        raise Stuck("nobody leads the managers")
    return pid


def _kill_leader(stage: Stage, step: Step) -> None:
    pid = _leader(stage)
    stage.hurt(step, "leader", lambda: faults.kill_process("leader of the managers", [pid]), starts=False)


def _lead_at(stage: Stage, step: Step) -> None:
    """Not a fault that is judged: the stage is set by it."""
    host = stage.host(step.words[0])
    for _ in range(LEADERS_TRIED_MAX):
        pid = _leader(stage)
        if pid in faults.below(stage.world.first_process(host)):
            return
        faults.kill_process("leader of the managers", [pid])
    raise Stuck(f"the managers' leader did not come to {host}")


def _store_lead_at(stage: Stage, step: Step) -> None:
    host = stage.host(step.words[0])
    stage.world.move_store_leader(host)


def _kill_store(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    pids = faults.store_member(name)
    stage.hurt(step, name, lambda: faults.kill_process(f"etcd of {name}", pids), starts=False)


def _start_store(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(step, name, lambda: stage.world.start_store_member(name), starts=False)


def _cut(stage: Stage, step: Step) -> None:
    name, *other = (stage.host(word) for word in step.words)
    act = (lambda: stage.world.cut_pair(name, other[0])) if other else (lambda: stage.world.cut_off(name))
    stage.hurt(step, name, act)


def _fence_mode(stage: Stage, step: Step) -> None:
    """Not a fault that is judged: the stage is set by it. A lie is known to the judges, as it can hide things."""
    place, *level, mode = step.words
    name = stage.host(place)
    stage.world.set_fence_mode(name, mode, level[0] if level else "")
    at = stage.mark("staged", name, str(step))
    stage.faults.append(Fault(at=at, kind=step.verb, entity=name, starts=False, detail=mode))


def _heal(stage: Stage, step: Step) -> None:
    stage.hurt(step, "all", stage.world.heal, starts=False)


def _put_file(stage: Stage, step: Step) -> None:
    name = stage.vnfc(step.words[0])
    path = stage.world.folder.vnfc(name) / step.words[1]
    stage.hurt(step, name, path.touch, starts=False)


def _take_file(stage: Stage, step: Step) -> None:
    name = stage.vnfc(step.words[0])
    path = stage.world.folder.vnfc(name) / step.words[1]
    stage.hurt(step, name, path.unlink, starts=False)


def _wear_out(stage: Stage, step: Step) -> None:
    """Kill the VNFC again and again, each time as soon as it serves."""
    name = stage.vnfc(step.words[0])
    vnfc = stage.world.layout.vnfcs[name]
    service = stage.world.layout.groups[vnfc.group].services[0]
    measured = service == stage.scenario.service
    for _ in range(int(step.words[1])):
        stage.until(f"{name} serving again", lambda: stage.tail.providers.get(service) == name)
        stage.until(f"processes of {name}", lambda: bool(faults.vnfc_processes(stage.world.folder.vnfc(name))))
        stage.hurt(step, name, lambda: faults.kill_vnfc(stage.world.folder.vnfc(name)), starts=measured)
        stage.until(f"failure of {name} being noticed", lambda: stage.tail.providers.get(service) is None)


def _switchover(stage: Stage, step: Step) -> None:
    vnf = VnfName(step.words[0])
    stage.hurt(step, vnf, lambda: ask_switchover(stage, vnf))


def ask_switchover(stage: Stage, vnf: VnfName) -> None:
    """By the same command as a person would."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "switchover", vnf, "--name", stage.world.layout.name],
        env=os.environ | {"HOLDFAST_RUN": str(stage.world.folder.root.parent)},
        capture_output=True,
        text=True,
        timeout=AWAIT_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise Stuck(f"`holdfast switchover {vnf}` ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")


def _await(stage: Stage, step: Step) -> None:
    what, *rest = step.words
    since = stage.faults[-1].at if stage.faults else 0.0
    match what:
        case "up":
            stage.until("an answer after the fault", lambda: stage.probe.is_up(stage.last_fault_at))
        case "down":
            stage.until("the service's absence", lambda: not stage.probe.is_up(stage.last_fault_at))
        case "in-sync":
            stage.until("all standbys being up to date", lambda: stage.tail.provided() and stage.tail.in_sync())
        case "repaired":
            stage.until("the repair", lambda: _is_repaired(stage))
        case "control":
            stage.until("managers that answer and have all agents with them", lambda: _is_controlled(stage))
            stage.mark(CONTROL, stage.world.layout.name, "all managers answer, all agents have joined them")
        case _:
            party, kind, name, *detail = rest
            wanted = " ".join(rest)
            episode = stage.last_fault_at or since
            stage.until(
                f"record `{wanted}`",
                lambda: stage.tail.find(party, kind, name, " ".join(detail), episode) is not None,
            )


def _is_controlled(stage: Stage) -> bool:
    """What a person asks with `holdfast status`: every manager answers, and no agent is missing."""
    world = stage.world
    for party in parties_of(world.layout):
        try:
            answer = msgspec.json.decode(ask(world.folder, party, AskStatus(), STATUS_LIMIT_S).body)
        except PeerError:
            return False
        if not all(joined for host, joined in answer["agents"].items() if world.is_on(HostName(host))):
            return False
    return True


def _is_repaired(stage: Stage) -> bool:
    planned = stage.faults and stage.faults[-1].kind == "switchover"
    done = stage.tail.repaired(stage.last_fault_at) or bool(planned)
    return done and stage.tail.provided() and stage.tail.in_sync() and stage.probe.is_up(stage.last_fault_at)


def _down_and_up(stage: Stage, step: Step) -> None:
    stage.hurt(step, "all", stage.world.power_cut)
    stage.tail.providers.clear()
    stage.tail.synced.clear()
    stage.world.switch_all_on()


VERBS: dict[str, Callable[[Stage, Step], None]] = {
    "load": _load,
    "kill-vnfc": _kill_vnfc,
    "kill-vm": _kill_vm,
    "kill-manager": _kill_manager,
    "freeze-vnfc": _freeze_vnfc,
    "hold": _hold,
    "release": _release,
    "host-off": _host_off,
    "host-on": _host_on,
    "freeze-host": _freeze_host,
    "thaw-host": _thaw_host,
    "kill-agent": _kill_agent,
    "freeze-agent": _freeze_agent,
    "thaw-agent": _thaw_agent,
    "starve-agent": _starve_agent,
    "feed-agent": _feed_agent,
    "kill-leader": _kill_leader,
    "lead-at": _lead_at,
    "store-lead-at": _store_lead_at,
    "kill-store": _kill_store,
    "start-store": _start_store,
    "cut": _cut,
    "fence-mode": _fence_mode,
    "heal": _heal,
    "put-file": _put_file,
    "take-file": _take_file,
    "wear-out": _wear_out,
    "switchover": _switchover,
    "await": _await,
    "down-and-up": _down_and_up,
}
