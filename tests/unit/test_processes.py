"""A process is its pid and its start time: nobody ends a stranger."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.runtime import processes
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.processes import Process


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "100"]) as started:
        yield started
        started.kill()


def test_a_process_is_known_by_pid_and_start(sleeper: "subprocess.Popen[bytes]") -> None:
    process = processes.process_of(sleeper.pid)
    assert processes.is_alive(process)
    assert not processes.is_alive(Process(process.pid, process.start + 1))


def test_a_stranger_with_an_old_pid_is_left_alone(sleeper: "subprocess.Popen[bytes]") -> None:
    stranger = Process(sleeper.pid, processes.process_of(sleeper.pid).start - 1)
    assert not processes.tell(stranger, signal.SIGKILL)
    assert processes.end(stranger, 1.0)
    assert sleeper.poll() is None


def test_a_process_that_is_stopped_can_be_ended(sleeper: "subprocess.Popen[bytes]") -> None:
    process = processes.process_of(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert processes.end(process, 20.0)
    assert not processes.is_alive(process)


def test_a_process_that_will_not_go_is_killed_at_the_limit() -> None:
    with subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do read -r _ || :; done"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as stubborn:
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == b"ready\n"
        assert processes.end(processes.process_of(stubborn.pid), 0.1)
        assert stubborn.wait() == -signal.SIGKILL


def test_lists_of_several_supervisors_are_read_together(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    processes.write_list(processes.list_file(folder, ""), {"managers": Process(1, 2)})
    processes.write_list(processes.list_file(folder, "h1"), {"agent:h1": Process(3, 4), "managers": Process(5, 6)})
    processes.list_file(folder, "broken").write_text("{")
    found = processes.read_lists(folder)
    assert found["agent:h1"] == Process(3, 4)
    assert sorted(found.values(), key=lambda one: one.pid) == [Process(1, 2), Process(3, 4), Process(5, 6)]
    assert not list(tmp_path.glob("*.json.*"))
