"""The frames of the owners watcher, as bytes: ARP requests and neighbour solicitations out, what answers them in.

Nothing here touches a socket. A question carries the client's own MAC and IP address as sender, so that it disturbs
nobody's tables.
"""

import ipaddress
import struct
from typing import Literal, NamedTuple

_ETH_ARP, _ETH_IPV6 = 0x0806, 0x86DD
_BROADCAST = b"\xff" * 6
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOLICITED = 0x40
_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS = 1, 2


class Claim(NamedTuple):
    """A MAC address that says it has the address."""

    mac: str
    kind: Literal["answer", "announcement"]


def question(address: str, own_mac: bytes, own_address: str) -> bytes:
    """The frame that asks who has `address`."""
    if ":" in address:
        return _solicitation(address, own_mac, own_address)
    target, sender = ipaddress.IPv4Address(address).packed, ipaddress.IPv4Address(own_address or "0.0.0.0").packed
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own_mac + sender + bytes(6) + target
    return _BROADCAST + own_mac + struct.pack("!H", _ETH_ARP) + arp


def claim(address: str, frame: bytes) -> Claim | None:
    """What a received frame says about who has `address`."""
    if len(frame) < 42:
        return None
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == _ETH_ARP and ":" not in address:
        return _arp_claim(ipaddress.IPv4Address(address).packed, frame)
    if kind == _ETH_IPV6 and ":" in address:
        return _advertisement_claim(ipaddress.IPv6Address(address).packed, frame)
    return None


def _arp_claim(address: bytes, frame: bytes) -> Claim | None:
    (operation,) = struct.unpack_from("!H", frame, 20)
    sender_mac, sender, target = frame[22:28], frame[28:32], frame[38:42]
    if sender != address:
        return None
    gratuitous = target == address or frame[:6] == _BROADCAST
    if operation == 2:
        return Claim(_text(sender_mac), "announcement" if gratuitous else "answer")
    if operation == 1 and target == address:
        return Claim(_text(sender_mac), "announcement")
    return None


def _advertisement_claim(address: bytes, frame: bytes) -> Claim | None:
    if len(frame) < 14 + 40 + 24 or frame[20] != _ICMPV6 or frame[54] != _ADVERTISEMENT or frame[62:78] != address:
        return None
    mac = frame[6:12]
    at = 78
    while at + 8 <= len(frame) and frame[at + 1]:
        if frame[at] == _TARGET_LINK_ADDRESS:
            mac = frame[at + 2 : at + 8]
        at += 8 * frame[at + 1]
    return Claim(_text(mac), "answer" if frame[58] & _SOLICITED else "announcement")


def _solicitation(address: str, own_mac: bytes, own_address: str) -> bytes:
    target, source = ipaddress.IPv6Address(address).packed, ipaddress.IPv6Address(own_address).packed
    group = ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13] + target[13:]
    option = bytes([_SOURCE_LINK_ADDRESS, 1]) + own_mac
    body = bytes([_SOLICITATION, 0, 0, 0]) + bytes(4) + target + option
    pseudo = source + group + struct.pack("!IHBB", len(body), 0, 0, _ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255) + source + group
    return b"\x33\x33" + group[12:] + own_mac + struct.pack("!H", _ETH_IPV6) + header + body


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _text(mac: bytes) -> str:
    return mac.hex(":")
