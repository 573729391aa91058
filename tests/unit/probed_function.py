"""A function for the probe to ask, on loopback, in a thread: registry or DNS over UDP, or HTTP.

It can be silent for a while, forget updates, change its owner, and counts what it was asked.
"""

import contextlib
import os
import socket
import struct
import threading
from types import TracebackType

from holdfast.lab.probe import REALTIME_PRIORITY

SO_RCVBUFFORCE = 33
ROOM_BYTES = 32 << 20
LIMIT_S = 60.0


class Function:
    """Base: a socket on a free port, a thread that answers until the end of the `with` block."""

    def __init__(self, address: str = "127.0.0.1", kind: int = socket.SOCK_DGRAM) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address = address
        self.socket = socket.socket(family, kind)
        with contextlib.suppress(PermissionError):
            # A function that a busy machine lets wait finds all requests there afterwards.
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM_BYTES)
        self.socket.bind((address, 0))
        self.port: int = self.socket.getsockname()[1]
        self.owner, self.epoch = "one", 1
        self.is_silent = False
        self.updates: dict[str, str] = {}
        self.asked = 0
        self._keeps_from = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve_first_of_all)

    def __enter__(self) -> "Function":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.shutdown(socket.SHUT_RDWR) if self.socket.type == socket.SOCK_STREAM else self._wake()
        self._thread.join(10)
        self.socket.close()

    def _wake(self) -> None:
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", (self.address, self.port))

    def count(self) -> None:
        with self._changed:
            self.asked += 1
            self._changed.notify_all()

    def wait_for(self, more: int) -> None:
        """Until `more` further requests have come."""
        with self._changed:
            target = self.asked + more
            assert self._changed.wait_for(lambda: self.asked >= target, LIMIT_S)

    def keep_from_answering(self, requests: int) -> None:
        """The next so many requests, neither more nor less, get no answer; waits for all of them."""
        with self._changed:
            self._keeps_from = requests
        with self._changed:
            assert self._changed.wait_for(lambda: self._keeps_from == 0, LIMIT_S)

    def _is_kept(self) -> bool:
        with self._changed:
            if self._keeps_from == 0:
                return self.is_silent
            self._keeps_from -= 1
            self._changed.notify_all()
            return True

    def _serve_first_of_all(self) -> None:
        """As quickly as the probe asks: that a machine is busy must not look like an outage."""
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
        self._serve()

    def _serve(self) -> None:
        while True:
            data, peer = self.socket.recvfrom(4096)
            if not data:
                return
            answer = None if self._is_kept() else self.answer(data)
            if answer is not None:
                self.socket.sendto(answer, peer)
            self.count()

    def answer(self, data: bytes) -> bytes | None:
        raise AssertionError("each function answers in its own way")


class Registry(Function):
    def answer(self, data: bytes) -> bytes | None:
        number, verb, key, *value = data.decode().split()
        if verb == "put":
            self.updates[key] = value[0]
            return f"{number} ok {self.owner} {self.epoch}".encode()
        found = self.updates.get(key)
        if found is None:
            return f"{number} none {self.owner} {self.epoch}".encode()
        return f"{number} ok {self.owner} {self.epoch} {found}".encode()


class Dns(Function):
    def answer(self, data: bytes) -> bytes | None:
        text = f"owner={self.owner} epoch={self.epoch}".encode()
        rdata = bytes([len(text)]) + text
        record = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 0, len(rdata)) + rdata
        return data[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0) + data[12:] + record


class Http(Function):
    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__(address, socket.SOCK_STREAM)
        self.socket.listen(512)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    connection.recv(4096)
                    head = f"HTTP/1.1 200 OK\r\nX-Holdfast-Owner: {self.owner}\r\nX-Holdfast-Epoch: {self.epoch}\r\n"
                    connection.sendall((head + "Content-Length: 2\r\n\r\nok").encode())
                    connection.recv(1)
                except OSError:
                    pass  # the probe gave the connection up
            self.count()
