"""Results of the bench for people: a table in Markdown, and lines for the terminal."""

from typing import Any

from holdfast.lab.bench.cases import CASES, GOALS, OWN, Goal
from holdfast.lab.bench.keepalived_words import SETTINGS
from holdfast.lab.bench.results import Results

HEAD = (
    "case", "system", "n", "lost: median", "p95", "max", "× best peer", "outage ms: median", "max",
    "client's own pause ms", "two owners ms", "false failovers", "lapses", "CPU ms/s/host", "shall be", "reached",
)  # fmt: skip


def says(system: str) -> str:
    return OWN[system].says if system in OWN else SETTINGS[system].says


def markdown(results: Results) -> str:
    """All rows, and below them what speaks against single trials."""
    rows = results.rows()
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(_cells(row, rows)) + " |" for row in rows]
    unsound = [
        f"- {trial.system}, {trial.case}: {'; '.join(trial.why)} ({trial.folder})"
        for trial in results.trials
        if trial.why
    ]
    return "\n".join([*lines, *(["", "Not sound:", "", *unsound] if unsound else [])]) + "\n"


def _cells(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    goal = GOALS.get((row["system"], row["case"]))
    reached = {True: "yes", False: "**no**", None: ""}[row["reached"]]
    count = str(row["n"]) if row["sound"] == row["n"] else f"{row['n']}, {row['n'] - row['sound']} not sound"
    return [
        CASES[row["case"]].partition(";")[0],
        row["system"],
        count,
        *(number(row["lost"][name]) for name in ("median", "p95", "max")),
        _ratio(row, rows),
        *(number(row["outage_ms"][name]) for name in ("median", "max")),
        number(row["noise_ms"]["max"]),
        number(row["two_owners_ms"]),
        str(row["false_failovers"]),
        str(row["lapses"]),
        number(row["cpu_ms_per_s"]),
        _shall(goal),
        reached,
    ]


def _ratio(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """What it lost, by what the best peer lost in the same case."""
    peers = [one["lost"]["median"] for one in rows if one["case"] == row["case"] and one["system"] not in OWN]
    if row["system"] not in OWN or not peers or min(peers) <= 0:
        return ""
    return f"{row['lost']['median'] / min(peers):.2f}"


def _shall(goal: Goal | None) -> str:
    if goal is None:
        return ""
    parts = []
    if goal.lost is not None:
        parts.append(f"lost ≤ {goal.lost:g}")
    if goal.beside:
        parts.append(f"≤ {goal.ratio:g} × {goal.beside}" if goal.ratio != 1 else f"≤ {goal.beside}")
    if goal.two_owners_ms is not None:
        parts.append("no two owners" if not goal.two_owners_ms else f"two owners ≤ {goal.two_owners_ms:g} ms")
    if goal.failovers is not None:
        parts.append("no false failover" if not goal.failovers else f"≤ {goal.failovers} false failovers")
    return ", ".join(parts)


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}".removesuffix(".0") if value < 100 else f"{value:.0f}"
