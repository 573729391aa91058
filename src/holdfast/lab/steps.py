"""The steps of a scenario, carried out on a world, live or simulated.

In:   the steps of a scenario file, a `Stage`.
Out:  what was done and when, as `Fault`s for the judges, and as `Marked` records in the lab's own journal.
Errors: `Stuck` when something that a step waits for does not happen in time; `FaultFailed` when a fault has no effect.

The lab only ever does things to processes and files; it never asks the product to pretend.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from holdfast.errors import WorldError
from holdfast.lab.acts import Acts, Stuck
from holdfast.lab.judges.evidence import Fault
from holdfast.lab.scenario import Step
from holdfast.lab.stage import Stage
from holdfast.model.names import HostName, VmName, VnfcName, VnfName

LEADERS_TRIED_MAX = 12
LEADERS_BY_CHANCE = 4
CONTROL = "control"
"""Mark in the lab's journal: the managers answer again."""


class Deed(NamedTuple):
    """A step that does one thing to one entity."""

    entity: Callable[[Stage, str], str]
    """The entity's own name, from the first word of the step."""
    act: Callable[[Acts, str], object]
    starts: bool = True
    """Begins an episode that is judged."""


def _vnfc(stage: Stage, word: str) -> str:
    return stage.vnfc(word)


def _vm(stage: Stage, word: str) -> str:
    return stage.vm(word)


def _host(stage: Stage, word: str) -> str:
    return stage.host(word)


def _vnfc_at(stage: Stage, word: str) -> str:
    """The VNFC of the scenario's service on that host."""
    host = stage.host(word)
    return next(name for name in stage.group().vnfcs if stage.layout.vnfcs[name].host == host)


def _as_said(stage: Stage, word: str) -> str:
    return word


DEEDS: dict[str, Deed] = {
    "kill-vnfc": Deed(_vnfc, lambda acts, name: acts.kill_vnfc(VnfcName(name))),
    "freeze-vnfc": Deed(_vnfc, lambda acts, name: acts.freeze_vnfc(VnfcName(name))),
    "kill-vm": Deed(_vm, lambda acts, name: acts.kill_vm(VmName(name))),
    "kill-manager": Deed(_as_said, lambda acts, which: acts.kill_managers(which), starts=False),
    "hold": Deed(_as_said, lambda acts, which: acts.hold_managers(which), starts=False),
    "release": Deed(_as_said, lambda acts, which: acts.release_managers(which), starts=False),
    "host-off": Deed(_host, lambda acts, name: acts.host_off(HostName(name))),
    "host-on": Deed(_host, lambda acts, name: acts.host_on(HostName(name)), starts=False),
    "freeze-host": Deed(_host, lambda acts, name: acts.freeze_host(HostName(name))),
    "thaw-host": Deed(_host, lambda acts, name: acts.thaw_host(HostName(name)), starts=False),
    "kill-agent": Deed(_host, lambda acts, name: acts.kill_agent(HostName(name)), starts=False),
    "stick-agent": Deed(_host, lambda acts, name: acts.stick_agent(HostName(name))),
    "freeze-agent": Deed(_host, lambda acts, name: acts.freeze_agent(HostName(name))),
    "thaw-agent": Deed(_host, lambda acts, name: acts.thaw_agent(HostName(name)), starts=False),
    "feed-agent": Deed(_host, lambda acts, name: acts.feed_agent(HostName(name)), starts=False),
    "kill-store": Deed(_host, lambda acts, name: acts.kill_store(HostName(name)), starts=False),
    "start-store": Deed(_host, lambda acts, name: acts.start_store(HostName(name)), starts=False),
    "second-client": Deed(_as_said, lambda acts, _: acts.second_client(), starts=False),
    "mislead": Deed(_vnfc_at, lambda acts, name: acts.mislead(VnfcName(name)), starts=False),
    "heal": Deed(_as_said, lambda acts, _: acts.heal(), starts=False),
    "lock": Deed(_host, lambda acts, name: acts.lock(HostName(name)), starts=False),
    "unlock": Deed(_host, lambda acts, name: acts.unlock(HostName(name)), starts=False),
}


def perform(stage: Stage, step: Step) -> None:
    """Carry one step out."""
    stage.say(str(step))
    deed = DEEDS.get(step.verb)
    if deed is None:
        VERBS[step.verb](stage, step)
        return
    name = deed.entity(stage, step.words[0])
    stage.hurt(step, name, lambda: deed.act(stage.acts, name), starts=deed.starts)


def _load(stage: Stage, step: Step) -> None:
    stage.acts.let_pass(int(step.words[0].removesuffix("ms")) / 1000)


def _starve_agent(stage: Stage, step: Step) -> None:
    name = stage.host(step.words[0])
    stage.hurt(step, name, lambda: stage.mark("starved", name, stage.acts.starve_agent(name)))


def _kill_leader(stage: Stage, step: Step) -> None:
    stage.until("a leader of the managers", stage.acts.has_leader)
    stage.hurt(step, "leader", stage.acts.kill_leader, starts=False)


def _lead_at(stage: Stage, step: Step) -> None:
    """Not a fault that is judged: the stage is set by it."""
    host = stage.host(step.words[0])
    for tried in range(LEADERS_TRIED_MAX):
        stage.until("a leader of the managers", stage.acts.has_leader)
        if stage.acts.leads_at(host):
            return
        if tried >= LEADERS_BY_CHANCE:
            # Who is nearest to the store's leader hears first that nobody leads.
            with suppress(WorldError):
                stage.acts.move_store_leader(host)
        stage.acts.kill_leader()
    raise Stuck(f"the managers' leader did not come to {host}")


def _store_lead_at(stage: Stage, step: Step) -> None:
    stage.acts.move_store_leader(stage.host(step.words[0]))


def _cut(stage: Stage, step: Step) -> None:
    places, network = (step.words[:-2], step.words[-1]) if "on" in step.words else (step.words, "")
    name, *other = (stage.host(word) for word in places)
    stage.hurt(step, name, lambda: stage.acts.cut(name, other[0] if other else None, network))


def _fence_mode(stage: Stage, step: Step) -> None:
    """Not a fault that is judged: the stage is set by it. A lie is known to the judges, as it can hide things."""
    place, *level, mode = step.words
    name = stage.host(place)
    stage.acts.set_fence_mode(name, mode, level[0] if level else "")
    at = stage.mark("staged", name, str(step))
    stage.faults.append(Fault(at=at, kind=step.verb, entity=name, starts=False, detail=mode))


def _switchover(stage: Stage, step: Step) -> None:
    vnf, *to = step.words
    name = stage.vnfc(to[1]) if to else None
    stage.hurt(step, vnf, lambda: stage.acts.switch_over(VnfName(vnf), name), detail=name or "")


def _put_file(stage: Stage, step: Step) -> None:
    name = stage.vnfc(step.words[0])
    stage.hurt(step, name, lambda: stage.acts.put_file(name, step.words[1]), starts=False)


def _take_file(stage: Stage, step: Step) -> None:
    name = stage.vnfc(step.words[0])
    stage.hurt(step, name, lambda: stage.acts.take_file(name, step.words[1]), starts=False)


def _wear_out(stage: Stage, step: Step) -> None:
    """Kill the VNFC again and again, each time as soon as it serves."""
    name = stage.vnfc(step.words[0])
    service = stage.layout.groups[stage.layout.vnfcs[name].group].services[0]
    measured = service == stage.scenario.service
    for _ in range(int(step.words[1])):
        stage.until(f"{name} serving again", lambda: stage.tail.providers.get(service) == name)
        stage.until(f"processes of {name}", lambda: stage.acts.has_processes(name))
        if measured:
            # Killed before its client has noticed that it serves, the first answer would be taken for the next end.
            stage.until(f"an answer of {name}", lambda: stage.probe.is_up(stage.last_fault_at))
        stage.hurt(step, name, lambda: stage.acts.kill_vnfc(name), starts=measured)
        stage.until(f"failure of {name} being noticed", lambda: stage.tail.providers.get(service) is None)


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
        case "voters":
            stage.until(f"a voter set of {rest[0]}", lambda: len(stage.tail.voters) == int(rest[0]))
        case "control":
            stage.until("managers that answer and have all agents with them", stage.acts.is_controlled)
            stage.mark(CONTROL, stage.layout.name, "all managers answer, all agents have joined them")
        case _:
            party, kind, name, *detail = rest
            wanted = " ".join(rest)
            episode = stage.last_fault_at or since
            stage.until(
                f"record `{wanted}`",
                lambda: stage.tail.find(party, kind, name, " ".join(detail), episode) is not None,
            )


def _is_repaired(stage: Stage) -> bool:
    planned = stage.faults and stage.faults[-1].kind == "switchover"
    done = stage.tail.repaired(stage.last_fault_at) or bool(planned)
    return done and stage.tail.provided() and stage.tail.in_sync() and stage.probe.is_up(stage.last_fault_at)


def _down_and_up(stage: Stage, step: Step) -> None:
    def down_and_up() -> None:
        stage.acts.down_and_up()
        stage.tail.providers.clear()
        stage.tail.synced.clear()

    stage.hurt(step, "all", down_and_up)


VERBS: dict[str, Callable[[Stage, Step], None]] = {
    "load": _load,
    "starve-agent": _starve_agent,
    "kill-leader": _kill_leader,
    "lead-at": _lead_at,
    "store-lead-at": _store_lead_at,
    "cut": _cut,
    "fence-mode": _fence_mode,
    "switchover": _switchover,
    "put-file": _put_file,
    "take-file": _take_file,
    "wear-out": _wear_out,
    "await": _await,
    "down-and-up": _down_and_up,
}
