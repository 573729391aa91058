"""True time, and all that will happen in it, in order: the only thing in the simulated world that moves by itself.

In:   calls with the instant they are due. Out: those calls, one at a time.
Always: what is due at the same instant happens in the order it was asked for, so a seed gives the same run each time.
"""

import random
from collections.abc import Callable
from heapq import heappop, heappush

Call = Callable[[], object]


class Due:
    """Something that will happen, unless it is called off."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def cancel(self) -> None:
        self.call = None


class Timeline:
    """Nanoseconds from the beginning of the run; nobody in the world sees them but through a clock of its own."""

    def __init__(self, seed: int) -> None:
        self.now_ns = 0
        self.happened = 0
        """How many things have happened."""
        self.chance = random.Random(seed)
        self._due: list[tuple[int, int, Due]] = []
        """With the instant and the turn in which it was asked for, by which they are in order."""
        self._turns = 0

    def at(self, at_ns: int, call: Call) -> Due:
        """Let it happen then, or now if that has passed."""
        self._turns += 1
        due = Due(call)
        heappush(self._due, (max(at_ns, self.now_ns), self._turns, due))
        return due

    def after(self, wait_ns: int, call: Call) -> Due:
        return self.at(self.now_ns + wait_ns, call)

    def run(self, until_ns: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """Let everything up to that instant happen, or until it is over."""
        due = self._due
        while due and due[0][0] <= until_ns and not is_over():
            at_ns, _, one = heappop(due)
            call = one.call
            if call is None:
                continue
            one.call = None
            self.now_ns = at_ns
            self.happened += 1
            call()
        if not is_over():
            self.now_ns = max(self.now_ns, until_ns)
