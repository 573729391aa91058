"""A kernel that refuses what the grants want of it: all is closed, and confirmed, before anything is armed again.

The rider of the hot process with a window in the mind, in a time that the test makes. Its host is the only voter.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest

from holdfast.drivers.window_order import Outcome
from holdfast.errors import WorldError
from holdfast.model.granting import FAST, MS
from holdfast.model.names import HostName, ServiceName
from holdfast.runtime import hot_grant_words as words
from holdfast.runtime.hot_grants import GrantRider
from tests.contract.window_fakes import FakeWindow

A = HostName("a")
S, T = ServiceName("s"), ServiceName("t")
ADDRESSES = {S: "10.77.0.100/24", T: "10.77.0.101/24"}
START = 1_000_000 * MS


class FakeClocks:
    def __init__(self) -> None:
        self.now = START

    def raw_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now

    def processor_ns(self) -> int:
        return 0


class RefusingWindow(FakeWindow):
    """Notes what is done, and does not do what it is told to refuse: always, or so often, or for one address."""

    def __init__(self, clocks: FakeClocks) -> None:
        super().__init__(ADDRESSES.values(), FAST.length_ns, clocks.raw_ns)
        self.refused: set[str] = set()
        self.refused_once: set[str] = set()
        self.done: list[str] = []

    def arm(self, until_ns: int) -> Outcome:
        self._do("arm")
        return super().arm(until_ns)

    def own(self, addresses: Iterable[str], until_ns: int | None = None) -> None:
        for address in addresses:
            self._do("own", f"own {address}")
        super().own(addresses, until_ns)

    def disown(self, addresses: Iterable[str]) -> None:
        self._do("disown")
        super().disown(addresses)

    def close(self) -> None:
        self._do("close")
        super().close()

    def guard_port(self, port: str) -> None:
        self._do("guard")
        super().guard_port(port)

    def _do(self, what: str, exactly: str = "") -> None:
        if {what, exactly} & (self.refused | self.refused_once):
            self.refused_once -= {what, exactly}
            self.done.append(f"{what} refused")
            raise WorldError(f"the kernel does not {what}")
        self.done.append(what)


class Hot:
    """The rider, whose loop and agent the test is."""

    def __init__(self, folder: Path) -> None:
        self.clocks = FakeClocks()
        self.window = RefusingWindow(self.clocks)
        settings = words.GrantSettings(A, FAST, (A,), (), ADDRESSES, "t", str(folder / "voters"), learns_epochs=False)
        self.rider = GrantRider(settings, 1, self.window, self.clocks.now, self.clocks)
        self.beat(8)
        self.news()

    def beat(self, count: int = 1) -> None:
        for _ in range(count):
            self.clocks.now += FAST.heartbeat_ns
            self.tell(words.Alive())
            self.rider.beat(self.clocks.now)

    def tell(self, command: words.GrantCommand) -> None:
        self.rider.told(words.packed(command), self.clocks.now)

    def news(self) -> list[words.GrantNews]:
        return [words.news_in(body) for body in self.rider.news()]

    def hold(self, service: ServiceName = S, epoch: int = 1) -> None:
        self.tell(words.Claim(service, epoch))
        self.beat(2)
        assert self.answers(service)
        assert words.HeldNow(service, epoch) in self.news()
        self.window.done.clear()

    def answers(self, service: ServiceName = S) -> bool:
        return self.window.answers(ADDRESSES[service])

    def troubles(self) -> list[str]:
        return [one.detail for one in self.news() if isinstance(one, words.Said) and one.name == "window-trouble"]


@pytest.fixture
def hot(tmp_path: Path) -> Hot:
    return Hot(tmp_path)


def test_a_kernel_that_does_what_it_is_told_answers_until_the_agent_gives_up(hot: Hot) -> None:
    hot.hold()
    hot.beat(20)
    assert hot.answers()
    assert set(hot.window.done) == {"arm"}
    hot.tell(words.GiveUp(S))
    assert not hot.answers()
    assert hot.news() == [words.NotHeld(S, 1, "released")]


def test_an_arming_that_is_refused_closes_and_is_a_lapse_until_the_next_one(hot: Hot) -> None:
    hot.hold()
    hot.window.refused = {"arm"}
    hot.beat()
    assert not hot.answers()
    assert hot.window.done[:2] == ["arm refused", "close"]
    said, lapsed = hot.news()[:2]
    assert said == words.Said("window-trouble", A, "the kernel does not arm")
    assert lapsed == words.NotHeld(S, 1, "lapsed", "the kernel does not arm")
    # At once a second time, then with each heartbeat: the loop has other things to do.
    hot.beat(10)
    assert 10 <= hot.window.done.count("arm refused") <= 13
    hot.window.refused.clear()
    hot.beat()
    assert hot.answers()
    assert words.HeldNow(S, 1, again=True) in hot.news()


def test_an_arming_that_came_too_late_is_a_lapse_until_the_next_one(hot: Hot) -> None:
    hot.hold()
    hot.window.outcomes = [Outcome.LATE]
    hot.beat()
    assert hot.answers(), "tried again at once"
    assert hot.news() == [words.NotHeld(S, 1, "lapsed", "late"), words.HeldNow(S, 1, again=True)]
    hot.window.outcomes = [Outcome.LATE, Outcome.LATE]
    hot.beat()
    assert not hot.answers()
    hot.beat()
    assert hot.answers()


def test_what_is_not_taken_in_leads_to_closing_everything_before_the_next_arming(hot: Hot) -> None:
    hot.hold(S)
    hot.window.refused_once = {"own"}
    hot.tell(words.Claim(T, 1))
    hot.beat()
    assert hot.window.done[:7] == ["own refused", "close", "close", "disown", "own", "own", "arm"]
    told = [one for one in hot.news() if isinstance(one, words.NotHeld | words.HeldNow)]
    assert told == [
        words.NotHeld(S, 1, "lapsed", "the kernel does not own"),
        words.HeldNow(S, 1, again=True),
        words.HeldNow(T, 1),
    ]


def test_a_service_that_the_kernel_never_takes_in_is_given_up_and_the_others_go_on(hot: Hot) -> None:
    hot.hold(S)
    hot.window.refused = {f"own {ADDRESSES[T]}"}
    hot.tell(words.Claim(T, 1))
    hot.beat(5)
    assert (hot.answers(S), hot.answers(T)) == (True, False)
    assert hot.window.done.count("own refused") == 2
    told = [one for one in hot.news() if isinstance(one, words.NotHeld) and one.service == T]
    assert told == [words.NotHeld(T, 1, "refused", "the kernel does not own"), words.NotHeld(T, 1, "released")]


def test_a_service_that_the_kernel_does_not_take_in_again_after_a_lapse_is_left_to_others(hot: Hot) -> None:
    hot.hold(S)
    hot.window.refused = {"own"}
    hot.window.refused_once = {"arm"}
    hot.tell(words.Claim(T, 1))
    hot.beat(5)
    assert not hot.answers(S)
    told = [(one.service, one.how) for one in hot.news() if isinstance(one, words.NotHeld)]
    assert [how for service, how in told if service == S] == ["lapsed", "lost", "released"]
    assert [how for service, how in told if service == T] == ["refused", "released"]


def test_a_service_that_is_given_up_is_released_only_when_the_kernel_has_let_go_of_it(hot: Hot) -> None:
    hot.hold(S)
    hot.hold(T)
    hot.window.refused = {"disown"}
    hot.tell(words.GiveUp(S))
    hot.beat(3)
    assert (hot.answers(S), hot.answers(T)) == (False, False), "closed, if it cannot be taken out alone"
    assert "arm" not in hot.window.done
    assert not any(isinstance(one, words.NotHeld) and one.how == "released" for one in hot.news())
    hot.window.refused.clear()
    hot.beat(2)
    assert (hot.answers(S), hot.answers(T)) == (False, True)
    told = hot.news()
    assert words.NotHeld(S, 1, "released") in told
    assert words.HeldNow(T, 1, again=True) in told


def test_a_kernel_that_cannot_be_closed_is_told_so_with_each_heartbeat_and_nothing_is_armed_before(hot: Hot) -> None:
    hot.hold()
    hot.window.refused = {"arm", "close", "disown"}
    hot.beat(5)
    assert "arm" not in hot.window.done
    assert hot.window.done.count("close refused") >= 5
    assert words.NotHeld(S, 1, "lapsed", "the kernel does not arm") in hot.news()
    # What was armed last ends by itself: nobody has to do anything for it.
    hot.beat(2)
    assert not hot.answers()
    hot.window.refused.clear()
    hot.window.done.clear()
    hot.beat(2)
    assert hot.window.done[:4] == ["close", "disown", "own", "arm"]
    assert hot.answers()
    assert words.HeldNow(S, 1, again=True) in hot.news()


def test_the_same_trouble_is_said_once_until_all_is_well_again(hot: Hot) -> None:
    hot.hold()
    for _ in range(2):
        hot.window.refused = {"arm", "close", "disown"}
        hot.beat(20)
        assert hot.troubles() == ["the kernel does not arm", "the kernel does not close"]
        hot.window.refused.clear()
        hot.beat(3)
        assert hot.answers()


def test_a_kernel_that_cannot_be_closed_at_the_start_of_a_life_is_closed_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    hot = Hot(tmp_path)
    window = hot.window
    window.refused = {"close"}
    settings = hot.rider._settings
    hot.rider = GrantRider(settings, 2, window, hot.clocks.now, hot.clocks)
    hot.tell(words.Claim(S, 2))
    hot.beat(10)
    assert "arm" not in window.done
    window.refused.clear()
    hot.beat(10)
    assert hot.answers()


def test_a_port_that_cannot_be_guarded_is_said(hot: Hot) -> None:
    hot.window.refused = {"guard"}
    hot.tell(words.GuardPort("hf-vm1"))
    assert hot.news() == [words.PortGuarded("hf-vm1", "the kernel does not guard")]


def test_a_claim_that_is_refused_takes_nothing_from_the_one_that_is_held(hot: Hot) -> None:
    """Losses of standbys are confirmed by claims under ever higher epochs; an older one may come late."""
    hot.hold(S, 5)
    hot.tell(words.Claim(S, 4))
    (refused,) = hot.news()
    assert isinstance(refused, words.NotHeld)
    assert (refused.epoch, refused.how) == (4, "refused")
    hot.tell(words.Claim(S, 6))
    hot.beat(2)
    assert words.HeldNow(S, 6) in hot.news()
    assert hot.answers()
