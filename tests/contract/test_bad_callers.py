"""Callers that prove nothing, speak another version, repeat what they have heard or never end: turned away and counted.

Real sockets, a toy agent and toy managers. What is counted stands in the answer to `status --json`.
"""

import asyncio
import struct
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.cli.status import gathered, show
from holdfast.model.layout import Layout
from holdfast.model.limits import STRANGERS_FRAME_BYTES_MAX, STRANGERS_MAX
from holdfast.model.names import HA, Party, agent_party
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.outside import ask
from holdfast.wire.frames import FrameWriter
from holdfast.wire.handshake import NONCE_BYTES, PROTOCOL, Hello
from holdfast.wire.link_messages import AskStatus
from tests.contract.fakes import H1, make_folder, small_layout, until
from tests.contract.test_link_between import Between, closed
from tests.contract.test_link_terms import Leader
from tests.contract.test_managers import an_agent, joined, managers

AGENT = agent_party(H1)


@pytest.fixture
def layout() -> Layout:
    return small_layout()


@pytest.fixture
def folder(tmp_path: Path, layout: Layout) -> RunFolder:
    return make_folder(tmp_path, layout)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def hello(protocol: int = PROTOCOL) -> bytes:
    return FrameWriter().frame(msgspec.msgpack.encode(Hello(protocol, HA, b"n" * NONCE_BYTES)))


async def told(folder: RunFolder, party: Party = HA) -> dict[str, Any]:
    """What the manager answers to `status`."""
    answer = await asyncio.to_thread(ask, folder, party, AskStatus())
    status: dict[str, Any] = msgspec.json.decode(answer.body)
    return status


async def counted(folder: RunFolder, kind: str, least: int = 1) -> dict[str, int]:
    """What the manager knows of the agent's refusals, once there are so many of this kind."""
    while True:
        refused: dict[str, int] = (await told(folder))["refused"].get(AGENT, {})
        if refused.get(f"links:{kind}", 0) >= least:
            return refused


SAID = {
    "words": FrameWriter().frame(b"\xc1 nonsense"),
    "not UTF-8": FrameWriter().frame(b"\x82\xa4type\xa5Hello\xa6caller\xa2\xff\xff"),
    "nested": FrameWriter().frame(b"\x82\xa4type\xa5Hello\xa1x" + b"\x91" * 3000),
    "version": hello(PROTOCOL + 1),
    "too-long": struct.pack(">I", STRANGERS_FRAME_BYTES_MAX + 1),
    "longest": b"\xff\xff\xff\xff",
    "proof before its turn": hello() + hello(),
}
COUNTED_AS = {"not UTF-8": "words", "nested": "words", "longest": "too-long", "proof before its turn": "words"}


@pytest.mark.parametrize("what", SAID)
def test_a_stranger_is_turned_away_at_once_and_counted(layout: Layout, folder: RunFolder, what: str) -> None:
    async def story() -> None:
        async with an_agent(layout, folder), managers(layout, folder) as pump:
            await joined(pump.seats[HA])
            reader, writer = await asyncio.open_unix_connection(folder.socket(AGENT))
            writer.write(SAID[what])
            await asyncio.gather(reader.read(), return_exceptions=True)
            await closed(writer)
            assert await counted(folder, COUNTED_AS.get(what, what)) == {f"links:{COUNTED_AS.get(what, what)}": 1}

    run(story())


def test_who_does_not_know_the_key_is_counted_and_shown_to_people(
    layout: Layout, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with an_agent(layout, folder), managers(layout, folder) as pump:
            await joined(pump.seats[HA])
            reader, writer = await asyncio.open_unix_connection(folder.socket(AGENT))
            writer.write(hello())
            await reader.readexactly(8)
            writer.write(FrameWriter().frame(b"\x82\xa4type\xa5Proof\xa5proof\xc4\x20" + b"p" * 32))
            await asyncio.gather(reader.read(), return_exceptions=True)
            await closed(writer)
            assert await counted(folder, "key") == {"links:key": 1}
            show(gathered("small", str(folder.root), {str(HA): await told(folder)}))

    run(story())
    assert "agent:h1 has refused: links key 1" in capsys.readouterr().out


def test_what_is_said_to_managers_is_counted_by_them(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder):
            for _ in range(3):
                reader, writer = await asyncio.open_unix_connection(folder.socket(HA))
                writer.write(hello(PROTOCOL - 1))
                await reader.read()
                await closed(writer)
            assert (await told(folder))["refused"] == {"ha": {"links:version": 3}}

    run(story())


def test_a_crowd_of_strangers_keeps_nobody_out(layout: Layout, folder: RunFolder) -> None:
    more = 20

    async def story() -> None:
        async with an_agent(layout, folder) as (process, _):
            crowd = [await asyncio.open_unix_connection(folder.socket(AGENT)) for _ in range(STRANGERS_MAX + more)]
            leader = Leader(folder)
            await leader.leads(3)
            await until(lambda: process.refusals.counts.get("links:crowd", 0) >= more, "those that came first go")
            for reader, _ in crowd[:more]:
                assert await reader.read() == b""
            for _, writer in crowd:
                await closed(writer)
            await leader.kept.close()

    run(story())


def test_a_message_that_comes_twice_cuts_the_link_and_is_counted(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (process, _):
            between = Between(folder.socket(AGENT))
            path = folder.root / "between.sock"
            server = await asyncio.start_unix_server(between.take, path)
            leader = Leader(folder)
            await leader.kept.close()
            leader.kept = type(leader.kept)((path,), leader.kept._key, HA, AGENT, leader)
            await leader.opened()
            between.to_agent = lambda piece: piece + piece
            await leader.leads(3)
            await until(lambda: process.refusals.counts, "it is counted")
            assert process.refusals.counts == {"links:changed": 1}
            await leader.kept.close()
            server.close()
            await between.end()

    run(story())
