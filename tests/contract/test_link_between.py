"""Somebody between a manager and an agent changes what they say: the link is cut, and nothing of it is done."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.model.actions import IsolateVnfc
from holdfast.model.events import VnfcFailed
from holdfast.model.layout import Layout
from holdfast.model.names import HA, ActionId, agent_party
from holdfast.model.records import Marked
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.link import LINK_CUT, Link
from holdfast.runtime.sockets import listening
from holdfast.runtime.streams import SOCKETS
from holdfast.store.journal import read
from holdfast.wire.frames import FrameReader, FrameWriter
from holdfast.wire.handshake import NONCE_BYTES, PROTOCOL, Calling, Hello, Welcome
from holdfast.wire.link_messages import Do, Leads, LinkMessage
from tests.contract.fakes import DNS_1, H1, make_folder, small_layout, until
from tests.contract.test_managers import KEY, an_agent

LIMIT_S = 60.0
PIECE_BYTES = 1 << 16
Change = Callable[[bytes], bytes]


@pytest.fixture
def layout() -> Layout:
    return small_layout()


@pytest.fixture
def folder(tmp_path: Path, layout: Layout) -> RunFolder:
    return make_folder(tmp_path, layout)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, LIMIT_S))


class Between:
    """Passes on what both say, changed from when it is told to."""

    def __init__(self, to: Path) -> None:
        self._to = to
        self.to_agent: Change = bytes
        self.to_manager: Change = bytes
        self._ways: list[asyncio.Task[None]] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agent_reader, agent_writer = await asyncio.open_unix_connection(self._to)
        for come, go, way in ((reader, agent_writer, "to_agent"), (agent_reader, writer, "to_manager")):
            self._ways.append(asyncio.create_task(self._pass(come, go, way)))

    async def _pass(self, come: asyncio.StreamReader, go: asyncio.StreamWriter, way: str) -> None:
        try:
            while piece := await come.read(PIECE_BYTES):
                change: Change = getattr(self, way)
                go.write(change(piece))
        except ConnectionError:
            pass  # Cut: that is what the tests look at, from both ends.
        finally:
            await closed(go)

    async def end(self) -> None:
        """Both ends have closed, or are about to."""
        await asyncio.gather(*self._ways)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


class Manager:
    """What a manager's end of the link sees."""

    def __init__(self) -> None:
        self.heard: list[LinkMessage] = []
        self.cuts: list[str] = []

    def link_opened(self, link: Link) -> None:
        return

    def link_received(self, link: Link, message: LinkMessage) -> None:
        self.heard.append(message)

    def link_closed(self, link: Link) -> None:
        self.cuts += [link.trouble] if link.trouble else []


@asynccontextmanager
async def a_link(folder: RunFolder) -> AsyncIterator[tuple[Between, Manager, Link]]:
    """An open link through somebody who has passed everything on so far; the manager leads."""
    me = agent_party(H1)
    between, manager = Between(folder.socket(me)), Manager()
    place = folder.root / "between"
    server = await asyncio.start_unix_server(between.take, sock=listening(place))
    link = await SOCKETS.call(place, lambda: Link(Calling(KEY, HA, me, os.urandom(NONCE_BYTES)), manager), LIMIT_S)
    try:
        await until(lambda: link.is_open, "the link is open")
        link.send(Leads(1))
        await until(lambda: manager.heard, "the facts")
        yield between, manager, link
    finally:
        link.close()
        await link.ended
        server.close()
        await server.wait_closed()
        await between.end()


def flipped(piece: bytes) -> bytes:
    return piece[:-3] + bytes([piece[-3] ^ 1]) + piece[-2:]


def cuts_of(folder: RunFolder) -> list[tuple[str, str]]:
    marks = [one for one in read(folder.journal(agent_party(H1))) if isinstance(one, Marked)]
    return [(mark.about, mark.detail) for mark in marks if mark.name == LINK_CUT]


@pytest.mark.parametrize(
    ("change", "done"),
    [(flipped, 0), (lambda piece: piece * 2, 1), (lambda piece: piece + bytes(40), 1), (lambda piece: piece[40:], 0)],
    ids=["a bit changed", "said twice", "something put in", "something left out"],
)
def test_an_instruction_that_was_changed_on_the_way_cuts_the_link_and_is_journaled(
    change: Change, done: int, layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (_, agent), a_link(folder) as (between, manager, link):
            between.to_agent = change
            link.send(Do(IsolateVnfc(ActionId("ha/1"), DNS_1, 1)))
            await link.ended
            assert [action.id for action in agent.performed] == ["ha/1"][:done]
            assert manager.cuts == []

    run(story())
    assert cuts_of(folder) == [("ha", "what arrived is not what was sent: it was changed on the way")]


def test_news_that_was_changed_on_the_way_cuts_the_link_and_is_told_to_the_manager(
    layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (_, agent), a_link(folder) as (between, manager, link):
            facts = len(manager.heard)
            between.to_manager = flipped
            agent.emit(VnfcFailed(DNS_1, 1, "killed"))
            await link.ended
            assert len(manager.heard) == facts
            assert manager.cuts == ["what arrived is not what was sent: it was changed on the way"]
            assert link.is_refused

    run(story())
    assert cuts_of(folder) == []


def test_a_caller_of_another_version_is_told_which_one_is_spoken_here(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder):
            reader, writer = await asyncio.open_unix_connection(folder.socket(agent_party(H1)))
            writer.write(FrameWriter().frame(msgspec.msgpack.encode(Hello(PROTOCOL - 1, HA, b"n" * NONCE_BYTES))))
            frames = FrameReader()
            frames.feed(await reader.read())
            payload = frames.next()
            assert payload is not None
            assert msgspec.msgpack.decode(payload, type=Welcome).protocol == PROTOCOL
            await closed(writer)

    run(story())
