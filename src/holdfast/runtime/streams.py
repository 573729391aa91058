"""Connections of an event loop, as a contract: who listens somewhere, who calls there.

`Sockets` is the kernel's, `lab/sim/streams.py` has another one. What rides on a connection (asyncio protocols) does not
know which it is.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from holdfast.runtime.sockets import Place, connected, listening, notice_silence

_CREDENTIALS = struct.Struct("3i")
Rider = TypeVar("Rider", bound=asyncio.Protocol)


class Listening(Protocol):
    """A place where calls are taken."""

    def close(self) -> None:
        """Take no more calls; connections that are open stay."""


class Streams(Protocol):
    async def listen(self, place: Place, made: Callable[[], asyncio.Protocol]) -> Listening:
        """Take calls there, each with a protocol of its own. OSError when that is not possible."""

    async def call(self, place: Place, made: Callable[[], Rider], limit_s: float) -> Rider:
        """Connect to who listens there. OSError (TimeoutError among them) when nobody answers."""

    def caller_pid(self, transport: asyncio.BaseTransport) -> int:
        """Who has called a place that is a path, as the kernel says."""


class Sockets:
    """The kernel's."""

    async def listen(self, place: Place, made: Callable[[], asyncio.Protocol]) -> Listening:
        loop = asyncio.get_running_loop()
        if isinstance(place, Path):
            return await loop.create_unix_server(made, sock=listening(place))
        return await loop.create_server(made, sock=listening(place))

    async def call(self, place: Place, made: Callable[[], Rider], limit_s: float) -> Rider:
        loop = asyncio.get_running_loop()
        if isinstance(place, Path):
            return (await loop.create_unix_connection(made, sock=connected(place)))[1]
        async with asyncio.timeout(limit_s):
            transport, rider = await loop.create_connection(made, *place)
        notice_silence(transport.get_extra_info("socket"))
        return rider

    def caller_pid(self, transport: asyncio.BaseTransport) -> int:
        taken = transport.get_extra_info("socket")
        pid: int = _CREDENTIALS.unpack(taken.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        return pid


SOCKETS = Sockets()
