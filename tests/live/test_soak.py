"""A short soak, live, and what becomes of one that is interrupted."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.lengths import verdict_in, wrong_but_lengths
from tests.live.test_scenarios import below, interfaces

pytestmark = pytest.mark.namespaces
SECONDS = 30
LIMIT_S = 300.0
END_LIMIT_S = 60.0
SEED = 1


def _soak(*words: str, out: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast", "lab", "soak", *words, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _nft_tables() -> str:
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


def test_a_short_soak_passes_and_leaves_its_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    soak = _soak("--seconds", str(SECONDS), "--seed", str(SEED), "--json", str(report), out=tmp_path)
    said, complaint = soak.communicate(timeout=LIMIT_S)
    assert soak.returncode in (0, 1), said.decode() + complaint.decode()
    told = json.loads(report.read_text())
    assert set(told["summary"]) == {"soak", "soak-whole"}
    episodes = sorted((tmp_path / "soak" / "latest" / "episodes").glob("*/verdict.json"))
    for one in (tmp_path / "soak" / "latest" / "verdict.json", *episodes):
        assert wrong_but_lengths(verdict_in(one.parent)) == {}, f"{one}\n{said.decode()}"
    assert told["runs"][-1]["checks"]["leftovers"] is True
    assert told["summary"]["soak"]["n"] >= 2
    folder = tmp_path / "soak" / "latest"
    last = str(told["summary"]["soak"]["n"])  # Of those that passed only the last few are kept.
    for name in ("verdict.json", "timeline.txt", "sequence.txt"):
        assert (folder / name).stat().st_size
        assert (folder / "episodes" / last / name).stat().st_size


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_soak_leaves_nothing_but_its_report(number: signal.Signals, tmp_path: Path) -> None:
    before, tables = interfaces(), _nft_tables()
    report = tmp_path / "report.json"
    soak = _soak("--seed", str(SEED), "--json", str(report), out=tmp_path)
    assert soak.stdout is not None
    lines: list[str] = []
    # In the middle of the second episode, as soon as something is wrong in it.
    while not ("episode 2" in "".join(lines) and "for" in lines[-1] and "episode" not in lines[-1]):
        lines.append(soak.stdout.readline().decode())
        assert lines[-1], "".join(lines) + (soak.stderr.read().decode() if soak.stderr else "")
    handles = below(soak.pid)
    assert len(handles) > 30
    soak.send_signal(number)
    try:
        _, complaint = soak.communicate(timeout=END_LIMIT_S)
    finally:
        soak.kill()
    assert soak.returncode == (-9 if number is signal.SIGKILL else 130)
    assert "Traceback" not in complaint.decode()
    for handle in handles:
        assert select.select([handle], [], [], END_LIMIT_S)[0], "a process of the soak is left"
        os.close(handle)
    assert (interfaces(), _nft_tables()) == (before, tables)
    if number is not signal.SIGKILL:
        runs = json.loads(report.read_text())["runs"]
        assert [(run["scenario"], run["repeat"]) for run in runs] == [("soak", 1), ("soak-whole", 0)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--episodes", "3"), "--episodes is '3'"),
        (("--seconds", "0"), "seconds"),
        (("--json", "/"), "/ cannot be written"),
    ],
)
def test_a_mistake_is_named(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    soak = _soak(*words, out=tmp_path)
    complaint = soak.communicate(timeout=LIMIT_S)[1].decode()
    assert (soak.returncode, said in complaint, "Traceback" in complaint) == (2, True, False), complaint
