"""The bench, live: a trial with each kind of system, and what becomes of one that is interrupted."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.test_scenarios import below, interfaces

pytestmark = pytest.mark.namespaces
LIMIT_S = 240.0
END_LIMIT_S = 60.0


def _bench(*words: str, out: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast", "bench", "failover", *words, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_one_crash_with_each_kind_of_system(tmp_path: Path) -> None:
    report, page = tmp_path / "bench.json", tmp_path / "bench.md"
    words = ("--systems", "holdfast,keepalived-helper", "--cases", "crash,return", "--repeat", "1")
    bench = _bench(*words, "--json", str(report), "--markdown", str(page), out=tmp_path)
    said, complaint = bench.communicate(timeout=LIMIT_S)
    assert bench.returncode in (0, 1), complaint.decode()
    told = json.loads(report.read_text())
    found = {(row["case"], row["system"]): row for row in told["rows"]}
    assert set(found) == {("crash", "holdfast"), ("crash", "keepalived-helper"), ("return", "keepalived-helper")}
    assert [row["n"] for row in found.values()] == [1, 1, 1], said.decode()
    # How long it took is what a trial measures: no judge of it here.
    why = [text for trial in told["trials"] for text in trial["why"] if not text.startswith("restored: outage ")]
    assert (len(told["trials"]), why) == (3, [])
    assert found["crash", "holdfast"]["lost"]["median"] > 0
    assert found["return", "keepalived-helper"]["lost"]["median"] is not None
    assert page.read_text().count("\n") >= 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_trial_leaves_no_daemon_and_no_host(number: signal.Signals, tmp_path: Path) -> None:
    before = interfaces()
    bench = _bench("--systems", "keepalived-tuned", "--cases", "idle-load", out=tmp_path)
    end = time.monotonic() + LIMIT_S
    while not _has_begun(_lines_below(bench.pid)):
        assert time.monotonic() < end
        assert bench.poll() is None
        select.select([], [], [], 0.05)
    handles = below(bench.pid)
    bench.send_signal(number)
    try:
        _, complaint = bench.communicate(timeout=END_LIMIT_S)
    finally:
        bench.kill()
    assert bench.returncode == (-9 if number is signal.SIGKILL else 130)
    assert "Traceback" not in complaint.decode()
    for handle in handles:
        assert select.select([handle], [], [], END_LIMIT_S)[0], "a process of the trial is left"
        os.close(handle)
    assert interfaces() == before


def _has_begun(lines: list[bytes]) -> bool:
    """Whether busy loops run besides two keepalived with a child each."""
    return any(b"ulimit" in line for line in lines) and sum(line.startswith(b"keepalived") for line in lines) == 4


def _lines_below(pid: int) -> list[bytes]:
    """The process and all below it, as they were called."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        try:
            todo += [int(word) for word in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
            found.append(Path(f"/proc/{one}/cmdline").read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--systems", "pacemaker"), "--systems has pacemaker"),
        (("--cases", "crash,fire"), "--cases has fire"),
        (("--json", "/"), "/ cannot be written"),
    ],
)
def test_a_mistake_is_named(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    bench = _bench(*words, out=tmp_path)
    complaint = bench.communicate(timeout=LIMIT_S)[1].decode()
    assert (bench.returncode, said in complaint, "Traceback" in complaint) == (2, True, False), complaint
