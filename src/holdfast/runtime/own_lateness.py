"""How late an agent's own loop and its hot process have been within the last minute, for people and their monitoring.

In:   the time at which the loop was to wake and at which it did; the hot process's pulses; grants that have lapsed.
Out:  `Late`, every few seconds. Always: bounded; measuring costs a timer four times a second.
"""

import asyncio
import statistics
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from holdfast.runtime.hot_lateness import Lateness
from holdfast.runtime.hot_rights import Rights
from holdfast.wire.link_messages import Late, Pace

LOOK_EVERY_S = 0.25
TELL_EVERY_S = 5.0
MINUTE_S = 60.0


class _Look(NamedTuple):
    at_s: float
    median_ms: float
    worst_ms: float


class OwnLateness:
    def __init__(self, tell: Callable[[Late], None], *, looks: bool = True) -> None:
        """
        Args:
            looks: whether there is anything to measure; in a simulated world time is what it is made to be.
        """
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._agent: deque[_Look] = deque(maxlen=round(MINUTE_S / LOOK_EVERY_S))
        self._hot: deque[_Look] = deque(maxlen=round(MINUTE_S))
        self._lapses: deque[float] = deque(maxlen=1000)
        self._lacks: tuple[str, ...] = ()
        self._told_s = self._loop.time()
        self._next: asyncio.TimerHandle | None = None
        if looks:
            due_s = self._told_s + LOOK_EVERY_S
            self._next = self._loop.call_at(due_s, self._look, due_s)

    def _look(self, due_s: float) -> None:
        now = self._loop.time()
        late_ms = 1000 * max(0.0, now - due_s)
        self._agent.append(_Look(now, late_ms, late_ms))
        if now >= self._told_s + TELL_EVERY_S:
            self._told_s = now
            self._tell(self.late())
        self._next = self._loop.call_at(now + LOOK_EVERY_S, self._look, now + LOOK_EVERY_S)

    def pulse(self, lateness: Lateness) -> None:
        """How the hot process has been since its last pulse."""
        self._hot.append(_Look(self._loop.time(), lateness.p50_ns / 1e6, lateness.max_ns / 1e6))

    def began(self, rights: Rights) -> None:
        """What the hot process was given by the machine, and what not."""
        self._lacks = tuple(f"{lack.what} ({lack.reply}; {lack.hint})" for lack in rights.lacks)

    def lapsed(self) -> None:
        """A grant has run out unrenewed."""
        self._lapses.append(self._loop.time())

    def late(self) -> Late:
        since = self._loop.time() - MINUTE_S
        agent, hot = _pace(self._agent, since), _pace(self._hot, since)
        return Late(agent or Pace(0.0, 0.0), hot, sum(at >= since for at in self._lapses), self._lacks)

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()


def _pace(looks: deque[_Look], since: float) -> Pace | None:
    recent = [look for look in looks if look.at_s >= since]
    if not recent:
        return None
    median = statistics.median(look.median_ms for look in recent)
    return Pace(round(median, 3), round(max(look.worst_ms for look in recent), 3))
