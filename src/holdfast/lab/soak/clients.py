"""The clients of an episode: for each service a probe, and a watcher that asks the network who has its address.

In:   a world, an episode's number. Out: whether all services answer at this moment; two files a service at the end.
Always: what a client records in memory and what it leaves in the services is bounded, however long the soak takes: each
episode has clients of its own, and their keys are used again by later ones.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from holdfast.lab.probing import StatusLines, end_all, probe_words, wait_ready
from holdfast.lab.world import CLIENT, LiveWorld
from holdfast.model.layout import Service

EVERY_MS = 5.0
REQUESTS_MAX = 60_000
"""Five minutes; no episode lasts that long."""
SILENT_S = 0.2
"""A service without an answer for so long counts as silent; less can be this machine's own noise."""
KEYS_KEPT = 4
"""The keys of so many episodes are in the services at most."""


class Clients:
    def __init__(self, world: LiveWorld, number: int, out: Path) -> None:
        self._world, self._number, self._out = world, number, out
        self.services = [service for service in world.layout.services.values() if service.address]
        self._probes: list[subprocess.Popen[bytes]] = []
        self._watchers: list[subprocess.Popen[bytes]] = []
        self._status: list[StatusLines] = []
        with (out / "clients.log").open("wb") as log:
            for at, service in enumerate(self.services):
                self._start(at, service, log.fileno())

    def _start(self, at: int, service: Service, log: int) -> None:
        address = service.address.partition("/")[0]
        watch = [sys.executable, "-m", "holdfast.lab.owners", "--address", address]
        self._watchers.append(
            self._world.outside.run(
                CLIENT, [*watch, "--out", str(self._out / owners_file(at))], stdout=subprocess.DEVNULL, stderr=log
            )
        )
        status_read, status_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_inheritable(status_write, True)
        own = ["--prefix", f"s{self._number % KEYS_KEPT}", "--label", f"{self._number}."]
        self._probes.append(
            self._world.outside.run(
                CLIENT,
                [
                    *probe_words("registry", EVERY_MS, service, self._out / probe_file(at)),
                    *[*own, "--requests-max", str(REQUESTS_MAX), "--status-fd", str(status_write)],
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[status_write],
            )
        )
        os.close(status_write)
        self._status.append(StatusLines(status_read))

    def wait_ready(self) -> float:
        """Wait for the first good answer to each; returns the time."""
        for probe, service in zip(self._probes, self.services, strict=True):
            wait_ready(probe, f"probe of {service.name}")
        return time.monotonic()

    def silent(self) -> list[str]:
        """Services that are not answered at this moment."""
        pairs = zip(self.services, self._status, strict=True)
        return [service.name for service, status in pairs if status.silent_s() > SILENT_S]

    def stop(self) -> list[str]:
        """End the load, all acknowledged updates being read back; returns what went wrong with clients."""
        troubles = end_all(
            [(probe, f"probe of {s.name}") for probe, s in zip(self._probes, self.services, strict=True)]
        )
        troubles += end_all(
            [(one, f"owners' watcher of {s.name}") for one, s in zip(self._watchers, self.services, strict=True)]
        )
        self.close()
        return troubles

    def kill(self) -> None:
        """At once, without an account."""
        for process in (*self._probes, *self._watchers):
            process.kill()
            process.wait()
        self.close()

    def close(self) -> None:
        for status in self._status:
            status.close()
        self._status = []


def probe_file(at: int) -> str:
    return f"probe-{at}.bin"


def owners_file(at: int) -> str:
    return f"owners-{at}.bin"
