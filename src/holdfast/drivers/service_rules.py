"""How nftables sees that a frame or packet speaks for a service address, or asks for one: text for the rules.

Names the sets `services4` and `services6` (every declared service address) of the table the rules stand in.
Used by the gate of VM ports and by the keys of a host; nothing here touches the kernel.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

from holdfast.errors import UserError

Address = IPv4Address | IPv6Address

TYPE4, TYPE6 = "type ipv4_addr;", "typeof @th,64,128;"
SERVICE_SETS = ((4, "services4", TYPE4), (6, "services6", TYPE6))
ADDRESSES_REMEMBERED = 8192
"""Reading an address takes longer than telling the kernel of it, and it is always the same ones."""
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Sign:
    """One way in which a frame concerns a service address."""

    match: str
    """What comes before the address, empty or ending with a space."""
    field: str
    """Where the address stands."""
    version: int
    condition: str = ""
    """What must hold besides, beginning with a space; looked at for service addresses only."""

    @property
    def concerns(self) -> str:
        """Match any service address."""
        return f"{self.match}{self.field} @services{self.version}{self.condition}"

    def unless(self, allowed: str) -> str:
        """The rule that drops it, if the address is not in the set `allowed` + 4 or 6 (as in the name's `{v}`)."""
        return f"{self.concerns} {self.field} != @{allowed.format(v=self.version)} drop"


# The target of a neighbour advertisement, and in the same place that of a solicitation, has no name in
# nftables 1.0.6, only its place: 64 bits into the ICMPv6 message, 128 bits long. A set is compared with that place
# only if it is of the same type; therefore the sets of IPv6 addresses hold numbers. A question whether an address is
# in use (an ARP probe, a solicitation from nowhere) is a first claim to it, so it does not leave either.
SPEAKS_FOR = (
    Sign("", "arp saddr ip", 4),
    Sign("arp operation request arp saddr ip 0.0.0.0 ", "arp daddr ip", 4),
    Sign("", "ip saddr", 4),
    Sign("meta protocol ip6 ", "@nh,64,128", 6),
    Sign("icmpv6 type nd-neighbor-advert ", "@th,64,128", 6),
    Sign("ip6 saddr :: icmpv6 type nd-neighbor-solicit ", "@th,64,128", 6),
)

# Announcements of the new owner pass: their sender is a service's address, and everybody must learn from them.
ASKS_FOR = (
    Sign("arp operation request arp saddr ip != @services4 ", "arp daddr ip", 4),
    Sign("", "ip daddr", 4),
    Sign("meta protocol ip6 ", "@nh,192,128", 6),
    Sign("icmpv6 type nd-neighbor-solicit ", "@th,64,128", 6),
)


def declared(table: str, services: Iterable[Address]) -> list[str]:
    """Commands that make the sets of declared service addresses hold exactly these."""
    commands = []
    kept = tuple(services)
    for version, name, kind in SERVICE_SETS:
        elements = ", ".join(element(service) for service in kept if service.version == version)
        commands.append(f"add set {table} {name} {{ {kind} }}")
        commands.append(f"flush set {table} {name}")
        if elements:
            commands.append(f"add element {table} {name} {{ {elements} }}")
    return commands


def element(address: Address) -> str:
    return str(address) if address.version == 4 else f"0x{int(address):032x}"


def address_of(shown: object) -> Address:
    """An element as libnftables lists it: bare, or wrapped with its time-out."""
    if isinstance(shown, dict):
        shown = shown["elem"]["val"]
    if isinstance(shown, int):
        return IPv6Address(shown)
    text = str(shown)
    return IPv6Address(int(text, 16)) if text.startswith("0x") else ip_address(text)


@lru_cache(maxsize=ADDRESSES_REMEMBERED)
def parsed(address: str) -> Address:
    try:
        return ip_interface(address).ip
    except ValueError as error:
        raise UserError(f"{address!r} is not an address", "write it like 10.77.0.100/24 or fd00::100/64") from error


def set_of(addresses: Iterable[str]) -> frozenset[Address]:
    """The addresses without prefix length; empty ones are skipped."""
    return frozenset(parsed(address) for address in addresses if address)


def listed(addresses: Iterable[Address]) -> str:
    return ", ".join(sorted(str(address) for address in addresses))


def identifier(name: str, of: str = "gate") -> str:
    if not IDENTIFIER.fullmatch(name):
        raise UserError(f"{name!r} cannot be part of a {of}'s name", "a letter, then letters, digits, '_', '.' or '-'")
    return name
