"""A simulated machine: its clocks, its power, the processes that run on it, its network, what is wrong with it.

In:   power on and off; stopping and going on of the whole machine.
Out:  processes that run, stand still, or are gone.
Always: a machine without power ends every process without a word: nobody on another machine is told. Each start of the
machine has clocks that begin anew.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.lab.sim.clocks import Clock
from holdfast.lab.sim.network import SimNetwork
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.timeline import Timeline
from holdfast.lab.sim.troubles import Troubles
from holdfast.lab.sim.window import SimWindow

if TYPE_CHECKING:
    from holdfast.lab.sim.sandbox import SimInit

PPM_MAX = 100
"""Honest clocks of cheap machines differ by this much."""
UPTIME_NS_MAX = 100_000_000_000
AT_HAND_NS = (1_000_000, 5_000_000)
"""What a program takes to start when a run begins: to wait as long as usual would prove nothing more each time."""
BEGINNING_NS = 100_000_000


class SimHost:
    """One machine."""

    def __init__(self, timeline: Timeline, name: str, clock: Clock | None = None) -> None:
        """
        Args:
            timeline: of its world.
            name: its own.
            clock: the one that it has with others, where hosts are parts of one machine; else it has its own.
        """
        self.timeline = timeline
        self._shared = clock
        self.name = name
        self.is_on = False
        self.starts = 0
        self.processes: dict[int, Process] = {}
        """Those that live, by number."""
        self.programs: dict[str, SimWindow] = {}
        """Windows in its kernel, by the interface they keep."""
        self.network = SimNetwork(timeline, self.programs, self.changed)
        self.sandboxes: dict[str, SimInit] = {}
        """First processes that live, by their folder."""
        self.troubles = Troubles()
        self.tapped: Callable[[], None] = _untapped
        """Told when an address may be answered that was not before."""
        self._pids = 1000
        self.raw = Clock(timeline, 0)
        self.monotonic = Clock(timeline, 0)
        self.clocks: list[tuple[int, Clock]] = []
        """The monotonic clock of each start, with the instant of the start."""

    def changed(self) -> None:
        self.tapped()

    def start_ns(self, usual: tuple[int, int]) -> int:
        """How long a program takes to its first line; `usual` from and to, but not at the beginning of the run."""
        timeline = self.timeline
        return timeline.chance.randint(*(usual if timeline.now_ns >= BEGINNING_NS else AT_HAND_NS))

    def switch_on(self) -> None:
        if self.is_on:
            return
        self.is_on = True
        self.starts += 1
        self.programs.clear()
        if self._shared is not None:
            self.raw = self.monotonic = self._shared
            self.clocks.append((self.timeline.now_ns, self.monotonic))
            return
        chance = self.timeline.chance
        start_ns = chance.randrange(UPTIME_NS_MAX)
        self.raw = Clock(self.timeline, start_ns, chance.randint(-PPM_MAX, PPM_MAX))
        self.monotonic = Clock(self.timeline, start_ns, chance.randint(-PPM_MAX, PPM_MAX))
        self.clocks.append((self.timeline.now_ns, self.monotonic))

    def switch_off(self) -> None:
        self.is_on = False
        for process in tuple(self.processes.values()):
            process.end(silently=True)
        self.network.clear()

    def spawn(self, name: str) -> Process:
        """A new process; it is woken when there is something for it to do."""
        self._pids += 1
        process = Process(self.timeline, name, self.monotonic, self._pids)
        self.processes[process.pid] = process
        process.when_over(lambda: self._over(process))
        return process

    def _over(self, process: Process) -> None:
        del self.processes[process.pid]

    def stop(self) -> None:
        """All processes stand still, the kernel goes on (a frozen cgroup, a debugger, starvation)."""
        for process in tuple(self.processes.values()):
            process.stop()

    def go_on(self) -> None:
        for process in tuple(self.processes.values()):
            process.go_on()


def _untapped() -> None:
    return
