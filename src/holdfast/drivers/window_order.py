"""The order in which two timed keys are set, so that no pause whatever can make both of them late.

In: the end of the grant on CLOCK_MONOTONIC_RAW, and keys that take only "from now on so long". Out: both keys set
so that they end by then, or both gone. Always holds, wherever this process stops and however long: at most one key is
in doubt, and the other ends on time. (The argument stands in docs/kernel-window.md.)
Touches nothing itself: the clock and the keys are given from outside.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

A, B = 0, 1
ARMING_SLACK_NS = 1_000_000
"""How long setting one key may take (s in the protocol): what took longer is set again, or taken away."""
LAG_TICKS = 1
"""By how many ticks the kernel's tick count may lag behind true time when a key ends (J in the protocol).

On virtual machines whose processors are taken away one by one it can be more: see docs/kernel-window.md."""
TICKS_MIN = 2
"""Kernels round what is shorter than a tick up; so one tick is never armed."""
TRIES = 3
"""How often one key is set before both are given up, when setting it took longer than the slack."""


class Outcome(Enum):
    """What became of an arming."""

    ARMED = "armed"
    """What is owned is answered for, until the end given and not longer."""
    SHORT = "short"
    """Too little is left of the grant: the window is closed."""
    LATE = "late"
    """Setting a key took too long: the window is closed. Arming it again is fine."""


class Keys(Protocol):
    """Two timed keys of a kernel. Either method confirms what it did, or raises."""

    def arm(self, which: int, ticks: int) -> None:
        """Let the key exist for so many ticks from now on, at most."""

    def delete(self) -> None:
        """Take both keys away."""


class TwoKeys:
    """The order of section "Two keys" of docs/kernel-window.md. One per agent; one thread."""

    def __init__(
        self,
        keys: Keys,
        tick_ns: int,
        longest_ns: int,
        clock: Callable[[], int],
        *,
        slack_ns: int = ARMING_SLACK_NS,
        tries: int = TRIES,
        lag_ticks: int = LAG_TICKS,
        step: Callable[[str], None] | None = None,
    ) -> None:
        """Begin with no key set: the caller has seen to that.

        Args:
            keys: what is set.
            tick_ns: length of a kernel tick.
            longest_ns: no key is ever set for longer (K in the protocol).
            clock: CLOCK_MONOTONIC_RAW in nanoseconds.
            slack_ns: how long setting one key may take.
            tries: how often it is tried.
            lag_ticks: by how many ticks the kernel's tick count may lag behind.
            step: called between every two steps, with the name of the last one; for tests that stop there.
        """
        self._keys = keys
        self._tick_ns = tick_ns
        self._longest_ns = longest_ns
        self._clock = clock
        self._slack_ns = slack_ns
        self._margin_ns = slack_ns + lag_ticks * tick_ns
        self._tries = tries
        self._lag_ticks = lag_ticks
        self._step = step
        self._in_doubt = False
        self._surely_until_ns = 0
        self.until_ns = 0
        """No key stands longer than this."""
        self.late_tries = 0
        """How often setting a key took longer than the slack, since the start."""

    def arm(self, until_ns: int) -> Outcome:
        """Set A, see that it was in time, set B, see that it was in time."""
        if self._in_doubt:
            self.close()
        self.until_ns = max(self.until_ns, until_ns)
        surely = until_ns
        for which in (A, B):
            ends = self._set_in_time(which, until_ns)
            if isinstance(ends, Outcome):
                self.close()
                return ends
            surely = min(surely, ends)
        self.until_ns, self._surely_until_ns = until_ns, surely
        return Outcome.ARMED

    def _set_in_time(self, which: int, until_ns: int) -> int | Outcome:
        """Set one key, while the other is on time; until when it surely stands, or why it cannot be relied on.

        Trying again is safe for the reason that the first try was: the other key is untouched, and on time.
        """
        clock, step = self._clock, self._step
        for _ in range(self._tries):
            began = clock()
            if step is not None:
                step(f"clock read for {'AB'[which]}")
            left = min(until_ns - began, self._longest_ns) - self._margin_ns
            ticks = left // self._tick_ns
            if ticks < TICKS_MIN:
                return Outcome.SHORT
            self._in_doubt = True
            self._keys.arm(which, ticks)
            if step is not None:
                step(f"{'AB'[which]} set")
            took = clock() - began
            if step is not None:
                step(f"{'AB'[which]} looked at")
            if took <= self._slack_ns:
                self._in_doubt = False
                return began + (ticks - 1 - self._lag_ticks) * self._tick_ns
            self.late_tries += 1
        return Outcome.LATE

    def close(self) -> None:
        """Take both keys away, confirmed."""
        if self._step is not None:
            self._step("about to close")
        self._in_doubt = True
        self._keys.delete()
        self._in_doubt = False
        self.until_ns = self._surely_until_ns = 0
        if self._step is not None:
            self._step("closed")

    def remaining_ns(self) -> int:
        """For how long the kernel surely goes on answering, if nobody does anything more; 0 is closed or near it."""
        return max(0, self._surely_until_ns - self._clock())
