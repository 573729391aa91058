"""Addresses announced again after a heal: what is so then, not too often, and for every reason."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.loop import loop_of
from holdfast.lab.sim.timeline import Timeline
from holdfast.model.actions import Activate, StartVm, StartVnfc
from holdfast.model.names import ServiceName, VnfcName
from holdfast.runtime.agent_announcing import Announcing
from tests.sim.one_host import OneHost
from tests.unit.agent_host import SERVICE, VM, VNFC, component, layout_of

MS = 1_000_000
ONE, TWO = ServiceName("one"), ServiceName("two")


class Stage:
    """Announcing in a simulated process; a life that provides what the test says."""

    def __init__(self) -> None:
        self.timeline = Timeline(1)
        host = SimHost(self.timeline, "h1")
        host.switch_on()
        self.loop = loop_of(host.spawn("agent"), self._wrong)
        self.begun: list[tuple[int, str]] = []
        """Milliseconds, and the service whose announcing begins."""
        self.why: list[str] = []
        self.still: list[Any] = []
        layout = SimpleNamespace(services={ONE: SimpleNamespace(name=ONE), TWO: SimpleNamespace(name=TWO)})
        self.life: Any = SimpleNamespace(vnfc="f-1", provides=(ONE,), layout=layout, network=self)
        lives: dict[VnfcName, Any] = {VnfcName("f-1"): self.life}
        self.announcing = Announcing(lives, lambda name, about, why: self.why.append(why))

    def _wrong(self, name: str, context: dict[str, Any]) -> None:
        raise AssertionError(f"{name}: {context}")

    def announce_again(self, vnfc: str, service: Any, still: Any) -> None:
        self.begun.append((self.timeline.now_ns // MS, service.name))
        self.still.append(still)

    def again(self, why: str) -> None:
        self.loop.call_soon(self.announcing.again, why)

    def wait(self, ms: int) -> None:
        self.timeline.run(self.timeline.now_ns + ms * MS)


def test_the_first_reason_is_followed_at_once_and_those_that_come_soon_after_it_once_a_second_later() -> None:
    stage = Stage()
    for _ in range(50):
        stage.again("h2 is heard again")
        stage.wait(10)
    assert stage.begun == [(0, ONE)]
    stage.wait(2000)
    assert stage.begun == [(0, ONE), (1000, ONE)]
    stage.wait(5000)
    assert len(stage.begun) == 2
    stage.again("h3 is heard again")
    stage.wait(10)
    assert [name for _, name in stage.begun[2:]] == [ONE]
    assert stage.why[-1] == "h3 is heard again"


def test_what_is_announced_is_what_is_provided_then() -> None:
    stage = Stage()
    stage.again("h2 is heard again")
    stage.wait(100)
    stage.life.provides = (TWO,)
    assert stage.still[0]() is False
    stage.again("h2 is heard again")
    stage.wait(2000)
    assert [name for _, name in stage.begun] == [ONE, TWO]
    stage.life.provides = ()
    stage.again("h2 is heard again")
    stage.wait(2000)
    assert len(stage.begun) == 2


def test_nothing_is_announced_after_the_end() -> None:
    stage = Stage()
    stage.again("h2 is heard again")
    stage.wait(100)
    stage.again("h2 is heard again")
    stage.loop.call_soon(stage.announcing.close)
    stage.wait(5000)
    assert len(stage.begun) == 1


@pytest.mark.parametrize("is_active", [True, False])
def test_an_agent_that_starts_again_announces_what_is_provided_since_it_knows_nothing_of_the_time_before(
    tmp_path: Path, is_active: bool
) -> None:
    world = OneHost(layout_of(component()), tmp_path)
    world.vim.done(lambda number: StartVm(number, VM, 1))
    world.ha.done(lambda number: StartVnfc(number, VNFC, 1, 3))
    if is_active:
        world.ha.done(lambda number: Activate(number, VNFC, 1, SERVICE, 3))
    world.wait(1500)
    before = len(world.announced)
    world.restart_agent()
    world.wait(1500)
    assert world.announced[before:] == ["10.77.0.100"] * (4 if is_active else 0)
    world.end()
