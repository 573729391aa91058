"""Processes that get hardly any processor time, by quota and by signals: they starve, and are fed."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from holdfast.lab.acts import FaultFailed
from holdfast.lab.starving import Quota, Starved, StopAndGo, new_group, starve

SPIN = "import time\nprint('on', flush=True)\nwhile True: pass"


def by_quota(pids: Sequence[int]) -> Starved:
    try:
        return Quota(pids, new_group())
    except OSError as error:
        pytest.skip(f"no such control groups here: {error}")


def _used_ticks(pid: int) -> int:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def _wait_until_used(pid: int, ticks: int) -> None:
    """While this process itself burns no less, so that time has passed whatever the other did."""
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_utime + 20.0
    while _used_ticks(pid) < ticks:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_utime < limit, "it gets no processor time"


@pytest.mark.parametrize("way", [by_quota, StopAndGo], ids=["quota", "signals"])
def test_who_starves_uses_nothing_and_who_is_fed_goes_on(way: Callable[[Sequence[int]], Starved]) -> None:
    with subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            _wait_until_used(process.pid, 5)
            starved = way([process.pid])
            begun, before = resource.getrusage(resource.RUSAGE_SELF).ru_utime, _used_ticks(process.pid)
            while resource.getrusage(resource.RUSAGE_SELF).ru_utime < begun + 0.3:
                pass
            assert (_used_ticks(process.pid) - before) / os.sysconf("SC_CLK_TCK") < 0.05
            starved.feed()
            _wait_until_used(process.pid, before + 20)
        finally:
            process.kill()


def test_the_group_is_gone_when_all_are_fed() -> None:
    try:
        group = new_group()
    except OSError as error:
        pytest.skip(f"no such control groups here: {error}")
    starved = Quota([], group)
    assert group.is_dir()
    starved.feed()
    starved.feed()
    assert not group.exists()


def test_nobody_cannot_starve() -> None:
    with pytest.raises(FaultFailed):
        starve([])
