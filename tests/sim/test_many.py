"""Drawn runs as `holdfast lab sim` makes them: in processes of their own, judged, and the same in every process."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.lab.sim.draw import draw
from holdfast.lab.sim.many import run_many
from holdfast.lab.sim.seed import LEAST_MS, Outcome, run_seed
from tests.sim.command import drawn

SEEDS = (2, 5)


def _run(number: int, workers: int, folder: Path) -> dict[str, Any]:
    seeds = f"{SEEDS[0]}..{SEEDS[1]}"
    return drawn(folder, str(number), seeds, "--workers", str(workers), environment={"PYTHONHASHSEED": str(number)})


def test_drawn_runs_are_the_same_in_every_process(tmp_path: Path) -> None:
    first, second = _run(1, 1, tmp_path), _run(2, 2, tmp_path)
    assert first == second
    assert first["run"] == 4
    assert first["events"] > 4 * 1000


def test_a_drawn_run_leaves_the_same_journal_each_time(tmp_path: Path) -> None:
    outcomes = [run_seed(draw(7), tmp_path / name) for name in ("once", "again")]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].simulated_ms >= LEAST_MS
    once, again = ((tmp_path / name / "journal.jsonl").read_bytes() for name in ("once", "again"))
    assert once == again
    assert len(once.splitlines()) > 100


def killed(seeds: Sequence[int], _keep: Path | None) -> tuple[list[Outcome], float]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(f"{seeds} go on")


def failing(seeds: Sequence[int], _keep: Path | None) -> tuple[list[Outcome], float]:
    raise ZeroDivisionError(f"of {seeds}")


def test_a_process_that_ends_is_told_with_its_seeds(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HoldfastError, match=r"seeds 3\.\.4 was ended by signal 9 \(Killed\)"):
        run_many(range(3, 5), None, lambda _total: None, 2, killed)
    with pytest.raises(HoldfastError, match=r"seeds 3\.\.4 failed"):
        run_many(range(3, 5), None, lambda _total: None, 2, failing)
    assert "ZeroDivisionError: of range(3, 5)" in capfd.readouterr().err
