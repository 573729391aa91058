"""The managers of a simulated deployment whose hosts have none: one process, or one for each kind, on a machine beside.

In:   power, kills, SIGTERM. Out: the real composition of such a process, started again when it ends.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from holdfast.errors import HoldfastError
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.site import Site
from holdfast.lab.sim.streams import SimStreams
from holdfast.model.names import HostName
from holdfast.runtime.manager import SetPower
from holdfast.runtime.manager_process import hold, parties_in
from holdfast.runtime.surroundings import Surroundings
from holdfast.store.port import Store
from holdfast.store.sqlite import SqliteStore

START_NS = (120_000_000, 260_000_000)
"""From the start of a Python process to its first line of ours."""
AGAIN_NS = 1_000_000
"""A supervisor starts a process again at once, until it ends too often."""
MANAGERS = HostName("managers")
"""Name of the machine."""
SHARES = {"one": ("all",), "three": ("ha", "vnfm", "vim")}


class Controller:
    """One machine; its managers keep what they know in files of their own."""

    def __init__(self, site: Site, managers: Literal["one", "three"], power: SetPower) -> None:
        self.site = site
        self.name = MANAGERS
        self.host = site.machine(self.name)
        self.folder = site.folder_of(self.name)
        self.loops: list[SimLoop] = []
        self.is_supervised = True
        self._is_held = False
        self._power = power
        self._shares = SHARES[managers]
        self._running: dict[str, Process] = {}

    def switch_on(self) -> None:
        if not self.host.is_on:
            self.host.switch_on()
            for net in self.site.nets.values():
                net.switch(self.name, on=True)
            for share in self._shares:
                self._start(share)

    def switch_off(self) -> None:
        self.host.switch_off()

    def stop_supervising(self) -> None:
        """Nothing is started again from now on; the managers end in good order."""
        self.is_supervised = False
        for process in self.processes("all"):
            process.ask_to_end()

    def processes(self, which: str) -> list[Process]:
        """Those that live: of one kind of manager, or `all`."""
        return [
            one for share, one in self._running.items() if (which == "all" or share in {which, "all"}) and one.is_alive
        ]

    def hold(self) -> None:
        """The supervisor stands still: what ends is not started again."""
        self._is_held = True

    def release(self) -> None:
        self._is_held = False
        for share in self._shares:
            if self.is_supervised and self.host.is_on and not self._running[share].is_alive:
                self._start(share)

    def _start(self, share: str) -> None:
        process = self._running[share] = self.host.spawn(f"manager-{share}")
        loop = loop_of(process, self.site.went_wrong)
        self.loops.append(loop)
        self._again(process, share)
        goes_on = process.run

        def begin() -> None:
            process.run = goes_on
            self._begin(process, loop, share)

        process.run = begin
        self.site.after(self.site.timeline.chance.randint(*START_NS), process.wake)

    def _begin(self, process: Process, loop: SimLoop, share: str) -> None:
        layout = self.site.layout
        around = Surroundings(
            SimStreams(self.site.exchange, process, loop, self.name),
            self._power,
            wall=self.site.wall_s,
            pid=process.pid,
            store=lambda path: _opened(path, process),
            settle=lambda: None,
        )

        def begun(end: Callable[[], None]) -> None:
            process.heeds = lambda: loop.call_soon(end)

        task = loop.create_task(hold(layout, self.folder, parties_in(layout, share), around, begun))
        task.add_done_callback(lambda done: self._over(process, done))

    def _over(self, process: Process, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if not process.is_alive:
            return
        if error is not None:
            self.site.ended(process, error)
        if isinstance(error, Exception) and not isinstance(error, HoldfastError | OSError):
            self.site.went_wrong(process.name, {"message": "the manager has ended", "exception": error})
        status = 0 if error is None else error.exit_status if isinstance(error, HoldfastError) else 1
        process.end(status << 8)

    def _again(self, process: Process, share: str) -> None:
        life = self.host.starts

        def again() -> None:
            if self.is_supervised and not self._is_held and self.host.is_on and self.host.starts == life:
                self._start(share)

        process.when_over(lambda: self.site.after(AGAIN_NS, again))


def _opened(path: Path, process: Process) -> Store:
    """The kernel closes the file of a process that ends, and its lock goes with it."""
    store = SqliteStore(path)
    process.when_over(store.close)
    return store
