"""The simulated world: machines with all that runs on them, clients outside, and what can be done to it.

In:   a layout, a seed, a folder. Out: everything that happens, one thing after the other, the same each time.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal

from holdfast.drivers.fence import set_power
from holdfast.lab.sim.beside import Beside
from holdfast.lab.sim.client import Client, Neighbour, Request
from holdfast.lab.sim.controller import Controller
from holdfast.lab.sim.net import OUTSIDE, Net
from holdfast.lab.sim.node import Node
from holdfast.lab.sim.power import SimPower
from holdfast.lab.sim.site import FIRST, Site
from holdfast.model.layout import FenceLevels, Layout
from holdfast.model.names import HostName

NS = 1_000_000_000
Managers = Literal["one", "three", "hosts"]


class SimWorld:
    """One run."""

    def __init__(self, layout: Layout, seed: int, root: Path, managers: Managers = "hosts") -> None:
        """
        Args:
            layout: what is deployed.
            seed: of all chance.
            root: for the disks of its machines.
            managers: candidates on the hosts; or one process, or three, beside them.
        """
        self.site = Site(layout, seed, root)
        self.layout = layout
        self.timeline = self.site.timeline
        self.power = SimPower(self.timeline, self)
        on_hosts = managers == "hosts"
        self.nodes = {name: Node(self.site, name, self._set_power, has_manager=on_hosts) for name in layout.hosts}
        self.controller = Controller(self.site, managers, self._set_power) if managers != "hosts" else None
        self.beside = Beside(self.site)
        self.clients: list[Client] = []
        self.site.announced = self._announced

    async def _set_power(self, levels: FenceLevels, wanted: Literal["on", "off"]) -> str:
        return await set_power(levels, wanted, self.power.run)

    def open(self) -> None:
        """Everything is on after this; services come up on their own."""
        if self.controller is None:
            self.beside.switch_on()
        for node in self.nodes.values():
            node.switch_on()
        if self.controller is not None:
            self.controller.switch_on()

    @property
    def controller_lives(self) -> bool:
        return self.controller is not None and bool(self.controller.processes("all"))

    @property
    def managed(self) -> "list[Node | Controller]":
        """Every machine on which a manager may listen."""
        return [self.controller] if self.controller is not None else list(self.nodes.values())

    def client(self) -> Client:
        """One more machine outside."""
        self.clients.append(Client(self.timeline, self))
        return self.clients[-1]

    def close(self) -> None:
        """The run has been judged: let nothing of it wait for what will not come."""
        for node in self.nodes.values():
            node.switch_off()
        if self.controller is not None:
            self.controller.switch_off()
            for loop in self.controller.loops:
                loop.unwind()
        for node in self.nodes.values():
            for loop in (*node.agent.loops, *node.loops):
                loop.unwind()
        self.beside.switch_off()

    # --- contract of Powered

    def switch_on(self, name: HostName) -> None:
        self.nodes[name].switch_on()

    def switch_off(self, name: HostName) -> None:
        self.nodes[name].switch_off()

    def is_on(self, name: HostName) -> bool:
        return self.nodes[name].host.is_on

    # --- contract of Segment

    @property
    def net(self) -> Net:
        return self.site.nets[FIRST]

    def hosts(self) -> Iterable[str]:
        return self.nodes

    def owners_at(self, host: str, address: str) -> Iterable[str]:
        return self.nodes[HostName(host)].host.network.owners(address)

    def owners(self, address: str) -> list[tuple[str, str]]:
        """Host and MAC of everybody who answers for the address at this instant."""
        return [(name, mac) for name, node in self.nodes.items() for mac in node.host.network.owners(address)]

    def deliver(self, host: str, mac: str, port: int, request: Request) -> None:
        self.nodes[HostName(host)].host.network.deliver(mac, port, request)

    def _announced(self, host: str, address: str, mac: str) -> None:
        found = Neighbour(host, mac)
        for client in self.clients:
            learn = partial(client.learn, address, found, is_announcement=True)
            self.net.send(host, OUTSIDE, learn)
