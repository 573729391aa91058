"""The program that the kernel runs at each frame of a guarded interface: pass, unless it concerns an address not held.

An address is held while its entry in the map of services says that it is owned and the kernel's clock is before the
end that stands in the other map. What concerns an address is what `service_rules` says, in instructions:
`speaks_for` is for the side where frames come from a machine, `asks_for` for the side where they go to it.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

from holdfast.drivers.bpf import (
    BYTE,
    CLOCK_BOOT_NS,
    DOUBLE,
    FRAME,
    HALF,
    LOAD_BYTES,
    LOOK_UP,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    WORD,
    Code,
)
from holdfast.drivers.service_rules import Address

NEXT, DROP = 0xFFFFFFFF, 2
"""Verdicts (linux/pkt_cls.h): let the next filter decide, or drop."""
KEY_SIZE, VALUE_SIZE = 16, 8
DECLARED, OWNED = struct.pack("=Q", 0), struct.pack("=Q", 1)

FRAME_TYPE = 16  # in struct __sk_buff
ARP, IP4, IP6 = (int.from_bytes(struct.pack("!H", kind), "little") for kind in (0x0806, 0x0800, 0x86DD))
ETHERNET = 14
ARP_OPERATION, ARP_SENDER, ARP_TARGET = ETHERNET + 6, ETHERNET + 14, ETHERNET + 24
IP4_SOURCE, IP4_TARGET = ETHERNET + 12, ETHERNET + 16
IP6_NEXT, IP6_SOURCE, IP6_TARGET, IP6_END = ETHERNET + 6, ETHERNET + 8, ETHERNET + 24, ETHERNET + 40
ND_TARGET = IP6_END + 8
ICMPV6, SOLICITATION, ADVERTISEMENT = 58, 135, 136
REQUEST = int.from_bytes(struct.pack("!H", 1), "little")

# Places on the stack, below the frame pointer.
KEY, SCRATCH = -16, -24


def key_of(address: Address) -> bytes:
    """As the maps hold it: 16 bytes, an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2)."""
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def address_of(key: bytes) -> IPv4Address | IPv6Address:
    address = IPv6Address(key)
    return address.ipv4_mapped or address


class Verdicts:
    """A program in the making."""

    def __init__(self, services_fd: int, end_fd: int) -> None:
        self.code = Code()
        self._services_fd = services_fd
        self._end_fd = end_fd
        self._labels = 0

    def begin(self) -> None:
        code = self.code
        code.copy(R6, R1)
        code.load(WORD, R7, R6, FRAME_TYPE)
        for kind, label in ((IP4, "ip4"), (ARP, "arp"), (IP6, "ip6")):
            code.if_equal(R7, kind, label)
        code.label("pass")
        code.leave(NEXT)
        code.label("drop")
        code.leave(DROP)

    def fetch(self, offset: int, size: int, to: int) -> None:
        """Copy bytes of the frame to the stack; a frame that ends before them is nobody's, and passes."""
        code = self.code
        code.copy(R1, R6)
        code.move(R2, offset)
        code.copy(R3, FRAME)
        code.add(R3, to)
        code.move(R4, size)
        code.call(LOAD_BYTES)
        code.if_not_equal(R0, 0, "pass")

    def look_up(self, offset: int, size: int) -> None:
        """R0: the entry of the address that stands in the frame, or 0 if it is no service's."""
        code = self.code
        if size == 4:
            code.store(FRAME, KEY, 0)
            code.store(FRAME, KEY + 4, 0)
            code.store(FRAME, KEY + 8, 0xFFFF0000)
        self.fetch(offset, size, KEY + 16 - size)
        code.map(R1, self._services_fd)
        code.copy(R2, FRAME)
        code.add(R2, KEY)
        code.call(LOOK_UP)

    def drop_unless_held(self, offset: int, size: int) -> None:
        """Drop the frame if the address that stands in it is a service's and not held."""
        code = self.code
        other = self._label()
        self.look_up(offset, size)
        code.if_equal(R0, 0, other)
        code.load(DOUBLE, R1, R0, 0)
        code.if_equal(R1, 0, "drop")
        code.call(CLOCK_BOOT_NS)
        code.map_value(R1, self._end_fd)
        code.load(DOUBLE, R1, R1, 0)
        code.if_at_least(R0, R1, "drop")
        code.label(other)

    def go_unless(self, offset: int, kind: int, value: int, label: str) -> None:
        """Jump if the frame has another value there; `kind` is BYTE or HALF."""
        self.fetch(offset, 1 if kind == BYTE else 2, SCRATCH)
        self.code.load(kind, R1, FRAME, SCRATCH)
        self.code.if_not_equal(R1, value, label)

    def _label(self) -> str:
        self._labels += 1
        return f"other {self._labels}"


def speaks_for(services_fd: int, end_fd: int) -> Code:
    """For frames that come from a machine: does it speak for an address that is not held?"""
    made = Verdicts(services_fd, end_fd)
    code = made.code
    made.begin()
    code.label("ip4")
    made.drop_unless_held(IP4_SOURCE, 4)
    code.go("pass")
    code.label("arp")
    made.drop_unless_held(ARP_SENDER, 4)
    made.go_unless(ARP_OPERATION, HALF, REQUEST, "pass")
    made.fetch(ARP_SENDER, 4, SCRATCH)
    code.load(WORD, R1, FRAME, SCRATCH)
    code.if_not_equal(R1, 0, "pass")
    made.drop_unless_held(ARP_TARGET, 4)
    code.go("pass")
    code.label("ip6")
    made.drop_unless_held(IP6_SOURCE, 16)
    made.go_unless(IP6_NEXT, BYTE, ICMPV6, "pass")
    made.go_unless(IP6_END, BYTE, ADVERTISEMENT, "no advertisement")
    made.drop_unless_held(ND_TARGET, 16)
    code.go("pass")
    code.label("no advertisement")
    code.if_not_equal(R1, SOLICITATION, "pass")
    made.fetch(IP6_SOURCE, 16, KEY)
    for half in (KEY, KEY + 8):
        code.load(DOUBLE, R1, FRAME, half)
        code.if_not_equal(R1, 0, "pass")
    made.drop_unless_held(ND_TARGET, 16)
    code.go("pass")
    return code


def asks_for(services_fd: int, end_fd: int) -> Code:
    """For frames that go to a machine: do they ask for, or go to, an address that is not held?"""
    made = Verdicts(services_fd, end_fd)
    code = made.code
    made.begin()
    code.label("ip4")
    made.drop_unless_held(IP4_TARGET, 4)
    code.go("pass")
    code.label("arp")
    made.go_unless(ARP_OPERATION, HALF, REQUEST, "pass")
    # Announcements of the new owner pass: their sender is a service's address, and everybody must learn from them.
    made.look_up(ARP_SENDER, 4)
    code.if_not_equal(R0, 0, "pass")
    made.drop_unless_held(ARP_TARGET, 4)
    code.go("pass")
    code.label("ip6")
    made.drop_unless_held(IP6_TARGET, 16)
    made.go_unless(IP6_NEXT, BYTE, ICMPV6, "pass")
    made.go_unless(IP6_END, BYTE, SOLICITATION, "pass")
    made.drop_unless_held(ND_TARGET, 16)
    code.go("pass")
    return code
