"""The probes and the owners' watcher of one run: started in the clients' network, listened to, stopped.

In:   a world, the service to ask. Out: whether the service answers at this moment; two files at the end.
"""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

from holdfast.errors import WorldError
from holdfast.lab.scenario import Client
from holdfast.lab.world import CLIENT, LiveWorld
from holdfast.model.layout import Service
from holdfast.model.names import VnfcName

READY_LIMIT_S = 20.0
STOP_LIMIT_S = 15.0


class Probing:
    def __init__(self, world: LiveWorld, service: Service, client: Client, out: Path) -> None:
        address = service.address.partition("/")[0]
        self.probe_file = out / "probe.bin"
        self.owners_file = out / "owners.bin"
        status_read, status_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._status = status_read
        self._text = b""
        self._changes: list[tuple[bool, float]] = []
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
                [*_probe(client.kind, client.every_ms, service, self.probe_file), "--status-fd", str(status_write)],
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[status_write],
            )
        os.close(status_write)

    def wait_ready(self) -> float:
        """Wait for the probe's first good answer; returns the time."""
        return _wait_ready(self._probe, "probe")

    def is_up(self, since: float) -> bool:
        """Whether the service answers now; if it was asked about a fault, only once it has noticed an end of it.

        An outage below the probe's own threshold for `down` leaves no line: then it never was down for the probe.
        """
        self._listen()
        if not self._changes:
            return False
        up, at = self._changes[-1]
        return up and (at >= since or time.monotonic() - since > 0.1)

    def _listen(self) -> None:
        try:
            while chunk := os.read(self._status, 4096):
                self._text += chunk
        except BlockingIOError:
            pass
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            word, at = line.split()
            self._changes.append((word == b"up", float(at)))

    def stop(self) -> None:
        """End the load; the probe reads every acknowledged update back before it ends."""
        _end(self._probe, "probe")
        _end(self._owners, "owners' watcher")
        os.close(self._status)


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
                [*_probe(self._kind, self.EVERY_MS, self._service, self.probe_file), "--prefix", "q"],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        _wait_ready(self._probe, "second client's probe")

    def mislead(self, vnfc: VnfcName) -> None:
        """It takes this one's VM for the owner of the service's address."""
        address = self._service.address.partition("/")[0]
        self._world.outside.mislead(self.NAME, address, self._world.mac_of(vnfc))

    def stop(self) -> None:
        if self._probe is not None:
            _end(self._probe, "second client's probe")


def _probe(kind: str, every_ms: float, service: Service, out: Path) -> list[str]:
    address = service.address.partition("/")[0]
    return [
        *[sys.executable, "-m", "holdfast.lab.probe", "--kind", kind, "--address", address],
        *["--port", str(service.port), "--rate-ms", str(every_ms), "--out", str(out)],
    ]


def _wait_ready(probe: "subprocess.Popen[bytes]", what: str) -> float:
    output = probe.stdout
    if output is None or not select.select([output], [], [], READY_LIMIT_S)[0] or output.readline() != b"ready\n":
        raise WorldError(f"the {what} got no answer within {READY_LIMIT_S:g} s")
    return time.monotonic()


def _end(process: "subprocess.Popen[bytes]", what: str) -> None:
    process.terminate()
    try:
        status = process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise WorldError(f"the {what} did not end within {STOP_LIMIT_S:g} s") from None
    if status != 0:
        raise WorldError(f"the {what} ended with status {status}; see its log")
    if process.stdout is not None:
        process.stdout.close()
