"""The disk of one member of a simulated etcd: what it has promised to remember.

In:   entries of the log; the end of the process that wrote them.
Out:  word when all that was in the log is safe, after a while; several writers share one wait.
Always: what is safe survives the process. What was being written when the process ended is there afterwards, or a part
of it, or none.
"""

from collections.abc import Callable
from typing import NamedTuple

from holdfast.lab.sim.timeline import Due, Timeline
from holdfast.store.etcd_words import Txn

SYNC_NS = (300_000, 3_000_000)
"""From and to: how long the disk takes for one wait."""


class Entry(NamedTuple):
    """One line of the log. Entries are told apart by who they are, not by what they say."""

    term: int
    number: int
    txn: Txn | None
    """None: the first word of a leader."""


class Disk:
    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.term = 0
        self.log: list[Entry] = []
        """What is beyond `safe` is in memory only. A log that is cut short is another list: the old one may be on its
        way to somebody."""
        self.safe = 0
        self.commit = 0
        """Up to here the member knows that a majority has it."""
        self.sync_ns = SYNC_NS
        self._waiting: list[Callable[[], None]] = []
        self._under_way: Due | None = None
        self._upto = 0

    @property
    def newness(self) -> tuple[int, int]:
        """Of two logs the one with more of it has everything that was agreed on."""
        return (self.log[-1].term if self.log else 0, len(self.log))

    def sync(self, done: Callable[[], None]) -> None:
        """Call `done` when all that is in the log now is safe."""
        self._waiting.append(done)
        if self._under_way is None:
            self._begin()

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._upto = len(self.log)
        low, high = self.sync_ns
        takes = low + int((high - low) * self._timeline.chance.random())
        self._under_way = self._timeline.at_unless_off(self._timeline.now_ns + takes, lambda: self._done(waiting))

    def _done(self, waiting: list[Callable[[], None]]) -> None:
        self._under_way = None
        self.safe = max(self.safe, self._upto)
        if self._waiting:
            self._begin()
        for done in waiting:
            done()

    def cut(self, length: int) -> None:
        """Another leader has written something else from there on."""
        self.log = self.log[:length]
        self.safe = min(self.safe, length)
        self._upto = min(self._upto, length)

    def process_ended(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()
            self._under_way = None
        self._waiting.clear()
        self.safe = self._timeline.chance.randint(self.safe, len(self.log))
        self.log = self.log[: self.safe]
        self.commit = min(self.commit, self.safe)

    def wipe(self) -> None:
        """As when its folder was moved away."""
        self.term = self.commit = 0
        self.cut(0)
