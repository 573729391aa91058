"""A small network for the contract tests: a host with a bridge, and machines at ports of it, each a namespace.

The namespaces live by file descriptors only, so nothing is left of them when a test ends, in whatever way.
Frames are built here by hand, not by the code under test.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from holdfast.drivers import ports
from holdfast.drivers.gate import Gate
from holdfast.drivers.namespaces import inside, new_namespace
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.zone import Zone

LIMIT_S = 20.0
"""Patience with a busy machine, no bound on anything."""
ETH_P_ALL = 3
UDP_PORT = 5353


@dataclass(frozen=True)
class Family:
    """The addresses of one address family in the small network."""

    vip: str
    subnet: str
    bits: int

    def of(self, n: int) -> str:
        return str(ip_address(self.subnet) + n)

    @property
    def vip_alone(self) -> str:
        return self.vip.split("/")[0]

    def own(self, n: int) -> str:
        return f"{self.of(n)}/{self.bits}"


V4 = Family("10.77.0.100/24", "10.77.0.0", 24)
V6 = Family("fd00::100/64", "fd00::", 64)


class Machine:
    """A namespace with one interface at a port of the bridge, and ways to speak and listen there."""

    def __init__(self, name: str, n: int, netlink: Netlink, gate: Gate | None, stack: ExitStack) -> None:
        self.n = n
        self.port = ports.port_name("test", name)
        self.namespace = namespace(stack)
        ports.make_port(
            netlink,
            "hf0",
            self.port,
            self.namespace,
            addresses=[V4.own(n), V6.own(n)],
            guard=None if gate is None else gate.guard,
        )
        self.zone = stack.enter_context(Zone.open(self.namespace, "eth0"))
        self.mac = self.zone.netlink.mac("eth0")
        self._stack = stack

    def listen(self) -> socket.socket:
        """A socket that sees each frame that reaches the interface (and each that it sends)."""

        def tap() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            made.bind(("eth0", ETH_P_ALL))
            return made

        return self._keep(inside(self.namespace, tap))

    def udp(self, address: str = "", port: int = 0) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def bound() -> socket.socket:
            made = socket.socket(family, socket.SOCK_DGRAM)
            made.bind((address, port))
            return made

        return self._keep(inside(self.namespace, bound))

    def _keep(self, opened: socket.socket) -> socket.socket:
        opened.settimeout(LIMIT_S)
        return self._stack.enter_context(opened)

    def send(self, frame: bytes) -> None:
        self.zone.packets.sendto(frame, ("eth0", int.from_bytes(frame[12:14], "big")))


class SmallNetwork:
    """Host with gates, VMs `a` and `b` behind them, and a client without one."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.host = namespace(stack)
        self.netlink = stack.enter_context(Netlink.open(self.host))
        ports.make_bridge(self.netlink, "hf0", [V4.own(1), V6.own(1)])
        self.gate = Gate([V4.vip, V6.vip], netns_fd=self.host)
        stack.callback(self.gate.close)
        self.a = Machine("a", 11, self.netlink, self.gate, stack)
        self.b = Machine("b", 12, self.netlink, self.gate, stack)
        self.client = Machine("client", 200, self.netlink, None, stack)
        for machine in (self.a, self.b):
            for family in (V4, V6):
                until_answered(self.client, family.of(machine.n))


ASK_AGAIN_S, ASK_MAX = 0.02, 1000


@contextmanager
def in_order() -> Iterator[None]:
    """What is sent meanwhile arrives in the order in which it was sent.

    Each processor has a queue of its own for the frames that are sent on it: a thread that is moved to another one
    between two frames, as on a busy machine, may see the second overtake the first.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def namespace(stack: ExitStack) -> int:
    descriptor = new_namespace()
    stack.callback(os.close, descriptor)
    return descriptor


def frames(tap: socket.socket) -> Iterator[bytes]:
    """What the tap sees, for ever; nothing for LIMIT_S is a TimeoutError."""
    while True:
        yield tap.recv(2048)


def until_answered(asker: Machine, address: str) -> None:
    """Ask until the address answers: a new interface is ready only when the kernel's work queue has come to it."""
    tap = asker.listen()
    tap.settimeout(ASK_AGAIN_S)
    for _ in range(ASK_MAX):
        asker.send(question(asker, address))
        try:
            if any(answered(frame) == ip_address(address) for frame in frames(tap)):
                return
        except TimeoutError:
            continue
    raise AssertionError(f"{address} did not answer {ASK_MAX} questions")


def until_taken(inbox: socket.socket, send: Callable[[], object]) -> bytes:
    """Send until one arrives: the route to a new IPv6 address is set by the kernel's work queue, in its own time."""
    patience_s = inbox.gettimeout()
    inbox.settimeout(ASK_AGAIN_S)
    for _ in range(ASK_MAX):
        send()
        with suppress(TimeoutError):
            text = inbox.recv(100)
            inbox.settimeout(patience_s)
            return text
    raise AssertionError(f"of {ASK_MAX} datagrams none arrived")


def who_answers(asker: Machine, address: str, witness: str) -> list[bytes]:
    """The MACs that answer ARP or ND for the address.

    The question for the witness (an address that surely answers) is put after it: when that one's answer is
    there, one for the address would be there too (`in_order`).
    """
    tap = asker.listen()
    asker.send(question(asker, address))
    asker.send(question(asker, witness))
    answers: list[bytes] = []
    for frame in frames(tap):
        who = answered(frame)
        if who == ip_address(address):
            answers.append(frame[6:12])
        elif who == ip_address(witness):
            return answers
    raise AssertionError("unreachable: frames() never ends")


def question(asker: Machine, address: str) -> bytes:
    """ARP request or neighbour solicitation."""
    target = ip_address(address)
    if isinstance(target, IPv4Address):
        return arp(1, asker.mac, IPv4Address(V4.of(asker.n)), bytes(6), target)
    return solicitation(asker.mac, IPv6Address(V6.of(asker.n)), target)


def answered(frame: bytes) -> IPv4Address | IPv6Address | None:
    """The address that an ARP reply or a neighbour advertisement is about."""
    if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
        return IPv4Address(frame[28:32])
    if frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 136:
        return IPv6Address(frame[62:78])
    return None


def arp(operation: int, mac: bytes, sender: IPv4Address, target_mac: bytes, target: IPv4Address) -> bytes:
    head = b"\xff" * 6 + mac + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return (head + mac + sender.packed + target_mac + target.packed).ljust(60, b"\0")


def solicitation(mac: bytes, sender: IPv6Address, target: IPv6Address) -> bytes:
    group = IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + target.packed[13:])
    option = b"" if sender == IPv6Address("::") else b"\x01\x01" + mac
    message = b"\x87\0\0\0" + bytes(4) + target.packed + option
    return in_ipv6(mac, b"\x33\x33" + group.packed[12:], sender, group, 58, message, checksum_at=2)


def advertisement(mac: bytes, sender: IPv6Address, target: IPv6Address) -> bytes:
    everybody = IPv6Address("ff02::1")
    message = b"\x88\0\0\0" + b"\x20\0\0\0" + target.packed + b"\x02\x01" + mac
    return in_ipv6(mac, b"\x33\x33\0\0\0\x01", sender, everybody, 58, message, checksum_at=2)


def datagram(sender: Machine, to_mac: bytes, source: str, target: str, payload: bytes) -> bytes:
    """A UDP datagram that needs no neighbour entry and may carry any source address."""
    udp = struct.pack("!HHHH", 9, UDP_PORT, 8 + len(payload), 0) + payload
    from_ip, to_ip = ip_address(source), ip_address(target)
    if isinstance(from_ip, IPv6Address) and isinstance(to_ip, IPv6Address):
        return in_ipv6(sender.mac, to_mac, from_ip, to_ip, 17, udp, checksum_at=6)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    total = checksum(head + from_ip.packed + to_ip.packed)
    ip = head[:10] + struct.pack("!H", total) + from_ip.packed + to_ip.packed
    return to_mac + sender.mac + b"\x08\0" + ip + udp


def in_ipv6(
    mac: bytes, to_mac: bytes, sender: IPv6Address, to: IPv6Address, kind: int, body: bytes, checksum_at: int
) -> bytes:
    pseudo = sender.packed + to.packed + struct.pack("!II", len(body), kind)
    total = struct.pack("!H", checksum(pseudo + body))
    body = body[:checksum_at] + total + body[checksum_at + 2 :]
    ip = struct.pack("!IHBB", 6 << 28, len(body), kind, 255) + sender.packed + to.packed
    return to_mac + mac + b"\x86\xdd" + ip + body


def checksum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
