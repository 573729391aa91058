"""Places for the contract tests of what an agent finds on its host: this machine, and a simulated one."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from holdfast.drivers.namespaces import inside, new_namespace
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.pidfd import Pidfd
from holdfast.drivers.process import Surroundings
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.keeper import SimHandle
from holdfast.lab.sim.loop import loop_of
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.premises import SimPremises
from holdfast.lab.sim.programs import Programs, Running, command, runs
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.lab.sim.timeline import Timeline
from holdfast.runtime.premises import Handle, Premises
from holdfast.runtime.premises_here import HERE

LIMIT_S = 60.0
FORKS_AND_WAITS = "sleep 1000 & wait"
FORKS_AWAY = "setsid sleep 1000 & exec sleep 1000"
FORKS_AND_ENDS = "setsid sleep 1000 & exit 0"
IGNORES = "trap '' TERM; while :; do sleep 1; done"
Case = Callable[[Premises], Awaitable[None]]


def unused_port() -> int:
    """A TCP port of this machine that is free, and that its kernel gives to no outgoing connection meanwhile."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("of 100 ports none is free")


class Place(Protocol):
    folder: Path

    @property
    def around(self) -> Surroundings: ...

    def play(self, case: Case) -> None:
        """Run it there, at most so long; what it leaves is taken away."""

    def stop(self, handle: Handle) -> None:
        """SIGSTOP."""


class Here:
    """A network namespace of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def around(self) -> Surroundings:
        return Surroundings({"PATH": os.environ["PATH"]}, self.folder, self.folder / "log")

    def play(self, case: Case) -> None:
        async def all_of_it() -> None:
            async with asyncio.timeout(LIMIT_S):
                await case(HERE)

        def in_namespace() -> None:
            with Netlink.open() as netlink:
                netlink.up("lo")
            asyncio.run(all_of_it())

        namespace = new_namespace()
        try:
            inside(namespace, in_namespace)
        finally:
            os.close(namespace)

    def stop(self, handle: Handle) -> None:
        assert isinstance(handle, Pidfd)
        signal.pidfd_send_signal(handle.number, signal.SIGSTOP)


def forks(running: Running) -> None:
    running.fork(runs, ["sleep", "1000"])


def forks_and_ends(running: Running) -> None:
    forks(running)
    command(0)(running)


def ignores(running: Running) -> None:
    running.process.heeds = lambda: None


PROGRAMS = {
    **{f"exit {status}": command(status) for status in range(5)},
    "true": command(0),
    "sleep": runs,
    FORKS_AND_WAITS: forks,
    FORKS_AWAY: forks,
    FORKS_AND_ENDS: forks_and_ends,
    IGNORES: ignores,
}


class Simulated:
    """A simulated machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.timeline = Timeline(1)
        self.host = SimHost(self.timeline, "h1")
        self.host.switch_on()
        self.loop = loop_of(self.host.spawn("agent"), self._wrong)
        net = Net(self.timeline, "one")
        exchange = Exchange(lambda _address: net, lambda _address: "h1")
        streams = SimStreams(exchange, self.loop.process, self.loop, "h1")
        self.premises = SimPremises(self.host, self.loop, streams, Programs(PROGRAMS))

    @property
    def around(self) -> Surroundings:
        return Surroundings({}, self.folder, self.folder / "log")

    @staticmethod
    def _wrong(name: str, context: dict[str, Any]) -> None:
        raise AssertionError(f"{name}: {context}")

    def play(self, case: Case) -> None:
        async def all_of_it() -> None:
            await case(self.premises)

        task = self.loop.create_task(all_of_it())
        self.timeline.run(self.timeline.now_ns + round(LIMIT_S * 1e9), task.done)
        task.result()

    def stop(self, handle: Handle) -> None:
        assert isinstance(handle, SimHandle)
        handle.process.stop()
