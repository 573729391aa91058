"""The probe and the owners' watcher of one run: started in the client's network, listened to, stopped.

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
from holdfast.lab.world import LiveWorld
from holdfast.model.layout import Service

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
            self._owners = world.as_client(
                [sys.executable, "-m", "holdfast.lab.owners", "--address", address, "--out", str(self.owners_file)],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
            os.set_inheritable(status_write, True)
            self._probe = world.as_client(
                [
                    *[sys.executable, "-m", "holdfast.lab.probe", "--kind", client.kind, "--address", address],
                    *["--port", str(service.port), "--rate-ms", str(client.every_ms)],
                    *["--out", str(self.probe_file), "--status-fd", str(status_write)],
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[status_write],
            )
        os.close(status_write)

    def wait_ready(self) -> float:
        """Wait for the probe's first good answer; returns the time."""
        output = self._probe.stdout
        if output is None or not select.select([output], [], [], READY_LIMIT_S)[0] or output.readline() != b"ready\n":
            raise WorldError(f"the probe got no answer within {READY_LIMIT_S:g} s")
        return time.monotonic()

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
        for process, what in ((self._probe, "probe"), (self._owners, "owners' watcher")):
            process.terminate()
            try:
                status = process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise WorldError(f"the {what} did not end within {STOP_LIMIT_S:g} s") from None
            if status != 0:
                raise WorldError(f"the {what} ended with status {status}; see probe.log")
        if self._probe.stdout is not None:
            self._probe.stdout.close()
        os.close(self._status)
