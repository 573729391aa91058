"""How the managers fare with a deployment of a given size: started, components killed, one host lost, ten lost at once.

In:   how many VNFs on how many hosts. Out: a `Size`: processor time, memory, store writes and status size of a manager
process of its own, between simulated hosts; and what the hosts were asked that they should not have been.
"""

import asyncio
import json
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast import descriptor
from holdfast.errors import HoldfastError, WorldError
from holdfast.lab.bench.scale_checks import recovered, repaired
from holdfast.lab.bench.scale_hosts import Given, World, prepare
from holdfast.lab.bench.scale_words import IN_ONE_MAX, host_name, rack
from holdfast.lab.bench.scale_words import descriptor as words
from holdfast.model.actions import Activate, ConfirmLoss
from holdfast.model.layout import Layout
from holdfast.model.names import HostName
from holdfast.runtime.given import parties_of
from holdfast.runtime.outside import ask
from holdfast.wire.link_messages import AskStatus

KILLS = 10
STORM = 10
REST_S = 0.4
"""Nothing is asked of any host for so long: it is over."""
PATIENCE_S = 60.0
"""Nothing is asked for so long, though something should be: it will not come."""
LIMIT_S = 1800.0


class Cost(Struct):
    """What the managers used for something."""

    cpu_ms: float
    wall_ms: float
    """Until the last instruction came to its host."""
    instructions: int
    saves: int
    parts: int
    written_bytes: int


class Loss(Struct):
    hosts: int
    moved: int
    standbys_lost: int
    recover: Cost
    repair: Cost
    wrong: list[str]


class Size(Struct):
    """One size, measured."""

    vnfs: int
    hosts: int
    layout_cpu_ms: float
    """To read the descriptor."""
    start: Cost
    killed: Cost
    """One component after the other; all of them together."""
    one: Loss
    storm: Loss
    rss_mb: float
    """At the end."""
    peak_mb: float
    status_bytes: int
    """Of all managers together."""
    status_cpu_ms: float
    wrong: list[str]
    reached: bool | None = None
    """Whether it holds what it shall; in the file only."""

    @property
    def kills(self) -> int:
        return min(KILLS, self.vnfs)


class Trial:
    """One manager process, and the hosts around it."""

    def __init__(self, vnfs: int, hosts: int, folder: Path, tell: Callable[[str], None]) -> None:
        self._vnfs, self._hosts = vnfs, hosts
        self._tell = tell
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        began = time.process_time()
        self.layout = layout_of(vnfs, hosts, folder / "scale.yaml")
        self.layout_cpu_ms = (time.process_time() - began) * 1000
        key = secrets.token_bytes(32)
        self.folder = prepare(folder, msgspec.json.encode(self.layout), key)
        self.world = World(self.layout, self.folder, key)
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def run(self) -> Size:
        await self.world.begin()
        with (self.folder.root / "manager.log").open("wb") as log:
            self._manager = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "holdfast.lab.bench.scale_manager", str(self.folder.root),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        reading = asyncio.create_task(self._read())
        try:
            return await self._measured()
        finally:
            if self._manager.stdin is not None:
                self._manager.stdin.close()
            try:
                await asyncio.wait_for(self._manager.wait(), 10.0)
            except TimeoutError:
                self._manager.kill()
                await self._manager.wait()
            reading.cancel()
            await self.world.close()

    async def _measured(self) -> Size:
        begin: dict[str, float] = dict.fromkeys(("cpu_ms", "saves", "parts", "written_bytes"), 0)
        start, _ = await self._until_rest(begin, self._is_started)
        self._tell("started")
        wrong = [] if len(self.world.actives()) == self._vnfs else ["not every service was provided after the start"]
        status_bytes, status_cpu_ms = await self._status()
        killed = await self._killed(wrong)
        self._tell("components killed")
        one = await self._lost([HostName(host_name(0))])
        self._tell("one host lost")
        names = [HostName(host_name(number)) for number in rack(1, self._hosts)]
        storm = await self._lost(names[: min(STORM, (self._hosts - 1) // 2)])
        used = await self._used()
        return Size(
            self._vnfs, self._hosts, self.layout_cpu_ms, start, killed, one, storm,
            used["rss_kb"] / 1024, used["peak_kb"] / 1024, status_bytes, status_cpu_ms,
            [*wrong, *one.wrong, *storm.wrong],
        )  # fmt: skip

    def _is_started(self) -> bool:
        return len(self.world.actives()) == len(self.world.standbys()) == self._vnfs

    async def _killed(self, wrong: list[str]) -> Cost:
        began = await self._used()
        first, total_ms = len(self.world.given), 0.0
        chosen = list(self.world.actives().items())[-KILLS:]
        for service, vnfc in chosen:
            before = await self._used()
            self.world.kill(vnfc)
            cost, _ = await self._until_rest(before, self._is_started)
            total_ms += cost.wall_ms
            if self.world.actives().get(service) in (None, vnfc):
                wrong.append(f"{service} was not taken over when {vnfc} was killed")
        return _cost(began, await self._used(), total_ms, len(self.world.given) - first)

    async def _lost(self, hosts: list[HostName]) -> Loss:
        before = self.world.actives()
        used = await self._used()
        await self._say("no power")
        self.world.lose(hosts)
        moved = sum(self.layout.vnfcs[vnfc].host in hosts for vnfc in before.values())
        recover, given = await self._until_rest(used, lambda: len(self.world.actives()) == self._vnfs)
        wrong = recovered(self.layout, hosts, before, given)
        confirmed = {one.action.standby for one in given if isinstance(one.action, ConfirmLoss)}
        used = await self._used()
        await self._say("power")
        repair, given = await self._until_rest(used, self._is_started)
        wrong += repaired(self.layout, hosts, given)
        if not self._is_started():
            wrong.append(f"{len(self.world.standbys())} of {self._vnfs} services have a standby after the repair")
        wrong += [
            f"{one.action.service} was moved during the repair" for one in given if isinstance(one.action, Activate)
        ]
        return Loss(len(hosts), moved, len(confirmed), recover, repair, wrong)

    async def _status(self) -> tuple[int, float]:
        before = await self._used()
        size = 0
        for party in parties_of(self.layout):
            size += len((await asyncio.to_thread(ask, self.folder, party, AskStatus(), 30.0)).content)
        return size, (await self._used())["cpu_ms"] - before["cpu_ms"]

    async def _until_rest(self, before: dict[str, float], is_done: Callable[[], bool]) -> tuple[Cost, list[Given]]:
        """Wait until it is done and nothing more is asked of anybody."""
        began, first = time.monotonic(), len(self.world.given)
        seen, since = -1, began
        while time.monotonic() < began + LIMIT_S:
            await asyncio.sleep(REST_S / 4)
            if len(self.world.given) != seen:
                seen, since = len(self.world.given), time.monotonic()
            elif time.monotonic() >= since + (REST_S if is_done() else PATIENCE_S):
                break
        given = self.world.given[first:]
        wall_ms = (given[-1].at - began) * 1000 if given else 0.0
        return _cost(before, await self._used(), wall_ms, len(given)), given

    async def _read(self) -> None:
        assert self._manager.stdout is not None, "a pipe"
        async for line in self._manager.stdout:
            told = json.loads(line)
            if "power" in told:
                self.world.switched(HostName(told["host"]), told["power"])
            else:
                self._answers.put_nowait(told)

    async def _say(self, word: str) -> None:
        assert self._manager.stdin is not None, "a pipe"
        self._manager.stdin.write(f"{word}\n".encode())
        await self._manager.stdin.drain()

    async def _used(self) -> dict[str, float]:
        if self._manager.returncode is not None:
            raise self._ended()
        await self._say("tell")
        try:
            return await asyncio.wait_for(self._answers.get(), 120.0)
        except TimeoutError as error:
            raise self._ended() from error

    def _ended(self) -> HoldfastError:
        log = (self.folder.root / "manager.log").read_text(errors="replace").splitlines()
        return WorldError(f"the managers of {self._vnfs} VNFs do not answer: {log[-1] if log else 'without a word'}")


def layout_of(vnfs: int, hosts: int, file: Path) -> Layout:
    """Of a descriptor; where that may not be so long, of several that are put together: nobody may run it as one."""
    layout: Layout | None = None
    for first in range(0, vnfs, IN_ONE_MAX):
        file.write_text(words(min(IN_ONE_MAX, vnfs - first), hosts, first))
        more = descriptor.load(file)
        layout = more if layout is None else _together(layout, more)
    assert layout is not None, "one VNF at least"
    return layout


def _together(one: Layout, more: Layout) -> Layout:
    return replace(
        one,
        vms=one.vms | more.vms,
        vnfs=one.vnfs | more.vnfs,
        components=one.components | more.components,
        groups=one.groups | more.groups,
        services=one.services | more.services,
        vnfcs=one.vnfcs | more.vnfcs,
    )


def _cost(before: dict[str, float], after: dict[str, float], wall_ms: float, instructions: int) -> Cost:
    saves, parts, written = (int(after[name] - before[name]) for name in ("saves", "parts", "written_bytes"))
    return Cost(round(after["cpu_ms"] - before["cpu_ms"], 1), round(wall_ms, 1), instructions, saves, parts, written)


def measure(vnfs: int, hosts: int, folder: Path, tell: Callable[[str], None]) -> Size:
    """Measure one size; its folder is removed when nothing was wrong."""
    size = asyncio.run(Trial(vnfs, hosts, folder, tell).run())
    if not size.wrong:
        shutil.rmtree(folder)
    return size
