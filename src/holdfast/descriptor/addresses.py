"""Which address belongs to whom: those given are claimed first, the rest is drawn from the subnets.

Drawing is deterministic: hosts from the first address of a subnet on, VMs from the eleventh (IPv6: `::11`), each the
next that nobody has claimed, in the order of the descriptor. All results carry the prefix length of their subnet.
"""

from collections.abc import Iterator
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
    draws: dict[tuple[int, int], Iterator[int]] = field(default_factory=dict)
    """Where the next draw goes on, by IP version and first number."""

    def claim(self, text: str, path: Path, owner: str) -> str:
        """Give this address to its owner; empty when that cannot be."""
        address = self._understood(text, path)
        if address is None or address.version in self.misread or not self._is_usable(address, path):
            return ""
        if address in self.owners:
            other, where = self.owners[address]
            self.notes.wrong(
                path, f"an address of its own: this one is {other} (line {self.notes.line(where)})", found=text
            )
            return ""
        self.owners[address] = (owner, path)
        return f"{address}/{self.subnets[address.version].prefixlen}"

    def draw(self, version: int, start: int, path: Path, owner: str) -> str:
        """Give the owner the next free address; empty where this IP version is turned off."""
        subnet = self.subnets.get(version)
        if subnet is None:
            return ""
        last = subnet.num_addresses - (2 if version == 4 else 1)  # the last one of IPv4 is for broadcasts
        numbers = self.draws.setdefault((version, start), _around(min(start, last), last))
        for number in numbers:
            address = subnet[number]
            if address not in self.owners:
                self.owners[address] = (owner, path)
                return f"{address}/{subnet.prefixlen}"
        self.notes.wrong(path, f"a free address in {subnet}", "make the subnet larger", said="none left for it")
        return ""

    def _understood(self, text: str, path: Path) -> Address | None:
        bare, slash, prefix = text.partition("/")
        try:
            address = ip_address(bare)
        except ValueError:
            self.notes.wrong(path, "an IPv4 or IPv6 address", found=text)
            return None
        if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
            self.notes.wrong(path, "an IPv6 address without a scope, and not one that stands for IPv4", found=text)
            return None
        subnet = self.subnets.get(address.version)
        if slash and subnet is not None and prefix != str(subnet.prefixlen):
            hint = f"write {bare}: the length comes from the subnet"
            self.notes.wrong(path, f"the prefix length of the subnet {subnet}", hint, text)
            return None
        return address

    def _is_usable(self, address: Address, path: Path) -> bool:
        subnet = self.subnets.get(address.version)
        key = "subnet" if address.version == 4 else "subnet6"
        if subnet is None:
            hint = f"network.{key} is `none`: give a subnet there"
            self.notes.wrong(path, f"no IPv{address.version} address in this deployment", hint, str(address))
            return False
        if address not in subnet:
            self.notes.wrong(path, f"an address in {subnet} (network.{key})", found=str(address))
            return False
        ends = (subnet.network_address, subnet.broadcast_address) if subnet.version == 4 else (subnet.network_address,)
        if address in ends:
            self.notes.wrong(path, f"an address in {subnet} that one machine can have", found=str(address))
            return False
        return True


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
    return addresses


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
