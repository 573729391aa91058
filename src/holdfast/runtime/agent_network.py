"""The network of one host, as its agent needs it: bridge, ports of VMs, gates, service addresses.

In: VMs and VNFCs by name. Out: effects in the kernel, each read back by the drivers below. What is on the path of a
take-over takes well below a millisecond and is done in the event loop. What always holds: a VM's port has a closed
gate before anything passes it; an address is given behind an open gate, and taken from behind a gate that was shut.
"""

import asyncio
import os
import re
from collections.abc import Callable

from holdfast.drivers import ports
from holdfast.drivers.addresses import ANNOUNCE_AGAIN_AFTER_S
from holdfast.errors import WorldError
from holdfast.model.layout import Layout, Service, Vnfc
from holdfast.model.names import HostName, ServiceName, VmName, VnfcName
from holdfast.runtime.exclusivity import Exclusivity
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.premises import Bridge, Gate, Handle, Premises, Zone

Mark = Callable[[str, str, str], None]


def bare(address: str) -> str:
    """Without the prefix length."""
    return address.partition("/")[0]


def table_of(layout: Layout, host: HostName) -> str:
    """Name of the host's tables in the kernel."""
    return "holdfast_" + re.sub(r"\W", "_", f"{layout.name}_{host}")


class HostNetwork:
    """Everything of the deployment that the kernel of this host forwards or answers."""

    def __init__(
        self,
        layout: Layout,
        host: HostName,
        folder: RunFolder,
        mark: Mark,
        exclusive: Exclusivity,
        premises: Premises,
    ) -> None:
        self._layout = layout
        self._premises = premises
        self.exclusive = exclusive
        self._claimants: dict[ServiceName, VnfcName] = {}
        """For which VNFC this host claims a service."""
        self._host = layout.hosts[host]
        self._made_bridge = folder.made_bridge(host)
        self._mark = mark
        self._table = table_of(layout, host)
        self._services = [service.address for service in layout.services.values() if service.address]
        self._zones: dict[VmName, Zone] = {}
        self._bridge: Bridge | None = None
        self._gate: Gate | None = None
        self._host_zone: Zone | None = None
        self._announcers: dict[asyncio.Task[None], None] = {}

    @property
    def is_needed(self) -> bool:
        """False where nothing of this host is reached by an address, so that no privilege is needed either."""
        if any(vm.host == self._host.name for vm in self._layout.vms.values()):
            return True
        here = {vnfc.group for vnfc in self._layout.vnfcs.values() if vnfc.host == self._host.name}
        return any(service.address and service.group in here for service in self._layout.services.values())

    def open(self) -> None:
        """Make the bridge if it is absent, and the gates' table; adopt what is there."""
        if not self.is_needed:
            return
        self._bridge = self._premises.bridge(self._host.bridge)
        if not self._bridge.exists and self.exclusive.is_shared and len(self._layout.hosts) > 1:
            # One of our own would be joined with nothing: clients and the other hosts would see none of it.
            raise WorldError(
                f"host {self._host.name} has no bridge {self._host.bridge}",
                "make it and join it with the network of the hosts (docs/several-hosts.md)",
            )
        if not self._bridge.exists:
            self._made_bridge.parent.mkdir(parents=True, exist_ok=True)
            self._made_bridge.write_text(self._host.bridge)
            self._bridge.make(self._host.addresses)
        self._gate = self._premises.gate(self._services, self._table, timed=self.exclusive.gate_is_timed)
        self._host_zone = self._bridge.zone()

    # --- ports of VMs

    def port(self, vm: VmName) -> str:
        return ports.port_name(self._layout.name, vm)

    async def attach(self, vm: VmName, first: Handle) -> None:
        """Give the VM with that first process its port, with a closed gate on it from the first moment."""
        bridge, gate = self._opened()
        own = self._layout.vms[vm].addresses
        attaching = asyncio.ensure_future(bridge.attach(self.port(vm), first, own, gate.guard))
        try:
            self._zones[vm] = await asyncio.shield(attaching)
        except asyncio.CancelledError:
            self._zones[vm] = await attaching
            raise
        await self.exclusive.guard(self.port(vm))

    async def adopt(self, vm: VmName, first: Handle) -> None:
        """Take a VM over that has its port already; its gate stays as it is."""
        bridge, gate = self._opened()
        port = self.port(vm)
        if not bridge.has(port):
            await self.attach(vm, first)
            return
        if port not in gate.guarded():
            gate.guard(port)
        self._zones[vm] = bridge.zone(first)
        await self.exclusive.guard(port)

    def cut(self, vm: VmName) -> None:
        """Let nothing of the VM be heard from now on, confirmed; quick enough for the event loop."""
        bridge, _gate = self._opened()
        bridge.cut(self.port(vm))

    async def detach(self, vm: VmName) -> None:
        """Take the port and its gate away and confirm it."""
        self.cut(vm)
        bridge, _gate = self._opened()
        await bridge.remove_port(self.port(vm), self._zones.pop(vm, None))
        _bridge, gate = self._opened()
        gate.unguard(self.port(vm))

    def is_reachable(self, vm: VmName) -> bool:
        """Whether anything can pass the VM's port."""
        return self._bridge is not None and self._bridge.passes(self.port(vm))

    # --- service addresses

    def open_gate(self, vnfc: Vnfc, service: Service) -> None:
        if vnfc.vm is not None and service.address:
            _bridge, gate = self._opened()
            gate.open(self.port(vnfc.vm), service.address)
            self._mark("gate-opened", service.name, vnfc.vm)

    def assign(self, vnfc: Vnfc, service: Service) -> None:
        """Add the address where the VNFC is, announce it, read it back."""
        if service.address:
            self._zone(vnfc).assign(service.address)
            self._mark("address-assigned", service.name, f"{service.address} at {vnfc.name}")

    def place(self, vnfc: Vnfc, service: Service) -> None:
        """Add the address where the VNFC is, and read it back; `announce` makes it known."""
        if service.address:
            self._zone(vnfc).place(service.address)

    def announce(self, vnfc: Vnfc, service: Service) -> None:
        if service.address:
            self._zone(vnfc).announce(service.address)
            self._mark("address-assigned", service.name, f"{service.address} at {vnfc.name}")

    def announce_again(self, vnfc: Vnfc, service: Service, still: Callable[[], bool]) -> None:
        """Announce a few times more, because a neighbour may have missed the first one, while `still()`."""
        if not service.address:
            return
        task = asyncio.get_running_loop().create_task(self._announce(vnfc, service, still))
        self._announcers[task] = None
        task.add_done_callback(self._announcers.pop)

    async def _announce(self, vnfc: Vnfc, service: Service, still: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for after_s in ANNOUNCE_AGAIN_AFTER_S:
            await asyncio.sleep(max(0.0, begun + after_s - loop.time()))
            if not still():
                return
            try:
                if self.holds(vnfc, service):
                    self._zone(vnfc).announce(service.address)
            except WorldError as error:
                self._mark("announcement-failed", service.name, error.message)
                return
        self._mark("address-announced", service.name, f"{service.address} at {vnfc.name}")

    def holds(self, vnfc: Vnfc, service: Service) -> bool:
        """Whether the address is where the VNFC is, usable, and (in a VM) heard outside."""
        zone = self._known_zone(vnfc)
        if zone is None or not service.address or not zone.holds(service.address):
            return False
        return vnfc.vm is None or self._gate_is_open(vnfc.vm, service)

    def _gate_is_open(self, vm: VmName, service: Service) -> bool:
        _bridge, gate = self._opened()
        return bare(service.address) in gate.opened(self.port(vm))

    def is_claimed_for(self, vnfc: Vnfc, service: ServiceName) -> None:
        """The host's claim of the service is this VNFC's: others on this host do not give it up."""
        self._claimants[service] = vnfc.name

    def take(self, vnfc: Vnfc, service: Service) -> None:
        """Shut the gate, then withdraw the address; both confirmed. Absent already is fine.

        Then the claim is given up: the window has a confirmation of its own before anybody is told. A claim that is
        there for another VNFC of this host stays: that a spare is started beside the active one ends nothing.
        """
        try:
            self.withdraw(vnfc, service)
        finally:
            if self._claimants.get(service.name, vnfc.name) == vnfc.name:
                self._claimants.pop(service.name, None)
                self.exclusive.give_up(service.name)

    def withdraw(self, vnfc: Vnfc, service: Service) -> None:
        if not service.address:
            return
        if vnfc.vm is not None:
            _bridge, gate = self._opened()
            gate.shut(self.port(vnfc.vm), service.address)
        zone = self._known_zone(vnfc)
        if zone is not None:
            zone.withdraw(service.address)

    def _zone(self, vnfc: Vnfc) -> Zone:
        zone = self._known_zone(vnfc)
        if zone is None:
            raise WorldError(f"{vnfc.vm or self._host.name} has no interface for the addresses of {vnfc.name}")
        return zone

    def _known_zone(self, vnfc: Vnfc) -> Zone | None:
        return self._zones.get(vnfc.vm) if vnfc.vm is not None else self._host_zone

    def _opened(self) -> tuple[Bridge, Gate]:
        if self._bridge is None or self._gate is None:
            raise WorldError(f"the network of host {self._host.name} is not open")
        return self._bridge, self._gate

    # --- the end

    async def close(self, *, end_all: bool) -> None:
        """Let go; with `end_all` take away what this agent made, and confirm it."""
        for task in tuple(self._announcers):
            task.cancel()
        await asyncio.gather(*self._announcers, return_exceptions=True)
        for zone in [*self._zones.values(), *([self._host_zone] if self._host_zone else [])]:
            zone.close()
        self._zones.clear()
        self._host_zone = None
        if self._gate is not None:
            if end_all:
                self._gate.close_table()
            self._gate.close()
            self._gate = None
        if self._bridge is not None:
            if end_all and self._made_bridge.exists():
                self._bridge.remove()
                os.unlink(self._made_bridge)
            self._bridge.close()
            self._bridge = None
