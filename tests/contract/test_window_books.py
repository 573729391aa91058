"""What a window says of itself, kept by each kind of it and by its fake. What it does to packets is in test_window."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from holdfast.drivers.window import Window, raw_clock_ns
from holdfast.drivers.window_order import Outcome
from holdfast.errors import WorldError
from tests.contract.network import V4, V6, namespace
from tests.contract.window_fakes import FakeWindow
from tests.contract.window_net import ATTEMPTS, KINDS, LONGEST, MS, SERVICES, arm_for_long, open_window

S = 1000 * MS


@pytest.fixture(params=["fake", *(pytest.param(kind, marks=pytest.mark.namespaces) for kind in KINDS)])
def window(request: pytest.FixtureRequest) -> Iterator[Window]:
    with ExitStack() as stack:
        if request.param == "fake":
            yield FakeWindow(SERVICES, LONGEST, raw_clock_ns)
            return
        made = open_window(request.param, namespace(stack), longest_ns=LONGEST)
        stack.callback(made.detach)
        yield made


def test_begins_closed_with_nothing_owned(window: Window) -> None:
    assert (window.owned(), window.until_ns, window.remaining_ns()) == (frozenset(), 0, 0)


def test_owning_and_disowning_twice_is_fine(window: Window) -> None:
    for _ in range(2):
        window.own([V4.vip, V6.vip, ""])
    assert window.owned() == {V4.vip_alone, V6.vip_alone}
    for _ in range(2):
        window.disown([V4.vip])
    assert window.owned() == {V6.vip_alone}
    window.own([])
    window.disown([])
    assert window.owned() == {V6.vip_alone}


def test_armed_window_says_until_when(window: Window) -> None:
    until = arm_for_long(window, 24 * S)
    assert window.until_ns == until
    assert 12 * S < window.remaining_ns() <= 24 * S


def test_closing_keeps_what_is_owned(window: Window) -> None:
    window.own([V4.vip])
    arm_for_long(window)
    for _ in range(2):
        window.close()
    assert window.owned() == {V4.vip_alone}
    assert (window.until_ns, window.remaining_ns()) == (0, 0)


def test_too_little_left_closes(window: Window) -> None:
    arm_for_long(window)
    assert window.arm(raw_clock_ns() - MS) is Outcome.SHORT
    assert (window.until_ns, window.remaining_ns()) == (0, 0)


def test_nothing_is_armed_for_longer_than_the_longest(window: Window) -> None:
    arm_for_long(window, 10 * LONGEST)
    assert LONGEST // 2 < window.remaining_ns() <= LONGEST


def test_claim_that_ends_earlier_shortens(window: Window) -> None:
    def is_shortened() -> bool:
        """Closed it is, where this machine stood still meanwhile."""
        arm_for_long(window)
        earlier = raw_clock_ns() + 16 * S
        window.own([V4.vip], earlier)
        assert window.until_ns in {earlier, 0}
        until = window.until_ns
        window.own([V6.vip], earlier + 6 * S)
        assert window.until_ns == until
        return until == earlier

    assert any(is_shortened() for _ in range(ATTEMPTS))


def test_address_that_nobody_declared_is_refused_until_it_is(window: Window) -> None:
    for change in (window.own, window.disown):
        with pytest.raises(WorldError, match=r"10\.9\.9\.9"):
            change(["10.9.9.9"])
    window.own([V4.vip])
    window.declare([V4.vip, "10.9.9.9"])
    window.own(["10.9.9.9"])
    assert window.owned() == {V4.vip_alone, "10.9.9.9"}


def test_address_that_is_declared_no_more_is_not_owned(window: Window) -> None:
    window.own([V4.vip, V6.vip])
    window.declare([V6.vip])
    assert window.owned() == {V6.vip_alone}
