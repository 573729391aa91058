"""Carries the faults of a plan out, each at its time, and takes each back at its own.

In:   a plan, a world whose services are provided. Out: what was done when; in the end nothing is wrong any more.
Always: what cannot be done as things are (nobody is active; the host is off already) is left out and noted as such.
"""

from collections.abc import Callable
from typing import NamedTuple

from holdfast.lab.acts import FaultFailed
from holdfast.lab.drawn import PlannedFault
from holdfast.lab.sim.acts import SimActs
from holdfast.lab.sim.draw import Plan
from holdfast.lab.sim.node import Node
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.rare import RARE_DEEDS
from holdfast.lab.sim.world import SimWorld
from holdfast.model.layout import Service
from holdfast.model.names import HostName, VmName, VnfcName

MS = 1_000_000
BENT_PPM = 400
"""A time daemon bends the monotonic clock by that much: below what is assumed, far above an honest clock."""
LOST = 0.3
DOUBLED = 0.3
STARVED_NS = (5_000_000, 400_000_000)

Undo = Callable[[], None]


class Done(NamedTuple):
    """A fault that took effect."""

    at_ns: int
    kind: str
    entity: str
    phase: str
    """Of the recovery of the service it was aimed at, or of any."""
    until_ns: int


class Nemesis:
    def __init__(
        self,
        world: SimWorld,
        plan: Plan,
        active: Callable[[Service], VnfcName | None],
        phase: Callable[[], str],
        happens: Callable[[], None],
    ) -> None:
        """
        Args:
            active: who provides a service, as its clients see it.
            phase: how far recoveries are, for the account of what was covered.
            happens: told of each beginning and each end of a fault.
        """
        self._world = world
        self._plan = plan
        self._acts = SimActs(world)
        self._active = active
        self._phase = phase
        self._happens = happens
        self._deeds = DEEDS | RARE_DEEDS
        self.done: list[Done] = []
        self.left_out: list[PlannedFault] = []
        self._undo: dict[int, Undo] = {}

    def begin(self) -> None:
        timeline = self._world.timeline
        for number, fault in enumerate(self._plan.faults):
            timeline.after(fault.at_ms * MS, self._do, number, fault)

    @property
    def is_over(self) -> bool:
        return len(self.done) + len(self.left_out) == len(self._plan.faults) and not self._undo

    def _do(self, number: int, fault: PlannedFault) -> None:
        timeline = self._world.timeline
        phase = self._phase()
        try:
            entity, undo = self._deeds[fault.kind](self, fault)
        except FaultFailed:
            self.left_out.append(fault)
            return
        until_ns = timeline.now_ns + fault.lasts_ms * MS
        self.done.append(Done(timeline.now_ns, fault.kind, entity, phase, until_ns))
        if fault.lasts_ms:
            self._undo[number] = undo
            timeline.at(until_ns, self._take_back, number)
        self._happens()

    def _take_back(self, number: int) -> None:
        self._undo.pop(number, _nothing)()
        self._happens()

    # --- whom

    def host(self, place: str) -> HostName:
        if place.startswith("active "):
            return self._world.layout.vnfcs[self.vnfc(place)].host
        return HostName(place)

    def vnfc(self, place: str) -> VnfcName:
        """`active NAME` or `standby NAME`, by the name of its VNF."""
        which, _, name = place.partition(" ")
        group = next(group for group in self._world.layout.groups.values() if group.vnf == name)
        active = self._active(self._world.layout.services[group.services[0]])
        if which == "active":
            if active is None:
                raise FaultFailed(f"nobody is active for {name}")
            return active
        other = next((one for one in group.vnfcs if one != active), None)
        if other is None:
            raise FaultFailed(f"{name} has no standby")
        return other

    def node(self, place: str) -> Node:
        node = self._world.nodes[self.host(place)]
        if not node.host.is_on:
            raise FaultFailed(f"{node.name} is off")
        return node

    @property
    def world(self) -> SimWorld:
        return self._world

    @property
    def acts(self) -> SimActs:
        return self._acts


def _nothing() -> None:
    return


Deed = Callable[[Nemesis, PlannedFault], tuple[str, Undo]]


def _kill_vnfc(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    name = nemesis.vnfc(fault.place)
    if not nemesis.acts.has_processes(name):
        raise FaultFailed(f"{name} does not run")
    nemesis.acts.kill_vnfc(name)
    return name, _nothing


def _freeze_vnfc(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    name = nemesis.vnfc(fault.place)
    nemesis.acts.freeze_vnfc(name)
    return name, _nothing


def _kill_vm(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    vm = nemesis.world.layout.vnfcs[nemesis.vnfc(fault.place)].vm
    if vm is None:
        raise FaultFailed("it is in no VM")
    nemesis.acts.kill_vm(vm)
    return vm, _nothing


def _freeze_vm(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    vm = nemesis.world.layout.vnfcs[nemesis.vnfc(fault.place)].vm
    if vm is None:
        raise FaultFailed("it is in no VM")
    node = nemesis.world.nodes[nemesis.world.layout.vms[VmName(vm)].host]
    init = node.host.sandboxes.get(str(node.folder.vm(vm)))
    if init is None:
        raise FaultFailed(f"{vm} does not run")
    init.freeze()
    return vm, init.thaw


def _host_off(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    node = nemesis.node(fault.place)
    node.switch_off()
    return node.name, node.switch_on


def _freeze_host(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    node = nemesis.node(fault.place)
    node.host.stop()
    return node.name, node.host.go_on


def _cut_host(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    name = nemesis.host(fault.place)
    return name, _cut(nemesis, [(name, other) for other in nemesis.world.nodes if other != name], both=True)


def _cut_pair(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    pair = (HostName(fault.place), HostName(fault.other))
    return " ".join(pair), _cut(nemesis, [pair], both=True)


def _cut_one_way(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    pair = (HostName(fault.place), HostName(fault.other))
    return ">".join(pair), _cut(nemesis, [pair], both=False)


def _cut(nemesis: Nemesis, pairs: list[tuple[HostName, HostName]], *, both: bool) -> Undo:
    ways = [*pairs, *((b, a) for a, b in pairs if both)]
    nets = list(nemesis.world.site.nets.values())
    for net in nets:
        for sender, receiver in ways:
            net.cut(sender, receiver)

    def heal() -> None:
        for net in nets:
            for sender, receiver in ways:
                net.heal(sender, receiver)

    return heal


def _agent_and_hot(node: Node) -> list[Process]:
    found = [node.agent.process]
    hot = node.site.hot.running.get(node.name)
    found.append(hot.process if hot is not None else None)
    living = [process for process in found if process is not None and process.is_alive]
    if not living:
        raise FaultFailed(f"{node.name} has no agent")
    return living


def _kill_agent(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    node = nemesis.node(fault.place)
    if not node.agent.is_alive:
        raise FaultFailed(f"{node.name} has no agent")
    node.agent.kill()
    return node.name, _nothing


def _freeze_agent(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    node = nemesis.node(fault.place)
    return node.name, _stopped(_agent_and_hot(node))


def _starve_agent(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    node = nemesis.node(fault.place)
    processes = _agent_and_hot(node)
    for process in processes:
        process.starve(STARVED_NS)

    def feed() -> None:
        for process in processes:
            process.feed()

    return node.name, feed


def _kill_hot(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    node = nemesis.node(fault.place)
    hot = node.site.hot.running.get(node.name)
    if hot is None or not hot.process.is_alive:
        raise FaultFailed(f"{node.name} has no hot process")
    hot.process.end()
    return node.name, _nothing


def _stopped(processes: list[Process]) -> Undo:
    for process in processes:
        process.stop()

    def go_on() -> None:
        for process in processes:
            process.go_on()

    return go_on


def _kill_manager(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    if not nemesis.acts.has_leader():
        raise FaultFailed("nobody leads")
    nemesis.acts.kill_leader()
    return "leader", _nothing


def _freeze_manager(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    leader = next((node.manager for node in nemesis.world.nodes.values() if nemesis.acts.leads_at(node.name)), None)
    if leader is None:
        raise FaultFailed("nobody leads")
    return "leader", _stopped([leader])


def _kill_store(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    node = nemesis.node(fault.place)
    if node.store is None or not node.store.is_alive:
        raise FaultFailed(f"{node.name} has no member of the store")
    node.store.end()

    def start() -> None:
        if node.host.is_on:
            node.start_store()

    return node.name, start


def _freeze_store(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    node = nemesis.node(fault.place)
    if node.store is None or not node.store.is_alive:
        raise FaultFailed(f"{node.name} has no member of the store")
    return node.name, _stopped([node.store])


def _store_away(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    members = [node.store for node in nemesis.world.nodes.values() if node.store is not None and node.store.is_alive]
    if not members:
        raise FaultFailed("the store has no member")
    return "all members", _stopped(members)


def _cleanup_hangs(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    """The component is killed, and what is left of it cannot be ended for a while."""
    name = nemesis.vnfc(fault.place)
    node = nemesis.world.nodes[nemesis.world.layout.vnfcs[name].host]
    init = node.host.sandboxes.get(str(node.folder.vnfc(name)))
    if init is None:
        raise FaultFailed(f"{name} does not run")
    node.host.troubles.stuck.add(init.name)
    for child in tuple(init.children.values()):
        child.process.stop()
    nemesis.world.timeline.after(700 * MS, init.release)
    return name, _nothing


def _fence(mode: str) -> Deed:
    def deed(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
        name = nemesis.host(fault.place)
        nemesis.acts.set_fence_mode(name, mode, "")
        return name, lambda: nemesis.acts.set_fence_mode(name, "works", "")

    return deed


def _clock_bends(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    host = nemesis.node(fault.place).host
    clock = host.monotonic
    before = clock.ppm
    clock.bend(BENT_PPM)
    return host.name, lambda: clock.bend(before)


def _messages_lost(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    nets = list(nemesis.world.site.nets.values())
    for net in nets:
        net.loss += LOST

    def undo() -> None:
        for net in nets:
            net.loss -= LOST

    return "all", undo


def _messages_doubled(nemesis: Nemesis, fault: PlannedFault) -> tuple[str, Undo]:
    nets = list(nemesis.world.site.nets.values())
    for net in nets:
        net.doubling += DOUBLED

    def undo() -> None:
        for net in nets:
            net.doubling -= DOUBLED

    return "all", undo


DEEDS: dict[str, Deed] = {
    "kill-vnfc": _kill_vnfc,
    "freeze-vnfc": _freeze_vnfc,
    "kill-vm": _kill_vm,
    "freeze-vm": _freeze_vm,
    "host-off": _host_off,
    "freeze-host": _freeze_host,
    "cut-host": _cut_host,
    "cut-pair": _cut_pair,
    "cut-one-way": _cut_one_way,
    "kill-agent": _kill_agent,
    "freeze-agent": _freeze_agent,
    "starve-agent": _starve_agent,
    "kill-hot": _kill_hot,
    "kill-manager": _kill_manager,
    "freeze-manager": _freeze_manager,
    "kill-store": _kill_store,
    "freeze-store": _freeze_store,
    "store-away": _store_away,
    "cleanup-hangs": _cleanup_hangs,
    "fence-hangs": _fence("hangs"),
    "fence-lies": _fence("lies-fully"),
    "clock-bends": _clock_bends,
    "messages-lost": _messages_lost,
    "messages-doubled": _messages_doubled,
}
