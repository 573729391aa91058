"""An agent's own lateness: what it counts of the last minute, and when it tells that."""

import msgspec

from holdfast.cli.status import _late
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.timeline import Timeline
from holdfast.runtime.hot_lateness import Lateness
from holdfast.runtime.hot_rights import Lack, Rights
from holdfast.runtime.own_lateness import OwnLateness
from holdfast.wire.link_messages import Late, Pace

S = 1_000_000_000


class Measured:
    """An agent's process that does nothing but measure, and can be stopped."""

    def __init__(self) -> None:
        self.timeline = Timeline(1)
        self.host = SimHost(self.timeline, "h1")
        self.host.switch_on()
        self.process = self.host.spawn("agent")
        self.loop: SimLoop = loop_of(self.process, self._wrong)
        self.told: list[Late] = []
        self.loop.call_soon(self._begin)
        self.timeline.run(S // 100)

    def _begin(self) -> None:
        self.lateness = OwnLateness(self.told.append)

    def _wrong(self, _loop: object, context: object) -> None:
        raise AssertionError(context)


def test_a_loop_that_wakes_on_time_is_not_late_and_says_so_every_few_seconds() -> None:
    one = Measured()
    one.timeline.run(11 * S)
    assert len(one.told) == 2
    assert one.told[-1].agent.worst_ms < 1
    assert (one.told[-1].hot, one.told[-1].lapses) == (None, 0)


def test_a_stop_is_the_worst_of_its_minute_and_no_more_after_that() -> None:
    one = Measured()
    one.timeline.run(3 * S)
    one.process.stop()
    one.timeline.run(5 * S)
    one.process.go_on()
    one.timeline.run(20 * S)
    late = one.told[-1].agent
    assert 1700 < late.worst_ms <= 2000
    assert late.median_ms < 1
    one.timeline.run(80 * S)
    assert one.told[-1].agent.worst_ms < 1


def test_pulses_and_lapses_of_the_last_minute_count() -> None:
    one = Measured()
    for number in range(70):
        one.timeline.run((number + 1) * S)
        one.lateness.pulse(Lateness(100, 1_000_000, 2_000_000, 3_000_000, (9 if number == 65 else 4) * 1_000_000))
        if number in (2, 40):
            one.lateness.lapsed()
    assert one.lateness.late().hot == Pace(1.0, 9.0)
    assert one.lateness.late().lapses == 1


def test_what_the_machine_refuses_the_hot_process_is_told() -> None:
    one = Measured()
    one.lateness.began(Rights((), (Lack("no SCHED_FIFO 50", "Operation not permitted", "CAP_SYS_NICE"),)))
    assert one.lateness.late().lacks == ("no SCHED_FIFO 50 (Operation not permitted; CAP_SYS_NICE)",)


def test_people_are_shown_a_line_for_each_agent_however_many_managers_it_tells() -> None:
    late = msgspec.to_builtins(Late(Pace(0.1, 2.5), Pace(0.0, 0.4), 1, ("no SCHED_FIFO 50 (refused)",)))
    lines = _late({"managers": {"ha": {"late": {"agent:h1": late}}, "vim": {"late": {"agent:h1": late}}, "away": {}}})
    assert lines == [
        "agent:h1, last minute: late by 0.1 ms (worst 2.5), hot process 0.0 ms (worst 0.4), 1 grants lapsed",
        "agent:h1, hot process: no SCHED_FIFO 50 (refused)",
    ]
