"""`holdfast tune` as people type it."""

import json
import subprocess
import sys

import pytest

from holdfast.cli.tune import show
from holdfast.core.tuning import Jitter, propose
from holdfast.descriptor import check_text
from holdfast.model.granting import DEFAULT, MS

LIMIT_S = 60.0


def tune(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast", "tune", *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def test_it_judges_every_profile_and_proposes_one_that_works() -> None:
    done = tune("--seconds", "0.2", "--json")
    told = json.loads(done.stdout)
    assert set(told["verdicts"]) == {"fast", "default", "wan"}
    assert done.returncode == (0 if told["profile"] else 1)
    assert told["profile"] is None or told["verdicts"][told["profile"]]["works"]
    assert told["jitter"]["rounds"] > 0


def test_it_tells_people_what_was_measured_and_what_it_means() -> None:
    lines = tune("--seconds", "0.2").stdout.splitlines()
    assert lines[0].startswith("measured for 0.2 s: the loop woke ")
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")][1:4] == ["fast", "default", "wan"]


def test_the_lengths_that_it_proposes_can_be_written_into_a_descriptor(capsys: pytest.CaptureFixture[str]) -> None:
    show(propose(Jitter(5.0, 500, 60_000, 200_000, 20 * MS, 20 * MS)))
    grants = capsys.readouterr().out.splitlines()[-1].partition(": ")[2]
    hosts = "hosts: {h1: {}, h2: {}, h3: {}}\nvnfs: {f: {place: [h1, h2], start: f}}"
    mistakes, _, layout = check_text(f"holdfast: 1\nname: x\n{grants}\n{hosts}\n".encode())
    assert mistakes == []
    assert layout is not None
    assert layout.grants is not None
    assert layout.grants.lengths == DEFAULT.with_lengths(20 * MS, 100 * MS)


def test_nonsense_is_refused_with_exit_status_two() -> None:
    done = tune("--seconds", "-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be measured" in done.stderr
