"""The service's address, for components that take it themselves as part of becoming active (IF-1).

In: an address with prefix length and an interface. Out: the kernel has confirmed that it is there (or gone),
and the neighbours are told: gratuitous ARP, unsolicited neighbour advertisement. IPv6 addresses are added
without duplicate address detection, which would take a second. Done twice it is harmless.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from holdfast.errors import MachineLacks, UserError, WorldError
from holdfast.vnfc.loop import Loop

ANNOUNCED_AFTER_S = (0.01, 0.05, 0.2, 1.0)
"""The announcement is repeated after these times: a frame may be lost, or held up by a gate not yet open."""

_RTM_NEWADDR, _RTM_DELADDR, _NLMSG_ERROR = 20, 21, 2
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_REPLACE, _NLM_F_CREATE = 1, 4, 0x100, 0x400
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 2
_ETH_P_ARP, _ETH_P_IPV6 = 0x0806, 0x86DD


def claim_address(address: str, interface: str = "eth0", loop: Loop | None = None) -> None:
    """Add the address and announce it, at once and (if the loop is given) a few times more."""
    family, raw, prefix = parsed(address)
    _change(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_REPLACE, family, raw, prefix, interface)
    announce_address(address, interface)
    if loop is not None:
        for delay_s in ANNOUNCED_AFTER_S:
            loop.call_later(delay_s, lambda: _announce_if_held(address, interface))


def release_address(address: str, interface: str = "eth0") -> None:
    """Take the address away; one that is not there is no error."""
    family, raw, prefix = parsed(address)
    try:
        _change(_RTM_DELADDR, 0, family, raw, prefix, interface)
    except WorldError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno != errno.EADDRNOTAVAIL:
            raise


def announce_address(address: str, interface: str = "eth0") -> None:
    """Tell everybody on the link that the address is at this interface now."""
    family, raw, _ = parsed(address)
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packets:
            packets.bind((interface, 0))
            mac = packets.getsockname()[4]
            packets.send(_arp(mac, raw) if family == socket.AF_INET else _advertisement(mac, raw))
    except PermissionError as error:
        raise MachineLacks("no right to announce an address", "give the component CAP_NET_RAW") from error
    except OSError as error:
        raise WorldError(f"cannot announce {address} on {interface}: {error.strerror}") from error


def parsed(address: str) -> tuple[socket.AddressFamily, bytes, int]:
    """Family, bytes and prefix length of `10.77.0.100/24` or `fd00::100/64`."""
    host, sign, length = address.partition("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        raw = socket.inet_pton(family, host)
    except OSError:
        raise UserError(f"{address!r} is not an address", "expected one like 10.77.0.100/24") from None
    if not sign or not (length.isascii() and length.isdigit() and int(length) <= len(raw) * 8):
        raise UserError(f"{address!r} lacks its prefix length", f"expected one like {host}/24")
    return family, raw, int(length)


def _announce_if_held(address: str, interface: str) -> None:
    """An address that was released meanwhile must not be announced: it may be at the next active already."""
    family, raw, _ = parsed(address)
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            asked.bind((socket.inet_ntop(family, raw), 0))
        except OSError:
            return
    announce_address(address, interface)


def _change(kind: int, flags: int, family: int, raw: bytes, prefix: int, interface: str) -> None:
    """One netlink request and its answer."""
    text = socket.inet_ntop(family, raw)
    try:
        index = socket.if_nametoindex(interface)
    except OSError as error:
        raise WorldError(f"there is no interface {interface!r} for {text}") from error
    no_detection = _IFA_F_NODAD if family == socket.AF_INET6 else 0
    body = struct.pack("=BBBBI", family, prefix, no_detection, 0, index)
    for attribute in (_IFA_LOCAL, _IFA_ADDRESS):
        body += struct.pack("=HH", 4 + len(raw), attribute) + raw
    header = struct.pack("=IHHII", 16 + len(body), kind, _NLM_F_REQUEST | _NLM_F_ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as kernel:
        kernel.bind((0, 0))
        kernel.send(header + body)
        answer = kernel.recv(4096)
    _, answered, _, _, _ = struct.unpack_from("=IHHII", answer)
    (status,) = struct.unpack_from("=i", answer, 16)
    if answered != _NLMSG_ERROR:
        raise WorldError(f"the kernel gave no answer about {text} on {interface}")
    if status == 0:
        return
    cause = OSError(-status, os.strerror(-status))
    if cause.errno == errno.EPERM:
        raise MachineLacks(f"no right to change {text} on {interface}", "give the component CAP_NET_ADMIN") from cause
    verb = "add" if kind == _RTM_NEWADDR else "remove"
    raise WorldError(f"cannot {verb} {text}/{prefix} on {interface}: {cause.strerror}") from cause


def _arp(mac: bytes, raw: bytes) -> bytes:
    """Gratuitous ARP: a request for its own address, sent to everybody (RFC 5227, section 3)."""
    everybody = b"\xff" * 6
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + raw + b"\0" * 6 + raw
    return everybody + mac + struct.pack("!H", _ETH_P_ARP) + body


def _advertisement(mac: bytes, raw: bytes) -> bytes:
    """Unsolicited neighbour advertisement with the override flag, to all nodes (RFC 4861, section 7.2.6)."""
    all_nodes = socket.inet_pton(socket.AF_INET6, "ff02::1")
    override = 0x20000000
    body = struct.pack("!BBHI", 136, 0, 0, override) + raw + struct.pack("!BB", 2, 1) + mac
    pseudo = raw + all_nodes + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 255) + raw + all_nodes + body
    return b"\x33\x33\x00\x00\x00\x01" + mac + struct.pack("!H", _ETH_P_IPV6) + packet


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
