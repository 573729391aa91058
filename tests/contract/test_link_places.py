"""A kept link with several places to call: which one it uses, and when it goes to the next."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast.model.names import HA, HostName, agent_party
from holdfast.runtime.link import KeptLink, Link, listen
from holdfast.runtime.sockets import Endpoint
from holdfast.wire.link_messages import LinkMessage
from tests.contract.fakes import STORY_S, until

KEY = b"k" * 32
AGENT = agent_party(HostName("h1"))


class End:
    """Whoever owns links, on either side."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.closed = 0

    def link_opened(self, link: Link) -> None:
        self.links.append(link)

    def link_received(self, link: Link, message: LinkMessage) -> None:
        raise AssertionError("nothing is said here")

    def link_closed(self, link: Link) -> None:
        self.closed += 1


class Silent(asyncio.Protocol):
    """Takes a call, and does not answer."""

    def __init__(self, called: "list[Silent]") -> None:
        self.is_over = False
        called.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True


@asynccontextmanager
async def listening(place: Endpoint) -> AsyncIterator[End]:
    end = End()
    server = await listen(place, KEY, AGENT, end)
    try:
        yield end
    finally:
        server.close()
        for link in end.links:
            link.close()
            await link.ended


@asynccontextmanager
async def calling(*places: Endpoint) -> AsyncIterator[tuple[End, KeptLink]]:
    end = End()
    kept = KeptLink(places, KEY, HA, AGENT, end)
    try:
        yield end, kept
    finally:
        await kept.close()


@pytest.fixture
def places() -> tuple[Endpoint, Endpoint]:
    """The same port on two addresses, as an agent has it on two networks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Endpoint("127.0.0.1", port), Endpoint("127.0.0.2", port)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, STORY_S))


def test_the_next_place_is_called_where_the_first_does_not_answer(places: tuple[Endpoint, Endpoint]) -> None:
    async def story() -> None:
        async with listening(places[1]) as agent, calling(*places) as (manager, _):
            await until(lambda: bool(manager.links and agent.links), "the link by the second place")
            assert (len(manager.links), manager.closed) == (1, 0)

    run(story())


def test_a_place_where_nothing_gets_through_is_left_at_once_and_another_is_not(
    places: tuple[Endpoint, Endpoint],
) -> None:
    async def story() -> None:
        async with (
            listening(places[0]) as first,
            listening(places[1]) as second,
            calling(*places) as (manager, kept),
        ):
            await until(lambda: len(first.links) == 1, "the link by the first place")
            kept.avoid(places[1])
            kept.avoid(places[0])
            await until(lambda: len(second.links) == 1, "the link by the second place")
            await until(lambda: manager.closed == 1 and len(manager.links) == 2, "one link ended, one is there")
            assert len(first.links) == 1

    run(story())


def test_a_call_that_is_given_up_before_the_other_end_has_answered_is_let_go(
    places: tuple[Endpoint, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen host accepts calls, by its kernel; when it goes on it must not find two of one manager."""
    monkeypatch.setattr("holdfast.runtime.link.HANDSHAKE_LIMIT_S", 1000.0)

    async def story() -> None:
        called: list[Silent] = []
        server = await asyncio.get_running_loop().create_server(
            lambda: Silent(called), places[0].address, places[0].port
        )
        async with calling(places[0]) as (_, kept):
            await until(lambda: len(called) == 1 and kept.link is not None, "the first call")
            kept.again()
            await until(lambda: len(called) == 2, "the second call")
            await until(lambda: called[0].is_over, "the end of the first call")
            assert not called[1].is_over
        await until(lambda: called[1].is_over, "the end of the second one")
        server.close()
        await server.wait_closed()

    run(story())


def test_after_an_end_in_good_order_the_same_place_is_called_again(places: tuple[Endpoint, Endpoint]) -> None:
    async def story() -> None:
        async with listening(places[0]) as first, listening(places[1]) as second, calling(*places):
            await until(lambda: len(first.links) == 1, "the link by the first place")
            first.links[0].close()
            await until(lambda: len(first.links) == 2, "another link by the first place")
            assert second.links == []

    run(story())


def test_a_link_knows_whether_its_other_end_is_on_this_host(places: tuple[Endpoint, Endpoint]) -> None:
    async def story() -> None:
        for place, is_local in zip(places, (True, False), strict=True):
            async with listening(place) as agent, calling(place) as (manager, _):
                await until(lambda: bool(manager.links and agent.links), "the link")
                # The kernel has the caller of any loopback address call from the first of them.
                assert [link.is_local for link in (*manager.links, *agent.links)] == [is_local, is_local]

    run(story())
