"""The gate of a VM's port, on the host's side: which service addresses may be heard from the VM and reach it.

A guarded port lets no declared service address pass unless it was opened for that port. A VM's own
addresses are never touched. Gates are rules in the kernel (nftables, family netdev): they stay as they are when the
agent ends, and each change is read back.
"""

from collections.abc import Iterable

from holdfast.drivers.nft import Nft
from holdfast.drivers.service_rules import (
    ASKS_FOR,
    SERVICE_SETS,
    SPEAKS_FOR,
    Address,
    address_of,
    declared,
    element,
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
        try:
            self._nft.run(f"add element {self._set_of(port, service)} {{ {element(service)} }}")
        except WorldError as refused:
            raise WorldError(f"cannot open port {port} for {service}: {refused}", "has the port a gate?") from refused
        if service not in self._elements(port, service.version):
            raise WorldError(f"the gate of port {port} was opened for {service}, but reads back closed")

    def shut(self, port: str, address: str) -> None:
        """Let the service address pass no more; confirmed by reading back. Repeating is harmless.

        A port without a gate (its VM is gone) counts as shut.
        """
        service = self._declared(address)
        what = f"element {self._set_of(port, service)} {{ {element(service)} }}"
        try:
            # Deleting an absent element would fail; adding one that is there changes nothing.
            self._nft.run(f"add {what}\ndelete {what}")
            still_open = service in self._elements(port, service.version)
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
        self._nft.close()

    def _declared(self, address: str) -> Address:
        service = parsed(address)
        if service not in self._services:
            raise WorldError(f"{service} is no declared service address, so no gate keeps it")
        return service

    def _set_of(self, port: str, service: Address) -> str:
        return f"{self._table} open{service.version}_{identifier(port)}"

    def _elements(self, port: str, version: int) -> frozenset[Address]:
        """What is open at the port; a port without a gate is a WorldError."""
        try:
            answer = self._nft.ask(f"list set {self._table} open{version}_{identifier(port)}")
        except WorldError as refused:
            raise WorldError(f"port {port} has no gate to look at: {refused}", "guard the port first") from refused
        listed = (entry["set"].get("elem", []) for entry in answer if "set" in entry)
        return frozenset(address_of(one) for elements in listed for one in elements)


def _base_chain(hook: str, device: str) -> str:
    return f'{{ type filter hook {hook} device "{device}" priority 0; policy accept; }}'
