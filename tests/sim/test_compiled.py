"""A compiled copy of the sources: found by what they are, and each drawn run is the same with it."""

import os
import subprocess
import sys
from pathlib import Path

from holdfast.lab.sim import compiled
from tests.sim.command import drawn

SEEDS = "1..8"


def _journal(folder: Path, seed: int, environment: dict[str, str]) -> bytes:
    """Of one seed, as a process of its own leaves it."""
    program = "import sys; from pathlib import Path; from holdfast.lab.sim.draw import draw; "
    program += "from holdfast.lab.sim.seed import run_seed; run_seed(draw(int(sys.argv[1])), Path(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", program, str(seed), str(folder)], env=os.environ | environment, check=True)
    return (folder / "journal.jsonl").read_bytes()


def test_drawn_runs_are_the_same_with_a_compiled_copy_if_there_is_one(tmp_path: Path) -> None:
    with_it = drawn(tmp_path, "with", SEEDS, environment={})
    without = drawn(tmp_path, "without", SEEDS, environment={compiled.OFF: "yes"})
    assert with_it == without
    assert with_it["run"] == 8


def test_a_journal_is_the_same_with_a_compiled_copy_if_there_is_one(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(compiled.folder()), os.environ.get("PYTHONPATH", "")])
    with_it, without = _journal(tmp_path / "with", 7, {"PYTHONPATH": paths}), _journal(tmp_path / "without", 7, {})
    assert with_it == without
    assert len(without.splitlines()) > 100


def _sources(base: Path, text: str) -> Path:
    sources = base / "src" / "holdfast"
    sources.mkdir(parents=True, exist_ok=True)
    (sources / "one.py").write_text(text)
    return sources


def test_a_copy_of_other_sources_is_never_used(tmp_path: Path) -> None:
    before = compiled.folder(_sources(tmp_path, "a = 1"))
    after = compiled.folder(_sources(tmp_path, "a = 2"))
    assert before != after
    assert before.parent == after.parent == tmp_path / "build" / "compiled"
    assert compiled.folder(_sources(tmp_path, "a = 1")) == before


def test_a_command_goes_on_with_the_copy_of_its_sources_and_with_nothing_else(tmp_path: Path) -> None:
    sources = _sources(tmp_path, "a = 1")
    assert compiled.with_it(["lab", "sim"], {}, sources) is None
    copy = compiled.folder(sources)
    (copy / "holdfast").mkdir(parents=True)
    words, environment = compiled.with_it(["lab", "sim"], {"PYTHONPATH": "/other"}, sources) or ([], {})
    assert words == [sys.executable, "-m", "holdfast", "lab", "sim"]
    assert environment["PYTHONPATH"] == f"{copy}{os.pathsep}/other"
    assert compiled.with_it(["lab", "sim"], {compiled.OFF: "yes"}, sources) is None
