"""A partition that heals, in the simulated world: judged as live, and told by `holdfast why` as one incident."""

from pathlib import Path

import pytest

from holdfast.core import explain
from holdfast.lab import scenario
from holdfast.lab.campaign import judge_one, run_one_simulated
from holdfast.store.journal import read


@pytest.mark.parametrize(("name", "seed"), [("heal", 2), ("partition-managers-leader", 3)])
def test_a_partition_that_heals_is_one_incident_and_it_is_over(name: str, seed: int, tmp_path: Path) -> None:
    folder = run_one_simulated(scenario.load(name), 0, seed, tmp_path, lambda progress: None)
    verdict = judge_one(folder)
    assert verdict.verdict == "pass", {key: check.text for key, check in verdict.checks.items() if not check.ok}
    records = [record for path in sorted((folder / "journal").glob("*.jsonl")) for record in read(path)]
    (told,) = explain.incidents(records)
    assert told.about == ("registry-1",)
    assert told.outcome == "repaired"
