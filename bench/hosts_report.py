"""Results of `bench/hosts.py`: kept as JSON, run by run, and shown as a Markdown table or page.

Always: every number in table and page is computed here from the runs; none is typed.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from string import Template
from typing import Any

from hosts_cases import CASES, FIGURES, PEERS, Case, Figures, Goal

from holdfast.errors import UserError
from holdfast.lab.report.summary import statistics, this_machine

FORMAT = 1
ROOT = Path(__file__).parent.parent
PAGE = Path(__file__).parent / "hosts_page.md"
HEAD = ("case", "runs", "what", "median", "p95", "max", "shall be", "reached", *PEERS)


def source() -> str:
    """What is measured: the commit, and whether the product's files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{commit} with changes" if git("status", "--porcelain", "--", "src") else commit


class Results:
    """All runs so far; written after each one."""

    def __init__(self, path: Path | None, others: Sequence[Path] = ()) -> None:
        self._path = path
        self.machine: dict[str, Any] = this_machine()
        self.runs: dict[str, list[dict[str, Any]]] = {case.name: [] for case in CASES}
        own = [path] if path is not None and path.is_file() else []
        for one in [*own, *others]:
            self._read(one)

    def _read(self, path: Path) -> None:
        try:
            found = json.loads(path.read_text())
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']}")
            for name, runs in found["cases"].items():
                self.runs.setdefault(name, []).extend(run for run in runs if run not in self.runs.get(name, []))
            self.machine = found["machine"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} holds no results of this measurement: {error}", "name another file") from error

    def add(self, case: Case, run: dict[str, Any]) -> None:
        self.runs[case.name].append(run)
        self.write()

    def write(self) -> None:
        if self._path is None:
            return
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(json.dumps(self.document(), indent=1) + "\n")
        part.rename(self._path)

    def document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "machine": self.machine,
            "cases": {name: runs for name, runs in self.runs.items() if runs},
            "summary": {case.name: self.summary(case) for case in CASES if self.runs[case.name]},
        }

    def summary(self, case: Case) -> dict[str, Any]:
        runs = self.runs[case.name]
        return {
            "n": len(runs),
            "sound": sum(run["sound"] for run in runs),
            "figures": {name: self.of(case, name) for name in FIGURES if any(name in run["figures"] for run in runs)},
            "reached": self.is_reached(case),
        }

    def of(self, case: Case, figure: str) -> dict[str, float | None]:
        return statistics([run["figures"].get(figure) for run in self.runs[case.name]])

    def holds(self, case: Case, goal: Goal) -> bool:
        value = self.of(case, goal.figure)[goal.of]
        return value is not None and goal.is_reached(value)

    def is_reached(self, case: Case) -> bool:
        """Every goal, in runs that were all sound."""
        runs = self.runs[case.name]
        return bool(runs) and all(run["sound"] for run in runs) and all(self.holds(case, goal) for goal in case.goals)


def rows(results: Results) -> list[tuple[str, ...]]:
    return [row for case in CASES if results.runs[case.name] for row in _rows(results, case)]


def _rows(results: Results, case: Case) -> list[tuple[str, ...]]:
    runs = results.runs[case.name]
    sound = sum(run["sound"] for run in runs)
    count = str(len(runs)) if sound == len(runs) else f"{len(runs)}, {len(runs) - sound} **not sound**"
    seconds = {round(run["figures"]["seconds"]) for run in runs if "seconds" in run["figures"]}
    says = case.says + (f", {min(seconds)} s" if case.is_long and seconds else "")
    found: list[tuple[str, ...]] = []
    shown: list[tuple[str, Goal | None]] = [(goal.figure, goal) for goal in case.goals]
    for number, (figure, goal) in enumerate([*shown, *((name, None) for name in case.shown)]):
        of = results.of(case, figure)
        shall, reached = "", ""
        if goal is not None:
            shall, reached = str(goal), "yes" if results.holds(case, goal) else "**no**"
        first = (says, count) if number == 0 else ("", "")
        peers = case.peers if number == 0 else ("", "", "")
        numbers = (_number(of["median"]), _number(of["p95"]), _number(of["max"]))
        found.append((*first, FIGURES[figure], *numbers, shall, reached, *peers))
    return found


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".") if value < 10 else f"{value:.0f}"


def table(results: Results) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(results)]
    return "\n".join(lines)


def unsound(results: Results) -> list[str]:
    """Every run that did not go as it should, with what was wrong and where it lies."""
    return [
        f"{name}: {'; '.join(run['why'])} ({run['dir']})"
        for name, runs in results.runs.items()
        for run in runs
        if not run["sound"]
    ]


def page(results: Results, command: str) -> str:
    """The whole of docs/figures-hosts.md."""
    machine = results.machine
    every = [run for runs in results.runs.values() for run in runs]
    if not every:
        raise UserError("there are no results to write about", "measure first, or name a file of results with --json")
    days = sorted({run["at"][:10] for run in every})
    sources = sorted({run["source"] for run in every})
    noise = statistics([run["noise_ms"] for run in every])
    load = statistics([run["load"] for run in every])
    wrong = unsound(results)
    text = Template(PAGE.read_text()).substitute(
        command=command,
        days=_span(days),
        sources=", ".join(sources),
        cpus=machine["cpus"],
        cpu=machine["cpu"],
        memory=machine["memory_mb"] // 1024,
        kernel=machine["kernel"],
        python=machine["python"],
        load=_number(load["median"]),
        load_max=_number(load["max"]),
        noise=_number(noise["median"]),
        noise_max=_number(noise["max"]),
        table=table(results),
        unsound="\n".join(["Runs that were not sound:", "", *(f"- {line}" for line in wrong)]) if wrong else "",
    )
    return text.rstrip() + "\n"


def _span(days: Sequence[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def run_record(figures: Figures, why: Sequence[str], folder: str, noise_ms: float | None) -> dict[str, Any]:
    """One run; sound if there is nothing against it."""
    return {
        "at": date.today().isoformat(),
        "source": source(),
        "figures": figures,
        "sound": not why,
        "why": list(why),
        "dir": folder,
        "noise_ms": noise_ms,
        "load": os.getloadavg()[0],
    }
