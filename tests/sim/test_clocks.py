"""Clocks that are wrong: what they read, and the true instants of their readings."""

import pytest

from holdfast.lab.sim.clocks import Clock
from holdfast.lab.sim.timeline import Timeline

S = 1_000_000_000


def test_a_bent_clock_is_told_in_true_time_in_each_of_its_stretches() -> None:
    timeline = Timeline(1)
    clock = Clock(timeline, 77 * S, 100)
    read: dict[int, int] = {}
    for second, ppm in enumerate((100, 400, -300), 1):
        timeline.run(second * S)
        clock.bend(ppm)
        read[second * S] = clock.now_ns()
    timeline.run(5 * S)
    read[5 * S] = clock.now_ns()
    for since, at_first in read.items():
        for true, at in read.items():
            if true >= since:
                assert clock.told_s(since, (at - at_first) / S) == pytest.approx(true / S, abs=1e-8)
