"""A process is stopped between every two of its steps while it arms, and the kernel still ends on time.

The process is a child that stops itself with SIGSTOP; the client asks all the while: before the end it is answered,
after it never, neither while the process stands still nor when it has gone on. The known mistakes (two of keys, one of
an absolute end, one of a claim that joins) are planted to show that the same test sees them answer late.
"""

import ctypes
import gc
import os
import signal
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations

import pytest

from holdfast.drivers.netlink import KernelRefused
from holdfast.drivers.window import Window, raw_clock_ns
from holdfast.drivers.window_order import TwoKeys
from tests.contract.network import V4
from tests.contract.window_mistakes import CheckedAfter, OneTimer, OwnedFirst, OwnedFirstByStamp, WrongClockFirst
from tests.contract.window_net import ATTEMPTS, CASES, MS, Asker, Kind, Scene, Where, is_busy, open_window

pytestmark = pytest.mark.namespaces
GRANT = 40 * MS
AFTERWARDS = GRANT + 10 * MS
"""For so long after the process went on, or ended, the client goes on asking: a key set late would last as long."""
WITHIN = GRANT // 4
"""A pause that the grant outlasts: what was reckoned before it and is set after it would be late by so much."""
STEPS = {"keys": 7, "keys set anew": 7, "stamp": 4}
"""Steps of an arming in which nothing stops, the moment before it included; after a stop, those of closing come too."""
PR_SET_PDEATHSIG = 1
KERNEL_BUSY = 75
"""Exit status of a process whose window the kernel was too busy to arm."""

Opened = Callable[[Kind, int, Callable[[str], None]], Window]


@dataclass(frozen=True)
class Story:
    """What the process does, and the part of it in which it is stopped."""

    begin: Callable[[Window], int]
    """Answers when the grant ends that the rest is about."""
    stopped_in: Callable[[Window, int], object]


def _hold(window: Window) -> int:
    window.own([V4.vip])
    window.arm(raw_clock_ns() + GRANT)
    return raw_clock_ns() + GRANT


def _hold_another(window: Window) -> int:
    window.arm(raw_clock_ns() + 2 * GRANT)
    return raw_clock_ns() + GRANT


RENEWAL = Story(_hold, lambda window, until: window.arm(until))
JOINING = Story(_hold_another, lambda window, until: window.own([V4.vip], until))
"""The claim that joins ends before what the kernel is armed for."""


def rightly(kind: Kind, host: int, step: Callable[[str], None]) -> Window:
    return open_window(kind, host, step=step)


def with_order(order: type[TwoKeys]) -> Opened:
    return lambda kind, host, step: open_window(kind, host, step=step, order=order)


def with_wrong_clock(kind: Kind, host: int, step: Callable[[str], None]) -> Window:
    return open_window("stamp", host, step=step, stamped=WrongClockFirst)


@pytest.fixture
def asker(request: pytest.FixtureRequest) -> Iterator[Asker]:
    kind, place = request.param
    with ExitStack() as stack:
        yield Asker(Scene(kind, place, stack))


def each(*cases: tuple[Kind, Where]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("asker", cases, indirect=True, ids=lambda case: " ".join(case))


def with_mistaken_joining(kind: Kind, host: int, step: Callable[[str], None]) -> Window:
    return open_window(kind, host, step=step, keyed=OwnedFirst, stamped=OwnedFirstByStamp)


def holder(scene: Scene, opened: Opened, story: Story, stops: tuple[int, ...], tell: int) -> None:
    """In the child: go through the story, and stop in the part that it is about after the steps with these numbers."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    gc.disable()
    passed = -1000

    def step(done: str) -> None:
        nonlocal passed
        passed += 1
        if passed - 1 in stops:
            os.kill(os.getpid(), signal.SIGSTOP)

    window = opened(scene.kind, scene.host, step)
    scene.protect(window)
    until = story.begin(window)
    os.write(tell, struct.pack("=Q", until))
    passed = 0
    step("told")
    story.stopped_in(window, until)


@dataclass(frozen=True)
class Found:
    """What the client saw of one run, and how often the process was stopped."""

    late: list[float]
    """By how many milliseconds questions that were answered had been put after the end."""
    in_time: int
    """Answers to questions put before it."""
    stopped: int


def found(
    asker: Asker,
    opened: Opened,
    stops: tuple[int, ...],
    *,
    story: Story = RENEWAL,
    first_pause: int = 0,
    ends_with: int = 0,
) -> Found:
    """Ask while the process goes through its story; pauses last past the end, unless the first one has a length."""
    told, tell = os.pipe()
    first = len(asker.asked)
    child = os.fork()
    if child == 0:
        os.close(told)
        status = 1
        try:
            holder(asker.scene, opened, story, stops, tell)
            status = 0
        except KernelRefused as refused:
            status = KERNEL_BUSY if is_busy(refused) else 1
        except BaseException:  # noqa: BLE001  # the child of a test ends here, whatever happened
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(tell)
    try:
        what = os.read(told, 8)
        # Without a word the process has ended before the part that this is about.
        until: int = struct.unpack("=Q", what)[0] if what else 1 << 62
        stopped = 0
        while os.WIFSTOPPED(state := _changed(child, asker)):
            stopped += 1
            is_short = first_pause and stopped == 1
            asker.go_on(raw_clock_ns() + first_pause if is_short else max(until, raw_clock_ns()) + AFTERWARDS)
            os.kill(child, signal.SIGCONT)
        child = 0
        exited = os.waitstatus_to_exitcode(state)
        assert exited in {ends_with, KERNEL_BUSY}
        if not what:
            return Found([], 0, stopped)
        asker.go_on(max(until, raw_clock_ns()) + AFTERWARDS)
    finally:
        os.close(told)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    in_time = sum(first <= number and asker.asked[number] <= until for number in asker.answered)
    in_time *= exited == ends_with
    return Found(asker.late(until, first), in_time, stopped)


def shown(
    asker: Asker,
    opened: Opened,
    stops: tuple[int, ...],
    is_shown: Callable[[Found], object],
    *,
    story: Story = RENEWAL,
    first_pause: int = 0,
    ends_with: int = 0,
) -> Found:
    """The story once more, until this machine has let process and client do in time what is to be shown; never late."""
    seen: list[Found] = []
    while not seen or not is_shown(seen[-1]):
        assert len(seen) < ATTEMPTS, f"not shown with stops {stops}: {seen}"
        seen.append(found(asker, opened, stops, story=story, first_pause=first_pause, ends_with=ends_with))
        assert seen[-1].late == [], f"stopped after {stops}"
    return seen[-1]


def is_seen_late(
    asker: Asker, opened: Opened, stops: tuple[int, ...], *, story: Story = RENEWAL, by_ms: float = 10
) -> bool:
    """Whether the client got answers that late; it must have asked in time for it."""
    return any(max(found(asker, opened, stops, story=story).late, default=0.0) > by_ms for _ in range(ATTEMPTS))


def _changed(child: int, asker: Asker) -> int:
    """Go on asking until the child is stopped, or has ended."""
    patient = raw_clock_ns() + 10_000 * MS
    while raw_clock_ns() < patient:
        asker.go_on(raw_clock_ns() + MS)
        found, state = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if found:
            return state
    raise AssertionError("the child neither stops nor ends")


@each(*CASES)
def test_stopped_once_after_any_step_it_is_never_late(asker: Asker) -> None:
    for step in range(STEPS[asker.scene.kind]):
        # Were the client not answered before, that it is not later would show nothing.
        seen = shown(asker, rightly, (step,), lambda seen: seen.stopped == 1 and seen.in_time)
        assert seen.late == []


@each(("keys", "host"), ("stamp", "host"))
@pytest.mark.parametrize("first_pause", [0, WITHIN], ids=["past the end", "within the grant"])
def test_stopped_twice_after_any_two_steps_it_is_never_late(asker: Asker, first_pause: int) -> None:
    steps = STEPS[asker.scene.kind]
    for stops in combinations(range(steps + 2), 2):
        least = int(stops[0] < steps)
        seen = shown(
            asker,
            rightly,
            stops,
            lambda seen, least=least: seen.stopped >= least and seen.in_time,  # type: ignore[misc]
            first_pause=first_pause,
        )
        assert seen.late == []


@each(("keys", "host"), ("keys", "vm"), ("stamp", "host"))
def test_stopped_after_any_step_while_a_claim_joins_that_ends_sooner_it_is_never_late(asker: Asker) -> None:
    assert shown(asker, rightly, (), lambda seen: seen.in_time, story=JOINING).in_time, "it has not joined at all"
    for step in range(STEPS[asker.scene.kind]):
        seen = shown(asker, rightly, (step,), lambda seen: seen.stopped == 1, story=JOINING)
        assert seen.late == []


@each(*CASES)
def test_killed_after_arming_it_is_never_late(asker: Asker) -> None:
    def killed(kind: Kind, host: int, step: Callable[[str], None]) -> Window:
        finished = 0

        def until_the_second(done: str) -> None:
            nonlocal finished
            step(done)
            finished += done in ("B looked at", "end written")
            if finished == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        return open_window(kind, host, step=until_the_second)

    assert shown(asker, killed, (), lambda seen: seen.in_time, ends_with=-signal.SIGKILL).late == []


@each(("keys", "host"), ("keys", "vm"), ("keys set anew", "host"))
def test_one_timer_is_seen_to_answer_late(asker: Asker) -> None:
    assert is_seen_late(asker, with_order(OneTimer), (1,))


@each(("keys", "host"), ("keys", "vm"), ("keys set anew", "host"))
def test_one_timer_that_is_checked_afterwards_is_seen_to_answer_late(asker: Asker) -> None:
    # A second pause may be this machine's own.
    once = (found(asker, with_order(CheckedAfter), (1,)) for _ in range(ATTEMPTS))
    assert any((seen.late, seen.stopped) == ([], 1) for seen in once), "stopped once, the check helps"
    assert is_seen_late(asker, with_order(CheckedAfter), (1, 2))


@each(("stamp", "host"))
def test_an_end_added_to_a_clock_that_is_read_last_is_seen_to_answer_late(asker: Asker) -> None:
    assert is_seen_late(asker, with_wrong_clock, (1,))


@each(("keys", "host"), ("stamp", "host"))
def test_a_claim_that_joins_before_the_window_is_shortened_is_seen_to_answer_late(asker: Asker) -> None:
    assert is_seen_late(asker, with_mistaken_joining, (1,), story=JOINING)
