"""A manager candidate of the simulated world: the real candidature, pump, links and store client in one process.

In:   what a manager process is started with; SIGTERM.
Out:  what it says on simulated streams; its journals, which are real files.
Always: it ends as the real one does, with that exit status; to start it again is for whoever supervises it.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from holdfast.errors import HoldfastError
from holdfast.lab.sim.etcd import dial_over
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.loop import SimLoop
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.streams import SimStreams
from holdfast.model.layout import Layout
from holdfast.runtime.cluster import Reign, reigns
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.manager import SetPower
from holdfast.runtime.manager_process import MakeCore, core_of, parties_in
from holdfast.runtime.surroundings import Surroundings
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_target import Target


class Start(NamedTuple):
    """What a manager process is started with."""

    layout: Layout
    folder: RunFolder
    target: Target
    name: str
    power: SetPower
    wall: Callable[[], float]
    share: str = "all"
    core: MakeCore = core_of
    least_term: int = 0


def _nothing() -> None:
    return


def _unheard(process: Process, error: Exception) -> None:
    return


class SimCandidate:
    """One process, from its start to its end."""

    def __init__(
        self,
        host: SimHost,
        loop: SimLoop,
        streams: SimStreams,
        start: Start,
        ended: Callable[[Process, Exception], None] = _unheard,
    ) -> None:
        """
        Args:
            host: where it runs.
            loop: its process's.
            streams: its process's, too.
            start: what it is started with.
            ended: told by what error it ended, if by one.
        """
        self.process = loop.process
        self._ended = ended
        self.reign: Reign | None = None
        """The present candidature."""
        self._loop = loop
        self._start = start
        self._client = EtcdClient(start.target, dial=dial_over(streams))
        chance = loop.process.timeline.chance
        self._around = Surroundings(
            streams,
            start.power,
            f"{host.name}, start {host.starts}",
            lambda: f"{chance.getrandbits(64):016x}",
            start.wall,
            loop.process.pid,
            settle=_nothing,
            say=lambda _: None,
        )
        self._told_to_end = asyncio.Event()
        loop.create_task(self._take_part()).add_done_callback(self._over)

    def terminate(self) -> None:
        """SIGTERM."""
        self._loop.call_soon(self._told_to_end.set)

    @property
    def may_decide(self) -> bool:
        """Whether it would let out a decision at this moment."""
        return self.process.is_alive and self.reign is not None and self.reign.campaign.holds()

    async def _take_part(self) -> None:
        try:
            await reigns(self._candidature, self._told_to_end, self._start.least_term)
        finally:
            await self._client.close()

    def _candidature(self) -> Reign:
        start = self._start
        parties = parties_in(start.layout, start.share)
        self.reign = Reign(
            start.layout, start.folder, parties, self._client, start.name, start.core, self._around
        )  # fmt: skip
        return self.reign

    def _over(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._ended(self.process, error)
            if not isinstance(error, HoldfastError | OSError):
                self._loop.call_exception_handler({"message": "the manager has ended", "exception": error})
        status = 0 if error is None else error.exit_status if isinstance(error, HoldfastError) else 1
        self.process.end(status << 8)
