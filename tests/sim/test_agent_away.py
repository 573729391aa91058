"""An agent that ends: back in time nothing moves; later its services have moved, and what ran there stands by."""

from pathlib import Path

import pytest

from holdfast.lab import scenario
from holdfast.lab.campaign import judge_one, run_one_simulated
from holdfast.model.actions import Activate, StandBy
from holdfast.model.events import ServiceTaken
from holdfast.model.records import Decided, Marked, Record, Seen
from holdfast.store.journal import read

MOVES_S = 3.5
"""A hot process waits three seconds for its agent."""


def lived(name: str, seed: int, out: Path) -> list[Record]:
    folder = run_one_simulated(scenario.load(name), 0, seed, out, lambda progress: None)
    verdict = judge_one(folder)
    assert verdict.verdict == "pass", {key: check.text for key, check in verdict.checks.items() if not check.ok}
    records = [record for path in sorted((folder / "journal").glob("*.jsonl")) for record in read(path)]
    return sorted(records, key=lambda record: record.at)


def steps(records: list[Record]) -> dict[str, float]:
    """When each step of the lab was carried out, by its first word."""
    staged = (one for one in records if isinstance(one, Marked) and one.name in ("fault", "staged"))
    return {one.detail.split()[0]: one.at for one in staged}


def moves(records: list[Record], since: float, until: float) -> list[str]:
    """Who was made active in that time."""
    active = [one.action.vnfc for one in records if isinstance(one, Decided) and isinstance(one.action, Activate)]
    found: list[str] = [
        one.action.vnfc
        for one in records
        if isinstance(one, Decided) and isinstance(one.action, Activate) and since <= one.at < until
    ]
    assert active, "somebody was made active at the start"
    return found


@pytest.mark.parametrize("seed", range(1, 6))
def test_an_agent_that_is_back_in_time_moves_nothing(seed: int, tmp_path: Path) -> None:
    records = lived("agent-killed", seed, tmp_path)
    at = steps(records)
    assert moves(records, at["kill-agent"], at["kill-vnfc"]) == []
    adopted = [
        one for one in records if isinstance(one, Marked) and one.name == "vnfc-adopted" and one.at > at["kill-agent"]
    ]
    assert adopted


@pytest.mark.parametrize("seed", range(1, 6))
def test_an_agent_that_comes_too_late_finds_its_service_elsewhere_and_stands_by(seed: int, tmp_path: Path) -> None:
    records = lived("agent-late", seed, tmp_path)
    at = steps(records)
    moved = moves(records, at["stick-agent"], at["kill-agent"])
    assert len(set(moved)) == 1
    taken = [one.at for one in records if isinstance(one, Seen) and isinstance(one.event, ServiceTaken)]
    assert at["stick-agent"] < taken[0] < at["stick-agent"] + MOVES_S
    stood_by = [
        one.action.vnfc
        for one in records
        if isinstance(one, Decided) and isinstance(one.action, StandBy) and at["kill-agent"] < one.at < at["kill-vnfc"]
    ]
    assert "registry-1" in stood_by or moved[0] == "registry-1"
    # And with all that was acknowledged: it can take over, or the third one does, when the present one is killed.
    assert len(set(moves(records, at["kill-vnfc"], records[-1].at)) - set(moved)) == 1
