"""The managers of a big deployment in a process of their own: composed as ever, between simulated hosts and devices.

In:   a run folder (argument); on standard input lines: `tell` asks, `power` lets devices do what they were told so far.
Out:  on standard output a line of JSON each: what the process has used so far, and each host that is switched.
Always: cores, seats, stores, journals and links are the real ones; hosts are reached at paths in place of networks, and
who is dark does not answer.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from holdfast.model.layout import FenceLevels, Layout
from holdfast.model.names import Party, agent_party
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import load_layout, parties_of
from holdfast.runtime.manager_process import hold
from holdfast.runtime.sockets import Place
from holdfast.runtime.streams import SOCKETS, Listening, Rider, Sockets
from holdfast.runtime.surroundings import Surroundings
from holdfast.store.port import Store
from holdfast.store.sqlite import SqliteStore


def dark(folder: Path, host: str) -> Path:
    """There while nothing gets through to this host."""
    return folder / "dark" / host


class PathsForHosts(Sockets):
    """Whoever calls a host's address gets to the simulated agent's path; a dark host leaves him waiting."""

    def __init__(self, layout: Layout, folder: RunFolder) -> None:
        self._folder = folder
        self._hosts = {host.reached_at[0]: name for name, host in layout.hosts.items()}

    async def call(self, place: Place, made: Callable[[], Rider], limit_s: float) -> Rider:
        if isinstance(place, Path):
            return await SOCKETS.call(place, made, limit_s)
        host = self._hosts[place.address]
        if dark(self._folder.root, host).exists():
            await asyncio.sleep(limit_s)
            raise TimeoutError(f"{host} does not answer")
        return await SOCKETS.call(self._folder.socket(agent_party(host)), made, limit_s)

    async def listen(self, place: Place, made: Callable[[], asyncio.Protocol]) -> Listening:
        return await SOCKETS.listen(place, made)


class Counted:
    """A store that counts what is written into it."""

    saves = parts = size_bytes = 0
    pieces = SqliteStore.pieces

    def __init__(self, path: Path) -> None:
        self._store: Store = SqliteStore(path)
        self.load, self.is_kept = self._store.load, self._store.is_kept
        self.tidy, self.close = self._store.tidy, self._store.close

    def save(self, party: Party, changes: Mapping[str, bytes | None], expected: int) -> int:
        Counted.saves += 1
        Counted.parts += len(changes)
        Counted.size_bytes += sum(len(content or b"") for content in changes.values())
        return self._store.save(party, changes, expected)

    @property
    def waiting(self) -> Any:
        return self._store.waiting


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def used() -> dict[str, float]:
    """What this process has used since it began."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "cpu_ms": time.process_time_ns() / 1e6,
        "rss_kb": int(status["VmRSS"].split()[0]),
        "peak_kb": int(status["VmHWM"].split()[0]),
        "saves": Counted.saves,
        "parts": Counted.parts,
        "written_bytes": Counted.size_bytes,
    }


async def run(folder: RunFolder) -> None:
    loop = asyncio.get_running_loop()
    layout = load_layout(folder)

    has_power = asyncio.Event()

    async def power(levels: FenceLevels, wanted: Literal["on", "off"]) -> str:
        # A device takes seconds, in which everything is recovered: so it waits until whoever measures has seen that.
        await has_power.wait()
        _say(host=levels[0][0].options["host"], power=wanted)
        return "simulated"

    def begun(end: Callable[[], None]) -> None:
        def asked() -> None:
            line = sys.stdin.readline()
            if line.strip() == "tell":
                _say(**used())
            elif line.strip() == "power":
                has_power.set()
            elif line.strip() == "no power":
                has_power.clear()
            elif not line:
                end()

        loop.add_reader(sys.stdin, asked)

    around = Surroundings(streams=PathsForHosts(layout, folder), power=power, store=Counted)
    await hold(layout, folder, parties_of(layout), around, begun)


if __name__ == "__main__":
    asyncio.run(run(RunFolder(Path(sys.argv[1]))))
