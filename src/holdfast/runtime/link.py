"""One end of a link in an event loop: bytes from the socket in, messages out, and back.

`Link` proves itself and checks the peer before it lets any message through; a peer that breaks the
protocol, or lets too much pile up unread, is cut off. `KeptLink` connects again and again until it is
closed. All calls to the owner come from the loop; nothing waits between receiving and handing on.
"""

import asyncio
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from holdfast.errors import PeerError, words_of
from holdfast.model.limits import (
    HANDSHAKE_LIMIT_S,
    LINK_BUFFER_BYTES_MAX,
    LINK_REFUSED_RETRY_S,
    LINK_RETRY_S,
    OTHER_PLACE_AFTER_S,
    STRANGERS_MAX,
)
from holdfast.model.names import Party
from holdfast.runtime.sockets import Endpoint, Place
from holdfast.runtime.streams import SOCKETS, Listening, Streams
from holdfast.wire.frames import FrameReader, FrameWriter
from holdfast.wire.handshake import NONCE_BYTES, Calling
from holdfast.wire.handshake import Listening as Answering
from holdfast.wire.link_messages import LinkMessage, decoded, encoded

LINK_CUT = "link-cut"
"""Name of the mark in the journal of an owner whose open link was cut."""


SAY_AGAIN_S = 60.0
SAID_MAX = 1000
SAID: dict[str, float] = {}
"""When each text was written to standard error."""


class Owner(Protocol):
    """Who is told what happens on a link."""

    def link_opened(self, link: "Link") -> None: ...

    def link_received(self, link: "Link", message: LinkMessage) -> None: ...

    def link_closed(self, link: "Link") -> None:
        """Called once for each link that was opened; `link.trouble` says why, if it was cut."""
        ...


class Door:
    """Callers that have not proved yet who they are: a bounded number, so that they keep nobody else out."""

    def __init__(self, refused: Callable[[str], None]) -> None:
        """
        Args:
            refused: hears the kind of each refusal.
        """
        self.refused = refused
        self._strangers: dict[Link, None] = {}

    def came(self, link: "Link") -> None:
        self._strangers[link] = None
        if len(self._strangers) > STRANGERS_MAX:
            first = next(iter(self._strangers))
            first.give_up(PeerError(f"more than {STRANGERS_MAX} callers that have not proved themselves", kind="crowd"))
            self.went(first)

    def went(self, link: "Link") -> None:
        self._strangers.pop(link, None)


class Link(asyncio.Protocol):
    """One end of one connection."""

    def __init__(self, handshake: Calling | Answering, owner: Owner, door: Door | None = None) -> None:
        """
        Args:
            door: through which it came, for the end that was called.
        """
        self._handshake = handshake
        self._owner = owner
        self._door = door
        self._reader, self._writer = FrameReader(), FrameWriter()
        self._transport: asyncio.Transport | None = None
        self._limit: asyncio.TimerHandle | None = None
        self.is_open = False
        self._is_let_go = False
        self.opened_s = -math.inf
        self.is_refused = False
        """One end could not prove itself to the other, or something else came than was sent."""
        self.is_unwanted = False
        """Cut by its owner, with both ends as they should be."""
        self.trouble = ""
        """Why it was cut: what came is not what was sent, or is no message, or the peer does not read."""
        self.fell_silent = False
        """It broke because nothing came through any more; not because the other end closed it."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def peer(self) -> Party:
        return self._handshake.peer

    @property
    def is_local(self) -> bool:
        """Whether the other end is on this host."""
        if self._transport is None:
            return False
        own, other = (self._transport.get_extra_info(end) for end in ("sockname", "peername"))
        # A TCP end is its address and port; a UNIX socket's is a path, and never of another host.
        return bool(own[0] == other[0]) if isinstance(own, tuple) else own is not None

    def send(self, message: LinkMessage) -> None:
        """Write the message out; without effect on a link that is not open."""
        if not self.is_open or self._is_let_go or self._transport is None:
            return
        self._write(encoded(message))
        if self._transport.get_write_buffer_size() > LINK_BUFFER_BYTES_MAX:
            # A peer that is stopped for long: it gets all it needs to know when it connects again.
            self.give_up(PeerError(f"{self.peer} does not read what it is sent", kind="unread"))

    def _write(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(self._writer.frame(payload))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def refuse(self, why: str) -> None:
        """Cut it: its owner cannot work with the other end. It is not called again at once."""
        self.is_refused = self.is_unwanted = True
        self.give_up(PeerError(why))

    def abort(self) -> None:
        """Let go at once, also of what is not connected yet: what was not sent yet is lost."""
        self._is_let_go = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._is_let_go:
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        no_proof = PeerError("no proof within the limit", kind="no-proof")
        self._limit = loop.call_later(HANDSHAKE_LIMIT_S, self.give_up, no_proof)
        if self._door is not None:
            self._door.came(self)
        if (first := self._handshake.first()) is not None:
            self._write(first)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (payload := self._reader.next()) is not None:
                if self._handshake.is_done:
                    self._owner.link_received(self, decoded(payload))
                else:
                    self._introduce(payload)
        except PeerError as error:
            self.is_refused = True
            self.give_up(error)

    def _introduce(self, payload: bytes) -> None:
        answer = self._handshake.answer(payload)
        if answer is not None:
            self._write(answer)
        if self._handshake.keys is not None:
            if self._limit is not None:
                self._limit.cancel()
            # The caller signs what follows its proof, and the listener what follows its welcome.
            self._writer.seal(self._handshake.keys.sends)
            self._reader.seal(self._handshake.keys.hears)
            if self._door is not None:
                self._door.went(self)
            self.is_open = True
            self.opened_s = asyncio.get_running_loop().time()
            self._owner.link_opened(self)

    def give_up(self, error: PeerError) -> None:
        """Cut it, and count it if it came from outside."""
        if self._door is not None and not self.is_unwanted:
            self._door.refused(error.kind)
        _say(f"link with {self.peer or 'somebody'} cut: {error.message}")
        self.trouble = error.message
        if self._handshake.farewell is not None:
            self._write(self._handshake.farewell)
            self.close()
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        if self._door is not None:
            self._door.went(self)
        if isinstance(self._handshake, Answering) and self.peer and not (self._handshake.is_done or self.trouble):
            _say(f"link with {self.peer} ended before its proof: perhaps it knows another key")
            if self._door is not None:
                self._door.refused("no-proof")
        self.fell_silent = isinstance(exc, OSError) and not isinstance(exc, ConnectionError)
        if not self.ended.done():
            self.ended.set_result(None)
        if self.is_open:
            self.is_open = False
            self._owner.link_closed(self)


def _say(text: str) -> None:
    """For the journal of systemd; not again with each new attempt."""
    now = asyncio.get_running_loop().time()
    if now - SAID.get(text, -SAY_AGAIN_S) >= SAY_AGAIN_S:
        if len(SAID) >= SAID_MAX:
            SAID.clear()
        SAID[text] = now
        sys.stderr.write(f"{text}\n")


async def listen(
    place: Place,
    key: bytes,
    me: Party,
    owner: Owner,
    streams: Streams = SOCKETS,
    refused: Callable[[str], None] = lambda _: None,
) -> Listening:
    """Accept links there; every one is handed to `owner` once its caller is known.

    Args:
        refused: hears the kind of each caller, or of what one said, that was refused.
    """
    door = Door(refused)
    return await streams.listen(place, lambda: Link(Answering(key, me, os.urandom(NONCE_BYTES)), owner, door))


class KeptLink:
    """Calls `to` at one of its places, and calls again whenever the link breaks, until closed.

    After a link that fell silent, and after a call that was not answered, the next place is tried.
    """

    def __init__(
        self, places: Sequence[Place], key: bytes, me: Party, to: Party, owner: Owner, streams: Streams = SOCKETS
    ) -> None:
        self._places = deque(places)
        """The first one is in use, or is being called."""
        self._streams = streams
        self._key = key
        self._owner = owner
        self.me = me
        self.to = to
        self.link: Link | None = None
        self._called: Link | None = None
        """Of the last call, connected or not: the other end may be slow to prove itself, and then we have given up."""
        self._trouble = ""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"{me} calls {to}")

    async def _keep(self) -> None:
        while True:
            pause, is_next = LINK_RETRY_S, False
            try:
                self.link = await self._call()
                await asyncio.shield(self.link.ended)
                is_next, self._trouble = self.link.fell_silent, self.link.trouble
                if self.link.is_refused:
                    pause = LINK_REFUSED_RETRY_S
            except OSError as error:
                place = self._places[0]
                where = f"{place.address} port {place.port}" if isinstance(place, Endpoint) else str(place)
                self._trouble = f"{words_of(error) or 'no answer'} ({where})"
                is_next = True  # Nobody listens there yet, or nothing gets there; that is what the loop is for.
            self._places.rotate(-1 if is_next else 0)
            await asyncio.sleep(pause)

    @property
    def trouble(self) -> str:
        """Why the last attempt came to nothing; empty while the link is open."""
        return "" if self.link is not None and self.link.is_open else self._trouble

    @property
    def opened_s(self) -> float:
        """Since when the link is open, on the loop's clock; long ago where it is not."""
        return self.link.opened_s if self.link is not None and self.link.is_open else -math.inf

    def again(self) -> None:
        """Do not wait for what is under way: break the link, or the attempt at one, and call anew at once."""
        self._task.cancel()
        if self._called is not None:
            self._called.abort()
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"{self.me} calls {self.to}")

    def avoid(self, place: Place) -> None:
        """It is known that nothing gets through there: if it is in use, call elsewhere at once."""
        if self._places[0] == place and len(self._places) > 1:
            self._places.rotate(-1)
            self.again()

    async def _call(self) -> Link:
        limit_s = HANDSHAKE_LIMIT_S if len(self._places) == 1 else OTHER_PLACE_AFTER_S
        return await self._streams.call(self._places[0], self._caller, limit_s)

    def _caller(self) -> Link:
        self._called = Link(Calling(self._key, self.me, self.to, os.urandom(NONCE_BYTES)), self._owner)
        return self._called

    def send(self, message: LinkMessage) -> bool:
        """Whether the link was open and the message is on its way."""
        if self.link is None or not self.link.is_open:
            return False
        self.link.send(message)
        return True

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._called is not None and self._called is not self.link:
            self._called.abort()
        if self.link is not None:
            self.link.close()
            await self.link.ended
