"""The probes and the owners' watcher of one run: started in the clients' network, listened to, stopped.

In:   a world, the service to ask. Out: whether the service answers at this moment; two files at the end.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from holdfast.errors import WorldError
from holdfast.lab.outside import Outside
from holdfast.lab.scenario import Client
from holdfast.lab.world import CLIENT, LiveWorld
from holdfast.model.layout import Service
from holdfast.model.names import VnfcName

READY_LIMIT_S = 20.0
STOP_LIMIT_S = 15.0


class StatusLines:
    """What a probe says of its service on a pipe, as it notices it."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._text = b""
        self._last: tuple[bool, float] | None = None

    def silent_s(self) -> float:
        """For how long the service has not been answering; 0 while it does."""
        self._listen()
        if self._last is None:
            return float("inf")
        is_up, at = self._last
        return 0.0 if is_up else time.monotonic() - at

    def up_at(self) -> float | None:
        """Since when the service has been answering; None while it does not."""
        self._listen()
        return self._last[1] if self._last is not None and self._last[0] else None

    def _listen(self) -> None:
        try:
            while chunk := os.read(self._pipe, 4096):
                self._text += chunk
        except BlockingIOError:
            pass
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            word, at = line.split()
            self._last = (word == b"up", float(at))

    def close(self) -> None:
        os.close(self._pipe)


class Asked(Protocol):
    """Whatever has clients outside that can ask it."""

    outside: Outside


class Probing:
    def __init__(self, world: Asked, service: Service, client: Client, out: Path) -> None:
        address = service.address.partition("/")[0]
        self.probe_file = out / "probe.bin"
        self.owners_file = out / "owners.bin"
        status_read, status_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._status = StatusLines(status_read)
        with (out / "probe.log").open("wb") as log:
            self._owners = world.outside.run(
                CLIENT,
                [sys.executable, "-m", "holdfast.lab.owners", "--address", address, "--out", str(self.owners_file)],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
            os.set_inheritable(status_write, True)
            self._probe = world.outside.run(
                CLIENT,
                [
                    *probe_words(client.kind, client.every_ms, service, self.probe_file),
                    "--status-fd",
                    str(status_write),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[status_write],
            )
        os.close(status_write)

    def wait_ready(self) -> float:
        """Wait for the probe's first good answer; returns the time."""
        return wait_ready(self._probe, "probe")

    def silent_s(self) -> float:
        """For how long the service has not been answering; 0 while it does."""
        return self._status.silent_s()

    def is_up(self, since: float) -> bool:
        """Whether the service answers now; if it was asked about a fault, only once it has noticed an end of it.

        An outage below the probe's own threshold for `down` leaves no line: then it never was down for the probe.
        """
        up_at = self._status.up_at()
        return up_at is not None and (up_at >= since or time.monotonic() - since > 0.1)

    def stop(self) -> None:
        """End the load; the probe reads every acknowledged update back before it ends."""
        _end(self._probe, "probe")
        _end(self._owners, "owners' watcher")
        self._status.close()


class SecondClient:
    """Another machine outside, which asks seldom. It may be misled about where the service is."""

    NAME, ADDRESSES = "client-2", ("10.77.0.249/24", "fd77::249/64")
    EVERY_MS = 10.0

    def __init__(self, world: LiveWorld, service: Service, kind: str, out: Path) -> None:
        self._world, self._service, self._kind = world, service, kind
        self.probe_file = out / "probe-2.bin"
        self._log = out / "probe-2.log"
        self._probe: subprocess.Popen[bytes] | None = None

    def join(self) -> None:
        """It is there, and is answered."""
        self._world.outside.join(self.NAME, self.ADDRESSES)
        with self._log.open("wb") as log:
            self._probe = self._world.outside.run(
                self.NAME,
                # Its updates must not be taken for those of the first one.
                [*probe_words(self._kind, self.EVERY_MS, self._service, self.probe_file), "--prefix", "q"],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        wait_ready(self._probe, "second client's probe")

    def mislead(self, vnfc: VnfcName) -> None:
        """It takes this one's VM for the owner of the service's address."""
        address = self._service.address.partition("/")[0]
        self._world.outside.mislead(self.NAME, address, self._world.mac_of(vnfc))

    def stop(self) -> None:
        if self._probe is not None:
            _end(self._probe, "second client's probe")


def probe_words(kind: str, every_ms: float, service: Service, out: Path) -> list[str]:
    address = service.address.partition("/")[0]
    return [
        *[sys.executable, "-m", "holdfast.lab.probe", "--kind", kind, "--address", address],
        *["--port", str(service.port), "--rate-ms", str(every_ms), "--out", str(out)],
    ]


def wait_ready(probe: "subprocess.Popen[bytes]", what: str) -> float:
    output = probe.stdout
    if output is None or not select.select([output], [], [], READY_LIMIT_S)[0] or output.readline() != b"ready\n":
        raise WorldError(f"the {what} got no answer within {READY_LIMIT_S:g} s")
    return time.monotonic()


def _end(process: "subprocess.Popen[bytes]", what: str) -> None:
    for trouble in end_all([(process, what)]):
        raise WorldError(trouble)


def end_all(processes: Sequence[tuple["subprocess.Popen[bytes]", str]]) -> list[str]:
    """End them, all at once; returns what went wrong, in words."""
    for process, _ in processes:
        process.terminate()
    troubles = []
    limit = time.monotonic() + STOP_LIMIT_S
    for process, what in processes:
        try:
            status = process.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            troubles.append(f"the {what} did not end within {STOP_LIMIT_S:g} s")
            continue
        if status != 0:
            troubles.append(f"the {what} ended with status {status}; see its log")
        if process.stdout is not None:
            process.stdout.close()
    return troubles
