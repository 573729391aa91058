"""The premises of an agent as they are on this machine: sandboxes, netlink, nftables.

In and out: see premises.py. Here is only what joins the drivers; what takes the kernel more than a millisecond is
done in a thread.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from holdfast.drivers import addresses, ocf, ports, process, sandbox
from holdfast.drivers.files import last_line, write_files
from holdfast.drivers.gate import Gate
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.pidfd import Pidfd
from holdfast.drivers.zone import Zone as Sockets
from holdfast.errors import Bug
from holdfast.model.layout import OcfAgent
from holdfast.runtime.premises import Handle, Keeper, Zone, over_within
from holdfast.runtime.streams import SOCKETS

VM_INTERFACE = "eth0"


class ZoneHere:
    """An interface in a network namespace."""

    def __init__(self, sockets: Sockets) -> None:
        self._zone = sockets

    def assign(self, address: str) -> None:
        addresses.assign(self._zone, address)

    def place(self, address: str) -> None:
        addresses.place(self._zone, address)

    def withdraw(self, address: str) -> None:
        addresses.withdraw(self._zone, address)

    def announce(self, address: str) -> None:
        addresses.announce(self._zone, address)

    def held(self) -> frozenset[str]:
        return addresses.held(self._zone)

    def holds(self, address: str) -> bool:
        return addresses.holds(self._zone, address)

    def close(self) -> None:
        self._zone.close()


class BridgeHere:
    """A bridge in the network namespace of this process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._netlink = Netlink.open()

    @property
    def exists(self) -> bool:
        return self._netlink.exists(self._name)

    def make(self, addresses: Iterable[str]) -> None:
        ports.make_bridge(self._netlink, self._name, addresses)

    def remove(self) -> None:
        ports.remove_bridge(self._netlink, self._name)

    def has(self, port: str) -> bool:
        return ports.port_exists(self._netlink, port)

    def passes(self, port: str) -> bool:
        return self.has(port) and self._netlink.is_up(port)

    async def attach(
        self, port: str, first: Handle, addresses: Iterable[str], guard: Callable[[str], None]
    ) -> ZoneHere:
        loop = asyncio.get_running_loop()
        network = _pidfd(first).network()

        def guarded(name: str) -> None:  # libnftables is spoken to in the event loop only
            async def in_loop() -> None:
                guard(name)

            asyncio.run_coroutine_threadsafe(in_loop(), loop).result()

        def attached() -> ZoneHere:
            with Netlink.open() as netlink:
                ports.make_port(
                    netlink, self._name, port, network, inner=VM_INTERFACE, addresses=addresses, guard=guarded
                )
            return ZoneHere(Sockets.open(network, VM_INTERFACE))

        try:
            return await asyncio.to_thread(attached)
        finally:
            os.close(network)

    def cut(self, port: str) -> None:
        ports.cut_port(self._netlink, port)

    async def remove_port(self, port: str, zone: Zone | None) -> None:
        def removed() -> None:
            if zone is not None:
                zone.close()
            with Netlink.open() as netlink:
                ports.remove_port(netlink, port)

        await asyncio.to_thread(removed)

    def zone(self, first: Handle | None = None) -> ZoneHere:
        if first is None:
            return ZoneHere(Sockets.open(None, self._name))
        network = _pidfd(first).network()
        try:
            return ZoneHere(Sockets.open(network, VM_INTERFACE))
        finally:
            os.close(network)

    def close(self) -> None:
        self._netlink.close()


def _pidfd(handle: Handle) -> Pidfd:
    if not isinstance(handle, Pidfd):
        raise Bug(f"{type(handle).__name__} is no process of this machine")
    return handle


class DiskHere:
    """The file system."""

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def write_files(self, folder: Path, files: Mapping[str, str], values: Mapping[str, str]) -> None:
        write_files(folder, files, values)

    def last_line(self, log: Path) -> str:
        return last_line(log)

    def ocf_program(self, agent: OcfAgent) -> Path:
        return ocf.program(agent)


class Here:
    """This machine."""

    disk = DiskHere()
    streams = SOCKETS

    def bridge(self, name: str) -> BridgeHere:
        return BridgeHere(name)

    def gate(self, services: Iterable[str], table: str, *, timed: bool) -> Gate:
        return Gate(services, table, timed=timed)

    async def reach(self, folder: Path) -> Keeper | None:
        return await process.Keeper.reach(folder)

    async def start_vm(self, name: str, folder: Path, keep: Path, limit_s: float) -> Keeper:
        return await process.Keeper.start(
            name, folder, namespaces=sandbox.VM, own_run=True, keep=[keep], limit_s=limit_s
        )

    async def start_capsule(self, name: str, folder: Path, first_pid: int) -> Keeper:
        return await process.Keeper.start(name, folder, namespaces=sandbox.CAPSULE, first_pid=first_pid)

    async def end_unreachable(self, folder: Path, limit_s: float) -> None:
        number = sandbox.listener_in(folder)
        if number is None:
            return
        handle = Pidfd(number)
        try:
            handle.kill()
            await over_within(handle, limit_s)
        finally:
            handle.close()


HERE = Here()
