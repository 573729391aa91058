"""The agent's process of a simulated machine: `runtime/agent.py` and `runtime/agent_process.py` on a simulated loop.

In:   start; whatever ends its process (a kill, the end of its machine).
Out:  what the agent does, in the kernel and the sandboxes of the machine, on its links, in its journal.
Always: an agent that is killed leaves all that it has made, and one that is started again finds it.
"""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import Bug, HoldfastError
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.premises import SimPremises
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.programs import Programs
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.lab.sim.troubles import Troubles
from holdfast.model.granting import VoterSet
from holdfast.model.layout import Layout
from holdfast.model.names import HostName, Party, agent_party
from holdfast.model.records import Record
from holdfast.runtime.agent import Agent
from holdfast.runtime.agent_process import AgentProcess, attend
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import load_key, places_of_agent
from holdfast.runtime.hot_door import Heard, HotDoor, HotEnd
from holdfast.store.journal import Journal

START_NS = (150_000_000, 300_000_000)
"""A Python process with what it imports."""
FIRST_DAY_S = 1_800_000_000
"""What clocks on walls show when a run begins."""
NS = 1_000_000_000
EXIT_FAILED = 1 << 8

Wrong = Callable[[str, dict[str, Any]], None]


class NoHot:
    """Where nothing is granted."""

    async def reach(self, path: Path, settings: Path, log: Path, heard: Heard) -> HotEnd:
        raise Bug(f"this world has no hot processes, and {path} was to be one's")

    async def keep_voters(self, path: Path, voters: VoterSet) -> None:
        raise Bug(f"nobody votes in this world, and {path} was to say who does")


NO_HOT = NoHot()


class SimJournal(Journal):
    """Of a process: what its code says when it has been killed is not said, and a disk may take nothing."""

    def __init__(self, path: Path, by: Party, process: Process, troubles: Troubles) -> None:
        super().__init__(path, by)
        self._process = process
        self._troubles = troubles
        process.when_over(self.close)

    def _append(self, records: Sequence[Record], at: float) -> None:
        if self._troubles.is_read_only:
            self._missed(OSError(errno.EROFS, os.strerror(errno.EROFS)), len(records))
        elif self._process.is_alive:
            super()._append(records, at)


class SimAgent:
    """Of one machine; at most one process at a time."""

    def __init__(
        self,
        host: SimHost,
        layout: Layout,
        folder: RunFolder,
        exchange: Exchange,
        programs: Programs,
        went_wrong: Wrong,
        ended: Callable[[Process, BaseException], None] = lambda process, error: None,
        *,
        hot: Callable[[Process, SimLoop], HotDoor] | None = None,
    ) -> None:
        """
        Args:
            went_wrong: told of mistakes in the code: exceptions that nobody expects.
            ended: told of every error that an agent's process ends with.
            hot: how the agent in that process reaches its hot process; where the layout has grants.
        """
        self.host = host
        self.layout = layout
        self.folder = folder
        self._exchange = exchange
        self._programs = programs
        self._went_wrong = went_wrong
        self._ended = ended
        self._hot = hot
        self.process: Process | None = None
        self.loops: list[SimLoop] = []
        """Of all processes there have been: to be unwound when the run is judged."""
        self.attended: AgentProcess | None = None
        """The present one, once Python has started."""

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive

    def start(self) -> None:
        name = HostName(self.host.name)
        process = self.process = self.host.spawn(agent_party(name))
        self.attended = None
        loop = loop_of(process, self._went_wrong)
        self.loops.append(loop)
        goes_on = process.run

        def begin() -> None:
            process.run = goes_on
            self._begin(process, loop, name)

        process.run = begin
        self.host.timeline.after(self.host.start_ns(START_NS), process.wake)

    def kill(self) -> None:
        if self.process is not None:
            self.process.end()

    def _begin(self, process: Process, loop: SimLoop, name: HostName) -> None:
        task = loop.create_task(self._hold(process, loop, name), name="agent")

        def over(_task: object) -> None:
            error = None if task.cancelled() else task.exception()
            if not process.is_alive:
                return
            if error is not None:
                self._ended(process, error)
            if error is not None and not isinstance(error, HoldfastError | OSError):
                self._went_wrong(process.name, {"message": "the agent has ended", "exception": error})
            process.end(EXIT_FAILED if error is not None else 0)

        task.add_done_callback(over)

    async def _hold(self, process: Process, loop: SimLoop, name: HostName) -> None:
        me = agent_party(name)
        journal = SimJournal(self.folder.journal(me), me, process, self.host.troubles)
        journal.opened(loop.time(), FIRST_DAY_S + self.host.timeline.now_ns / NS, process.pid)
        streams = SimStreams(self._exchange, process, loop, self.host.name)
        premises = SimPremises(self.host, loop, streams, self._programs)
        hot = NO_HOT if self._hot is None else self._hot(process, loop)
        attended = self.attended = AgentProcess(
            self.layout,
            name,
            journal,
            lambda emit, mark: Agent(self.layout, name, self.folder, emit, mark, premises, hot=hot),
            self.folder.terms(name),
            looks_at_itself=False,  # Time is what it is made to be; and a run stays the same when that is changed.
        )
        process.heeds = lambda: loop.call_soon(attended.stop)
        places = places_of_agent(self.layout, self.folder, name)
        await attend(attended, places, load_key(self.folder), streams)
