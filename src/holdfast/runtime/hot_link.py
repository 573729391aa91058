"""The hot process's end of its link to the agent: it listens on a UNIX seqpacket socket, for one agent at a time.

In: messages to tell. Out: commands. Always: nothing here waits. What the agent does not read is kept up to a bound,
then dropped and counted; a newer connection replaces the older one, because an agent that starts again must not wait
for its former life. `connected` is the agent's end.
"""

import socket
from collections import deque
from pathlib import Path
from typing import Protocol

from holdfast.model.reading import UNREADABLE
from holdfast.runtime import sockets
from holdfast.runtime.hot_words import (
    LINK_QUEUE_MAX,
    PACKET_BYTES_MAX,
    HotCommand,
    HotEvent,
    command,
    packed,
)

_BACKLOG = 4


class Connection(Protocol):
    """What is needed of a packet socket; nothing of it waits."""

    def fileno(self) -> int: ...

    def send(self, packet: bytes, /) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def setblocking(self, flag: bool, /) -> None: ...

    def close(self) -> None: ...


class Listener(Protocol):
    def fileno(self) -> int: ...

    def accept(self) -> tuple[Connection, object]: ...

    def close(self) -> None: ...


class HotLink:
    """Listens at `path`, and speaks with whoever connected last."""

    def __init__(self, path: Path, listener: Listener | None = None) -> None:
        """Listens at `path`, by a listener that is open already or one of the kernel's."""
        self._path = path
        self.listener: Listener = listener if listener is not None else _listening(path)
        self.connection: Connection | None = None
        self._waiting: deque[bytes] = deque()
        self.dropped = 0
        self.has_gap = False
        """Messages were dropped since the last `Standing`."""

    def accept(self) -> bool:
        """Take a new connection, if there is one; what waited for the former one is thrown away."""
        try:
            fresh, _ = self.listener.accept()
        except OSError:
            return False
        self.disconnect()
        fresh.setblocking(False)
        self.connection = fresh
        return True

    def disconnect(self) -> None:
        """Let go of the agent, if one is there."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self._waiting.clear()
        self.has_gap = False

    def tell(self, event: HotEvent) -> None:
        """Tell it now, or keep it while there is room, or drop it; without an agent it is told to nobody."""
        if self.connection is None:
            return
        if len(self._waiting) >= LINK_QUEUE_MAX:
            self.dropped += 1
            self.has_gap = True
            return
        self._waiting.append(packed(event))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the agent reads."""
        while self._waiting and self.connection is not None:
            try:
                self.connection.send(self._waiting[0])
            except BlockingIOError:
                return
            except OSError:
                self.disconnect()
                return
            self._waiting.popleft()

    @property
    def is_drained(self) -> bool:
        return not self._waiting

    def read(self) -> HotCommand | None:
        """The next command, None when there is none. An agent that goes, or speaks nonsense, is let go."""
        if self.connection is None:
            return None
        try:
            packet = self.connection.recv(PACKET_BYTES_MAX)
        except BlockingIOError:
            return None
        except OSError:
            packet = b""
        try:
            return command(packet)
        except UNREADABLE:
            self.disconnect()
            return None

    def close(self) -> None:
        self.disconnect()
        self.listener.close()
        self._path.unlink(missing_ok=True)


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        listener.setblocking(False)
        with sockets.short(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def connected(path: Path, limit_s: float | None = None) -> socket.socket:
    """The agent's end, connected: not blocking, or with a time limit on every call."""
    return sockets.connected(path, limit_s, socket.SOCK_SEQPACKET)
