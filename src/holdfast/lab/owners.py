"""The owners watcher: asks the network itself, every 5 ms, who has the service's address.

In: address and interface (arguments; it runs inside the client's network). Out: a file (`judges/asked.py` reads it)
with every question and every answer, and announcements that nobody asked for. `ready` on standard output after the
first answer. SIGTERM (or SIGINT) ends it: it waits a moment for late answers, writes the file and exits with 0.
"""

import argparse
import fcntl
import gc
import ipaddress
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from holdfast.errors import MachineLacks, UserError
from holdfast.lab.judges.asked import OwnerAnswer, OwnersRun, save_owners
from holdfast.lab.owner_words import claim, question

ETH_P_ALL = 3
SIOCGIFADDR, SIOCGIFHWADDR = 0x8915, 0x8927
FRAME_BYTES_MAX = 2048
FRAMES_AT_ONCE = 512
LATE_ANSWERS_S = 0.1
ANSWERS_MAX = 2_000_000


class Watcher:
    """Asks on an absolute schedule; what has arrived is read before the next question goes out."""

    def __init__(self, address: str, interface: str, every_s: float) -> None:
        self.run = OwnersRun(address, every_s, 0.0, 0.0, [], [])
        self._address = address
        mac = _own_mac(interface)
        self._question = question(address, mac, _own_address(interface, address))
        self._socket = _open(interface)
        self._stopping = False
        self._said_ready = False

    def stop(self) -> None:
        self._stopping = True

    def watch(self) -> OwnersRun:
        begin = self.run.began_at = time.monotonic()
        slot = 0
        while not self._stopping:
            self._take_answers()
            now = time.monotonic()
            if now >= begin + slot * self.run.every_s:
                # One question for all slots that were missed: a burst of equal questions would prove nothing more.
                slot = int((now - begin) / self.run.every_s) + 1
                self._ask()
            self._wait(begin + slot * self.run.every_s - time.monotonic())
        self.run.stopped_at = time.monotonic()
        until = self.run.stopped_at + LATE_ANSWERS_S
        while (left := until - time.monotonic()) > 0:
            self._wait(left)
            self._take_answers()
        self._socket.close()
        return self.run

    def _ask(self) -> None:
        self.run.asked_at.append(time.monotonic())
        try:
            self._socket.send(self._question)
        except OSError:
            self.run.asked_at.pop()  # no room, or the link is down: not asked

    def _wait(self, seconds: float) -> None:
        select.select([self._socket], [], [], max(0.0, seconds))

    def _take_answers(self) -> None:
        for _ in range(FRAMES_AT_ONCE):
            try:
                frame = self._socket.recv(FRAME_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                break  # the link went down: said once by the kernel
            found = claim(self._address, frame)
            if found is None or len(self.run.answers) >= ANSWERS_MAX:
                continue
            self.run.answers.append(OwnerAnswer(time.monotonic(), found.mac, found.kind))
            if not self._said_ready:
                self._said_ready = True
                sys.stdout.write("ready\n")
                sys.stdout.flush()


def _open(interface: str) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    except PermissionError as error:
        raise MachineLacks("asking for the owner of an address needs the right to send raw frames") from error
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind((interface, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def _ask_kernel(request: int, interface: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, request, struct.pack("256s", interface.encode()[:15]))


def _own_mac(interface: str) -> bytes:
    try:
        return _ask_kernel(SIOCGIFHWADDR, interface)[18:24]
    except OSError as error:
        raise UserError(f"there is no interface {interface!r} here", "give the client's interface") from error


def _own_address(interface: str, target: str) -> str:
    """The client's own address of the same kind; for IPv6 one of the target's network if there is one."""
    if ":" not in target:
        try:
            return socket.inet_ntoa(_ask_kernel(SIOCGIFADDR, interface)[20:24])
        except OSError:
            return ""
    own: list[tuple[bool, str]] = []
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, _, prefix, _, _, name = line.split()
        if name == interface:
            address = ipaddress.IPv6Address(int(digits, 16))
            network = ipaddress.IPv6Network((address, int(prefix, 16)), strict=False)
            own.append((ipaddress.IPv6Address(target) not in network, str(address)))
    if not own:
        raise UserError(f"interface {interface!r} has no IPv6 address", "give it one before the watcher starts")
    return min(own)[1]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m holdfast.lab.owners", description="ask who has an address")
    parser.add_argument("--address", required=True, help="IPv4 or IPv6, without prefix length")
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--every-ms", type=float, default=5.0)
    parser.add_argument("--out", required=True)
    options = parser.parse_args(arguments)
    try:
        watcher = Watcher(options.address, options.interface, options.every_ms / 1000)
    except (UserError, MachineLacks) as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        return error.exit_status
    signal.signal(signal.SIGTERM, lambda number, frame: watcher.stop())
    signal.signal(signal.SIGINT, lambda number, frame: watcher.stop())
    gc.freeze()
    save_owners(watcher.watch(), Path(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
