"""The standby's side of replication: keeps a connection with the active and hands on what it says.

In: where the active is. Out: changes of the state, in order. What always holds: what is sent back is sent
after the changes were carried out; an active that cannot be reached, is silent or breaks the protocol is
tried again until the role changes.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable

from holdfast.errors import UserError
from holdfast.state.follower import Change, Follower
from holdfast.vnfc.loop import Loop, Timer
from holdfast.vnfc.sockets import Connection
from holdfast.vnfc.stream import Stream

RETRY_S = 0.02
SILENCES_ENDURED = 3
"""The active is heard several times in each silence limit; after this many of them it is tried anew."""


class Following:
    def __init__(
        self, loop: Loop, follower: Follower, peer: str, silence_s: float, carry_out: Callable[[Change], None]
    ) -> None:
        self._loop = loop
        self._follower = follower
        self._family, self._target = _place(peer)
        self._endured_s = silence_s * SILENCES_ENDURED
        self._carry_out = carry_out
        self._connecting: Connection | None = None
        self._stream: Stream | None = None
        self._retry: Timer | None = None
        self._patience: Timer | None = None
        self._complaint = ""
        self._heard_at = loop.now()
        self._connect()

    def close(self) -> None:
        self._drop()
        for timer in (self._retry, self._patience):
            if timer is not None:
                timer.cancel()
        self._retry = self._patience = None

    def _connect(self) -> None:
        connection, status = self._loop.sockets.call(self._family, self._target)
        if status not in (0, errno.EINPROGRESS):
            connection.close()
            self._again(os.strerror(status))
            return
        self._connecting = connection
        self._loop.on_writable(connection, self._connected)
        self._heard_at = self._loop.now()
        self._watch()

    def _connected(self) -> None:
        connection, self._connecting = self._connecting, None
        if connection is None:
            return
        self._loop.forget(connection)
        status = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            connection.close()
            self._again(os.strerror(status))
            return
        self._stream = Stream(self._loop, connection, self._received, self._again)
        self._stream.send(self._follower.greet())

    def _received(self, data: bytes) -> None:
        self._heard_at = self._loop.now()
        heard = self._follower.received(data)
        for change in heard.changes:
            self._carry_out(change)
        if heard.broken:
            self._again(heard.broken)
        elif heard.answer and self._stream is not None:
            self._stream.send(heard.answer)

    def _watch(self) -> None:
        if self._loop.now() - self._heard_at > self._endured_s:
            self._again("silent")
        else:
            self._patience = self._loop.call_later(self._endured_s / SILENCES_ENDURED, self._watch)

    def _again(self, why: str) -> None:
        if why != self._complaint:
            self._complaint = why
            print(f"following {self._target[0]}: {why}", file=sys.stderr, flush=True)
        self.close()
        self._retry = self._loop.call_later(RETRY_S, self._connect)

    def _drop(self) -> None:
        if self._connecting is not None:
            self._loop.forget(self._connecting)
            self._connecting.close()
            self._connecting = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _place(peer: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """`10.0.0.1:7001` or `[fd00::1]:7001`."""
    host, sign, port = peer.rpartition(":")
    if not sign or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UserError(f"{peer!r} is not the address of a replication port", "expected one like 10.0.0.1:7001")
    host = host.removeprefix("[").removesuffix("]")
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))
