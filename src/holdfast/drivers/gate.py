"""The gate of a VM's port, on the host's side: which service addresses may be heard from the VM and reach it.

A guarded port lets no declared service address pass unless it was opened for that port. A VM's own
addresses are never touched. Gates are rules in the kernel (nftables, family netdev): they stay as they are when the
agent ends, and each change is read back. Rules are made by libnftables; what stands on the way of a take-over, opening
and shutting, goes by messages of our own, which take a sixth of its time.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from holdfast.drivers.nfnetlink import Batch, NfTables, Place
from holdfast.drivers.nft import Nft
from holdfast.drivers.service_rules import (
    ASKS_FOR,
    SERVICE_SETS,
    SPEAKS_FOR,
    Address,
    declared,
    identifier,
    parsed,
)
from holdfast.drivers.window_rules import timed_sets, while_held
from holdfast.errors import WorldError


class Gate:
    """The gates of all ports of one agent."""

    def __init__(
        self, services: Iterable[str], table: str = "holdfast", netns_fd: int | None = None, *, timed: bool = False
    ) -> None:
        """Make the table, or adopt the one that is there with what is open in it.

        Args:
            services: every declared service address (prefix length allowed and ignored; empty ones are skipped).
            table: one name per deployment and host, so that two on one machine do not clash.
            netns_fd: namespace of the host's bridge; None for this process's own.
            timed: what is open passes only while the agent's window (drivers/window) owns the address and is open.
                Concerns ports guarded from now on.

        Raises:
            MachineLacks: libnftables or the kernel's netdev hooks are missing, or the privilege to use them.
        """
        self._table = f"netdev {identifier(table)}"
        self._timed = timed
        self._services = frozenset(parsed(service) for service in services if service)
        self._nft = Nft(netns_fd)
        try:
            self._make_table()
            self._elements_by = NfTables.open(netns_fd)
        except BaseException:
            self._nft.close()
            raise

    def _make_table(self) -> None:
        commands = [f"add table {self._table}", *declared(self._table, self._services)]
        if self._timed:
            commands += timed_sets(self._table)
        for hook in ("ingress", "egress"):  # Does the kernel have both? Within one transaction nothing comes of it.
            commands.append(f"add chain {self._table} trial_{hook} {_base_chain(hook, 'lo')}")
            commands.append(f"delete chain {self._table} trial_{hook}")
        self._nft.run("\n".join(commands))

    def guard(self, port: str) -> None:
        """Put a closed gate on the port, whose interface must exist. A gate there already is closed.

        The change is one transaction: at no moment does a port that had a gate stand without one.
        """
        commands = [*self._without_chains(identifier(port))]
        for version, _, kind in SERVICE_SETS:
            commands.append(f"add set {self._table} open{version}_{port} {{ {kind} flags timeout; }}")
            commands.append(f"flush set {self._table} open{version}_{port}")
        for chain, hook, signs in ((f"in_{port}", "ingress", SPEAKS_FOR), (f"out_{port}", "egress", ASKS_FOR)):
            commands.append(f"add chain {self._table} {chain} {_base_chain(hook, port)}")
            rules = [sign.unless(f"open{{v}}_{port}") for sign in signs]
            if self._timed:
                rules += [rule for sign in signs for rule in while_held(sign)]
            commands += [f"add rule {self._table} {chain} {rule}" for rule in rules]
        self._nft.run("\n".join(commands))

    def unguard(self, port: str) -> None:
        """Take the gate away, also when the interface is gone already; absent is fine."""
        commands = [*self._without_chains(identifier(port))]
        for version, _, kind in SERVICE_SETS:
            commands.append(f"add set {self._table} open{version}_{port} {{ {kind} flags timeout; }}")
            commands.append(f"delete set {self._table} open{version}_{port}")
        self._nft.run("\n".join(commands))

    def _without_chains(self, port: str) -> Iterable[str]:
        """Commands that remove the port's chains, whether they are there or not.

        What is absent cannot be deleted, so it is added first (as a chain without a hook); what is there stays.
        """
        for chain in (f"in_{port}", f"out_{port}"):
            yield f"add chain {self._table} {chain}"
            yield f"flush chain {self._table} {chain}"
            yield f"delete chain {self._table} {chain}"

    def open(self, port: str, address: str) -> None:
        """Let the service address pass at this port; confirmed by reading back. Repeating is harmless."""
        service = self._declared(address)
        place, keys = self._set_of(port, service.version), [service.packed]
        try:
            self._elements_by.commit(Batch().add(place, keys).end(), f"open port {port} for {service}")
            is_open = self._elements_by.holds(place, keys)
        except WorldError as refused:
            raise WorldError(refused.message, "has the port a gate?") from refused
        if not is_open:
            raise WorldError(f"the gate of port {port} was opened for {service}, but reads back closed")

    def shut(self, port: str, address: str) -> None:
        """Let the service address pass no more; confirmed by reading back. Repeating is harmless.

        A port without a gate (its VM is gone) counts as shut.
        """
        service = self._declared(address)
        place, keys = self._set_of(port, service.version), [service.packed]
        try:
            # Deleting an absent element would fail; adding one that is there changes nothing.
            shut = Batch().add(place, keys).delete(place, keys).end()
            self._elements_by.commit(shut, f"shut port {port} for {service}")
            still_open = self._elements_by.holds(place, keys)
        except WorldError:
            if port in self.guarded():
                raise
            return
        if still_open:
            raise WorldError(f"the gate of port {port} was shut for {service}, but reads back open")

    def opened(self, port: str) -> frozenset[str]:
        """The service addresses open at the port now (without prefix length), as the kernel says.

        A port without a gate is a WorldError: everything passes there.
        """
        return frozenset(str(address) for version in (4, 6) for address in self._elements(port, version))

    def guarded(self) -> frozenset[str]:
        """The ports that have a gate now, as the kernel says."""
        chains = (entry["chain"]["name"] for entry in self._nft.ask(f"list table {self._table}") if "chain" in entry)
        return frozenset(name.removeprefix("in_") for name in chains if name.startswith("in_"))

    def close_table(self) -> None:
        """Remove the table with all gates. Only when the deployment ends: every port is open after it."""
        self._nft.run(f"add table {self._table}\ndelete table {self._table}")

    def close(self) -> None:
        """Let go of libnftables; the gates stay as they are in the kernel."""
        self._elements_by.close()
        self._nft.close()

    def _declared(self, address: str) -> Address:
        service = parsed(address)
        if service not in self._services:
            raise WorldError(f"{service} is no declared service address, so no gate keeps it")
        return service

    def _set_of(self, port: str, version: int) -> Place:
        family, _, table = self._table.partition(" ")
        return Place(family, table, f"open{version}_{identifier(port)}")

    def _elements(self, port: str, version: int) -> frozenset[Address]:
        """What is open at the port; a port without a gate is a WorldError."""
        try:
            found = self._elements_by.elements(self._set_of(port, version))
        except WorldError as refused:
            raise WorldError(f"port {port} has no gate to look at: {refused}", "guard the port first") from refused
        return frozenset(ip_address(key) for key in found)


def _base_chain(hook: str, device: str) -> str:
    return f'{{ type filter hook {hook} device "{device}" priority 0; policy accept; }}'
