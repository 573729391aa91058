"""True time, and all that will happen in it, in order: the only thing in the simulated world that moves by itself.

In:   calls with the instant they are due. Out: those calls, one at a time.
Always: what is due at the same instant happens in the order it was asked for, so a seed gives the same run each time.
"""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Call = Callable[..., object]


class Due:
    """Something that will happen, unless it is called off."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self._call = None

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class Timeline:
    """Nanoseconds from the beginning of the run; nobody in the world sees them but through a clock of its own."""

    def __init__(self, seed: int) -> None:
        self.now_ns = 0
        self.happened = 0
        """How many things have happened."""
        self.chance = random.Random(seed)
        self.random = self.chance.random
        """The same chance; the way that is gone for each packet and each wake."""
        self._due: list[tuple[int, int, Call, tuple[Any, ...]]] = []
        """With the instant and the turn in which it was asked for, by which they are in order."""
        self._turns = 0

    def at(self, at_ns: int, call: Call, *args: Any) -> None:
        """Let it happen then, or now if that has passed."""
        self._turns = turn = self._turns + 1
        heappush(self._due, (at_ns if at_ns > self.now_ns else self.now_ns, turn, call, args))

    def after(self, wait_ns: int, call: Call, *args: Any) -> None:
        self._turns = turn = self._turns + 1
        heappush(self._due, (self.now_ns + wait_ns, turn, call, args))

    def at_unless_off(self, at_ns: int, call: Callable[[], object]) -> Due:
        """As `at`, for what may be called off."""
        due = Due(call)
        self.at(at_ns, due)
        return due

    def run(self, until_ns: int, is_over: Callable[[], bool] | None = None) -> None:
        """Let everything up to that instant happen, or until it is over."""
        due, happened = self._due, 0
        while due and due[0][0] <= until_ns and (is_over is None or not is_over()):
            self.now_ns, _, call, args = heappop(due)
            happened += 1
            call(*args)
        self.happened += happened
        if is_over is None or not is_over():
            self.now_ns = max(self.now_ns, until_ns)
