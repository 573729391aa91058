"""The contract of a window, kept by each kind of it, seen by real packets: what is answered, for whom, until when."""

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

import pytest

from holdfast.drivers.window import raw_clock_ns
from holdfast.drivers.window_order import Outcome
from holdfast.errors import WorldError
from tests.contract.network import V4, V6, in_order
from tests.contract.window_net import (
    ATTEMPTS,
    CASES,
    LONG,
    MS,
    OTHERS,
    PROTOCOLS,
    Asker,
    Protocol,
    Scene,
    arm,
    arm_for_long,
    open_window,
)

pytestmark = pytest.mark.namespaces
TRIES = 40
QUESTIONS = 500
VIPS = pytest.mark.parametrize("vip", [V4.vip, V6.vip], ids=["ipv4", "ipv6"])


@pytest.fixture(params=CASES, ids=" ".join)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    kind, place = request.param
    with ExitStack() as stack, in_order():
        yield Scene(kind, place, stack)


@VIPS
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_address_is_answered_only_while_owned_and_the_window_open(scene: Scene, vip: str, protocol: Protocol) -> None:
    asker = Asker(scene, vip, protocol)
    with scene.window() as window:
        assert not asker.is_answered()
        arm_for_long(window)
        assert not asker.is_answered()
        window.own([vip])
        assert asker.gets_an_answer()
        window.close()
        assert not asker.is_answered()
        arm_for_long(window)
        assert asker.gets_an_answer()
        window.disown([vip])
        assert not asker.is_answered()


def test_disowning_one_address_leaves_the_others_alone(scene: Scene) -> None:
    askers = {vip: Asker(scene, vip) for vip in (V4.vip, V6.vip)}
    with scene.window() as window:
        window.own([V4.vip, V6.vip])
        arm_for_long(window)
        window.disown([V4.vip])
        assert window.owned() == {V6.vip_alone}
        assert not askers[V4.vip].is_answered()
        assert askers[V6.vip].gets_an_answer()


def test_nobody_renews_and_the_end_is_never_late_nor_promised_much_too_early(scene: Scene) -> None:
    """40 tries, each with a question every half millisecond across the end of the grant."""
    asker = Asker(scene)
    promised_early, early = [], []
    with scene.window() as window:
        window.own([V4.vip])
        for _ in range(TRIES):
            first, until = len(asker.asked), raw_clock_ns() + 36 * MS
            if arm(window, until) is not Outcome.ARMED:
                continue  # This machine stood still for longer than the slack: nothing was promised.
            promised_early.append((until - raw_clock_ns() - window.remaining_ns()) / MS)
            asker.go_on(until + 5 * MS)
            assert asker.late(until, first) == []
            early += [(until - asker.asked[number]) / MS for number in asker.answered if number >= first]
    assert median(promised_early) < (2 if scene.kind == "stamp" else 20)
    # A busy machine lets the client ask that late once in a while.
    assert min(early) < (2 if scene.kind == "stamp" else 15)


def test_renewals_keep_it_answered_without_a_gap(scene: Scene) -> None:
    """Each of many questions is answered that was put while the window said that time remains.

    A machine that stood still for longer than was armed has let the window lapse: who waits for an answer then may get
    none.
    """
    asker = Asker(scene)
    promised: set[int] = set()
    lapses = 0
    with scene.window() as window:
        window.own([V4.vip])
        surely_until = renewed = 0
        while len(promised) < QUESTIONS:
            if raw_clock_ns() > renewed + 10 * MS:
                renewed = raw_clock_ns()
                armed = arm(window, renewed + 50 * MS)
                if armed is not Outcome.ARMED or raw_clock_ns() >= surely_until:
                    lapses += 1
                    promised &= asker.answered
                surely_until = raw_clock_ns() + window.remaining_ns()
            number = asker.ask()
            if window.remaining_ns() > 0:
                promised.add(number)
            asker.look(0.001)
        arm_for_long(window)
        if raw_clock_ns() >= surely_until:
            promised &= asker.answered
        assert asker.unanswered(promised) == set()
    assert lapses < QUESTIONS


def test_the_longest_window_is_a_limit_of_its_own(scene: Scene) -> None:
    asker = Asker(scene)
    window = open_window(scene.kind, scene.host, longest_ns=30 * MS)
    scene.protect(window)
    window.own([V4.vip])

    def is_seen() -> bool:
        """Whether this machine let the client ask in time; the end is not late in any case."""
        first = len(asker.asked)
        outcome = arm(window, raw_clock_ns() + LONG)
        armed = raw_clock_ns()
        asker.go_on(armed + 35 * MS)
        assert asker.late(armed + 30 * MS, first) == []
        return outcome is Outcome.ARMED and max(asker.answered, default=-1) >= first

    assert any(is_seen() for _ in range(ATTEMPTS))
    window.detach()


def test_a_claim_that_ends_earlier_shortens_the_window_first(scene: Scene) -> None:
    asker = Asker(scene, OTHERS[0])
    with scene.window() as window:
        window.own([V4.vip])
        arm_for_long(window)
        until = raw_clock_ns() + 40 * MS
        window.own([OTHERS[0]], until)
        assert window.until_ns <= until
        asker.go_on(until + 10 * MS)
    assert asker.late(until) == []


def test_a_grant_that_has_ended_closes(scene: Scene) -> None:
    asker = Asker(scene)
    with scene.window() as window:
        window.own([V4.vip])
        arm_for_long(window)
        assert window.arm(raw_clock_ns() - 1) is Outcome.SHORT
        assert not asker.is_answered()
        assert (window.until_ns, window.remaining_ns()) == (0, 0)


def test_a_new_window_begins_closed_and_owns_nothing(scene: Scene) -> None:
    asker = Asker(scene)
    with scene.window() as window:
        window.own([V4.vip])
        arm_for_long(window)
        assert asker.gets_an_answer()
    with scene.window() as window:
        assert window.owned() == frozenset()
        assert not asker.is_answered()
        window.own([V4.vip])
        assert not asker.is_answered()


def test_a_second_writer_is_refused_while_the_first_lives(scene: Scene) -> None:
    with scene.window(), pytest.raises(WorldError, match="belongs to another process"):
        open_window(scene.kind, scene.host)
    open_window(scene.kind, scene.host).detach()


def test_what_nobody_declared_is_refused(scene: Scene) -> None:
    with scene.window() as window:
        for change in (window.own, window.disown):
            with pytest.raises(WorldError, match=r"10\.9\.9\.9"):
                change(["10.9.9.9"])


def test_declaring_anew_keeps_what_is_owned(scene: Scene) -> None:
    asker = Asker(scene)
    with scene.window() as window:
        window.own([V4.vip])
        arm_for_long(window)
        window.declare([V4.vip, "10.9.9.9"])
        assert asker.gets_an_answer()
        window.own(["10.9.9.9"])
        assert window.owned() == {V4.vip_alone, "10.9.9.9"}


def test_removing_takes_everything_away(scene: Scene) -> None:
    asker = Asker(scene)
    with scene.window() as window:
        assert not asker.is_answered()
        window.remove()
        if scene.place == "host":
            assert asker.gets_an_answer()
        scene.gate.close_table()
        assert asker.gets_an_answer()
