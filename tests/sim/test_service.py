"""Clients, the registry and its agent in the simulated world: who answers, and when nobody may."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from holdfast.lab.probe_words import registry_answer, registry_get
from holdfast.lab.sim.client import Client, Neighbour, Request
from holdfast.lab.sim.net import OUTSIDE, Net
from holdfast.lab.sim.registry import MODULE
from holdfast.lab.sim.window import SimWindow
from holdfast.model.actions import Activate, IsolateVnfc, StartVm, StartVnfc
from holdfast.model.events import VnfcFailed
from holdfast.model.layout import Check, Layout, Operation, Service
from tests.sim.one_host import OneHost
from tests.unit.agent_host import ADDRESS, GROUP, HOST, SERVICE, VM, VNFC, component, layout_of

VIP, PORT = ADDRESS.partition("/")[0], 5300
MS = 1_000_000


class Served(OneHost):
    """With a client."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        super().__init__(layout, folder)
        self.net = Net(self.timeline, "service")
        self.client = Client(self.timeline, self)
        self.host.network.announced = self._announced
        self.answers = 0
        if layout.vms:
            self.vim.done(lambda number: StartVm(number, VM, 1))

    # --- contract of Segment

    def hosts(self) -> Iterable[str]:
        return [HOST]

    def owners_at(self, host: str, address: str) -> Iterable[str]:
        return self.host.network.owners(address)

    def deliver(self, host: str, mac: str, port: int, request: Request) -> None:
        self.host.network.deliver(mac, port, request)

    def _announced(self, address: str, mac: str) -> None:
        found = Neighbour(HOST, mac)
        self.net.send(HOST, OUTSIDE, lambda: self.client.learn(address, found, is_announcement=True))

    # --- what tests do

    def activate(self, run: int) -> None:
        self.ha.done(lambda number: StartVnfc(number, VNFC, run, run))
        self.ha.done(lambda number: Activate(number, VNFC, run, SERVICE, run))

    def asks(self, times: int = 10) -> int:
        """How many of so many requests are answered well."""

        def answered(data: bytes) -> None:
            heard = registry_answer(data)
            self.answers += heard is not None and heard.good

        before = self.answers
        for number in range(times):
            self.client.send(VIP, PORT, registry_get(number, "somebody"), answered)
            self.wait(5)
        return self.answers - before


def layout(*words: str, in_vm: bool = True, claim: bool = False) -> Layout:
    what = component(
        start=Operation(("${python}", "-m", MODULE, *words)),
        speaks=True,
        checks=(Check(kind="protocol", limit_s=0.2),),
    )
    service = Service(SERVICE, GROUP, ADDRESS, PORT, "udp", "component" if claim else "ha-manager")
    return layout_of(what, in_vm=in_vm, service=service)


@pytest.fixture(params=["in a VM", "on the host", "claiming"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    claim = request.param == "claiming"
    words = ("--claim",) if claim else ()
    made = Served(layout(*words, in_vm=request.param != "on the host", claim=claim), tmp_path)
    yield made
    made.end()


def test_a_client_finds_the_active_and_nobody_else(world: Served) -> None:
    assert world.asks() == 0
    world.activate(1)
    assert world.asks() == 10
    assert len(world.owners(ADDRESS)) == 1
    world.component().end()
    world.ha.event(VnfcFailed)
    world.ha.done(lambda number: IsolateVnfc(number, VNFC, 1))
    assert world.asks() == 0
    assert world.owners(ADDRESS) == []
    world.activate(2)
    assert world.asks() == 10, "its announcement has been heard"


def test_one_that_stands_still_is_found_by_its_check(world: Served) -> None:
    world.activate(1)
    world.component().stop()
    assert world.asks() == 0
    assert "protocol" in world.ha.event(VnfcFailed).detail


def test_nothing_passes_outside_the_window(world: Served) -> None:
    world.activate(1)
    interfaces = [*world.host.network.ports, *world.host.network.bridges]
    window = SimWindow(world.host, world.host.raw, [ADDRESS], 1000 * MS)
    window.guard(interfaces[0])
    assert world.asks() == 0
    window.own([ADDRESS])
    window.arm(world.host.raw.now_ns() + 100 * MS)
    assert world.asks() == 10
    world.wait(100)
    assert world.asks() == 0
    assert world.owners(ADDRESS) == []


def test_what_is_cut_reaches_nobody(world: Served) -> None:
    world.activate(1)
    assert world.asks() == 10
    world.net.cut(HOST, OUTSIDE)
    assert world.asks() == 0
    world.net.heal_all()
    assert world.asks() == 10
