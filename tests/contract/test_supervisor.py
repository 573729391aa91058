"""The supervisor as a process: it keeps its children running, and ends them in order."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from holdfast.errors import UserError
from holdfast.model.layout import Host, Layout
from holdfast.model.names import HA, HostName
from holdfast.runtime import processes
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.outside import ask
from holdfast.runtime.processes import Process
from holdfast.runtime.supervisor import Child, children_of
from holdfast.wire.link_messages import AskStatus

LIMIT_S = 60.0
EMPTY = Layout(name="empty", hosts={HostName("h1"): Host(HostName("h1"))})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path)
    made.layout.write_bytes(msgspec.json.encode(EMPTY))
    made.key.touch(0o600)
    made.key.write_bytes(b"k" * 32)
    return made


@contextmanager
def supervisor(folder: RunFolder, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "holdfast.runtime.supervisor", "--folder", str(folder.root), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as started:
        try:
            yield started
        finally:
            started.terminate()
            started.wait(LIMIT_S)
            for process in processes.read_lists(folder).values():
                processes.end(process, 1.0)


def until(holds: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < limit, f"not within {LIMIT_S} s: {what}"
        os.sched_yield()


def answers(folder: RunFolder) -> bool:
    try:
        return bool(json.loads(ask(folder, HA, AskStatus(), 1.0).content)["agents"]["h1"])
    except Exception as error:  # noqa: BLE001  # whatever it is, it does not answer yet
        return not error


def listed(folder: RunFolder) -> dict[str, Process]:
    return processes.read_lists(folder)


@pytest.mark.parametrize(("managers", "names"), [("one", {"managers"}), ("three", {"ha", "vnfm", "vim"})])
def test_agents_and_managers_run_and_end_in_order(folder: RunFolder, managers: str, names: set[str]) -> None:
    with supervisor(folder, "--managers", managers) as started:
        until(lambda: answers(folder), "the managers answer and the agent is joined")
        until(lambda: set(listed(folder)) == {"supervisor", "agent:h1", *names}, "all are listed, and nothing else")
        running = listed(folder)
        assert all(processes.is_alive(one) for one in running.values())
        started.terminate()
        assert started.wait(LIMIT_S) == 0
        assert not any(processes.is_alive(one) for one in running.values())
        assert listed(folder) == {}


def test_a_child_that_is_killed_is_back_at_once(folder: RunFolder) -> None:
    with supervisor(folder):
        until(lambda: answers(folder), "the managers answer")
        before = listed(folder)
        processes.tell(before["managers"], signal.SIGKILL)
        until(lambda: listed(folder).get("managers", before["managers"]) != before["managers"], "started again")
        until(lambda: answers(folder), "the managers answer again")
        assert listed(folder)["agent:h1"] == before["agent:h1"]


def test_a_manager_that_is_stopped_does_not_hold_up_the_end(folder: RunFolder) -> None:
    with supervisor(folder) as started:
        until(lambda: answers(folder), "the managers answer")
        processes.tell(listed(folder)["managers"], signal.SIGSTOP)
        started.terminate()
        assert started.wait(LIMIT_S) == 0


def test_supervisors_that_share_a_folder_keep_lists_of_their_own(folder: RunFolder) -> None:
    with supervisor(folder, "--managers", "none"), supervisor(folder, "--agents", "none"):
        until(lambda: answers(folder), "managers of the one and agent of the other find each other")
        assert set(listed(folder)) == {"supervisor-all", "agent:h1", "supervisor-managers", "managers"}


def test_a_host_that_is_not_in_the_layout_is_refused(folder: RunFolder) -> None:
    with pytest.raises(UserError, match="host h9 is not in the layout"):
        children_of(EMPTY, folder, "none", "h9")


def test_only_what_ends_again_and_again_is_made_to_wait() -> None:
    child = Child("agent:h1", [])
    assert [child.pause(float(second) / 10) for second in range(5)] == [0.0] * 5
    pauses = [child.pause(1.0) for _ in range(20)]
    assert pauses[0] > 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == 5.0
    assert child.pause(100.0) == 0.0
