"""A simulated process: runs when it is woken, stands still while it is stopped, and never runs again once killed.

In:   wakes (something has arrived, a time has come), stops, continues, kills.
Out:  calls of the code it consists of, each a little after what woke it (`lateness`).
Always: a killed process runs no line of its own any more, no `finally` either; whoever waits for its end hears of it in
the same instant, as from a pidfd. What woke a stopped one wakes it once, when it continues.
"""

from collections.abc import Callable
from signal import SIGTERM

from holdfast.lab.sim.clocks import Clock
from holdfast.lab.sim.timeline import Due, Timeline

WAKE_NS = (15_000, 60_000)
"""From an event to the first line that runs, on an idle machine."""


class Process:
    """One process of one simulated host."""

    def __init__(self, timeline: Timeline, name: str, clock: Clock, pid: int) -> None:
        self.timeline = timeline
        self.name = name
        self.clock = clock
        self.pid = pid
        self.is_alive = True
        self.is_stopped = False
        self.lateness_ns: tuple[int, int] = WAKE_NS
        """From and to: how long after a wake it runs. More where its host is starved."""
        self.run: Callable[[], None] = _nothing
        """What it does when it is woken: look at all that has arrived, and at the time."""
        self.heeds: Callable[[], object] = self._terminated
        """What it does on SIGTERM."""
        self.busy_until_ns = 0
        """As long as it is in the kernel it does nothing else."""
        self._was_asked_to_end = False
        self._is_woken = False
        """It will run in a moment."""
        self._was_woken = False
        self._watchers: dict[int, Callable[[], object]] = {}
        self._watches = 0
        self.went_silently = False
        self.status: int | None = None
        """Wait status, when it has ended."""

    def wake(self) -> None:
        """Something has happened that it has to look at."""
        if self._is_woken or not self.is_alive:
            return
        if self.is_stopped:
            self._was_woken = True
            return
        self._is_woken = True
        timeline = self.timeline
        low, high = self.lateness_ns
        at_ns = timeline.now_ns + low + int((high - low) * timeline.random())
        if at_ns < self.busy_until_ns:
            at_ns = self.busy_until_ns
        timeline.at(at_ns, self._run)

    def wake_at(self, at_ns: int) -> None:
        """It has asked its kernel to be woken then; it runs as late after that as after any other wake."""
        self.timeline.at(self._runs_at_ns(at_ns), self._its_time_has_come)

    def wake_unless_off(self, at_ns: int) -> Due:
        """The same, for what may be called off."""
        return self.timeline.at_unless_off(self._runs_at_ns(at_ns), self._its_time_has_come)

    def _runs_at_ns(self, at_ns: int) -> int:
        timeline = self.timeline
        low, high = self.lateness_ns
        return max(at_ns, timeline.now_ns) + low + int((high - low) * timeline.random())

    def _its_time_has_come(self) -> None:
        if self._is_woken or not self.is_alive:
            return
        if self.is_stopped:
            self._was_woken = True
        elif self.busy_until_ns > self.timeline.now_ns:
            self.wake()
        else:
            self.run()

    def _run(self) -> None:
        self._is_woken = False
        if self.is_stopped:
            self._was_woken = True
        elif self.is_alive:
            self.run()

    def spend(self, ns: int) -> None:
        """A call that it has just made keeps it in the kernel for so long."""
        self.busy_until_ns = max(self.busy_until_ns, self.timeline.now_ns) + ns

    def ask_to_end(self) -> None:
        """SIGTERM; one that is stopped heeds it when it goes on."""
        if self.is_stopped:
            self._was_asked_to_end = True
        elif self.is_alive:
            self.heeds()

    def _terminated(self) -> None:
        self.end(SIGTERM)

    def starve(self, lateness_ns: tuple[int, int]) -> None:
        """From now on it waits for a processor."""
        self.lateness_ns = lateness_ns

    def feed(self) -> None:
        self.lateness_ns = WAKE_NS

    def stop(self) -> None:
        """SIGSTOP, or the freezer."""
        self.is_stopped = True

    def go_on(self) -> None:
        """SIGCONT."""
        self.is_stopped = False
        if self._was_asked_to_end:
            self._was_asked_to_end = False
            self.ask_to_end()
        if self._was_woken:
            self._was_woken = False
            self.wake()

    def end(self, status: int = 9, *, silently: bool = False) -> None:
        """It is no more: killed, or ended by itself.

        Args:
            status: as `wait` tells it (a signal's number, or exit status x 256).
            silently: its kernel is gone as well (VM, host): nobody closes its connections.
        """
        if not self.is_alive:
            return
        self.went_silently = silently
        self.is_alive = False
        self.status = status
        self.run = _nothing
        watchers, self._watchers = self._watchers, {}
        for told in watchers.values():
            told()

    def when_over(self, told: Callable[[], object]) -> int:
        """Call `told` at its end (at once, if that was before); answer a number to call it off by."""
        self._watches += 1
        if not self.is_alive:
            told()
        else:
            self._watchers[self._watches] = told
        return self._watches

    def forget(self, watch: int) -> None:
        self._watchers.pop(watch, None)


def _nothing() -> None:
    return
