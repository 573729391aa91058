"""The gate of a VM's port, on the host's side: which service addresses may be heard from the VM and reach it.

A guarded port lets no declared service address pass unless it was opened for that port. A VM's own
addresses are never touched. Gates are rules in the kernel (nftables, family netdev): they stay as they are when the
agent ends, and each change is read back.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

from holdfast.drivers.nft import Nft
from holdfast.errors import UserError, WorldError

# From the VM. The target of a neighbour advertisement, and in the same place that of a solicitation, has no name in
# nftables 1.0.6, only its place: 64 bits into the ICMPv6 message, 128 bits long. A set is compared with that place
# only if it is of the same type; therefore the sets of IPv6 addresses hold numbers. A question whether an address is
# in use (an ARP probe, a solicitation from nowhere) is a first claim to it, so it does not leave either.
FROM_VM = """\
arp saddr ip @services4 arp saddr ip != @{open4} drop
arp operation request arp saddr ip 0.0.0.0 arp daddr ip @services4 arp daddr ip != @{open4} drop
ip saddr @services4 ip saddr != @{open4} drop
meta protocol ip6 @nh,64,128 @services6 @nh,64,128 != @{open6} drop
icmpv6 type nd-neighbor-advert @th,64,128 @services6 @th,64,128 != @{open6} drop
ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 @services6 @th,64,128 != @{open6} drop"""

# To the VM. Announcements of the new owner pass: their sender is a service's address, and the VM must learn from them.
TO_VM = """\
arp operation request arp saddr ip != @services4 arp daddr ip @services4 arp daddr ip != @{open4} drop
ip daddr @services4 ip daddr != @{open4} drop
meta protocol ip6 @nh,192,128 @services6 @nh,192,128 != @{open6} drop
icmpv6 type nd-neighbor-solicit @th,64,128 @services6 @th,64,128 != @{open6} drop"""

TYPE4, TYPE6 = "type ipv4_addr;", "typeof @th,64,128;"
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

Address = IPv4Address | IPv6Address


class Gate:
    """The gates of all ports of one agent."""

    def __init__(self, services: Iterable[str], table: str = "holdfast", netns_fd: int | None = None) -> None:
        """Make the table, or adopt the one that is there with what is open in it.

        Args:
            services: every declared service address (prefix length allowed and ignored; empty ones are skipped).
            table: one name per deployment and host, so that two on one machine do not clash.
            netns_fd: namespace of the host's bridge; None for this process's own.

        Raises:
            MachineLacks: libnftables or the kernel's netdev hooks are missing, or the privilege to use them.
        """
        self._table = f"netdev {_identifier(table)}"
        self._services = frozenset(_parsed(service) for service in services if service)
        self._nft = Nft(netns_fd)
        try:
            self._make_table()
        except BaseException:
            self._nft.close()
            raise

    def _make_table(self) -> None:
        commands = [f"add table {self._table}"]
        for version, kind in ((4, TYPE4), (6, TYPE6)):
            declared = ", ".join(_element(service) for service in self._services if service.version == version)
            commands.append(f"add set {self._table} services{version} {{ {kind} }}")
            commands.append(f"flush set {self._table} services{version}")
            if declared:
                commands.append(f"add element {self._table} services{version} {{ {declared} }}")
        for hook in ("ingress", "egress"):  # Does the kernel have both? Within one transaction nothing comes of it.
            commands.append(f"add chain {self._table} trial_{hook} {_base_chain(hook, 'lo')}")
            commands.append(f"delete chain {self._table} trial_{hook}")
        self._nft.run("\n".join(commands))

    def guard(self, port: str) -> None:
        """Put a closed gate on the port, whose interface must exist. A gate there already is closed.

        The change is one transaction: at no moment does a port that had a gate stand without one.
        """
        names = {"open4": f"open4_{_identifier(port)}", "open6": f"open6_{port}"}
        commands = [*self._without_chains(port)]
        for name, kind in ((names["open4"], TYPE4), (names["open6"], TYPE6)):
            commands.append(f"add set {self._table} {name} {{ {kind} flags timeout; }}")
            commands.append(f"flush set {self._table} {name}")
        for chain, hook, rules in ((f"in_{port}", "ingress", FROM_VM), (f"out_{port}", "egress", TO_VM)):
            commands.append(f"add chain {self._table} {chain} {_base_chain(hook, port)}")
            commands.extend(f"add rule {self._table} {chain} {rule}" for rule in rules.format(**names).split("\n"))
        self._nft.run("\n".join(commands))

    def unguard(self, port: str) -> None:
        """Take the gate away, also when the interface is gone already; absent is fine."""
        commands = [*self._without_chains(_identifier(port))]
        for name, kind in ((f"open4_{port}", TYPE4), (f"open6_{port}", TYPE6)):
            commands.append(f"add set {self._table} {name} {{ {kind} flags timeout; }}")
            commands.append(f"delete set {self._table} {name}")
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
            self._nft.run(f"add element {self._set_of(port, service)} {{ {_element(service)} }}")
        except WorldError as refused:
            raise WorldError(f"cannot open port {port} for {service}: {refused}", "has the port a gate?") from refused
        if service not in self._elements(port, service.version):
            raise WorldError(f"the gate of port {port} was opened for {service}, but reads back closed")

    def shut(self, port: str, address: str) -> None:
        """Let the service address pass no more; confirmed by reading back. Repeating is harmless.

        A port without a gate (its VM is gone) counts as shut.
        """
        service = self._declared(address)
        element = f"element {self._set_of(port, service)} {{ {_element(service)} }}"
        try:
            # Deleting an absent element would fail; adding one that is there changes nothing.
            self._nft.run(f"add {element}\ndelete {element}")
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
        service = _parsed(address)
        if service not in self._services:
            raise WorldError(f"{service} is no declared service address, so no gate keeps it")
        return service

    def _set_of(self, port: str, service: Address) -> str:
        return f"{self._table} open{service.version}_{_identifier(port)}"

    def _elements(self, port: str, version: int) -> frozenset[Address]:
        """What is open at the port; a port without a gate is a WorldError."""
        try:
            answer = self._nft.ask(f"list set {self._table} open{version}_{_identifier(port)}")
        except WorldError as refused:
            raise WorldError(f"port {port} has no gate to look at: {refused}", "guard the port first") from refused
        listed = (entry["set"].get("elem", []) for entry in answer if "set" in entry)
        return frozenset(_address(element) for elements in listed for element in elements)


def _base_chain(hook: str, device: str) -> str:
    return f'{{ type filter hook {hook} device "{device}" priority 0; policy accept; }}'


def _element(address: Address) -> str:
    return str(address) if address.version == 4 else f"0x{int(address):032x}"


def _address(element: object) -> Address:
    """An element as libnftables lists it: bare, or wrapped with its time-out."""
    if isinstance(element, dict):
        element = element["elem"]["val"]
    if isinstance(element, int):
        return IPv6Address(element)
    text = str(element)
    return IPv6Address(int(text, 16)) if text.startswith("0x") else ip_address(text)


def _parsed(address: str) -> Address:
    try:
        return ip_interface(address).ip
    except ValueError as error:
        raise UserError(f"{address!r} is not an address", "write it like 10.77.0.100/24 or fd00::100/64") from error


def _identifier(name: str) -> str:
    if not IDENTIFIER.fullmatch(name):
        raise UserError(f"{name!r} cannot be part of a gate's name", "a letter, then letters, digits, '_', '.' or '-'")
    return name
