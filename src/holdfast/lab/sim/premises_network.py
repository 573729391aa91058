"""Bridge, gates and zones as a simulated agent uses them: the contracts of `runtime/premises.py`.

In:   what the agent's HostNetwork asks. Out: the same in `network.py`, and the time that the kernel takes for it.
Always: each refusal is the one of the real drivers; a call that is not awaited takes effect at once, and keeps the
agent's process in the kernel for as long as it would have taken.
"""

import asyncio
import errno
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_interface

from holdfast.drivers.netlink import KernelRefused
from holdfast.drivers.ports import mac_of
from holdfast.errors import Bug, UserError, WorldError
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.keeper import SimHandle
from holdfast.lab.sim.network import GateTable, Interface, Namespace, Port
from holdfast.lab.sim.process import Process
from holdfast.runtime.premises import Handle, Zone
from holdfast.runtime.premises_here import VM_INTERFACE

KERNEL_NS = (50_000, 300_000)
"""A change with its reading back."""
LOOK_NS = (10_000, 40_000)
ATTACH_NS = (1_500_000, 4_500_000)
REMOVE_NS = (15_000_000, 40_000_000)
NS = 1_000_000_000


@lru_cache(maxsize=1000)
def _parsed(address: str) -> tuple[str, str]:
    """Without prefix length, and with it."""
    try:
        wanted = ip_interface(address)
    except ValueError as error:
        raise UserError(f"{address!r} is not an address with prefix length") from error
    return str(wanted.ip), str(wanted)


class Caller:
    """The agent that calls, and what its calls take."""

    def __init__(self, host: SimHost, process: Process) -> None:
        self.network = host.network
        self.process = process
        self._troubles = host.troubles

    def spends(self, low_high: tuple[int, int]) -> None:
        self.process.spend(self._takes(low_high))

    async def waits(self, low_high: tuple[int, int]) -> None:
        await asyncio.sleep(self._takes(low_high) / NS)

    def _takes(self, low_high: tuple[int, int]) -> int:
        low, high = low_high
        return self._troubles.slowness * (low + int((high - low) * self.network.timeline.chance.random()))


class SimZone:
    """Keeps the contract of Zone."""

    def __init__(self, caller: Caller, namespace: Namespace, name: str) -> None:
        self._caller = caller
        self._namespace = namespace
        self._name = name
        self._is_open = True
        namespace.use()
        self._watch = caller.process.when_over(self._let_go)

    def _interface(self, what: str) -> Interface:
        inner = self._namespace.interface
        if inner is None:
            inner = self._caller.network.bridges.get(self._name)
        if inner is None or inner.name != self._name:
            raise KernelRefused(f"{what} interface {self._name}", errno.ENODEV)
        return inner

    def assign(self, address: str) -> None:
        self.place(address)
        self.announce(address)

    def place(self, address: str) -> None:
        ip, wanted = _parsed(address)
        self._caller.spends(KERNEL_NS)
        self._interface(f"assign {wanted} to").addresses.setdefault(ip, wanted)
        self._caller.network.changed()

    def withdraw(self, address: str) -> None:
        ip, unwanted = _parsed(address)
        self._caller.spends(KERNEL_NS)
        try:
            self._interface(f"withdraw {unwanted} from").addresses.pop(ip, None)
        except KernelRefused:
            return  # Without an interface there is nothing to withdraw.

    def announce(self, address: str) -> None:
        ip, _wanted = _parsed(address)
        self._caller.spends(LOOK_NS)
        self._caller.network.announce(self._interface(f"announce {ip} on"), ip)

    def held(self) -> frozenset[str]:
        self._caller.spends(LOOK_NS)
        return frozenset(self._interface("find").addresses.values())

    def holds(self, address: str) -> bool:
        ip, _wanted = _parsed(address)
        self._caller.spends(LOOK_NS)
        return ip in self._interface("find").addresses

    def close(self) -> None:
        self._caller.process.forget(self._watch)
        self._let_go()

    def _let_go(self) -> None:
        if self._is_open:
            self._is_open = False
            self._namespace.leave()


class SimGate:
    """Keeps the contract of Gate."""

    def __init__(self, caller: Caller, services: Iterable[str], table: str) -> None:
        self._caller = caller
        self._name = table
        self._services = {_parsed(address)[0] for address in services if address}
        caller.network.tables.setdefault(table, GateTable()).declared |= self._services

    @property
    def _table(self) -> GateTable:
        return self._caller.network.tables.setdefault(self._name, GateTable())

    def guard(self, port: str) -> None:
        self._caller.spends(KERNEL_NS)
        self._table.opened[port] = set()

    def unguard(self, port: str) -> None:
        self._caller.spends(KERNEL_NS)
        self._table.opened.pop(port, None)

    def open(self, port: str, address: str) -> None:
        service = self._declared(address)
        self._caller.spends(KERNEL_NS)
        if port not in self._table.opened:
            raise WorldError(f"cannot open port {port} for {service}: it has no gate", "has the port a gate?")
        self._table.opened[port].add(service)
        self._caller.network.changed()

    def shut(self, port: str, address: str) -> None:
        service = self._declared(address)
        self._caller.spends(KERNEL_NS)
        self._table.opened.get(port, set()).discard(service)

    def opened(self, port: str) -> frozenset[str]:
        self._caller.spends(LOOK_NS)
        opened = self._table.opened.get(port)
        if opened is None:
            raise WorldError(f"port {port} has no gate to look at", "guard the port first")
        return frozenset(opened)

    def guarded(self) -> frozenset[str]:
        self._caller.spends(LOOK_NS)
        return frozenset(self._table.opened)

    def close_table(self) -> None:
        self._caller.network.tables.pop(self._name, None)

    def close(self) -> None:
        """Nothing is held."""

    def _declared(self, address: str) -> str:
        service = _parsed(address)[0]
        if service not in self._services:
            raise WorldError(f"{service} is no declared service address, so no gate keeps it")
        return service


class SimBridge:
    """Keeps the contract of Bridge."""

    def __init__(self, caller: Caller, name: str) -> None:
        self._caller = caller
        self._network = caller.network
        self._name = name

    @property
    def exists(self) -> bool:
        return self._name in self._network.bridges

    def make(self, addresses: Iterable[str]) -> None:
        self._caller.spends(KERNEL_NS)
        self._network.make_bridge(self._name, [_parsed(address) for address in addresses])

    def remove(self) -> None:
        self._caller.spends(KERNEL_NS)
        self._network.bridges.pop(self._name, None)

    def has(self, port: str) -> bool:
        self._caller.spends(LOOK_NS)
        return port in self._network.ports

    def passes(self, port: str) -> bool:
        return self.has(port) and self._network.ports[port].is_up

    async def attach(self, port: str, first: Handle, addresses: Iterable[str], guard: Callable[[str], None]) -> SimZone:
        namespace = _namespace_of(first)
        await self._caller.waits(ATTACH_NS)
        made = Port(port, namespace, VM_INTERFACE, mac_of("inner", port).hex(":"))
        self._network.add(made)
        try:
            guard(port)
            if not self.exists:
                raise KernelRefused(f"put port {port} on bridge {self._name}", errno.ENODEV)
        except BaseException:
            self._network.remove(made)
            raise
        made.bridge, made.is_up = self._name, True
        made.inner.addresses.update(_parsed(address) for address in addresses)
        return SimZone(self._caller, namespace, VM_INTERFACE)

    def cut(self, port: str) -> None:
        self._caller.spends(KERNEL_NS)
        there = self._network.ports.get(port)
        if there is not None:
            there.is_up = False

    async def remove_port(self, port: str, zone: Zone | None) -> None:
        if zone is not None:
            zone.close()
        there = self._network.ports.get(port)
        if there is None:
            await self._caller.waits(KERNEL_NS)
            return
        await self._caller.waits(REMOVE_NS)
        if self._network.ports.get(port) is there:
            self._network.remove(there)

    def zone(self, first: Handle | None = None) -> SimZone:
        self._caller.spends(KERNEL_NS)
        if first is None:
            return SimZone(self._caller, self._network.own, self._name)
        return SimZone(self._caller, _namespace_of(first), VM_INTERFACE)

    def close(self) -> None:
        """Nothing is held."""


def _namespace_of(first: Handle) -> Namespace:
    if not isinstance(first, SimHandle) or first.namespace is None:
        raise Bug(f"{type(first).__name__} is no first process of a simulated VM")
    if first.is_gone:
        raise WorldError("the process whose network was asked for is gone")
    return first.namespace
