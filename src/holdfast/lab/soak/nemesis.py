"""Carries the faults of one episode out, each at its time, and takes each back at its own.

In:   planned faults, the ground they are done to, who is active. Out: what was done to whom and when, what was left out
and why.
Always: when `play` returns, or `heal` after an interruption, everything that can be taken back has been.
"""

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

from msgspec import structs

from holdfast.errors import WorldError
from holdfast.lab.acts import FaultFailed
from holdfast.lab.drawn import PlannedFault, words_of
from holdfast.lab.judges.soaked import DoneFault, LeftOut
from holdfast.lab.soak.ground import Ground
from holdfast.lab.soak.network import Undo, Way
from holdfast.model.layout import Layout
from holdfast.model.names import HostName, ServiceName, VmName, VnfcName

HANGS_S = 0.7
"""For so long nothing ends what is left of a component whose cleanup hangs; as in the simulated world."""


class Struck(NamedTuple):
    """What a deed did."""

    entity: str
    undo: Undo | None = None
    lasts_s: float = 0.0
    """Where the kind of fault itself says it."""


class Nemesis:
    def __init__(
        self,
        layout: Layout,
        ground: Ground,
        active: Callable[[ServiceName], VnfcName | None],
        now: Callable[[], float],
        wait: Callable[[float], None],
        tell: Callable[[str], None],
    ) -> None:
        """
        Args:
            active: who provides a service.
            wait: let the world go on for so many seconds.
            tell: of each fault as it is done, taken back or left out.
        """
        self.layout, self.ground = layout, ground
        self._active, self._now, self._wait, self._tell = active, now, wait, tell
        self.done: list[DoneFault] = []
        self.left_out: list[LeftOut] = []
        self.troubles: list[str] = []
        """What could not be taken back."""
        self._undo: dict[int, Undo] = {}
        self._numbers: dict[int, int] = {}
        """Where each planned fault stands in `done`."""

    def play(self, faults: Sequence[PlannedFault]) -> None:
        """All of them; returns when the last one is over."""
        began, order = self._now(), count()
        due = [(began + fault.at_ms / 1000, next(order), number, fault) for number, fault in enumerate(faults)]
        heapq.heapify(due)
        while due:
            at, _, number, fault = heapq.heappop(due)
            while (left := at - self._now()) > 0:
                self._wait(left)
            if number in self._undo:
                self._take_back(number)
            elif (until := self._do(number, fault)) is not None:
                heapq.heappush(due, (until, next(order), number, fault))

    def _do(self, number: int, fault: PlannedFault) -> float | None:
        """Returns when it is to be taken back, if it is."""
        at = self._now()
        try:
            struck = DEEDS[fault.kind](self, fault)
        except (WorldError, OSError) as error:
            why = error.message if isinstance(error, WorldError) else str(error)
            self.left_out.append(LeftOut(fault.kind, fault.place, why))
            self._tell(f"{fault.kind} {fault.place or 'anywhere'}: left out, {why}")
            return None
        lasts_s = struck.lasts_s or fault.lasts_ms / 1000
        self._numbers[number] = len(self.done)
        self.done.append(DoneFault(fault.kind, struck.entity, at, self._now(), words_of(fault)))
        self._tell(f"{fault.kind} {struck.entity}" + (f" for {1000 * lasts_s:.0f} ms" if lasts_s else ""))
        if struck.undo is None:
            return None
        self._undo[number] = struck.undo
        return at + lasts_s

    def _take_back(self, number: int) -> None:
        at = self._numbers[number]
        try:
            self._undo.pop(number)()
        except (WorldError, OSError) as error:
            self.troubles.append(f"{self.done[at].kind} {self.done[at].entity} could not be taken back: {error}")
        self.done[at] = structs.replace(self.done[at], until=self._now())

    def heal(self) -> None:
        """Take back whatever is not yet, the last one first."""
        for number in sorted(self._undo, reverse=True):
            self._take_back(number)

    # --- whom

    def host(self, place: str) -> HostName:
        return self.layout.vnfcs[self.vnfc(place)].host if place.startswith("active ") else HostName(place)

    def host_on(self, place: str) -> HostName:
        name = self.host(place)
        if not self.ground.is_on(name):
            raise FaultFailed(f"{name} is off")
        return name

    def vnfc(self, place: str) -> VnfcName:
        """`active NAME` or `standby NAME`, by the name of its VNF."""
        which, _, name = place.partition(" ")
        group = next(group for group in self.layout.groups.values() if group.vnf == name)
        actives = [self._active(service) for service in group.services]
        if which == "active":
            if actives[0] is None:
                raise FaultFailed(f"nobody is active for {name}")
            return actives[0]
        other = next((one for one in group.vnfcs if one not in actives), None)
        if other is None:
            raise FaultFailed(f"{name} has no standby")
        return other

    def vm(self, place: str) -> VmName:
        name = self.vnfc(place)
        vm = self.layout.vnfcs[name].vm
        if vm is None:
            raise FaultFailed(f"{name} is in no VM")
        return vm


Deed = Callable[[Nemesis, PlannedFault], Struck]


def _of_vnfc(do: Callable[[Ground, VnfcName], None]) -> Deed:
    def deed(nemesis: Nemesis, fault: PlannedFault) -> Struck:
        name = nemesis.vnfc(fault.place)
        do(nemesis.ground, name)
        return Struck(name)

    return deed


def _hang_cleanup(nemesis: Nemesis, fault: PlannedFault) -> Struck:
    name = nemesis.vnfc(fault.place)
    return Struck(name, nemesis.ground.hang_cleanup(name), HANGS_S)


def _of_vm(do: Callable[[Ground, VmName], Undo | None]) -> Deed:
    def deed(nemesis: Nemesis, fault: PlannedFault) -> Struck:
        vm = nemesis.vm(fault.place)
        return Struck(vm, do(nemesis.ground, vm))

    return deed


def _of_host(do: Callable[[Ground, HostName], Undo | None]) -> Deed:
    def deed(nemesis: Nemesis, fault: PlannedFault) -> Struck:
        name = nemesis.host_on(fault.place)
        return Struck(name, do(nemesis.ground, name))

    return deed


def _everywhere(entity: str, do: Callable[[Ground], Undo | None]) -> Deed:
    return lambda nemesis, fault: Struck(entity, do(nemesis.ground))


def _cut_host(nemesis: Nemesis, fault: PlannedFault) -> Struck:
    name = nemesis.host(fault.place)
    others = [other for other in nemesis.layout.hosts if other != name]
    return Struck(name, nemesis.ground.cut([way for other in others for way in ((name, other), (other, name))]))


def _cut_pair(nemesis: Nemesis, fault: PlannedFault) -> Struck:
    one, other = HostName(fault.place), HostName(fault.other)
    return Struck(f"{one} {other}", nemesis.ground.cut([(one, other), (other, one)]))


def _cut_one_way(nemesis: Nemesis, fault: PlannedFault) -> Struck:
    way: Way = (HostName(fault.place), HostName(fault.other))
    return Struck(">".join(way), nemesis.ground.cut([way]))


def _store_away(nemesis: Nemesis, fault: PlannedFault) -> Struck:
    return Struck("all members", nemesis.ground.freeze_store(tuple(nemesis.layout.hosts)))


def _fences(mode: str) -> Deed:
    def deed(nemesis: Nemesis, fault: PlannedFault) -> Struck:
        name = nemesis.host(fault.place)
        return Struck(name, nemesis.ground.set_fences(name, mode))

    return deed


def _bend_clock(nemesis: Nemesis, fault: PlannedFault) -> Struck:
    raise FaultFailed("all hosts of this lab have the clock of one machine, which is not ours to bend")


DEEDS: dict[str, Deed] = {
    "kill-vnfc": _of_vnfc(lambda ground, name: ground.kill_vnfc(name)),
    "freeze-vnfc": _of_vnfc(lambda ground, name: ground.freeze_vnfc(name)),
    "kill-vm": _of_vm(lambda ground, name: ground.kill_vm(name)),
    "freeze-vm": _of_vm(lambda ground, name: ground.freeze_vm(name)),
    "host-off": _of_host(lambda ground, name: ground.host_off(name)),
    "freeze-host": _of_host(lambda ground, name: ground.freeze_host(name)),
    "cut-host": _cut_host,
    "cut-pair": _cut_pair,
    "cut-one-way": _cut_one_way,
    "kill-agent": _of_host(lambda ground, name: ground.kill_agent(name)),
    "freeze-agent": _of_host(lambda ground, name: ground.freeze_agent(name)),
    "starve-agent": _of_host(lambda ground, name: ground.starve_agent(name)),
    "kill-hot": _of_host(lambda ground, name: ground.kill_hot(name)),
    "kill-manager": _everywhere("leader", lambda ground: ground.kill_leader()),
    "freeze-manager": _everywhere("leader", lambda ground: ground.freeze_leader()),
    "kill-store": _of_host(lambda ground, name: ground.kill_store(name)),
    "freeze-store": _of_host(lambda ground, name: ground.freeze_store([name])),
    "store-away": _store_away,
    "cleanup-hangs": _hang_cleanup,
    "fence-hangs": _fences("hangs"),
    "fence-lies": _fences("lies-fully"),
    "clock-bends": _bend_clock,
    "messages-lost": _everywhere("all", lambda ground: ground.lose_messages()),
    "messages-doubled": _everywhere("all", lambda ground: ground.double_messages()),
}
