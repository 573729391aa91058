"""A standing order is acknowledged only when nothing can come of an older one that has not been told."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from holdfast.model.actions import Activate, StandingOrder, Successor
from holdfast.model.events import ActionDone, ActionFailed, Event, ServiceTaken
from holdfast.model.layout import Service
from holdfast.model.names import ActionId, HostName, ServiceName, VnfcName
from holdfast.model.reasons import Reason, sentence
from holdfast.runtime.agent_succession import StandingTakeOver
from holdfast.runtime.exclusivity import Unguarded

H2, ONE, TWO, SERVICE = HostName("h2"), VnfcName("registry-1"), VnfcName("registry-2"), ServiceName("registry")
OLD = StandingOrder(ActionId("ha/1"), H2, SERVICE, 1, ONE, 2, (Successor(TWO, 1, 3),))
NEW = StandingOrder(ActionId("ha/2"), H2, SERVICE, 2, ONE, 2, ())


class Grants(Unguarded):
    """Acknowledges an order when the test says so."""

    def __init__(self) -> None:
        self.followed = asyncio.Event()
        self.given_up: list[ServiceName] = []

    async def follow(self, order: StandingOrder) -> None:
        if order is NEW:
            await self.followed.wait()

    async def claim(self, service: Service, epoch: int) -> None:
        raise AssertionError("nobody claims here")

    def give_up(self, service: ServiceName) -> None:
        self.given_up.append(service)


class Life:
    """What an earlier agent has left running."""

    def __init__(self) -> None:
        self.provides: tuple[ServiceName, ...] = ()
        self.lost: list[str] = []
        self.claimed: list[ServiceName] = []

    def is_claimed_for(self, service: ServiceName) -> None:
        self.claimed.append(service)

    def lose(self, why: str) -> None:
        self.lost.append(why)


class Stage:
    def __init__(self, adopted: bool = True) -> None:
        self.grants = Grants()
        self.told: list[Event] = []
        self.reasons: list[tuple[Reason, ...]] = []
        self.announced: list[str] = []
        self.activation = asyncio.get_running_loop().create_future()
        self.life = Life()
        lives: Any = {TWO: self.life}
        self.succession = StandingTakeOver(
            H2,
            lives,
            self.grants,
            self.perform,
            self.told.append,
            lambda name, about, detail: None,
            self.announced.append,
        )
        if adopted:
            self.succession.adopted()

    async def perform(self, action: Activate, reasons: tuple[Reason, ...]) -> ActionDone | ActionFailed:
        self.reasons.append(reasons)
        await self.activation
        return ActionDone(action.id)


def on_loop(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_take_over_under_way_is_told_before_a_newer_order_is_acknowledged() -> None:
    async def story() -> None:
        stage = Stage()
        assert await stage.succession.order(OLD) == "known"
        stage.succession.taken(SERVICE, 3)
        await turns()
        newer = asyncio.create_task(stage.succession.order(NEW))
        stage.grants.followed.set()
        await turns()
        assert not newer.done()
        stage.activation.set_result(None)
        assert await newer == "known"
        assert stage.told == [ServiceTaken(TWO, 1, SERVICE, 3, ())]

    on_loop(story())


def test_a_take_over_says_why_it_may_be_and_why_nobody_was_asked() -> None:
    async def story() -> None:
        stage = Stage()
        await stage.succession.order(OLD)
        stage.activation.set_result(None)
        stage.succession.taking(SERVICE, 3, "its holder has released it")
        stage.succession.taken(SERVICE, 3)
        await turns()
        assert [sentence(reason) for reason in stage.reasons[0]] == [
            "nobody holds registry (its holder has released it)",
            "registry-2 was to follow (number 1 of 1 in order 1, epoch 3), so that nobody need be asked",
        ]

    on_loop(story())


def test_an_order_is_acknowledged_only_when_the_grants_follow_it() -> None:
    async def story() -> None:
        stage = Stage()
        newer = asyncio.create_task(stage.succession.order(NEW))
        await turns()
        assert not newer.done()
        stage.grants.followed.set()
        assert await newer == "known"

    on_loop(story())


def test_what_an_older_order_has_claimed_after_a_newer_one_is_known_is_given_up() -> None:
    async def story() -> None:
        stage = Stage()
        stage.grants.followed.set()
        await stage.succession.order(OLD)
        await stage.succession.order(NEW)
        stage.succession.taken(SERVICE, 3)
        await turns()
        assert stage.grants.given_up == [SERVICE]
        assert stage.told == []

    on_loop(story())


def test_an_agent_that_starts_again_follows_the_orders_that_were_given_before() -> None:
    async def story() -> None:
        stage = Stage(adopted=False)
        stage.succession.begun({}, (), (OLD,))
        stage.succession.adopted()
        stage.activation.set_result(None)
        stage.succession.taken(SERVICE, 3)
        await turns()
        assert stage.told == [ServiceTaken(TWO, 1, SERVICE, 3, ())]

    on_loop(story())


def test_what_became_ours_while_no_agent_was_there_is_taken_over_when_all_that_runs_is_adopted() -> None:
    async def story() -> None:
        stage = Stage(adopted=False)
        stage.activation.set_result(None)
        stage.succession.begun({SERVICE: 3}, (SERVICE,), (OLD,))
        await turns()
        assert stage.told == []
        stage.succession.adopted()
        await turns()
        assert stage.told == [ServiceTaken(TWO, 1, SERVICE, 3, ())]

    on_loop(story())


def test_what_was_lost_while_no_agent_was_there_is_provided_no_more_and_what_is_claimed_goes_on() -> None:
    async def story() -> None:
        for claimed, lost in ((None, 0), ((SERVICE,), 0), ((), 1)):
            stage = Stage(adopted=False)
            stage.life.provides = (SERVICE,)
            stage.succession.begun({}, claimed, ())
            stage.succession.adopted()
            assert len(stage.life.lost) == lost, claimed

    on_loop(story())


def test_a_grant_that_was_regained_is_announced_and_so_is_the_return_of_a_host_and_of_a_network() -> None:
    async def story() -> None:
        stage = Stage()
        stage.succession.not_held(SERVICE, 3, "lapsed", "no majority")
        stage.succession.held_again(SERVICE, 3)
        stage.succession.host_changed(HostName("h1"), True, "silent for 45 ms", 7)
        stage.succession.heard_again(HostName("h1"))
        stage.succession.network_changed(HostName("h1"), "first", True, "nothing for 200 ms")
        stage.succession.network_changed(HostName("h1"), "first", False, "")
        assert stage.announced == [
            "the grant of registry was regained",
            "h1 is heard again",
            "h1 is heard on the first network again",
        ]

    on_loop(story())
