"""What the hot loop costs and how late it wakes: processor time with 2, 4 and 6 peers, at heartbeats of 10 and 50 ms.

Run as root: `.venv/bin/python bench/hot.py [seconds] [networks]`. All processes run here, on addresses of the
loopback interface; only one is measured (by its own pulses), the others are its peers. Prints per cent of one core, and
microseconds.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from holdfast.model.names import HostName
from holdfast.runtime.hot_link import connected
from holdfast.runtime.hot_words import (
    PACKET_BYTES_MAX,
    EndHot,
    HotNetwork,
    HotPeer,
    HotSettings,
    Pulse,
    event,
    packed,
)

PROGRAM = "holdfast.runtime.hot_process"
MS = 1_000_000
LIMIT_S = 20.0


def address(network: int, number: int) -> str:
    return f"127.{77 + network}.0.{number + 1}"


def settings_of(folder: Path, number: int, count: int, networks: int, heartbeat_ns: int, seconds: float) -> HotSettings:
    peers = {
        HostName(f"host{other}"): HotPeer(tuple(address(network, other) for network in range(networks)))
        for other in range(count)
        if other != number
    }
    return HotSettings(
        cluster="bench",
        me=HostName(f"host{number}"),
        networks=tuple(HotNetwork(f"net{network}", address(network, number)) for network in range(networks)),
        peers=peers,
        heartbeat_ns=heartbeat_ns,
        key_file=str(folder / "key"),
        socket=str(folder / f"host{number}.sock"),
        pulse_ns=round(seconds * 1000) * MS,
    )


def measured(count: int, networks: int, heartbeat_ns: int, seconds: float) -> Pulse:
    """The second pulse of the first process: the first one holds its start."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "key").write_bytes(os.urandom(32))
        processes = []
        for number in range(count):
            path = folder / f"host{number}.json"
            path.write_bytes(msgspec.json.encode(settings_of(folder, number, count, networks, heartbeat_ns, seconds)))
            processes.append(subprocess.Popen([sys.executable, "-m", PROGRAM, "--settings", str(path)]))
        try:
            links = [stack.enter_context(link(folder / f"host{number}.sock", seconds)) for number in range(count)]
            pulses: list[Pulse] = []
            while len(pulses) < 2:
                one = event(links[0].recv(PACKET_BYTES_MAX))
                if isinstance(one, Pulse):
                    pulses.append(one)
            for each in links:
                each.send(packed(EndHot()))
        finally:
            for process in processes:
                try:
                    process.wait(LIMIT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        return pulses[1]


def link(path: Path, seconds: float):  # type: ignore[no-untyped-def]
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            return connected(path, LIMIT_S + 2 * seconds)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    networks = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"networks: {networks}, {seconds:g} s each")
    print("| heartbeat | peers | core | received/s | late: half | 99 % | worst |\n|---|---|---|---|---|---|---|")
    for heartbeat_ms in (10, 50):
        for peers in (2, 4, 6):
            pulse = measured(peers + 1, networks, heartbeat_ms * MS, seconds)
            late = pulse.lateness
            print(
                f"| {heartbeat_ms} ms | {peers} | {pulse.processor_ns / seconds / 1e7:.2f} % "
                f"| {pulse.received / seconds:.0f} | {late.p50_ns / 1000:.0f} us | {late.p99_ns / 1000:.0f} us "
                f"| {late.max_ns / 1000:.0f} us |",
                flush=True,
            )


if __name__ == "__main__":
    main()
