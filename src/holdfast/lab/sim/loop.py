"""An event loop for a simulated process: what asyncio needs, with time that jumps.

In:   coroutines and callbacks of the process's code, unchanged.
Out:  they run in the order asyncio would run them, at instants of the simulated world.
Always: time stands still while callbacks run; a process that is stopped or killed runs none. A coroutine of a killed
process is kept, never closed: closing it would run its `finally`.
"""

import asyncio
import contextvars
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from typing import Any

from holdfast.lab.sim.process import Process

NS = 1_000_000_000
READING_NS = 50
READINGS_NS_MAX = 6_000
"""Below what a message within the machine takes."""
ROUNDS_MAX = 1000
"""Callbacks that follow from each other without end are cut off here, and go on a little later."""
UNWINDINGS_MAX = 8
"""A coroutine that goes on waiting when it is told to end is told so often."""


class SimLoop(asyncio.AbstractEventLoop):
    """The loop of one process; the process wakes it."""

    def __init__(self, process: Process, went_wrong: Callable[[str, dict[str, Any]], None]) -> None:
        """
        Args:
            process: whose it is.
            went_wrong: told of what asyncio reports as unhandled: a fault in the code that is run.
        """
        self.process = process
        self._went_wrong = went_wrong
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._turns = 0
        self._wakes_at: int | None = None
        self._readings = 0
        """Of the clock, since it was woken."""
        self._tasks: dict[asyncio.Task[Any], None] = {}
        """In the order in which they began."""
        self._is_running = False
        process.run = self._run

    # --- time

    def time(self) -> float:
        """A little later with each reading, so that what a process does in one go has an order in its journals."""
        self._readings += 1
        return (self.process.clock.now_ns() + min(self._readings * READING_NS, READINGS_NS_MAX)) / NS

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        if not self._is_running:
            self.process.wake()
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        handle._scheduled = True  # type: ignore[attr-defined]
        self._turns += 1
        heappush(self._timers, (int(when * NS), self._turns, handle))
        if not self._is_running:
            self._set_alarm()
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        return  # It is passed over when its time has come.

    def _set_alarm(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not timers:
            return
        at_ns = timers[0][0]
        if self._wakes_at is not None and self._wakes_at <= at_ns:
            return
        self._wakes_at = at_ns
        self.process.timeline.at(self.process.clock.true_ns(at_ns), self._alarm)

    def _alarm(self) -> None:
        self._wakes_at = None
        if self.process.is_alive:
            self.process.wake()

    # --- running

    def _run(self) -> None:
        self._readings = 0
        now_ns = self.process.clock.now_ns()
        timers, ready = self._timers, self._ready
        while timers and timers[0][0] <= now_ns:
            due = heappop(timers)[2]
            if not due.cancelled():
                ready.append(due)
        process, timeline = self.process, self.process.timeline
        self._run_ready(lambda: process.is_alive and process.busy_until_ns <= timeline.now_ns)
        if process.is_alive:
            if ready:
                process.wake()  # It is in the kernel, or has been at it for too long.
            self._set_alarm()

    def _run_ready(self, goes_on: Callable[[], bool]) -> None:
        ready = self._ready
        before = events._get_running_loop()
        events._set_running_loop(self)
        self._is_running = True
        try:
            rounds = 0
            while ready and goes_on():
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()
                rounds += 1
                if rounds > ROUNDS_MAX:
                    break
        finally:
            self._is_running = False
            events._set_running_loop(before)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def unwind(self) -> None:
        """The run is over and judged: let all coroutines come to an end, those of a killed process too.

        Otherwise their `finally` would run whenever the collector finds them. Nobody hears of what they do now.
        """
        self._went_wrong = _unheard
        for _ in range(UNWINDINGS_MAX):
            if not self._tasks:
                return
            for task in tuple(self._tasks):
                task.cancel()
            self._run_ready(lambda: True)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def is_running(self) -> bool:
        return self._is_running

    def is_closed(self) -> bool:
        return not self.process.is_alive

    def get_debug(self) -> bool:
        return False

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self._went_wrong(self.process.name, context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.process.is_alive:
            self._went_wrong(self.process.name, context)


def _unheard(process: str, context: dict[str, Any]) -> None:
    return


def loop_of(process: Process, went_wrong: Callable[[str, dict[str, Any]], None]) -> SimLoop:
    """A loop; what it leaves out of asyncio's (sockets, threads, signals) a simulated process must not use."""
    return SimLoop(process, went_wrong)  # type: ignore[abstract]
