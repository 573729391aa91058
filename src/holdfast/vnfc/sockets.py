"""The sockets of a component, as a contract: the kernel's here, others where a component runs in a simulated world.

Nothing here waits: a call that would is answered by BlockingIOError, as by a socket of the kernel.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

CALLERS_MAX = 16


class Connection(Protocol):
    def fileno(self) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def send(self, data: bytes | bytearray, /) -> int: ...

    def getsockopt(self, level: int, option: int, /) -> int: ...

    def getsockname(self) -> Any: ...

    def accept(self) -> tuple[Connection, Any]: ...

    def close(self) -> None: ...


class Sockets(Protocol):
    def reach(self, path: str) -> Connection:
        """Connected with who listens at the path; OSError when nobody does."""

    def call(self, family: int, target: tuple[str, int]) -> tuple[Connection, int]:
        """A connection on its way, and what the kernel says of it (0, EINPROGRESS, or why it will not be)."""

    def listen(self, port: int) -> Connection:
        """Where others may connect, on every address of this VM; OSError when that cannot be."""


class KernelSockets:
    def reach(self, path: str) -> Connection:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.setblocking(False)
        try:
            opened.connect(path)
        except OSError:
            opened.close()
            raise
        return opened

    def call(self, family: int, target: tuple[str, int]) -> tuple[Connection, int]:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        return connection, connection.connect_ex(target)

    def listen(self, port: int) -> Connection:
        """IPv6 included where there is any."""
        try:
            return _bound(socket.AF_INET6, "::", port)
        except OSError:
            return _bound(socket.AF_INET, "0.0.0.0", port)


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(CALLERS_MAX)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def no_delay(connection: Connection) -> None:
    """Send small pieces at once, and never wait; of a connection that is the kernel's."""
    if isinstance(connection, socket.socket):
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
