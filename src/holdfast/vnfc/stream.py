"""A TCP connection in the component's loop: bytes in by a callback, bytes out by a bounded buffer.

What always holds: `ended` is called once, unless the owner closes the stream itself.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.vnfc.loop import Loop
from holdfast.vnfc.sockets import Connection, no_delay

READ_BYTES = 256 * 1024
UNSENT_BYTES_MAX = 64 << 20
"""A peer that leaves this much unread is too slow to be of use."""

Received = Callable[[bytes], None]
Ended = Callable[[str], None]


class Stream:
    def __init__(self, loop: Loop, connection: Connection, received: Received, ended: Ended) -> None:
        self._loop = loop
        self._socket: Connection | None = connection
        self._received = received
        self._ended = ended
        self._unsent = bytearray()
        no_delay(connection)
        loop.on_readable(connection, self._read)

    def send(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            if len(self._unsent) > UNSENT_BYTES_MAX:
                self._end("it does not read what it is sent")
            return
        self._write(data)

    def close(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket)
            self._socket.close()
            self._socket = None

    def _write(self, data: bytes) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            why = str(error)
            # Not from within the caller's call: it may be in the middle of something.
            self._loop.call_soon(lambda: self._end(why))
            return
        if sent < len(data):
            self._unsent += data[sent:]
            self._loop.on_writable(self._socket, self._flush)

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(str(error))
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.on_writable(self._socket, None)

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(str(error))
            return
        if data:
            self._received(data)
        else:
            self._end("closed by the other side")

    def _end(self, why: str) -> None:
        if self._socket is not None:
            self.close()
            self._ended(why)
