"""Known mistakes in ending a grant by the kernel, planted in tests to show that those see them."""

import time
from collections.abc import Iterable

from holdfast.drivers.window import raw_clock_ns
from holdfast.drivers.window_keys import KeyedWindow
from holdfast.drivers.window_order import A, B, Outcome, TwoKeys
from holdfast.drivers.window_stamp import StampedWindow


class OneTimer(TwoKeys):
    """The clock is read, and both keys are set for what was left then: one timer, in fact."""

    def arm(self, until_ns: int) -> Outcome:
        self._set_both(until_ns)
        return Outcome.ARMED

    def _set_both(self, until_ns: int) -> int:
        began = self._clock()
        ticks = (until_ns - began - self._margin_ns) // self._tick_ns
        self._say("clock read")
        for which in (A, B):
            self._keys.arm(which, ticks)
        self._say("keys set")
        return began

    def _say(self, done: str) -> None:
        if self._step is not None:
            self._step(done)


class CheckedAfter(OneTimer):
    """As before, and afterwards the clock is read again: too late, if the process is stopped before that."""

    def arm(self, until_ns: int) -> Outcome:
        began = self._set_both(until_ns)
        if self._clock() - began > self._slack_ns:
            self.close()
            return Outcome.LATE
        return Outcome.ARMED


class WrongClockFirst(StampedWindow):
    """An absolute end whose rest of the grant is computed before the clock is read to which it is added."""

    def arm(self, until_ns: int) -> Outcome:
        left = until_ns - raw_clock_ns()
        self._stopping("clock of the grant read")
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._write(boot + left)
        self._stopping("end written")
        return Outcome.ARMED


class OwnedFirst(KeyedWindow):
    """A claim whose end comes sooner joins before the window is shortened to that end."""

    def own(self, addresses: Iterable[str], until_ns: int | None = None) -> None:
        super().own(addresses)
        if until_ns is not None:
            self.arm(until_ns)


class OwnedFirstByStamp(StampedWindow):
    """The same, where the end is absolute."""

    def own(self, addresses: Iterable[str], until_ns: int | None = None) -> None:
        super().own(addresses)
        if until_ns is not None:
            self.arm(until_ns)
