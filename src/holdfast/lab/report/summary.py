"""The stable JSON of `lab run … --json FILE`. In: verdicts. Out: plain data of exactly the documented form."""

import os
import platform
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from holdfast.lab.judges.verdict import Result, Verdict

FORMAT = 1
STATISTICS = ("min", "median", "p95", "max")


def build_summary(verdicts: Sequence[Verdict], machine: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "machine": dict(machine if machine is not None else this_machine()),
        "runs": [_run(run) for run in verdicts],
        "summary": {
            scenario: {
                "n": len(runs),
                "outage_ms": statistics([run.outage_ms for run in runs]),
                "lost": statistics([run.lost for run in runs]),
                "verdict": overall(runs),
            }
            for scenario, runs in by_scenario(verdicts).items()
        },
    }


def _run(run: Verdict) -> dict[str, Any]:
    return {
        "scenario": run.scenario,
        "repeat": run.repeat,
        "world": run.world,
        "seed": run.seed,
        "verdict": run.verdict,
        "checks": {name: check.ok for name, check in run.checks.items()},
        "sal": run.sal,
        "outage_ms": run.outage_ms,
        "lost": run.lost,
        "sent": run.sent,
        "two_owners_ms": run.two_owners_ms,
        "updates_lost": run.updates_lost,
        "stages_ms": run.stages_ms,
        "repair_ms": run.repair_ms,
        "not_judged": list(run.not_judged),
        "dir": run.dir,
    }


def by_scenario(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for run in verdicts:
        found.setdefault(run.scenario, []).append(run)
    return found


def overall(runs: Sequence[Verdict]) -> Result:
    """The worst of them: one that failed outweighs one that could not be judged."""
    results = {run.verdict for run in runs}
    return "fail" if "fail" in results else "unknown" if "unknown" in results or not results else "pass"


def statistics(values: Sequence[float | None]) -> dict[str, float | None]:
    """Smallest, median, 95th percentile (nearest rank) and largest of the known ones."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return dict.fromkeys(STATISTICS)
    p95 = known[ceil(0.95 * len(known)) - 1]
    return {"min": known[0], "median": round(median(known), 3), "p95": p95, "max": known[-1]}


def this_machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")]
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": models[0].partition(":")[2].strip() if models else "",
        "memory_mb": int(memory[0].split()[1]) // 1024 if memory else 0,
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
    }
