"""What a simulated agent finds on its simulated machine: the contract of `runtime/premises.py`.

In:   names, folders, commands. Out: sandboxes (sandbox.py), a network (network.py), files.
Always: what an agent has begun goes on without it; folders and files are real, so that what reads them is unchanged.
"""

import asyncio
import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from holdfast.drivers import ocf
from holdfast.drivers.files import last_line, write_files
from holdfast.drivers.sandbox import ANSWER_LIMIT_S
from holdfast.errors import MachineLacks, WorldError
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.keeper import SimHandle, SimKeeper, settle
from holdfast.lab.sim.loop import SimLoop
from holdfast.lab.sim.network import Namespace
from holdfast.lab.sim.premises_network import Caller, SimBridge, SimGate
from holdfast.lab.sim.programs import Programs
from holdfast.lab.sim.sandbox import SimInit
from holdfast.lab.sim.streams import SimStreams
from holdfast.lab.sim.troubles import Troubles
from holdfast.model.layout import OcfAgent
from holdfast.runtime.premises import over_within

BOOT_NS = (30_000_000, 80_000_000)
"""From the start of a sandbox to its first answer: a Python process with namespaces of its own."""


class SimDisk:
    """Keeps the contract of Disk."""

    def __init__(self, troubles: Troubles, programs: Programs) -> None:
        self._troubles = troubles
        self._programs = programs

    def make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self.must_be_writable(folder)
            folder.mkdir(parents=True, exist_ok=True)

    def must_be_writable(self, path: Path) -> None:
        if self._troubles.is_read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def write_files(self, folder: Path, files: Mapping[str, str], values: Mapping[str, str]) -> None:
        if files and self._troubles.is_read_only:
            raise WorldError(f"{folder / next(iter(files))} cannot be written: {os.strerror(errno.EROFS)}")
        write_files(folder, files, values)

    def last_line(self, log: Path) -> str:
        return last_line(log)

    def ocf_program(self, agent: OcfAgent) -> Path:
        path = ocf.ROOT / "resource.d" / agent.provider / agent.agent
        if not self._programs.has(str(path)):
            raise WorldError(f"OCF agent ocf:{agent.provider}:{agent.agent} is not installed (no file {path})")
        return path


class SimPremises:
    """Keeps the contract of Premises, for one agent's process."""

    def __init__(self, host: SimHost, loop: SimLoop, streams: SimStreams, programs: Programs) -> None:
        self.streams = streams
        self.disk = SimDisk(host.troubles, programs)
        self._host = host
        self._loop = loop
        self._programs = programs
        self._caller = Caller(host, loop.process)

    def bridge(self, name: str) -> SimBridge:
        return SimBridge(self._caller, name)

    def gate(self, services: Iterable[str], table: str, *, timed: bool) -> SimGate:
        return SimGate(self._caller, services, table)

    async def reach(self, folder: Path) -> SimKeeper | None:
        init = self._host.sandboxes.get(str(folder))
        if init is None:
            return None
        try:
            return await SimKeeper.reach(self._loop, init)
        except WorldError:
            if not init.process.is_alive:
                return None
            raise

    async def start_vm(self, name: str, folder: Path, keep: Path, limit_s: float) -> SimKeeper:
        return await self._start(name, folder, limit_s, 0, Namespace(self._host.network))

    async def start_capsule(self, name: str, folder: Path, first_pid: int) -> SimKeeper:
        return await self._start(name, folder, ANSWER_LIMIT_S, first_pid, None)

    async def _start(
        self, name: str, folder: Path, limit_s: float, first_pid: int, namespace: Namespace | None
    ) -> SimKeeper:
        host, loop, life = self._host, self._loop, self._host.starts
        self.disk.make_folder(folder)
        self.disk.must_be_writable(folder)
        started: asyncio.Future[SimInit] = loop.create_future()
        made: list[SimInit] = []
        is_wanted = True

        def up() -> None:
            if is_wanted and host.is_on and host.starts == life:
                made.append(SimInit(host, name, folder, self._programs, first_pid, namespace=namespace))
                loop.call_soon(settle, started, made[0])

        host.timeline.after(host.troubles.slowness * host.timeline.chance.randint(*BOOT_NS), up)
        try:
            async with asyncio.timeout(limit_s):
                init = await started
            if not init.process.is_alive:
                raise WorldError(f"{name} was ended while it was being started")
            return await SimKeeper.reach(loop, init)
        except BaseException as error:
            is_wanted = False
            for one in made:
                one.kill()
            if isinstance(error, TimeoutError):
                raise MachineLacks(f"sandbox {name} cannot be made: not ready within {limit_s:g} s") from None
            raise

    async def end_unreachable(self, folder: Path, limit_s: float) -> None:
        init = self._host.sandboxes.get(str(folder))
        if init is not None:
            handle = SimHandle(self._loop, init, init.process)
            handle.kill()
            await over_within(handle, limit_s)
