"""The component socket of a host: where components say who they are and are told their roles.

In: connections and bytes (wire/component makes messages of them). Out: calls on the listener that a component's name
belongs to. What always holds: each request ends within its limit, in an answer or a WorldError; a component
that breaks the protocol or floods us loses its connection, and its listener hears why.
"""

import asyncio
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from holdfast.errors import PeerError, UserError, WorldError
from holdfast.model.limits import (
    COMPONENT_CALLS_PER_S_MAX,
    COMPONENT_HELLO_LIMIT_S,
    COMPONENT_LINES_PER_S_MAX,
    COMPONENT_NEWS_PER_S_MAX,
    COMPONENT_SILENT_MAX,
)
from holdfast.runtime.streams import SOCKETS, Listening, Streams
from holdfast.wire import component as wire

SOCKET_PATH_BYTES_MAX = 107


class Listener(Protocol):
    """Who a component belongs to."""

    def joined(self, session: "Session", hello: wire.Hello) -> None: ...

    def left(self, session: "Session") -> None: ...

    def heard(self, message: wire.Unwell | wire.Lost | wire.Synced) -> None: ...

    def broke_protocol(self, why: str) -> None: ...


Refused = Callable[[PeerError, Listener | None], None]
"""Hears of what was refused, and whose it was, if it belongs to one of ours."""


class _Pace:
    """So many within a second, and no more."""

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._since_s = -math.inf
        self._counted = 0

    def count(self) -> None:
        """PeerError for one too many."""
        now = asyncio.get_running_loop().time()
        if now - self._since_s >= 1.0:
            self._since_s, self._counted = now, 0
        self._counted += 1
        if self._counted > self._most:
            raise PeerError(f"more than {self._most} {self._what} within a second", kind="flood")


class Asked(NamedTuple):
    """A request that was sent."""

    request: wire.Request
    answer: asyncio.Future[wire.Answer]


class Session(asyncio.Protocol):
    """The connection of one component."""

    def __init__(self, door: "ComponentDoor") -> None:
        self._door = door
        self._decoder = wire.from_component()
        self._transport: asyncio.Transport | None = None
        self._listener: Listener | None = None
        self._number = 0
        self._answers: dict[int, asyncio.Future[wire.Answer]] = {}
        self._lines = _Pace(COMPONENT_LINES_PER_S_MAX, "lines")
        self._news = _Pace(COMPONENT_NEWS_PER_S_MAX, "losses and returns of standbys")
        self._limit: asyncio.TimerHandle | None = None
        self.whose: Listener | None = None
        """Whom the process that connected belongs to."""

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        silent = PeerError(f"no hello within {COMPONENT_HELLO_LIMIT_S:g} s", kind="no-hello")
        self._limit = loop.call_later(COMPONENT_HELLO_LIMIT_S, self.refuse, silent)
        self._door.admit(self)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                self._lines.count()
                self._take(message)
        except PeerError as error:
            self._break(error)

    def connection_lost(self, _error: Exception | None) -> None:
        self._heard_hello()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WorldError("the component has closed its connection"))
        self._answers.clear()
        self._door.dismiss(self)
        if self._listener is not None:
            self._listener.left(self)

    # --- what components say

    def _take(self, message: wire.FromComponent) -> None:
        if isinstance(message, wire.Hello):
            self._greet(message)
        elif self._listener is None:
            raise PeerError("the first line must be hello")
        elif isinstance(message, wire.Lost | wire.Synced) or (isinstance(message, wire.Unwell) and message.id is None):
            self._news.count()
            self._listener.heard(message)
        else:
            answer = self._answers.pop(message.id or 0, None)
            if answer is not None and not answer.done():  # else it came too late
                answer.set_result(message)

    def _greet(self, hello: wire.Hello) -> None:
        if hello.version != wire.VERSION:
            spoken = f"the component speaks version {hello.version} of the protocol, expected {wire.VERSION}"
            raise PeerError(spoken, kind="version")
        listener = self._door.recognise(hello.name, self.peer_pid())
        if listener is None:
            raise PeerError(f"nothing of the name {hello.name[:60]!r} runs here", kind="nobody")
        if self._listener is not None and self._listener is not listener:
            raise PeerError(f"says that it is {hello.name[:60]!r} on the connection of another one")
        self._listener = listener
        self._heard_hello()
        self._door.greeted(self)
        self._send(wire.Welcome())
        listener.joined(self, hello)

    def peer_pid(self) -> int:
        """Who connected, as the kernel says."""
        assert self._transport is not None
        return self._door.streams.caller_pid(self._transport)

    def _heard_hello(self) -> None:
        if self._limit is not None:
            self._limit.cancel()

    def _break(self, error: PeerError) -> None:
        self.refuse(error)
        if self._listener is not None:
            self._listener.broke_protocol(error.message)

    def refuse(self, error: PeerError) -> None:
        """Hang up, and have it counted."""
        self.close()
        self._door.refused(error, self._listener or self.whose)

    # --- what the agent says

    def ask(self, make: Callable[[int], wire.Request]) -> "Asked":
        """Send a request."""
        self._number += 1
        request = make(self._number)
        self._send(request)
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        return Asked(request, answer)

    async def answer_to(self, asked: "Asked", limit_s: float) -> wire.Ok:
        """Wait for its `ok`; anything else is a WorldError."""
        request, answer = asked
        word = type(request).__name__
        try:
            async with asyncio.timeout(limit_s):
                given = await answer
        except TimeoutError:
            raise WorldError(f"no answer to {word} within {limit_s:g} s") from None
        finally:
            self._answers.pop(request.id, None)
        if not isinstance(given, wire.Ok):
            raise WorldError(f"answered {word} with: {given.reason}")
        return given

    def _send(self, message: wire.FromAgent) -> None:
        if self._transport is None or self._transport.is_closing():
            raise WorldError("the component is not connected")
        self._transport.write(wire.encode(message))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class ComponentDoor:
    """Listens on the component socket."""

    def __init__(
        self,
        path: Path,
        recognise: Callable[[str, int], Listener | None],
        whose: Callable[[int], Listener | None],
        refused: Refused,
        streams: Streams = SOCKETS,
    ) -> None:
        """
        Args:
            recognise: the listener for a component of this name whose process is this one; None for nobody of ours.
            whose: whom of ours this process belongs to, whatever it calls itself.
            refused: hears why a connection was closed.
        """
        self.path = path
        self.streams = streams
        self.recognise = recognise
        self.refused = refused
        self._whose = whose
        self._sessions: dict[Session, None] = {}
        self._silent: dict[Listener | None, dict[Session, None]] = {}
        """Connections that have not said hello yet, by whom they belong to: nobody takes the place of another."""
        self._calls: dict[Listener | None, _Pace] = {}
        self._server: Listening | None = None

    async def open(self) -> None:
        if len(os.fsencode(self.path)) > SOCKET_PATH_BYTES_MAX:
            raise UserError(
                f"the path {self.path} is too long for a socket (at most {SOCKET_PATH_BYTES_MAX} bytes)",
                "choose a run folder with a shorter path (HOLDFAST_RUN)",
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._server = await self.streams.listen(self.path, lambda: Session(self))

    def admit(self, session: Session) -> None:
        whose = session.whose = self._whose(session.peer_pid())
        self._sessions[session] = None
        silent = self._silent.setdefault(whose, {})
        silent[session] = None
        try:
            self._calls.setdefault(whose, _Pace(COMPONENT_CALLS_PER_S_MAX, "connections")).count()
        except PeerError as error:
            session.refuse(error)
            if whose is not None:
                whose.broke_protocol(error.message)
            return
        if len(silent) > COMPONENT_SILENT_MAX:
            first = next(iter(silent))
            crowd = f"more than {COMPONENT_SILENT_MAX} connections without a hello"
            first.refuse(PeerError(crowd, kind="crowd"))
            self.greeted(first)

    def greeted(self, session: Session) -> None:
        silent = self._silent.get(session.whose, {})
        silent.pop(session, None)
        if not silent:
            self._silent.pop(session.whose, None)

    def dismiss(self, session: Session) -> None:
        self._sessions.pop(session, None)
        self.greeted(session)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for session in tuple(self._sessions):
            session.close()
        while self._sessions:
            await asyncio.sleep(0)
        self.path.unlink(missing_ok=True)
