"""Is the simulated world like the live one? The outages of the same scenarios in both, beside each other.

Takes what `holdfast lab run … --repeat 20 --json FILE` has written, live and with `--world sim --seed 1`:

    .venv/bin/python bench/calibration.py live.json sim.json --markdown docs/calibration.md

Several files of either world are joined. Prints a Markdown table, of every scenario that is in both.

Exit status: 0, or 2 for wrong input.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from holdfast.errors import UserError
from holdfast.lab.report.summary import statistics

PAGE = Path(__file__).parent / "calibration_page.md"
WORLDS = ("live", "sim")
STAGES = ("detect", "decide", "isolate", "recover")
HEAD = ("scenario", "world", "runs", "outage, ms: least", "median", "p95", "max", *STAGES)
Run = dict[str, Any]


def read(paths: Sequence[Path]) -> dict[str, dict[str, list[Run]]]:
    """The runs by scenario and world, of scenarios that were run in both."""
    found: dict[str, dict[str, list[Run]]] = {}
    for path in paths:
        try:
            for run in json.loads(path.read_text())["runs"]:
                found.setdefault(run["scenario"], {world: [] for world in WORLDS})[run["world"]].append(run)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} holds no results of the lab: {error!r}", "as `lab run --json` writes them"
            ) from error
    both = {name: worlds for name, worlds in found.items() if all(worlds.values())}
    if not both:
        raise UserError("no scenario was run in both worlds", "name results of `lab run`, live and with --world sim")
    return both


def table(both: dict[str, dict[str, list[Run]]]) -> str:
    rows = [HEAD, tuple("---" for _ in HEAD)]
    for name, worlds in both.items():
        for world in WORLDS:
            runs = worlds[world]
            outage = statistics([run["outage_ms"] for run in runs])
            told = [outage[part] for part in ("min", "median", "p95", "max")]
            told += [statistics([run["stages_ms"][stage] for run in runs])["median"] for stage in STAGES]
            shown = ["-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in told]
            rows.append((f"`{name}`" if world == "live" else "", world, str(len(runs)), *shown))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def unsound(both: dict[str, dict[str, list[Run]]]) -> str:
    """Runs that did not pass, which count all the same."""
    bad = [
        f"{name} ({world}): {sum(run['verdict'] != 'pass' for run in runs)} of {len(runs)}"
        for name, worlds in both.items()
        for world, runs in worlds.items()
        if any(run["verdict"] != "pass" for run in runs)
    ]
    return "; ".join(bad) or "none"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--markdown", type=Path, help="write the page there")
    chosen = parser.parse_args(arguments)
    try:
        both = read(chosen.results)
    except UserError as error:
        sys.stderr.write(f"{error.message}\nhint: {error.hint}\n")
        return error.exit_status
    text = table(both)
    print(text)
    if chosen.markdown is not None:
        page = Template(PAGE.read_text())
        names = " ".join(both)
        chosen.markdown.write_text(page.substitute(table=text, names=names, unsound=unsound(both)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
