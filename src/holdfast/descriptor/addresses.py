"""Which address belongs to whom: those given are claimed first, the rest is drawn from the subnets.

Drawing is deterministic: hosts from the first address of a subnet on, VMs from the eleventh (IPv6: `::11`), each the
next that nobody has claimed, in the order of the descriptor. All results carry the prefix length of their subnet.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from holdfast.descriptor.notes import Notes
from holdfast.descriptor.tree import Path
from holdfast.model.descriptor import NetworkText

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

HOSTS_FROM = {4: 1, 6: 1}
VMS_FROM = {4: 11, 6: 0x11}


@dataclass
class Addresses:
    """The address plan of one deployment while it is being made."""

    notes: Notes
    subnets: dict[int, Subnet] = field(default_factory=dict)
    """By IP version; a version that is turned off is not in it."""
    misread: set[int] = field(default_factory=set)
    """Versions whose subnet was written wrongly: nothing more can be said about their addresses."""
    owners: dict[Address, tuple[str, Path]] = field(default_factory=dict)
    second: Subnet | None = None
    """The second network, which joins the hosts alone."""
    second_misread: bool = False
    draws: dict[tuple[Subnet, int], Iterator[int]] = field(default_factory=dict)
    """Where the next draw goes on, by subnet and first number."""

    def claim(self, text: str, path: Path, owner: str, *, of_host: bool = False) -> str:
        """Give this address to its owner; empty when that cannot be. Only hosts are on the second network."""
        address = self._understood(text, path)
        if address is None or self._is_unsaid(address, of_host):
            return ""
        subnet = self.second if of_host and self.is_second(address) else self.subnets.get(address.version)
        if subnet is None:
            key = "subnet" if address.version == 4 else "subnet6"
            hint = f"network.{key} is `none`: give a subnet there"
            self.notes.wrong(path, f"no IPv{address.version} address in this deployment", hint, str(address))
            return ""
        if not self._is_usable(text, address, subnet, path, of_host):
            return ""
        if address in self.owners:
            other, where = self.owners[address]
            self.notes.wrong(
                path, f"an address of its own: this one is {other} (line {self.notes.line(where)})", found=text
            )
            return ""
        self.owners[address] = (owner, path)
        return f"{address}/{subnet.prefixlen}"

    def is_second(self, address: Address) -> bool:
        """Whether it is an address on the second network."""
        return self.second is not None and address in self.second

    def names_second(self, texts: Iterable[str]) -> bool:
        """Whether an address on the second network is among them, be it one that cannot be had."""
        return any(address is not None and self.is_second(address) for address in map(_address, texts))

    def draw(self, version: int, start: int, path: Path, owner: str) -> str:
        """Give the owner the next free address; empty where this IP version is turned off."""
        subnet = self.subnets.get(version)
        return self._drawn(subnet, start, path, owner) if subnet is not None else ""

    def draw_second(self, start: int, path: Path, owner: str) -> str:
        """Give the owner the next free address on the second network; empty where there is none."""
        return self._drawn(self.second, start, path, owner) if self.second is not None else ""

    def _drawn(self, subnet: Subnet, start: int, path: Path, owner: str) -> str:
        last = subnet.num_addresses - (2 if subnet.version == 4 else 1)  # the last one of IPv4 is for broadcasts
        numbers = self.draws.setdefault((subnet, start), _around(min(start, last), last))
        for number in numbers:
            address = subnet[number]
            if address not in self.owners:
                self.owners[address] = (owner, path)
                return f"{address}/{subnet.prefixlen}"
        self.notes.wrong(path, f"a free address in {subnet}", "make the subnet larger", said="none left for it")
        return ""

    def _understood(self, text: str, path: Path) -> Address | None:
        address = _address(text)
        if address is None:
            self.notes.wrong(path, "an IPv4 or IPv6 address", found=text)
            return None
        if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
            self.notes.wrong(path, "an IPv6 address without a scope, and not one that stands for IPv4", found=text)
            return None
        return address

    def _is_unsaid(self, address: Address, of_host: bool) -> bool:
        """Whether nothing can be said about it, because the subnet that it may belong to is written wrongly."""
        if of_host and self.is_second(address):
            return False
        is_first = address in self.subnets.get(address.version, ())
        return address.version in self.misread or (of_host and self.second_misread and not is_first)

    def _is_usable(self, text: str, address: Address, subnet: Subnet, path: Path, of_host: bool) -> bool:
        key = "subnet" if address.version == 4 else "subnet6"
        if address not in subnet:
            expected = f"an address in {subnet} (network.{key})"
            if of_host and self.second is not None:
                expected += f" or in {self.second} (network.second-subnet)"
            self.notes.wrong(path, expected, self._of_another_network(address, of_host), str(address))
            return False
        bare, slash, prefix = text.partition("/")
        if slash and prefix != str(subnet.prefixlen):
            hint = f"write {bare}: the length comes from the subnet"
            self.notes.wrong(path, f"the prefix length of the subnet {subnet}", hint, text)
            return False
        ends = (subnet.network_address, subnet.broadcast_address) if subnet.version == 4 else (subnet.network_address,)
        if address in ends:
            self.notes.wrong(path, f"an address in {subnet} that one machine can have", found=str(address))
            return False
        return True

    def _of_another_network(self, address: Address, of_host: bool) -> str:
        if not of_host:
            return "network.second-subnet joins hosts alone" if self.is_second(address) else ""
        if self.second is not None:
            return ""
        around = ip_network((address, 24 if address.version == 4 else 64), strict=False)
        return f"is it on a second network between the hosts? Then write network.second-subnet: {around}"


def _address(text: str) -> Address | None:
    """The address alone, whatever its prefix length; None where it is none."""
    try:
        return ip_address(text.partition("/")[0])
    except ValueError:
        return None


def plan(network: NetworkText, notes: Notes) -> Addresses:
    """Begin the address plan from what is written under `network`."""
    addresses = Addresses(notes)
    for version, key, text in ((4, "subnet", network.subnet), (6, "subnet6", network.subnet6)):
        if text == "none":
            continue
        subnet = _subnet(text, version, ("network", key), notes)
        if subnet is None:
            addresses.misread.add(version)
        else:
            addresses.subnets[version] = subnet
    if network.subnet == network.subnet6 == "none":
        notes.wrong(("network", "subnet6"), "at least one subnet", found="none")
    if network.second_subnet != "none":
        addresses.second = _second(network.second_subnet, addresses)
        addresses.second_misread = addresses.second is None
    return addresses


def _second(text: str, addresses: Addresses) -> Subnet | None:
    path = ("network", "second-subnet")
    subnet = _subnet(text, 6 if ":" in text else 4, path, addresses.notes)
    for version, first in addresses.subnets.items():
        if subnet is not None and subnet.version == version and subnet.overlaps(first):
            key = "subnet" if version == 4 else "subnet6"
            addresses.notes.wrong(
                path,
                f"a subnet of its own: the first network is {first} (network.{key})",
                "two addresses in one subnet are two ways into one network, and fail together",
                text,
            )
            return None
    return subnet


def _subnet(text: str, version: int, path: Path, notes: Notes) -> Subnet | None:
    example = "10.77.0.0/24" if version == 4 else "fd77::/64"
    try:
        subnet = ip_network(text, strict=False)
    except ValueError:
        notes.wrong(path, f"an IPv{version} subnet such as {example}, or none", found=text)
        return None
    if subnet.version != version:
        other = "subnet6" if version == 4 else "subnet"
        notes.wrong(path, f"an IPv{version} subnet such as {example}", f"IPv{subnet.version} stands at {other}", text)
    elif "/" not in text or "%" in text or ip_address(text.partition("/")[0]) != subnet.network_address:
        bare = text.partition("/")[0].partition("%")[0]
        hint = f"write {subnet}" if "/" in text else f"write {bare}/24" if version == 4 else f"write {bare}/64"
        notes.wrong(path, "the first address of a subnet and its prefix length", hint, text)
    elif subnet.is_multicast or subnet.is_loopback or subnet.is_unspecified or subnet.is_link_local:
        notes.wrong(path, "a subnet for machines, such as " + example, found=text)
    elif subnet.num_addresses < 8:
        notes.wrong(path, f"room for some machines: /{29 if version == 4 else 125} or larger", found=text)
    else:
        return subnet
    return None


def _around(start: int, last: int) -> Iterator[int]:
    """The numbers from `start` to `last`, then those from 1 to before `start`."""
    yield from range(start, last + 1)
    yield from range(1, start)
