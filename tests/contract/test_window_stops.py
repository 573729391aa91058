"""A process is stopped between every two of its steps while it arms, and the kernel still ends on time.

The process is a child that stops itself with SIGSTOP; the client asks all the while. The two known mistakes, and one of
an absolute end, are planted to show that the same test sees them answer late.
"""

import ctypes
import gc
import os
import signal
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import combinations

import pytest

from holdfast.drivers.window import Window, raw_clock_ns
from holdfast.drivers.window_order import TwoKeys
from tests.contract.network import V4
from tests.contract.window_mistakes import CheckedAfter, OneTimer, WrongClockFirst
from tests.contract.window_net import CASES, MS, Asker, Kind, Scene, Where, open_window

pytestmark = pytest.mark.namespaces
GRANT = 40 * MS
AFTERWARDS = GRANT + 10 * MS
"""For so long after the process went on, or ended, the client goes on asking: a key set late would last as long."""
STEPS = {"keys": 6, "keys set anew": 6, "stamp": 3}
"""Steps of an arming in which nothing stops; after a stop, there are those of closing beside."""
PR_SET_PDEATHSIG = 1

Opened = Callable[[Kind, int, Callable[[str], None]], Window]


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


def holder(scene: Scene, opened: Opened, stops: tuple[int, ...], tell: int) -> None:
    """In the child: arm once, renew once, and stop in the renewal after the steps with these numbers."""
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
    window.own([V4.vip])
    window.arm(raw_clock_ns() + GRANT)
    until = raw_clock_ns() + GRANT
    os.write(tell, struct.pack("=Q", until))
    passed = 0
    window.arm(until)


def late_answers(asker: Asker, opened: Opened, stops: tuple[int, ...], ends_with: int = 0) -> tuple[list[float], int]:
    """Answers to questions put after the end of the grant, and how often the process was stopped."""
    told, tell = os.pipe()
    first = len(asker.asked)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            holder(asker.scene, opened, stops, tell)
            status = 0
        except BaseException:  # noqa: BLE001  # the child of a test ends here, whatever happened
            traceback.print_exc()
        finally:
            os._exit(status)
    try:
        until: int = struct.unpack("=Q", os.read(told, 8))[0]
        stopped = 0
        while os.WIFSTOPPED(state := _changed(child, asker)):
            stopped += 1
            asker.go_on(max(until, raw_clock_ns()) + AFTERWARDS)
            os.kill(child, signal.SIGCONT)
        child = 0
        assert os.waitstatus_to_exitcode(state) == ends_with
        asker.go_on(max(until, raw_clock_ns()) + AFTERWARDS)
    finally:
        os.close(told)
        os.close(tell)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return asker.late(until, first), stopped


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
        late, stopped = late_answers(asker, rightly, (step,))
        assert stopped == 1, f"there is no step {step}"
        assert late == [], f"stopped after step {step}"


@each(("keys", "host"), ("stamp", "host"))
def test_stopped_twice_after_any_two_steps_it_is_never_late(asker: Asker) -> None:
    for stops in combinations(range(STEPS[asker.scene.kind] + 2), 2):
        late, stopped = late_answers(asker, rightly, stops)
        assert stopped >= 1 or stops[0] >= STEPS[asker.scene.kind]
        assert late == [], f"stopped after steps {stops}"


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

    late, _ = late_answers(asker, killed, (), ends_with=-signal.SIGKILL)
    assert late == []
    assert asker.answered


@each(("keys", "host"), ("keys", "vm"), ("keys set anew", "host"))
def test_one_timer_is_seen_to_answer_late(asker: Asker) -> None:
    late, _ = late_answers(asker, with_order(OneTimer), (0,))
    assert max(late) > 10


@each(("keys", "host"), ("keys", "vm"), ("keys set anew", "host"))
def test_one_timer_that_is_checked_afterwards_is_seen_to_answer_late(asker: Asker) -> None:
    assert late_answers(asker, with_order(CheckedAfter), (0,)) == ([], 1), "stopped once, the check helps"
    late, stopped = late_answers(asker, with_order(CheckedAfter), (0, 1))
    assert stopped == 2
    assert max(late) > 10


@each(("stamp", "host"))
def test_an_end_added_to_a_clock_that_is_read_last_is_seen_to_answer_late(asker: Asker) -> None:
    late, _ = late_answers(asker, with_wrong_clock, (0,))
    assert max(late) > 10
