"""Scenarios in the simulated world: from the same files, judged by the same judges, and the same each time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.lab import scenario
from holdfast.lab.campaign import judge_one, run_one_simulated

SEEDS = {"partition-one-network": 2, "store-majority-lost": 2}
"""In place of the first one, where that draws what the scenario is not about: its judges expect the managers' leader to
be elsewhere than on the host that is cut off, and to hear of a take-over before it reports the failure."""


@pytest.mark.parametrize("name", scenario.names())
def test_a_scenario_passes(name: str, tmp_path: Path) -> None:
    seed = SEEDS.get(name, 1)
    verdict = judge_one(run_one_simulated(scenario.load(name), 0, seed, tmp_path, lambda progress: None))
    assert verdict.verdict == "pass", verdict.checks


def test_the_same_seed_gives_the_same_run_in_every_process(tmp_path: Path) -> None:
    journals = []
    for number in (1, 2):
        out = tmp_path / str(number)
        command = ["lab", "run", "host-off-managers-leader", "--world", "sim", "--seed", "3", "--out", str(out)]
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", *command],
            env=os.environ | {"PYTHONHASHSEED": str(number)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        journals.append((out / "host-off-managers-leader" / "latest" / "journal.jsonl").read_bytes())
    assert journals[0] == journals[1]
    assert len(journals[0].splitlines()) > 100
