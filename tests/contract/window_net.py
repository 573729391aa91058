"""A host with a window, its service in one of two places, and a client that asks without pause.

The client's questions carry the number under which it noted the time just before it sent them, so an answer, whenever
it arrives, tells when the question was put. All of it runs in the test's own thread.
"""

import errno
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from holdfast.drivers import addresses, ports
from holdfast.drivers.gate import Gate
from holdfast.drivers.namespaces import inside
from holdfast.drivers.netlink import KernelRefused, Netlink
from holdfast.drivers.window import Window, raw_clock_ns
from holdfast.drivers.window_keys import KeyedWindow
from holdfast.drivers.window_order import LAG_TICKS, Outcome, TwoKeys
from holdfast.drivers.window_probe import CLOCK_MONOTONIC_COARSE, Capabilities
from holdfast.drivers.window_stamp import StampedWindow
from holdfast.drivers.zone import Zone
from tests.contract.network import UDP_PORT, V4, V6, Family, Machine, answered, checksum, in_ipv6, namespace, question

MS = 1_000_000
LONG = 25_000 * MS
"""Longer than anything takes that is asked of an open window, on a busy machine, too."""
LONGEST = LONG + 5000 * MS
PATIENCE_NS = 20_000 * MS
TICK_NS = 4 * MS
ATTEMPTS = 20
"""So often something is tried that a machine which stands still for a moment may spoil."""
ASKED_EACH_S = 0.0005
OTHERS = ("10.77.0.101/24", "fd00::101/64")
SERVICES = (V4.vip, V6.vip, *OTHERS)
TCP_PORT = 5354

Kind = Literal["keys", "keys set anew", "stamp"]
KINDS: tuple[Kind, ...] = ("keys", "keys set anew", "stamp")
Where = Literal["host", "vm"]
CASES: tuple[tuple[Kind, Where], ...] = (
    ("keys", "host"),
    ("keys", "vm"),
    ("keys set anew", "host"),
    ("stamp", "host"),
    ("stamp", "vm"),
)
Protocol = Literal["udp", "tcp", "neighbour"]
PROTOCOLS: tuple[Protocol, ...] = ("udp", "tcp", "neighbour")

Step = Callable[[str], None]


def open_window(
    kind: Kind,
    host: int,
    *,
    longest_ns: int = LONGEST,
    step: Step | None = None,
    order: type[TwoKeys] = TwoKeys,
    stamped: type[StampedWindow] = StampedWindow,
    keyed: type[KeyedWindow] = KeyedWindow,
) -> Window:
    if kind == "stamp":
        return stamped(SERVICES, netns_fd=host, longest_ns=longest_ns, step=step)
    found = Capabilities(tick_ns=TICK_NS, extends=kind == "keys", no_stamp="not looked for")
    return keyed(SERVICES, netns_fd=host, longest_ns=longest_ns, capabilities=found, step=step, order=order)


def is_busy(refused: KernelRefused) -> bool:
    """Whether the kernel refuses for the moment alone, as it did once under load where keys are set anew."""
    return refused.errno == errno.EBUSY


def arm(window: Window, until_ns: int) -> Outcome:
    """As the window does; a kernel that is busy has armed nothing, as when setting a key took too long."""
    try:
        return window.arm(until_ns)
    except KernelRefused as refused:
        if not is_busy(refused):
            raise
        return Outcome.LATE


def arm_for_long(window: Window, length_ns: int = LONG) -> int:
    """Open it, by default for the rest of the test, and again if this machine stood still meanwhile; until when."""
    for _ in range(ATTEMPTS):
        until_ns = raw_clock_ns() + length_ns
        if arm(window, until_ns) is Outcome.ARMED:
            return until_ns
    raise AssertionError(f"not armed in {ATTEMPTS} attempts")


def ticks_lag() -> bool:
    """Whether the kernel's tick count is further behind than two timed keys allow for (docs/kernel-window.md)."""
    noted, now = time.clock_gettime_ns(CLOCK_MONOTONIC_COARSE), time.monotonic_ns()
    return now - noted > (1 + LAG_TICKS) * TICK_NS


class Scene:
    """The host `hf0` with VM `a` behind a gate, a client without one; the service's addresses are in one place."""

    def __init__(self, kind: Kind, place: Where, stack: ExitStack) -> None:
        self.kind, self.place, self.stack = kind, place, stack
        self.host = namespace(stack)
        self.netlink = stack.enter_context(Netlink.open(self.host))
        ports.make_bridge(self.netlink, "hf0", [V4.own(1), V6.own(1)])
        self.gate = Gate(SERVICES, netns_fd=self.host, timed=kind != "stamp")
        stack.callback(self.gate.close)
        self.a = Machine("a", 11, self.netlink, self.gate, stack)
        self.client = Machine("client", 200, self.netlink, None, stack)
        zone = self.a.zone if place == "vm" else stack.enter_context(Zone.open(self.host, "hf0"))
        for address in SERVICES:
            if place == "vm":
                self.gate.open(self.a.port, address)
            addresses.assign(zone, address)
        self.mac = zone.netlink.mac(zone.interface)
        self.namespace = self.a.namespace if place == "vm" else self.host
        with self.client.listen() as tap:
            tap.setblocking(False)
            for n in (1, 11):
                for family in (V4, V6):
                    deque(self.witnessed(tap, family.of(n)), maxlen=0)

    def witnessed(self, tap: socket.socket, witness: str) -> Iterator[bytes]:
        """What the client's tap sees until it has asked for the witness and got an answer; the question is put again
        for a while, because a bridge forwards to a new port only when the kernel gets round to it.
        """
        patient = raw_clock_ns() + PATIENCE_NS
        while raw_clock_ns() < patient:
            self.client.send(question(self.client, witness))
            select.select([tap], [], [], 0.1)
            for frame in _all_of(tap):
                if answered(frame) == ip_address(witness):
                    return
                yield frame
        raise AssertionError(f"{witness} does not answer: the network of the test is out of order")

    def protect(self, window: Window) -> None:
        """Guard what this scene has. A window that begins makes the tables, so this comes after it."""
        window.guard("hf0")
        window.guard_port(self.a.port)

    @contextmanager
    def window(self) -> Iterator[Window]:
        opened = open_window(self.kind, self.host)
        try:
            self.protect(opened)
            yield opened
        finally:
            opened.detach()


class Asker:
    """Asks for one address by one protocol, and notes which questions were answered."""

    def __init__(self, scene: Scene, address: str = V4.vip, protocol: Protocol = "udp") -> None:
        self.scene, self.protocol = scene, protocol
        self.address = ip_address(address.split("/")[0])
        self.family: Family = V4 if self.address.version == 4 else V6
        self.asked: list[int] = []
        self.answered: set[int] = set()
        self._excused: set[int] = set()
        """Put while the ticks lagged on which keys end: whether they are answered is not promised."""
        self._tap = scene.client.listen()
        self._tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._tap.setblocking(False)
        self._server = inside(scene.namespace, self._listening)
        scene.stack.enter_context(self._server)

    def _listening(self) -> socket.socket:
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        kind, port = (socket.SOCK_STREAM, TCP_PORT) if self.protocol == "tcp" else (socket.SOCK_DGRAM, UDP_PORT)
        made = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((str(self.address), port + (self.protocol == "neighbour")))
        if self.protocol == "tcp":
            made.listen(4096)
        return made

    # Asking

    def ask(self) -> int:
        """Put one question; its number."""
        number = len(self.asked)
        frame = self._frame(number)
        if self.scene.kind != "stamp" and ticks_lag():
            self._excused.add(number)
        self.asked.append(raw_clock_ns())
        self.scene.client.zone.packets.sendto(frame, ("eth0", int.from_bytes(frame[12:14], "big")))
        self.look()
        return number

    def look(self, wait_s: float = 0.0) -> None:
        """Let the service answer, and note the answers that are there; waits for the first so long."""
        ready, _, _ = select.select([self._tap, self._server], [], [], wait_s)
        if self._server in ready and self.protocol == "udp":
            self._echo()
        for frame in _all_of(self._tap):
            self._note(frame)

    def go_on(self, until_ns: int, also: Callable[[], None] = lambda: None) -> None:
        """Ask without pause until then; `also` is called after each question."""
        while raw_clock_ns() < until_ns:
            self.ask()
            also()
            self.look(ASKED_EACH_S)

    def is_answered(self) -> bool:
        """Whether one question put now is answered, witnessed by an answer for an address that is always there.

        A busy machine may deliver the witness's answer first: rely on a "no", and ask `gets_an_answer` for a "yes".
        """
        number = self.ask()
        for _ in range(2):  # What the service says in the first round is there in the second one at the latest.
            self._wait_for_witness()
            self.look()
        return number in self.answered

    def gets_an_answer(self) -> bool:
        """Whether questions are answered; they are put again for a while, because a busy machine takes its time."""
        patient = raw_clock_ns() + PATIENCE_NS
        first = len(self.asked)
        while raw_clock_ns() < patient:
            self.ask()
            self.look(0.02)
            self.look(0.02)
            if max(self.answered, default=-1) >= first:
                return True
        return False

    def unanswered(self, wanted: set[int]) -> set[int]:
        """Those of these questions that have no answer; the service and the network are given time for it."""
        patient = raw_clock_ns() + PATIENCE_NS
        while (missing := wanted - self.answered) and raw_clock_ns() < patient:
            self.look(0.02)
        return missing

    def late(self, until_ns: int, first: int = 0) -> list[float]:
        """By how many milliseconds questions that were answered had been put too late, from `first` on."""
        put = [self.asked[number] for number in sorted(self.answered - self._excused) if number >= first]
        return [(at - until_ns) / MS for at in put if at > until_ns]

    def _echo(self) -> None:
        for payload, sender in _all_from(self._server):
            try:
                self._server.sendto(payload, sender)
            except PermissionError:
                continue  # The window closed in between: this is how its rules tell a local sender.

    def _wait_for_witness(self) -> None:
        witness = self.family.of(1 if self.scene.place == "host" else 11)
        for frame in self.scene.witnessed(self._tap, witness):
            self._note(frame)

    def _note(self, frame: bytes) -> None:
        number = self._number_in(frame)
        if number is not None:
            self.answered.add(number)

    # Frames

    def _frame(self, number: int) -> bytes:
        client = self.scene.client
        if self.protocol == "udp":
            body = struct.pack("!HHHHQ", 9, UDP_PORT, 16, 0, number)
            return self._in_ip(body, 17, 6)
        if self.protocol == "tcp":
            body = struct.pack("!HHIIBBHHH", 1024 + number % 60000, TCP_PORT, number, 0, 0x50, 0x02, 8192, 0, 0)
            return self._in_ip(body, 6, 16)
        # The asker's hardware address comes back in the answer.
        mac = b"\x02\x77" + struct.pack("!I", number)
        sender = ip_address(self.family.of(client.n))
        if isinstance(self.address, IPv4Address):
            head = b"\xff" * 6 + client.mac + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
            return (head + mac + sender.packed + bytes(6) + self.address.packed).ljust(60, b"\0")
        group = IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + self.address.packed[13:])
        message = b"\x87\0\0\0" + bytes(4) + self.address.packed + b"\x01\x01" + mac
        return in_ipv6(
            client.mac, b"\x33\x33" + group.packed[12:], IPv6Address(sender), group, 58, message, checksum_at=2
        )

    def _in_ip(self, body: bytes, kind: int, checksum_at: int) -> bytes:
        client = self.scene.client
        sender, to = ip_address(self.family.of(client.n)), self.address
        if isinstance(to, IPv6Address):
            return in_ipv6(client.mac, self.scene.mac, IPv6Address(sender), to, kind, body, checksum_at)
        pseudo = sender.packed + to.packed + struct.pack("!BBH", 0, kind, len(body))
        body = body[:checksum_at] + struct.pack("!H", checksum(pseudo + body)) + body[checksum_at + 2 :]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, kind, 0)
        total = struct.pack("!H", checksum(head + sender.packed + to.packed))
        ip = head[:10] + total + sender.packed + to.packed
        return self.scene.mac + client.mac + b"\x08\0" + ip + body

    def _number_in(self, frame: bytes) -> int | None:
        """The number of the question that this frame answers, if it comes from the address."""
        if self.protocol == "neighbour":
            return self._number_of_neighbour(frame)
        source, at = (26, 34) if self.address.version == 4 else (22, 54)
        kind = frame[23:24] if self.address.version == 4 else frame[20:21]
        size = len(self.address.packed)
        if frame[source : source + size] != self.address.packed:
            return None
        if self.protocol == "udp" and kind == b"\x11":
            number: int = struct.unpack_from("!Q", frame, at + 8)[0]
            return number
        if self.protocol == "tcp" and kind == b"\x06" and frame[at + 13] & 0x12 == 0x12:
            acknowledged: int = struct.unpack_from("!I", frame, at + 8)[0]
            return acknowledged - 1
        return None

    def _number_of_neighbour(self, frame: bytes) -> int | None:
        if self.address.version == 4:
            if frame[12:14] != b"\x08\x06" or frame[20:22] != b"\0\2" or frame[28:32] != self.address.packed:
                return None
            mac = frame[32:38]
        else:
            if frame[12:14] != b"\x86\xdd" or frame[20] != 58 or frame[54] != 136:
                return None
            if frame[62:78] != self.address.packed:
                return None
            mac = frame[0:6]
        return int.from_bytes(mac[2:], "big") if mac[:2] == b"\x02\x77" else None


def _all_of(tap: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield tap.recv(2048)
        except BlockingIOError:
            return


def _all_from(server: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    while True:
        try:
            yield server.recvfrom(64)
        except BlockingIOError:
            return
