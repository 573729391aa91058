"""An agent under whatever happens: instructions in any order, deaths at any moment, its own among them."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from holdfast.lab.sim.registry import MODULE
from holdfast.model.actions import (
    Activate,
    AgentAction,
    IsolateVm,
    IsolateVnfc,
    StandBy,
    StartVm,
    StartVnfc,
    StopVnfc,
)
from holdfast.model.events import ActionDone, Event, VmDied
from holdfast.model.layout import Check, Operation
from holdfast.model.names import ActionId
from holdfast.model.records import Marked
from holdfast.store.journal import read
from tests.sim.one_host import Manager, OneHost
from tests.unit.agent_host import ADDRESS, SERVICE, VM, VNFC, component, layout_of

Make = Callable[[ActionId], AgentAction]
DEEDS = 60


class Chaos:
    """One story, told by a seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        cleanup = Operation(("true", "clean"), 0.3)
        what = component(cleanup=cleanup, cleanup_limit_s=0.5)
        if seed % 2:
            start = Operation(("${python}", "-m", MODULE))
            checks = (Check(kind="protocol", every_s=0.05, limit_s=0.05, misses=2),)
            what = component(start=start, speaks=True, checks=checks, cleanup=cleanup, cleanup_limit_s=0.5)
        self.in_vm = seed % 3 != 0
        self.world = OneHost(layout_of(what, in_vm=self.in_vm), folder, seed)
        self.chance = random.Random(seed)
        self.boot = self.run = self.epoch = 1
        self.sent: list[tuple[ActionId, AgentAction]] = []
        self.lies: list[str] = []
        """What was said to be gone and was not."""
        self.world.heard = self._heard

    def _heard(self, event: Event) -> None:
        """What was just said must be so."""
        world = self.world
        if isinstance(event, VmDied) and event.boot == self.boot and world.owners(ADDRESS):
            self._lied(event)
        if not isinstance(event, ActionDone) or "is over" in event.detail:
            return
        place = next((place for place, (number, _) in enumerate(self.sent) if number == event.action), None)
        if place is None:
            return
        action, later = self.sent[place][1], [type(one) for _number, one in self.sent[place:]]
        if not isinstance(action, IsolateVnfc | IsolateVm):
            return
        if Activate not in later and world.owners(ADDRESS):
            self._lied(event)
        if StartVnfc not in later and str(world.folder.vnfc(VNFC)) in world.host.sandboxes:
            self._lied(event)
        if isinstance(action, IsolateVm) and StartVm not in later and world.host.network.ports:
            self._lied(event)

    def _lied(self, event: Event) -> None:
        self.lies.append(f"{self.world.timeline.now_ns}: {event}")

    def send(self, manager: Manager, make: Make) -> None:
        number = manager.send(make)
        if number is not None:
            self.sent.append((number, make(number)))

    # --- deeds

    def start_vm(self) -> None:
        if not self.in_vm:
            return
        self.boot += 1
        self.send(self.world.vim, lambda number: StartVm(number, VM, self.boot))

    def bring_up(self) -> None:
        """In this order, at moments that may be too early."""
        if self.in_vm and str(self.world.folder.vm(VM)) not in self.world.host.sandboxes:
            self.start_vm()
            self.pause([50, 90])
        self.start()
        self.pause([8, 12, 20])
        self.activate()

    def end_vm(self) -> None:
        if not self.in_vm:
            return
        self.send(self.world.vim, lambda number: IsolateVm(number, VM, self.boot))

    def start(self) -> None:
        self.run += 1
        self.epoch += 1
        self.send(self.world.ha, lambda number: StartVnfc(number, VNFC, self.run, self.epoch))

    def activate(self) -> None:
        self.send(self.world.ha, lambda number: Activate(number, VNFC, self.run, SERVICE, self.epoch))

    def stand_by(self) -> None:
        self.epoch += 1
        self.send(self.world.ha, lambda number: StandBy(number, VNFC, self.run, SERVICE, self.epoch, VNFC))

    def isolate(self) -> None:
        self.send(self.world.ha, lambda number: IsolateVnfc(number, VNFC, self.run))

    def stop(self) -> None:
        self.send(self.world.ha, lambda number: StopVnfc(number, VNFC, self.run))

    def kill_something(self) -> None:
        inits = list(self.world.host.sandboxes.values())
        if not inits:
            return
        init = self.chance.choice(inits)
        children = list(init.children.values())
        if children:
            init.kill_child(self.chance.choice(children).process)
        else:
            init.kill()

    def kill_vm(self) -> None:
        vm = self.world.host.sandboxes.get(str(self.world.folder.vm(VM)))
        if vm is not None:
            vm.kill()

    def freeze(self) -> None:
        for init in tuple(self.world.host.sandboxes.values()):
            if self.chance.random() < 0.5:
                init.freeze()

    def thaw(self) -> None:
        for init in tuple(self.world.host.sandboxes.values()):
            init.thaw()

    def hang(self) -> None:
        self.world.host.troubles.stuck.add(VNFC)
        self.world.host.troubles.hanging.add("clean")

    def release(self) -> None:
        self.world.host.troubles.hanging.clear()
        self.world.host.troubles.stuck.clear()
        for init in tuple(self.world.host.sandboxes.values()):
            init.release()

    def restart_agent(self) -> None:
        self.world.agent.kill()
        self.world.agent.start()

    def lose_power(self) -> None:
        self.world.lose_power()
        self.world.agent.start()

    def play(self) -> None:
        usual = [self.bring_up, self.bring_up, self.activate, self.isolate, self.stand_by]
        faults = [self.kill_something, self.kill_vm, self.freeze, self.hang, self.end_vm, self.start_vm]
        ends = [self.thaw, self.release]
        rare = [self.restart_agent, self.restart_agent, self.stop, self.lose_power]
        for _ in range(DEEDS):
            self.chance.choice(self.chance.choice([usual, usual, usual, faults, ends, rare]))()
            self.pause([0, 1, 5, 30, 100, 500])

    def pause(self, ms: Sequence[int]) -> None:
        self.world.wait(self.chance.choice(ms))

    def settle(self) -> None:
        """Without faults everything can be ended."""
        self.thaw()
        self.release()
        if not self.world.agent.is_alive:
            self.world.agent.start()
        self.world.wait(8000)
        self.world.ha.instruct(lambda number: IsolateVnfc(number, VNFC, self.run))
        if self.in_vm:
            self.world.vim.done(lambda number: IsolateVm(number, VM, self.boot))
        self.world.wait(100)


@pytest.mark.parametrize("seed", [*range(36), 192, 774, 955])
def test_whatever_happens_isolated_means_isolated_and_nothing_is_left(seed: int, tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, seed)
    world = chaos.world
    try:
        chaos.play()
        chaos.settle()
        assert chaos.lies == []
        assert (world.host.sandboxes, world.host.network.ports, world.owners(ADDRESS)) == ({}, {}, [])
    finally:
        world.end()
    marks = [record for record in read(world.folder.journal(world.agent_party)) if isinstance(record, Marked)]
    assert [mark for mark in marks if mark.name == "bug"] == []
