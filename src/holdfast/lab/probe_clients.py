"""The probe's sockets: send request `n` without waiting, collect what has been answered meanwhile.

Two clients with the same three methods: `send(n, payload)`, `wait(seconds)`, `receive() -> [(Heard, at)]`. Errors of
the network (refused, unreachable, no room) are what an outage looks like from outside: they count as "no answer".
"""

import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Protocol

from holdfast.lab.probe_words import Heard, http_answer, http_request

Parse = Callable[[bytes], Heard | None]

SO_BINDTODEVICE = 25
RECEIVE_BUFFER_BYTES = 4 << 20
DATAGRAM_BYTES_MAX = 4096
DATAGRAMS_AT_ONCE = 256
IN_FLIGHT_MAX = 256
CONNECTION_AGE_MAX_S = 1.0
HEAD_BYTES_MAX = 16384
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Client(Protocol):
    def send(self, n: int, payload: bytes) -> None: ...
    def wait(self, seconds: float) -> None: ...
    def receive(self) -> list[tuple[Heard, float]]: ...
    def close(self) -> None: ...


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _bind_to(sock: socket.socket, interface: str) -> None:
    if interface:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode() + b"\0")


class UdpClient:
    """One connected UDP socket for all requests."""

    def __init__(self, address: str, port: int, parse: Parse, interface: str = "") -> None:
        self._parse = parse
        self._socket = socket.socket(_family(address), socket.SOCK_DGRAM)
        _bind_to(self._socket, interface)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._peer = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][4]
        self._connected = False

    def send(self, n: int, payload: bytes) -> None:
        try:
            if not self._connected:
                # Connecting fails while there is no route; then again with the next request.
                self._socket.connect(self._peer)
                self._connected = True
            self._socket.send(payload)
        except OSError:
            return

    def wait(self, seconds: float) -> None:
        # select, because its time limit is finer than epoll's whole milliseconds.
        select.select([self._socket], [], [], seconds)

    def receive(self) -> list[tuple[Heard, float]]:
        found: list[tuple[Heard, float]] = []
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                data = self._socket.recv(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error about an earlier request
            heard = self._parse(data)
            if heard is not None:
                found.append((heard, time.monotonic()))
        return found

    def close(self) -> None:
        self._socket.close()


class HttpClient:
    """A new TCP connection for each request, at most `IN_FLIGHT_MAX` at once.

    When all are taken the oldest is given up, so that an outage never keeps the next request from being sent.
    """

    def __init__(self, address: str, port: int, path: str = "/", interface: str = "") -> None:
        self._family = _family(address)
        self._peer = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][4]
        self._interface = interface
        self._request = http_request(address, path)
        self._epoll = select.epoll()
        self._by_number: dict[int, tuple[socket.socket, float]] = {}
        """In the order of sending: the first is the oldest."""
        self._by_handle: dict[int, int] = {}
        self._heads: dict[int, bytes] = {}

    def send(self, n: int, payload: bytes) -> None:
        if len(self._by_number) >= IN_FLIGHT_MAX:
            self._drop(next(iter(self._by_number)))
        try:
            sock = socket.socket(self._family, socket.SOCK_STREAM)
        except OSError:
            return
        try:
            _bind_to(sock, self._interface)
            sock.setblocking(False)
            # Closing resets the connection: a closed one must not occupy its port for a minute afterwards.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            sock.connect(self._peer)
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            return
        self._epoll.register(sock.fileno(), select.EPOLLOUT)
        self._by_number[n] = (sock, time.monotonic())
        self._by_handle[sock.fileno()] = n

    def wait(self, seconds: float) -> None:
        # An epoll handle can itself be waited for, with the finer time limit of select.
        select.select([self._epoll.fileno()], [], [], seconds)

    def receive(self) -> list[tuple[Heard, float]]:
        found: list[tuple[Heard, float]] = []
        for handle, events in self._epoll.poll(0):
            n = self._by_handle[handle]
            sock, _ = self._by_number[n]
            try:
                heard = self._go_on(n, sock, events)
            except OSError:
                self._drop(n)
                continue
            if heard is not None:
                found.append((heard, time.monotonic()))
                self._drop(n)
        self._drop_old(time.monotonic() - CONNECTION_AGE_MAX_S)
        return found

    def _go_on(self, n: int, sock: socket.socket, events: int) -> Heard | None:
        if events & select.EPOLLOUT and n not in self._heads:
            sock.send(self._request)
            self._heads[n] = b""
            self._epoll.modify(sock.fileno(), select.EPOLLIN)
            return None
        data = sock.recv(HEAD_BYTES_MAX)
        self._heads[n] = self._heads.get(n, b"") + data
        heard = http_answer(n, self._heads[n])
        if heard is None and (not data or len(self._heads[n]) > HEAD_BYTES_MAX):
            raise ConnectionError("ended before the answer was complete")
        return heard

    def _drop_old(self, before: float) -> None:
        old = []
        for n, (_, begun_at) in self._by_number.items():
            if begun_at >= before:
                break
            old.append(n)
        for n in old:
            self._drop(n)

    def _drop(self, n: int) -> None:
        sock, _ = self._by_number.pop(n)
        self._by_handle.pop(sock.fileno(), None)
        self._heads.pop(n, None)
        self._epoll.unregister(sock.fileno())
        sock.close()

    def close(self) -> None:
        for n in list(self._by_number):
            self._drop(n)
        self._epoll.close()
