"""The contract of a window, kept by each kind of it, seen by real packets: what is answered, for whom, until when."""

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

import pytest

from holdfast.drivers.window import raw_clock_ns
from holdfast.drivers.window_order import Outcome
from holdfast.errors import WorldError
from tests.contract.network import V4, V6
from tests.contract.window_net import (
    CASES,
    MS,
    OTHERS,
    PROTOCOLS,
    Asker,
    Protocol,
    Scene,
    open_window,
)

pytestmark = pytest.mark.namespaces
LONG = 4000 * MS
TRIES = 40
VIPS = pytest.mark.parametrize("vip", [V4.vip, V6.vip], ids=["ipv4", "ipv6"])


@pytest.fixture(params=CASES, ids=" ".join)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    kind, place = request.param
    with ExitStack() as stack:
        yield Scene(kind, place, stack)


@VIPS
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_address_is_answered_only_while_owned_and_the_window_open(scene: Scene, vip: str, protocol: Protocol) -> None:
    asker = Asker(scene, vip, protocol)
    with scene.window() as window:
        assert not asker.is_answered()
        window.arm(raw_clock_ns() + LONG)
        assert not asker.is_answered()
        window.own([vip])
        assert asker.gets_an_answer()
        window.close()
        assert not asker.is_answered()
        assert window.arm(raw_clock_ns() + LONG) is Outcome.ARMED
        assert asker.gets_an_answer()
        window.disown([vip])
        assert not asker.is_answered()


def test_disowning_one_address_leaves_the_others_alone(scene: Scene) -> None:
    askers = {vip: Asker(scene, vip) for vip in (V4.vip, V6.vip)}
    with scene.window() as window:
        window.own([V4.vip, V6.vip])
        window.arm(raw_clock_ns() + LONG)
        window.disown([V4.vip])
        assert window.owned() == {V6.vip_alone}
        assert not askers[V4.vip].is_answered()
        assert askers[V6.vip].gets_an_answer()


def test_nobody_renews_and_the_end_is_never_late(scene: Scene) -> None:
    """40 tries, each with a question every half millisecond across the end of the grant."""
    asker = Asker(scene)
    early = []
    with scene.window() as window:
        window.own([V4.vip])
        for _ in range(TRIES):
            first, until = len(asker.asked), raw_clock_ns() + 36 * MS
            if window.arm(until) is not Outcome.ARMED:
                continue  # This machine stood still for longer than the slack: nothing was promised.
            asker.go_on(until + 5 * MS)
            assert asker.late(until, first) == []
            early.append((until - asker.last_answered(first)) / MS)
    assert len(early) > TRIES // 2
    assert median(early) < (2 if scene.kind == "stamp" else 15)


def test_renewals_keep_it_answered_without_a_gap(scene: Scene) -> None:
    """Two seconds: each question put while the window says that time remains is answered."""
    asker = Asker(scene)
    promised: list[int] = []
    with scene.window() as window:
        window.own([V4.vip])
        window.arm(raw_clock_ns() + 50 * MS)
        begun = renewed = raw_clock_ns()
        while raw_clock_ns() < begun + 2000 * MS:
            if raw_clock_ns() > renewed + 10 * MS:
                renewed = raw_clock_ns()
                window.arm(renewed + 50 * MS)
            number = asker.ask()
            asker.look(0.001)
            if window.remaining_ns() > 0:
                promised.append(number)
        asker.is_answered()
    assert len(promised) > 500
    assert [number for number in promised if number not in asker.answered] == []


def test_the_longest_window_is_a_limit_of_its_own(scene: Scene) -> None:
    asker = Asker(scene)
    window = open_window(scene.kind, scene.host, longest_ns=30 * MS)
    scene.protect(window)
    window.own([V4.vip])
    begun = raw_clock_ns()
    assert window.arm(begun + LONG) is Outcome.ARMED
    armed = raw_clock_ns()
    asker.go_on(armed + 35 * MS)
    window.detach()
    assert asker.answered
    assert asker.late(armed + 30 * MS) == []


def test_a_claim_that_ends_earlier_shortens_the_window_first(scene: Scene) -> None:
    asker = Asker(scene, OTHERS[0])
    with scene.window() as window:
        window.own([V4.vip])
        window.arm(raw_clock_ns() + LONG)
        until = raw_clock_ns() + 40 * MS
        window.own([OTHERS[0]], until)
        assert window.until_ns <= until
        asker.go_on(until + 10 * MS)
    assert asker.late(until) == []


def test_a_grant_that_has_ended_closes(scene: Scene) -> None:
    asker = Asker(scene)
    with scene.window() as window:
        window.own([V4.vip])
        window.arm(raw_clock_ns() + LONG)
        assert window.arm(raw_clock_ns() - 1) is Outcome.SHORT
        assert not asker.is_answered()
        assert (window.until_ns, window.remaining_ns()) == (0, 0)


def test_a_new_window_begins_closed_and_owns_nothing(scene: Scene) -> None:
    asker = Asker(scene)
    with scene.window() as window:
        window.own([V4.vip])
        window.arm(raw_clock_ns() + LONG)
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
        window.arm(raw_clock_ns() + LONG)
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
