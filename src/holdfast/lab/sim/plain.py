"""The loop of a simulated process that consists of callbacks alone: less than asyncio wants, and cheaper.

Always: callbacks run in the order in which they were asked for, when the process runs; one that is stopped or killed
runs none.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from holdfast.lab.sim.process import Process

NS = 1_000_000_000


class Later:
    """A callback that waits for its time, unless it is called off."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self._call = None

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class PlainLoop:
    def __init__(self, process: Process) -> None:
        self.process = process
        self._soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        process.run = self._run

    def time(self) -> float:
        return self.process.clock.now_ns() / NS

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> None:
        self._soon.append((callback, args))
        self.process.wake()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Later:
        later = Later(callback)
        clock = self.process.clock
        at_ns = clock.true_ns(clock.now_ns() + int(delay_s * NS))
        self.process.timeline.at(at_ns, self.call_soon, later)
        return later

    def _run(self) -> None:
        soon = self._soon
        while soon and self.process.is_alive:
            callback, args = soon.popleft()
            callback(*args)
