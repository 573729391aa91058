"""Every scenario of the lab, live, once; and what becomes of a lab that is interrupted."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.lab import scenario
from holdfast.lab.campaign import Progress, judge_one, run_one
from tests.live.lengths import Machine, verdict_in, wrong_but_lengths, wrong_in

pytestmark = pytest.mark.namespaces
LIMIT_S = 90.0
RUNS_MAX = 3


@pytest.mark.parametrize("name", scenario.names())
def test_scenario_passes(name: str, tmp_path: Path) -> None:
    """A run that fails by a length of time alone is made again, as in `lengths.py`."""
    other_work: list[str] = []
    while True:
        machine, steps = Machine(), list[Progress]()
        verdict = judge_one(run_one(scenario.load(name), len(other_work), tmp_path, steps.append))
        other_work.append(machine.other_work())
        wrong = wrong_but_lengths(verdict)
        assert not wrong, f"{wrong}; the last step was {steps[-1].step}"
        if verdict.verdict == "pass" or len(other_work) == RUNS_MAX:
            break
    told = {check: found.text for check, found in wrong_in(verdict).items()}
    assert verdict.verdict == "pass" or any(other_work), f"{told}, and the machine did nothing else"


def _lab(*words: str, out: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast", "lab", "run", *words, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def below(top: int) -> list[int]:
    """Handles of all processes below this one."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        children.setdefault(_parent(pid), []).append(pid)
    found, todo = [], [top]
    while todo:
        for pid in children.get(todo.pop(), []):
            todo.append(pid)
            try:
                found.append(os.pidfd_open(pid))
            except ProcessLookupError:
                continue
    return found


def interfaces() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def _wait_for_load(out: Path, lab: "subprocess.Popen[bytes]") -> None:
    """Until the journal of the lab says that something was done: then everything is up."""
    handle = os.pidfd_open(lab.pid)
    try:
        while not any(b'"fault"' in path.read_bytes() for path in out.glob("uc1/*/journal/lab.jsonl")):
            assert not select.select([handle], [], [], 0.02)[0], (lab.stderr.read() if lab.stderr else b"").decode()
    finally:
        os.close(handle)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_lab_leaves_nothing_and_the_next_one_runs(number: signal.Signals, tmp_path: Path) -> None:
    before = interfaces()
    lab = _lab("uc1", "--repeat", "50", out=tmp_path)
    _wait_for_load(tmp_path, lab)
    handles = below(lab.pid)
    assert handles
    lab.send_signal(number)
    text = lab.communicate(timeout=LIMIT_S)[1].decode()
    assert lab.returncode == (-9 if number is signal.SIGKILL else 130)
    assert "Traceback" not in text
    for handle in handles:
        assert select.select([handle], [], [], LIMIT_S)[0], "a process of the lab is left"
        os.close(handle)
    assert interfaces() == before
    after = _lab("uc1", "--json", str(tmp_path / "after.json"), out=tmp_path)
    said, complaint = after.communicate(timeout=LIMIT_S)
    assert after.returncode in (0, 1), said.decode() + complaint.decode()
    assert json.loads((tmp_path / "after.json").read_text())["summary"]["uc1"]["n"] == 1
    assert wrong_but_lengths(verdict_in(tmp_path / "uc1" / "latest")) == {}, said.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("uc11",), "did you mean `uc1`"),
        (("uc1", "--world", "moon"), "the lab has two worlds"),
        (("uc1", "--repeat", "0"), "repeat"),
    ],
)
def test_a_newcomers_mistake_is_named(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    lab = _lab(*words, out=tmp_path)
    complaint = lab.communicate(timeout=LIMIT_S)[1].decode()
    assert (lab.returncode, said in complaint, "Traceback" in complaint) == (2, True, False), complaint
