"""The page that holds simulated outages against live ones: what it is made of, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[2] / "bench" / "calibration.py"


def run_of(world: str, outage_ms: float | None, verdict: str = "pass") -> dict[str, Any]:
    stages = {"detect": 1.0, "decide": 0.0, "isolate": None, "recover": 2.0}
    return {"scenario": "uc1", "world": world, "outage_ms": outage_ms, "stages_ms": stages, "verdict": verdict}


def written(file: Path, *runs: dict[str, Any]) -> Path:
    file.write_text(json.dumps({"runs": runs}))
    return file


def called(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, PROGRAM, *map(str, words)], capture_output=True, text=True, check=False)


def test_the_page_has_both_worlds_of_each_scenario_that_is_in_both(tmp_path: Path) -> None:
    live = written(tmp_path / "live.json", run_of("live", 9.0), run_of("live", 11.0, "fail"))
    other = run_of("live", 1.0) | {"scenario": "uc2"}
    alone = written(tmp_path / "alone.json", other)
    sim = written(tmp_path / "sim.json", run_of("sim", 2.0), run_of("sim", 2.5), run_of("sim", 3.0))
    done = called(live, alone, sim, "--markdown", tmp_path / "page.md")
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.splitlines()[2:]
    assert rows == [
        "| `uc1` | live | 2 | 9 | 10 | 11 | 11 | 1 | 0 | - | 2 |",
        "|  | sim | 3 | 2 | 2.5 | 3 | 3 | 1 | 0 | - | 2 |",
    ]
    page = (tmp_path / "page.md").read_text()
    assert done.stdout.strip() in page
    assert "uc1 (live): 1 of 2" in page


def test_what_is_no_result_of_the_lab_is_refused_in_words(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    for words, said in (
        ((wrong,), "wrong.json holds no results"),
        ((written(tmp_path / "one.json", run_of("sim", 1.0)),), "in both"),
    ):
        done = called(*words)
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
