"""The VIM and networks on which hosts do not hear each other: one alarm a network, which names the hosts."""

import pytest

from holdfast.core.vim_networks import SETTLE_S, summary
from holdfast.core.vim_state import Unheard
from holdfast.model.actions import ClearAlarm, RaiseAlarm
from holdfast.model.events import AgentLost, HostFailed, NetworkHeard, NetworkSilent
from holdfast.model.names import VIM, HostName
from tests.unit.managers_layout import Plan
from tests.unit.managers_world import World
from tests.unit.test_vim import begun, ended

A, B, C = (HostName(name) for name in ("a", "b", "c"))


def three_hosts() -> World:
    return begun(World(Plan().host("a").host("b").host("c").vm("vm1", host="a").vnf("dns", host="a").layout))


def say(world: World, *pairs: tuple[HostName, HostName], silent: bool = True) -> None:
    """Each pair: who says it, of whom."""
    for by, host in pairs:
        event = NetworkSilent(host, by, "second", "nothing for 200 ms") if silent else NetworkHeard(host, by, "second")
        world.observe(VIM, event)


def texts(world: World) -> list[str]:
    return [one.action.text for _, one in world.decisions if isinstance(one.action, RaiseAlarm)]


CUT_A = ((B, A), (C, A), (A, B), (A, C))


def test_a_host_that_is_cut_from_a_network_is_named_in_one_alarm_until_it_is_heard_there() -> None:
    world = three_hosts()
    say(world, *CUT_A)
    assert world.alarms() == set()
    world.wait(SETTLE_S)
    assert texts(world) == ["the second network carries nothing between a and b, c"]
    assert world.alarms() == {"network:second"}
    reasons = next(one.reasons for _, one in world.decisions if isinstance(one.action, RaiseAlarm))
    first = reasons[0]
    assert (first.code, first.about, first.detail) == ("network-silent", "a", "second, by b: nothing for 200 ms")
    assert len(reasons) == 4
    assert all(one.seen for one in reasons)
    say(world, *CUT_A, silent=False)
    world.wait(SETTLE_S)
    ended(world)
    assert world.acts(RaiseAlarm, ClearAlarm) == ["vim: RaiseAlarm network:second", "vim: ClearAlarm network:second"]


def test_what_is_over_before_it_is_told_is_not_told() -> None:
    world = three_hosts()
    say(world, *CUT_A)
    world.wait(SETTLE_S / 2)
    say(world, *CUT_A, silent=False)
    world.wait(10 * SETTLE_S)
    assert world.acts(RaiseAlarm, ClearAlarm) == []


def test_the_alarm_says_what_is_so_now() -> None:
    world = three_hosts()
    say(world, (B, A), (C, A))
    world.wait(SETTLE_S)
    say(world, (B, A), silent=False)
    world.wait(SETTLE_S)
    assert texts(world) == [
        "on the second network a is not heard by b, c",
        "on the second network a is not heard by c",
    ]
    say(world, (C, A))
    world.wait(10 * SETTLE_S)
    assert len(texts(world)) == 2, "the same once more is no news"


def test_the_word_of_an_agent_counts_until_its_link_ends() -> None:
    world = three_hosts()
    say(world, (B, A))
    world.wait(SETTLE_S)
    world.observe(VIM, AgentLost(B))
    world.join(B)
    world.wait(SETTLE_S)
    ended(world)
    say(world, (B, A))
    world.observe(VIM, AgentLost(B))
    world.join(B)
    world.settle()
    say(world, (B, A))
    world.wait(SETTLE_S)
    assert world.alarms() == {"network:second"}


def test_a_manager_that_starts_again_goes_on_with_its_alarm() -> None:
    world = three_hosts()
    say(world, (B, A))
    world.wait(SETTLE_S)
    world.restart(VIM)
    for host in (A, B, C):
        world.join(host)
    world.settle()
    say(world, (B, A))
    world.wait(SETTLE_S)
    assert world.alarms() == {"network:second"}
    say(world, (B, A), silent=False)
    world.wait(SETTLE_S)
    ended(world)


def test_a_host_that_fails_is_told_of_as_a_host() -> None:
    world = three_hosts()
    say(world, (B, A), (C, A))
    say(world, (B, A), (C, A), silent=False)
    world.observe(VIM, HostFailed(A, B))
    world.wait(SETTLE_S)
    assert "network:second" not in world.alarms()


def test_of_hosts_that_are_not_in_the_layout_nothing_is_said() -> None:
    world = three_hosts()
    say(world, (HostName("x"), A), (A, HostName("x")))
    world.wait(SETTLE_S)
    assert world.acts(RaiseAlarm, ClearAlarm) == []


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (CUT_A, "the second network carries nothing between a and b, c"),
        (((B, A), (C, A)), "on the second network a is not heard by b, c"),
        (((A, B), (A, C)), "on the second network a does not hear b, c"),
        (((A, B),), "on the second network b is not heard by a"),
        (((A, B), (B, A)), "the second network carries nothing between a and b"),
        (((A, B), (B, A), (B, C)), "the second network carries nothing between b and a, c"),
        ((*CUT_A, (B, C), (C, B)), "the second network carries nothing between any of a, b, c"),
        (
            ((A, B), (B, C), (C, A)),
            "on the second network a is not heard by c; b is not heard by a; c is not heard by b",
        ),
    ],
)
def test_whoever_all_words_are_about_is_named(pairs: tuple[tuple[HostName, HostName], ...], text: str) -> None:
    words = [Unheard("second", by, host, 1) for by, host in pairs]
    assert summary("second", words, 3) == text
