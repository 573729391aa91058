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
FAR_NS = 1 << 62
TASKS_KEPT = 64
UNWINDINGS_MAX = 8
"""A coroutine that goes on waiting when it is told to end is told so often."""


class Call:
    """A callback that is to run, unless it is called off: as much of `asyncio.TimerHandle` as is used."""

    __slots__ = ("_args", "_callback", "_context", "_when")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        when: float = 0.0,
    ) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context = context
        self._when = when

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        return self._callback is None

    def run(self) -> None:
        callback, context = self._callback, self._context
        if callback is None:
            return
        if context is None:
            callback(*self._args)
        else:
            context.run(callback, *self._args)


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
        self._ready: deque[Call] = deque()
        self._timers: list[tuple[int, int, Call]] = []
        self._turns = 0
        self._wakes_at = FAR_NS
        """The earliest time for which the process has asked to be woken, by its own clock."""
        self._readings_ns = 0
        """How long it has taken to read the clock, since it was woken."""
        self._tasks: dict[asyncio.Task[Any], None] = {}
        """In the order in which they began; some of them may be done."""
        self._tasks_max = TASKS_KEPT
        self._is_running = False
        process.run = self._run

    # --- time

    def time(self) -> float:
        """A little later with each reading, so that what a process does in one go has an order in its journals."""
        if self._readings_ns < READINGS_NS_MAX:
            self._readings_ns += READING_NS
        return (self.process.clock.now_ns() + self._readings_ns) / NS

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        call = Call(callback, args, context)
        self._ready.append(call)
        if not self._is_running:
            self.process.wake()
        return call

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        call = Call(callback, args, context, when)
        self._turns += 1
        heappush(self._timers, (int(when * NS), self._turns, call))
        if not self._is_running:
            self._set_alarm()
        return call

    def _set_alarm(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if timers and timers[0][0] < self._wakes_at:
            self._wakes_at = at_ns = timers[0][0]
            self.process.wake_at(self.process.clock.true_ns(at_ns))

    # --- running

    def _run(self) -> None:
        self._readings_ns = 0
        process = self.process
        now_ns = process.clock.now_ns()
        if self._wakes_at <= now_ns:
            self._wakes_at = FAR_NS
        timers, ready = self._timers, self._ready
        while timers and timers[0][0] <= now_ns:
            ready.append(heappop(timers)[2])
        self._run_ready(process)
        if process.is_alive:
            if ready:
                process.wake()  # It is in the kernel, or has been at it for too long.
            self._set_alarm()

    def _run_ready(self, process: Process | None) -> None:
        """What is ready, for as long as that process can run; all of it if there is none any more."""
        ready, timeline = self._ready, self.process.timeline
        before = events._get_running_loop()
        events._set_running_loop(self)
        self._is_running = True
        try:
            for _ in range(ROUNDS_MAX):
                if not ready:
                    break
                if process is not None and (not process.is_alive or process.busy_until_ns > timeline.now_ns):
                    break
                try:
                    ready.popleft().run()
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001  # as asyncio does: it is told, and the loop goes on
                    self.call_exception_handler({"message": "Exception in a callback", "exception": error})
        finally:
            self._is_running = False
            events._set_running_loop(before)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks[task] = None
        if len(self._tasks) > self._tasks_max:
            self._tasks = {one: None for one in self._tasks if not one.done()}
            self._tasks_max = 2 * len(self._tasks) + TASKS_KEPT
        return task

    def unwind(self) -> None:
        """The run is over and judged: let all coroutines come to an end, those of a killed process too.

        Otherwise their `finally` would run whenever the collector finds them. Nobody hears of what they do now.
        """
        self._went_wrong = _unheard
        for _ in range(UNWINDINGS_MAX):
            self._tasks = {one: None for one in self._tasks if not one.done()}
            if not self._tasks:
                return
            for task in self._tasks:
                task.cancel()
            self._run_ready(None)

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
