"""Standing orders outlive the agent that was given them: the hot process hands them to the next one."""

from pathlib import Path

from holdfast.model.granting import PROFILES, Succession, voter_set
from holdfast.model.names import HostName, ServiceName
from holdfast.runtime import hot_grant_words as words
from holdfast.runtime.hot_clock import KERNEL_CLOCKS
from holdfast.runtime.hot_grants import GrantRider

DNS = ServiceName("dns")
HOSTS = tuple(HostName(name) for name in ("a", "b", "c"))
VOTERS = voter_set(HOSTS, PROFILES["fast"])


def rider(folder: Path) -> GrantRider:
    settings = words.GrantSettings(HOSTS[0], PROFILES["fast"], HOSTS, (), {DNS: ""}, "hf_test", str(folder / "voters"))
    return GrantRider(settings, 77, None, KERNEL_CLOCKS.raw_ns())


def heard(one: GrantRider, command: words.GrantCommand) -> list[words.GrantNews]:
    one.told(words.packed(command), KERNEL_CLOCKS.raw_ns())
    return [words.news_in(body) for body in one.news()]


def order(number: int) -> Succession:
    return Succession(DNS, number, HOSTS[1], 4, ())


def test_the_newest_order_is_told_to_an_agent_that_starts_again_and_said_to_be_followed(tmp_path: Path) -> None:
    hot = rider(tmp_path)
    assert heard(hot, words.Follow(order(1), b"first")) == [words.Followed(DNS, 1)]
    assert heard(hot, words.Follow(order(2), b"second")) == [words.Followed(DNS, 2)]
    heard(hot, words.Follow(order(1), b"first"))
    known, ready, followed = heard(hot, words.Greet())
    assert known == words.Known(b"second")
    assert ready == words.Ready(77, False, {}, (), VOTERS)
    assert followed == words.Followed(DNS, 2)


def test_what_an_agent_of_an_earlier_version_has_handed_on_is_not_told(tmp_path: Path) -> None:
    hot = rider(tmp_path)
    heard(hot, words.Follow(order(1)))
    assert heard(hot, words.Greet()) == [words.Ready(77, False, {}, (), VOTERS)]
