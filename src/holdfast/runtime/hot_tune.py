"""How much jitter this host has: a bounded run of the hot loop's timer, and pings to the peers.

In:   seconds, peers: an address each, or with two networks both of them with a comma between.
Out:  `Jitter`, by `measure`, which starts a process of its own (`python -m holdfast.runtime.hot_tune`), because that
takes the rights of the hot process, and a person's command shall not.
Measure while the host does its usual work: a host that idles tells nothing.
"""

import argparse
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec

from holdfast.core.tuning import Jitter, RoundTrip
from holdfast.errors import HoldfastError, MachineLacks, UserError, WorldError
from holdfast.runtime import hot_rights
from holdfast.runtime.hot_clock import Alarm, now_ns
from holdfast.runtime.hot_lateness import LatenessCounter

EVERY_NS = 10_000_000
"""The shortest heartbeat of any profile."""
PRIORITY = 50
SECONDS_MAX = 3600
START_LIMIT_S = 20.0
ANSWER_LIMIT_NS = 300_000_000
"""After the last ping, answers are waited for this long."""
_CLOCK_MONOTONIC_COARSE = 6
"""Moves by one tick of the kernel at a time."""
_ECHO = {socket.AF_INET: (socket.IPPROTO_ICMP, 8, 0), socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128, 129)}
_HEAD = struct.Struct("!BBHHH")
_MARK = b"holdfast-tune"
_DRAINED_MAX = 256


def measure(seconds: float, peers: Sequence[str] = (), priority: int = PRIORITY) -> Jitter:
    """Measure for so long; raises UserError, MachineLacks or WorldError when that cannot be."""
    if not 0 < seconds <= SECONDS_MAX:
        raise UserError(f"{seconds:g} seconds cannot be measured", f"expected more than 0 and at most {SECONDS_MAX}")
    words = [sys.executable, "-m", "holdfast.runtime.hot_tune", "--seconds", f"{seconds}", "--priority", f"{priority}"]
    for peer in peers:
        words += ["--peer", peer]
    try:
        done = subprocess.run(words, capture_output=True, timeout=seconds + START_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WorldError(
            f"the measurement did not end within {seconds + START_LIMIT_S:g} s", "this host has no processor to spare"
        ) from error
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip()
        message, _, hint = text.rpartition("\nhint: ") if "\nhint: " in text else (text, "", "")
        kinds = {2: UserError, 3: MachineLacks}
        raise kinds.get(done.returncode, WorldError)(message or "the measurement ended without a word", hint)
    return msgspec.json.decode(done.stdout, type=Jitter)


class Ping:
    """Echo requests to one peer, answered by its kernel."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._protocol, self._ask, self._answer = _ECHO[family]
        self.address = address
        self._sent_ns: list[int] = []
        self._trips: dict[int, int] = {}
        try:
            self.socket = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, self._protocol)
        except PermissionError as error:
            raise MachineLacks("no leave to send pings", "CAP_NET_RAW, or root; or measure without --peer") from error
        try:
            self.socket.setblocking(False)
            self.socket.connect((address, 0))
        except OSError as error:
            self.socket.close()
            raise UserError(f"{address} is no address that this host can reach: {error}", "an IP address") from error
        self._id = os.getpid() & 0xFFFF

    def send(self) -> None:
        number = len(self._sent_ns) & 0xFFFF
        head = _HEAD.pack(self._ask, 0, 0, self._id, number)
        packet = _HEAD.pack(self._ask, 0, _checksum(head + _MARK), self._id, number) + _MARK
        self._sent_ns.append(now_ns())
        try:
            self.socket.send(packet)
        except OSError:
            # A peer out of reach loses all its pings: that is a result, not an error.
            return

    def receive(self, now: int) -> None:
        """Take what has come; on an IPv4 socket the packet has its IP header in front."""
        for _ in range(_DRAINED_MAX):
            try:
                packet = self.socket.recv(256)
            except BlockingIOError:
                return
            except OSError:
                continue
            body = packet[(packet[0] & 15) * 4 :] if self._protocol == socket.IPPROTO_ICMP else packet
            if len(body) < _HEAD.size or body[_HEAD.size :] != _MARK:
                continue
            kind, _, _, identity, number = _HEAD.unpack_from(body)
            if kind == self._answer and identity == self._id and number < len(self._sent_ns):
                self._trips.setdefault(number, now - self._sent_ns[number])

    def round_trip(self) -> RoundTrip:
        trips = sorted(self._trips.values())
        sent = len(self._sent_ns)
        if not trips:
            return RoundTrip(0, 0, 0, sent, sent)
        return RoundTrip(
            trips[len(trips) // 2],
            trips[min(len(trips) - 1, len(trips) * 99 // 100)],
            trips[-1],
            sent,
            sent - len(trips),
        )


def _checksum(packet: bytes) -> int:
    padded = packet + bytes(len(packet) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def run(seconds: float, peers: Sequence[str], priority: int) -> Jitter:
    """Measure in this process, which takes the rights of a hot process for good."""
    grouped = tuple(tuple(peer.split(",")) for peer in peers)
    pings = {address: Ping(address) for addresses in grouped for address in addresses}
    rights = hot_rights.claim(priority)
    hot_rights.settle_memory()
    alarm, poll = Alarm(), select.epoll()
    poll.register(alarm.fd, select.EPOLLIN)
    ways = {ping.socket.fileno(): ping for ping in pings.values()}
    for fd in ways:
        poll.register(fd, select.EPOLLIN)
    counter = LatenessCounter()
    due = now_ns() + EVERY_NS
    end = due + round(seconds * 1e9)
    while due < end + (ANSWER_LIMIT_NS if pings else 0):
        alarm.set(due)
        ready = poll.poll()
        now = now_ns()
        for fd, _ in ready:
            if fd in ways:
                ways[fd].receive(now)
        if now < due:
            continue
        if now < end:
            counter.add(now - due)
            for ping in pings.values():
                ping.send()
        due += ((now - due) // EVERY_NS + 1) * EVERY_NS
    poll.close()
    alarm.close()
    for ping in pings.values():
        ping.socket.close()
    found = counter.lateness()
    return Jitter(
        seconds,
        found.rounds,
        found.p50_ns,
        found.p99_ns,
        found.p999_ns,
        found.max_ns,
        round(time.clock_getres(_CLOCK_MONOTONIC_COARSE) * 1e9),
        {address: ping.round_trip() for address, ping in pings.items()},
        grouped,
        tuple(lack.what for lack in rights.lacks),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the result as JSON; answer the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--priority", type=int, default=PRIORITY)
    parser.add_argument("--peer", action="append", default=[])
    chosen = parser.parse_args(arguments)
    try:
        jitter = run(chosen.seconds, chosen.peer, chosen.priority)
    except HoldfastError as error:
        sys.stderr.write(f"{error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_status
    sys.stdout.buffer.write(msgspec.json.encode(jitter))
    return 0


if __name__ == "__main__":
    sys.exit(main())
