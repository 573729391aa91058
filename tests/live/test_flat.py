"""Failovers of real processes, one after the other: descriptors and memory of agent and managers stay as they are.

Many more, in the same life, are simulated in `tests/sim/test_flat.py`.
"""

import os
import signal
from pathlib import Path
from statistics import linear_regression

import pytest

from holdfast.runtime import deployment
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import load_layout
from tests.live.test_misbehaving import DESCRIPTOR, PROGRAM, RUN
from tests.live.test_up_down import holdfast, in_nest, listed_in, processes, until

pytestmark = pytest.mark.namespaces
WARMED_UP, MEASURED = 20, 60
GROWN_BYTES_MAX = 24 << 10
"""A failover: outcomes, messages and incidents are kept, so many of them, and not all lists are full yet."""
UNDER_WAY = 2
"""Descriptors of the links over which this test itself asks."""
OWN = ("agent:this", "managers", "supervisor")


def pid_of_active() -> int:
    folder = RunFolder(RUN)
    (status,) = [
        one for one in deployment.statuses(load_layout(folder), folder).values() if "bad" in one.get("vnfs", {})
    ]
    vnf = status["vnfs"]["bad"]
    is_well = sorted(vnfc["role"] for vnfc in vnf["vnfcs"].values()) == ["active", "spare"]
    is_closed = all(one["closed_at"] is not None for one in status["incidents"])
    active = vnf["services"]["bad"]["vnfc"]
    found = [pid for pid in processes(str(PROGRAM)) if f"HOLDFAST_VNFC={active}".encode() in environment(pid)]
    return found[0] if is_well and is_closed and len(found) == 1 else 0


def environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def resident(pid: int) -> int:
    """Bytes of memory that only this process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def fail_over() -> None:
    pids = [0]

    def is_well() -> bool:
        pids[0] = pid_of_active()
        return pids[0] > 0

    until(is_well, "all is well")
    (pid,) = pids
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid_of_active() not in {0, pid}, "the other one is active, and all is repaired")


def test_failovers_of_real_processes_leave_nothing_behind(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        descriptor = folder / "bad.yaml"
        descriptor.write_text(DESCRIPTOR.replace("maximum: 100,", "maximum: 1000,"))
        holdfast("up", str(descriptor))
        until(lambda: pid_of_active() != 0, "all is well")
        for _ in range(WARMED_UP):
            fail_over()
        own = {name: pid for name, pid in listed_in(RUN).items() if name in OWN}
        assert len(own) >= 2, own
        opened = {name: open_files(pid) for name, pid in own.items()}
        memory: dict[str, list[int]] = {name: [] for name in own}
        for _ in range(MEASURED):
            fail_over()
            for name, pid in own.items():
                memory[name].append(resident(pid))
        more = {name: open_files(pid) - opened[name] for name, pid in own.items()}
        assert all(count <= UNDER_WAY for count in more.values()), more
        grows = {name: linear_regression(range(MEASURED), sizes).slope for name, sizes in memory.items()}
        assert all(slope < GROWN_BYTES_MAX for slope in grows.values()), grows
        (folder / "grows").write_text(
            "".join(f"{name}: {slope:.0f} bytes a failover\n" for name, slope in grows.items())
        )
        holdfast("down")

    in_nest(story, tmp_path)
    print((tmp_path / "grows").read_text())
