"""What `bench/hosts.py` makes of results that are there: table, page, exit status; and of input that is wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0


def bench(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(ROOT / "bench" / "hosts.py"), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def run(lost: float, why: tuple[str, ...] = ()) -> dict[str, Any]:
    figures = {"lost": lost, "two_owners_ms": 0.0, "updates_ms": 2 * lost}
    return {
        "at": "2026-01-31", "source": "abc1234", "figures": figures, "sound": not why, "why": list(why),
        "dir": "runs/x", "noise_ms": 2.5, "load": 0.5,
    }  # fmt: skip


def results(path: Path, *runs: dict[str, Any], case: str = "crash") -> Path:
    machine = {"cpus": 2, "cpu": "Some", "memory_mb": 8192, "kernel": "6.1", "python": "3.11.2"}
    path.write_text(json.dumps({"format": 1, "machine": machine, "cases": {case: list(runs)}}))
    return path


SHOW = ("--runs", "0", "--long-runs", "0")


def test_what_reaches_its_figures_is_said_to(tmp_path: Path) -> None:
    file = results(tmp_path / "a.json", run(9), run(11), run(40))
    done = bench(*SHOW, "--json", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| 3 | lost requests | 11 | 40 | 40 | median ≤ 12 | yes | 7 | 616 | 556 to 5409 |" in done.stdout
    assert json.loads(file.read_text())["summary"]["crash"]["reached"] is True


def test_a_median_above_the_limit_or_a_run_that_is_not_sound_is_no_success(tmp_path: Path) -> None:
    assert bench(*SHOW, "--json", results(tmp_path / "a.json", run(9), run(30))).returncode == 1
    done = bench(*SHOW, "--json", results(tmp_path / "b.json", run(9), run(9, ("order: wrong",))))
    assert done.returncode == 1
    assert "2, 1 **not sound**" in done.stdout
    assert "not sound: crash: order: wrong (runs/x)" in done.stderr


def test_files_are_joined_and_a_run_counts_once(tmp_path: Path) -> None:
    first, second = results(tmp_path / "a.json", run(9), run(10)), results(tmp_path / "b.json", run(10), run(11))
    done = bench(*SHOW, "--json", first, "--merge", second)
    assert "| 3 | lost requests | 10 | 11 | 11 |" in done.stdout
    assert len(json.loads(first.read_text())["cases"]["crash"]) == 3


def test_the_page_has_the_table_the_machine_and_the_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = bench(*SHOW, "--json", results(tmp_path / "a.json", run(9)), "--markdown", page)
    text = page.read_text()
    assert done.stdout.strip() in text
    assert "Measured 2026-01-31; source abc1234" in text
    assert "2 cores (Some), 8 GB, Linux 6.1" in text
    assert "bench/hosts.py --runs 0 --long-runs 0" in text
    assert "$" not in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--cases", "crush"), "no case is called crush"),
        (("--runs", "-1"), "numbers of runs are 0 or more"),
        (("--seconds", "1"), "expected at least 10"),
    ],
)
def test_wrong_words_are_named(words: tuple[str, ...], says: str) -> None:
    done = bench(*words)
    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (2, True, False)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "cases": {"crash": 3}}'])
def test_a_file_that_holds_no_results_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    path.write_text(text)
    done = bench(*SHOW, "--json", path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert f"{path} holds no results of this measurement" in done.stderr
    assert path.read_text() == text
