"""What the kernel says of a process's time on the processor, of real processes."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from holdfast.drivers.processor import processor_use
from holdfast.model.processor import ProcessorUse, waited_share

LIMIT_S = 30.0


@pytest.fixture
def spinning() -> Iterator[int]:
    """A process that never rests."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "print(flush=True)\nwhile True: pass"], stdout=-1)
    assert process.stdout is not None
    assert process.stdout.readline()
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


def _use(pid: int) -> ProcessorUse:
    use = processor_use(pid)
    assert use is not None
    return use


def _until_ran(pid: int, more_s: float) -> tuple[ProcessorUse, ProcessorUse, float]:
    """What was so before and after, and how long the time between the two was at least."""
    before, began = _use(pid), time.monotonic()
    while True:
        looked = time.monotonic()
        if (now := _use(pid)).ran_s >= before.ran_s + more_s:
            return before, now, looked - began
        assert looked < began + LIMIT_S
        select.select([], [], [], 0.001)


def test_one_that_never_rests_runs_or_waits_all_the_time(spinning: int) -> None:
    before, now, took_s = _until_ran(spinning, 0.05)
    assert now.is_ready
    assert (now.ran_s - before.ran_s) / took_s + waited_share(before, now, took_s) >= 0.99


def test_one_that_is_stopped_is_not_ready_and_waits_for_nothing(spinning: int) -> None:
    os.kill(spinning, signal.SIGSTOP)
    end = time.monotonic() + LIMIT_S
    while _use(spinning).is_ready:
        assert time.monotonic() < end
    before = _use(spinning)
    select.select([], [], [], 0.02)
    now = _use(spinning)
    assert (now.ran_s, now.waited_s, waited_share(before, now, 0.02)) == (before.ran_s, before.waited_s, 0.0)


def test_nothing_is_known_of_one_that_is_gone() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert processor_use(process.pid) is None
    assert waited_share(None, None, 0.01) == 0.0
