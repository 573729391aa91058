"""The agent's end of its link to the hot process, against a hot process that says what the test wants."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.core.suspicion_words import Level, NetworkChanged, PeerChanged, PeerHeard, PeerState
from holdfast.errors import HoldfastError
from holdfast.model.actions import Activate, StandingOrder
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    Event,
    HostFailed,
    HostReturned,
    NetworkHeard,
    NetworkSilent,
    Silence,
)
from holdfast.model.granting import FAST, voter_set
from holdfast.model.layout import Grants, Host
from holdfast.model.names import ActionId, HostName, ServiceName
from holdfast.model.reasons import Reason
from holdfast.runtime import hot_grant_words as words
from holdfast.runtime.agent_grants import HeldGrants
from holdfast.runtime.agent_succession import StandingTakeOver
from holdfast.runtime.hot_lateness import LatenessCounter
from holdfast.runtime.hot_link import HotLink
from holdfast.runtime.hot_words import AskStanding, FromRider, Pulse, Standing, ToRider, packed
from tests.contract.fakes import STORY_S, make_folder, small_layout, until

H1, H2, H3 = (HostName(name) for name in ("h1", "h2", "h3"))
LIFE = 77
VOTERS = voter_set((H1, H2, H3), FAST)
MS = 1_000_000


class HotFake:
    """Answers the greeting, and questions how everybody stands by what is set here."""

    def __init__(self, link: HotLink) -> None:
        self.link = link
        self.peers: dict[HostName, PeerState] = {}
        self.announced: list[str] = []
        """Why the agent has announced its addresses again."""
        self.orders: tuple[StandingOrder, ...] = ()
        """What an earlier agent has handed on."""
        self.follows: list[words.Follow] = []
        self.asked = 0

    def look(self) -> None:
        self.link.accept()
        while (command := self.link.read()) is not None:
            if isinstance(command, AskStanding):
                self.asked += 1
                self.link.tell(Standing(0, self.peers, False, False, 0))
            elif isinstance(command, ToRider) and isinstance(words.command_in(command.body), words.Greet):
                for order in self.orders:
                    self.link.tell(FromRider(words.packed(words.Known(msgspec.msgpack.encode(order)))))
                self.link.tell(FromRider(words.packed(words.Ready(LIFE, False, {}, voters=VOTERS))))
            elif isinstance(command, ToRider) and isinstance(follow := words.command_in(command.body), words.Follow):
                self.follows.append(follow)

    def stands(self, name: HostName, level: Level, silent_ms: int, life: int) -> None:
        self.peers[name] = PeerState(level, life, {"first": silent_ms * MS}, 0, 0)


@asynccontextmanager
async def grants_at(
    tmp_path: Path, orders: tuple[StandingOrder, ...] = ()
) -> AsyncIterator[tuple[HeldGrants, HotFake, list[Event]]]:
    """The grants of h1 with profile `fast`, their hot process, and what the agent emits."""
    hosts = {name: Host(name, addresses=(f"10.77.0.{n}/24",)) for n, name in enumerate((H1, H2, H3), 1)}
    layout = replace(small_layout(), hosts=hosts, grants=Grants("fast"))
    folder = make_folder(tmp_path, layout)
    link = HotLink(folder.hot_socket(H1))
    fake = HotFake(link)
    fake.orders = orders
    emitted: list[Event] = []
    held = HeldGrants(layout, H1, folder, "hf_test")

    async def serve() -> None:
        while True:
            fake.look()
            await asyncio.sleep(0)

    serving = asyncio.get_running_loop().create_task(serve())
    try:
        await held.open(StandingTakeOver(H1, {}, held, never, emitted.append, lambda *_: None, fake.announced.append))
        yield held, fake, emitted
    finally:
        await held.close(end_all=False)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        link.close()


async def never(_: Activate, __: tuple[Reason, ...]) -> ActionDone | ActionFailed:
    raise AssertionError("nothing is taken over here")


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, STORY_S))


def test_a_later_manager_is_told_of_hosts_that_are_silent_and_not_of_those_that_are_heard_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with grants_at(tmp_path) as (held, fake, _):
            fake.stands(H2, "failed", silent_ms=900, life=5)
            fake.stands(H3, "failed", silent_ms=4, life=6)
            answers: list[tuple[Silence, ...]] = []
            held.ask_silent(answers.append)
            held.ask_silent(answers.append)
            await until(lambda: len(answers) == 2, "both answers")
            assert answers[0] == answers[1] == (HostFailed(H2, H1, "silent for 900 ms", 5),)

    run(story())


def test_a_network_is_told_of_once_whether_it_was_noticed_or_found_in_how_everybody_stands(tmp_path: Path) -> None:
    def stands(fake: HotFake, *lost: str) -> None:
        silent = {"first": 4 * MS, "second": 900 * MS}
        fake.peers[H2] = PeerState("degraded", 5, silent, 0, 1, (), lost)

    async def story() -> None:
        async with grants_at(tmp_path) as (held, fake, emitted):
            answers: list[tuple[Silence, ...]] = []
            fake.link.tell(NetworkChanged(0, H2, "second", True, 200 * MS))
            stands(fake, "second")
            held.ask_silent(answers.append)
            await until(lambda: answers, "the answer")
            noticed = NetworkSilent(H2, H1, "second", "nothing for 200 ms")
            assert emitted == [noticed]
            assert answers == [(NetworkSilent(H2, H1, "second", "nothing for 900 ms"),)]
            # A change that was dropped on its way is made up for.
            stands(fake)
            held.ask_silent(answers.append)
            await until(lambda: len(answers) == 2, "the answer")
            assert emitted == [noticed, NetworkHeard(H2, H1, "second")]
            assert answers[1] == ()
            stands(fake, "first")
            held.ask_silent(answers.append)
            await until(lambda: len(answers) == 3, "the answer")
            assert emitted[2:] == [NetworkSilent(H2, H1, "first", "nothing for 4 ms")]

    run(story())


def test_the_life_that_failed_is_told_and_the_own_one_is_known(tmp_path: Path) -> None:
    async def story() -> None:
        async with grants_at(tmp_path) as (held, fake, emitted):
            assert held.life == LIFE
            fake.link.tell(PeerChanged(0, H2, 5, "suspected", "failed", (), 45 * MS))
            fake.link.tell(PeerChanged(0, H2, 8, "failed", "degraded", (), 0))
            await until(lambda: len(emitted) == 2, "both changes")
            assert emitted == [HostFailed(H2, H1, "silent for 45 ms", 5), HostReturned(H2, H1)]

    run(story())


def test_addresses_are_announced_again_at_the_first_word_of_a_host_that_was_silent(tmp_path: Path) -> None:
    def changed(before: Level, after: Level) -> PeerChanged:
        return PeerChanged(0, H2, 5, before, after, (), 45 * MS)

    async def story() -> None:
        async with grants_at(tmp_path) as (held, fake, emitted):
            for noticed in (changed("degraded", "suspected"), PeerHeard(0, H2, 40 * MS), PeerHeard(0, H3, 0)):
                fake.link.tell(noticed)
            await until(lambda: fake.announced, "the first time")
            # Its first word was dropped on the way: how it stands tells as much.
            fake.link.tell(changed("suspected", "failed"))
            fake.stands(H2, "failed", silent_ms=4, life=5)
            answers: list[tuple[Silence, ...]] = []
            held.ask_silent(answers.append)
            await until(lambda: answers, "the answer")
            held.ask_silent(answers.append)
            await until(lambda: len(answers) == 2, "the answer")
            assert fake.announced == ["h2 is heard again"] * 2
            fake.link.tell(NetworkChanged(0, H3, "first", True, 200 * MS))
            fake.link.tell(NetworkChanged(0, H3, "first", False, 0))
            await until(lambda: len(emitted) == 3, "both changes of the network")
            assert fake.announced[2:] == ["h3 is heard on the first network again"]

    run(story())


def test_nobody_waits_for_the_answer_of_a_hot_process_that_has_ended(tmp_path: Path) -> None:
    async def story() -> None:
        async with grants_at(tmp_path) as (held, fake, _):
            answers: list[tuple[Silence, ...]] = []
            held.ask_silent(answers.append)
            fake.link.disconnect()
            await until(lambda: answers, "the answer")
            held.ask_silent(answers.append)
            assert answers == [(), ()]

    run(story())


def test_an_order_that_an_earlier_agent_handed_on_is_known_when_the_hot_process_says_that_it_follows_it(
    tmp_path: Path,
) -> None:
    dns = ServiceName("dns")
    given = StandingOrder(ActionId("ha/1"), H1, dns, 7, None, 2, ())
    newer = replace(given, id=ActionId("ha/2"), number=8)

    async def story() -> None:
        async with grants_at(tmp_path, (given,)) as (held, fake, _):
            again = asyncio.ensure_future(held.follow(given))
            fake.link.tell(FromRider(words.packed(words.Followed(ServiceName("of another agent"), 3))))
            await asyncio.sleep(0)
            assert not again.done()
            fake.link.tell(FromRider(words.packed(words.Followed(dns, 7))))
            await again
            assert fake.follows == []
            later = asyncio.ensure_future(held.follow(newer))
            await until(lambda: fake.follows, "the newer order is handed on")
            fake.link.tell(FromRider(words.packed(words.Followed(dns, 8))))
            await later
            assert msgspec.msgpack.decode(fake.follows[0].told, type=StandingOrder) == newer

    run(story())


def test_a_hot_process_that_ends_at_its_start_is_quoted(tmp_path: Path) -> None:
    foreign = {name: Host(name, addresses=(f"192.0.2.{n}/24",), witness=True) for n, name in enumerate((H1, H2, H3), 1)}
    layout = replace(small_layout(), hosts=foreign, grants=Grants("fast"))
    folder = make_folder(tmp_path, layout)
    folder.log("hot").parent.mkdir()

    async def story() -> None:
        held = HeldGrants(layout, H1, folder, "hf_test")
        with pytest.raises(HoldfastError, match=r"cannot listen on 192\.0\.2\.1 port 7400") as told:
            await held.open(StandingTakeOver(H1, {}, held, never, lambda _: None, lambda *_: None, lambda _: None))
        assert told.value.message.startswith("the hot process cannot start: ")
        assert told.value.hint.startswith("the address must be one of this host's own")

    run(story())


def test_who_is_not_heard_and_has_not_failed_is_told_also_on_the_only_network(tmp_path: Path) -> None:
    async def story() -> None:
        async with grants_at(tmp_path) as (_, fake, emitted):
            fake.stands(H2, "suspected", silent_ms=1900, life=5)
            fake.stands(H3, "failed", silent_ms=9000, life=6)
            await until(lambda: fake.asked > 1, "it is looked again")
            assert emitted == []
            fake.stands(H2, "degraded", silent_ms=2100, life=5)
            await until(lambda: emitted, "it is told")
            assert emitted == [NetworkSilent(H2, H1, "first", "nothing for 2.1 s")]
            fake.stands(H2, "failed", silent_ms=4000, life=5)
            await until(lambda: len(emitted) > 1, "that it has failed is told otherwise")
            assert emitted[1:] == [NetworkHeard(H2, H1, "first")]

    run(story())


def test_datagrams_that_the_hot_process_has_refused_are_known_to_the_agent(tmp_path: Path) -> None:
    told: list[Mapping[str, int]] = []

    async def story() -> None:
        async with grants_at(tmp_path) as (held, fake, _):
            held.refused = told.append
            fake.link.tell(Pulse(0, LatenessCounter().lateness(), 0, 0, 0, 2, {}, 0, {"mac": 2}))
            await until(lambda: told, "it is told")
            assert told == [{"mac": 2}]

    run(story())


@pytest.mark.parametrize("packet", [b"\xc1", b"\x81\xa4type\xa2\xff\xff", packed(FromRider(b"\xc1"))])
def test_a_hot_process_that_speaks_nonsense_is_let_go(tmp_path: Path, packet: bytes) -> None:
    async def story() -> None:
        async with grants_at(tmp_path) as (held, fake, _):
            assert fake.link.connection is not None
            fake.link.connection.send(packet)
            await until(lambda: held._end is None, "its link is cut")
            with pytest.raises(HoldfastError):
                await held.claim(small_layout().services[ServiceName("dns")], 3)

    run(story())
