"""The order of the two keys against a kernel in the mind, with a pause of any length between any two steps.

The same judge sees both known mistakes answer late.
"""

from collections.abc import Callable, Iterable
from itertools import product

import pytest

from holdfast.drivers.window_order import A, B, Outcome, TwoKeys
from holdfast.errors import WorldError
from tests.contract.window_mistakes import CheckedAfter, OneTimer

MS = 1_000_000
TICK = 4 * MS
STEP_TAKES = MS // 50
PAUSES = (0, 3 * MS, 41 * MS, 300 * MS)


class KernelInMind:
    """Time that passes only by steps and pauses, and two keys that end on ticks."""

    def __init__(self, pauses: Iterable[int] = (), offset: int = 0) -> None:
        self.now = 1000 * TICK + offset
        self.ends: list[int | None] = [None, None]
        self.refuses = 0
        self.pauses = list(pauses)
        self.watch: Callable[[], None] | None = None

    def clock(self) -> int:
        self.now += STEP_TAKES
        return self.now

    def arm(self, which: int, ticks: int) -> None:
        if self.refuses:
            self.refuses -= 1
            raise WorldError("the kernel refused the key")
        assert ticks >= 2
        self.now += STEP_TAKES
        self.ends[which] = (self.now // TICK + ticks) * TICK

    def delete(self) -> None:
        self.ends = [None, None]

    def step(self, done: str) -> None:
        assert done
        if self.watch is not None:
            self.watch()
        if self.pauses:
            self.now += self.pauses.pop(0)

    @property
    def answers_until(self) -> int:
        return min(0 if end is None else end for end in self.ends)


def order_on(kernel: KernelInMind, kind: type[TwoKeys] = TwoKeys, tries: int = 3, longest: int = 1000 * MS) -> TwoKeys:
    return kind(kernel, TICK, longest, kernel.clock, tries=tries, step=kernel.step)


def late_by(kind: type[TwoKeys], pauses: tuple[int, ...], offset: int, tries: int) -> int:
    """How long after the end of the grant the kernel would answer at worst, if the process died at this or that step.

    The grant is renewed once without a pause and once with them; it ends 40 ms after each renewal began.
    """
    kernel = KernelInMind(offset=offset)
    order = order_on(kernel, kind, tries)
    order.arm(kernel.now + 40 * MS)
    until = kernel.now + 40 * MS
    worst = 0

    def watch() -> None:
        nonlocal worst
        worst = max(worst, kernel.answers_until - until)

    kernel.pauses = list(pauses)
    kernel.watch = watch
    order.arm(until)
    return max(worst, kernel.answers_until - until)


@pytest.mark.parametrize("tries", [1, 3])
@pytest.mark.parametrize("offset", [0, MS, 3 * MS + 900_000])
def test_no_pause_anywhere_makes_the_kernel_answer_late(offset: int, tries: int) -> None:
    worst = max(late_by(TwoKeys, pauses, offset, tries) for pauses in product(PAUSES, repeat=6))
    assert worst <= 0


def test_one_timer_is_seen_to_answer_late() -> None:
    assert late_by(OneTimer, (300 * MS,), 0, 1) > 200 * MS


def test_one_timer_that_is_checked_afterwards_is_seen_to_answer_late() -> None:
    """The second pause is between setting and looking."""
    assert late_by(CheckedAfter, (300 * MS, 41 * MS), 0, 1) > 200 * MS


def test_both_keys_end_between_two_ticks_and_the_margins_before_the_grant_does() -> None:
    kernel = KernelInMind(offset=MS)
    until = kernel.now + 50 * MS
    assert order_on(kernel).arm(until) is Outcome.ARMED
    early = until - kernel.answers_until
    assert MS + TICK <= early <= MS + 3 * TICK + MS


def test_remaining_time_is_what_the_kernel_surely_gives() -> None:
    kernel = KernelInMind()
    order = order_on(kernel)
    assert order.remaining_ns() == 0
    order.arm(kernel.now + 50 * MS)
    assert 25 * MS < order.remaining_ns() <= kernel.answers_until - kernel.now + STEP_TAKES
    order.close()
    assert order.remaining_ns() == 0


def test_no_key_is_set_for_longer_than_the_longest() -> None:
    kernel = KernelInMind()
    assert order_on(kernel, longest=20 * MS).arm(kernel.now + 1000 * MS) is Outcome.ARMED
    assert kernel.answers_until <= kernel.now + 20 * MS


@pytest.mark.parametrize("left_ms", [-5, 0, 4, 12])
def test_less_than_two_ticks_closes(left_ms: int) -> None:
    kernel = KernelInMind()
    order = order_on(kernel)
    order.arm(kernel.now + 50 * MS)
    assert order.arm(kernel.now + left_ms * MS) is Outcome.SHORT
    assert kernel.ends == [None, None]
    assert order.until_ns == 0


def test_a_key_set_too_slowly_is_set_again_and_the_other_stands_meanwhile() -> None:
    kernel = KernelInMind()
    order = order_on(kernel)
    order.arm(kernel.now + 200 * MS)
    other = kernel.ends[B]
    kernel.pauses = [0, 3 * MS]  # while A is being set
    assert order.arm(kernel.now + 210 * MS) is Outcome.ARMED
    assert order.late_tries == 1
    assert other is not None


def test_keys_that_are_always_set_too_slowly_are_given_up() -> None:
    kernel = KernelInMind([0, 3 * MS, 0] * 10)
    assert order_on(kernel, tries=3).arm(kernel.now + 200 * MS) is Outcome.LATE
    assert kernel.ends == [None, None]


def test_after_a_refusal_both_keys_go_before_anything_else() -> None:
    """A key that may be late must not stand while the other is in doubt."""
    kernel = KernelInMind()
    order = order_on(kernel)
    order.arm(kernel.now + 50 * MS)
    kernel.refuses = 1
    with pytest.raises(WorldError):
        order.arm(kernel.now + 60 * MS)
    seen: list[list[int | None]] = []
    kernel.watch = lambda: seen.append(list(kernel.ends))
    assert order.arm(kernel.now + 70 * MS) is Outcome.ARMED
    assert [None, None] in seen[:2]
    assert kernel.ends[A] is not None


def test_a_shorter_end_is_kept_by_both_keys() -> None:
    kernel = KernelInMind()
    order = order_on(kernel)
    order.arm(kernel.now + 200 * MS)
    shorter = kernel.now + 60 * MS
    assert order.arm(shorter) is Outcome.ARMED
    assert kernel.answers_until <= order.until_ns == shorter
