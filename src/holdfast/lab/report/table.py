"""The table at the end of `lab run`: a line for each scenario, then why those failed that failed.

In: verdicts. Out: Rich renderables, readable at 80 columns and without colour.
"""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from holdfast.lab.judges.verdict import Verdict
from holdfast.lab.report.summary import by_scenario, overall, statistics

STYLE = {"pass": "green", "fail": "bold red", "unknown": "yellow"}


def table(verdicts: Sequence[Verdict]) -> Table:
    shown = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption="outage and repair in ms; the outage is the client's"
    )
    shown.add_column("scenario", no_wrap=True)
    shown.add_column("n", justify="right")
    for title in ("median", "worst", "lost"):
        shown.add_column(title, justify="right", no_wrap=True)
    shown.add_column("SAL", no_wrap=True)
    shown.add_column("repair", justify="right", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    for scenario, runs in by_scenario(verdicts).items():
        outage = statistics([run.outage_ms for run in runs])
        lost = statistics([run.lost for run in runs])
        repair = statistics([run.repair_ms for run in runs])
        verdict = overall(runs)
        passed = sum(run.verdict == "pass" for run in runs)
        count = f" {passed}/{len(runs)}" if verdict != "pass" and len(runs) > 1 else ""
        shown.add_row(
            scenario,
            str(len(runs)),
            _number(outage["median"], 1),
            _number(outage["max"], 1),
            _number(lost["max"], 0),
            _sal(runs),
            _number(repair["median"], 0),
            f"[{STYLE[verdict]}]{verdict}{count}[/]",
        )
    return shown


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _sal(runs: Sequence[Verdict]) -> str:
    """The worst level reached, and whether it is what the descriptor asks for."""
    reached = [run.sal for run in runs]
    if not reached or None in reached:
        return "none"
    worst = max(level for level in reached if level is not None)
    wanted = runs[0].sal_wanted
    return f"{worst} ok" if wanted is None or worst <= wanted else f"{worst} (not {wanted})"


def complaints(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """For each run that did not pass: what did not hold, and where to look."""
    for run in verdicts:
        if run.verdict == "pass":
            continue
        yield f"{run.scenario} #{run.repeat}: {run.verdict}  {run.dir}"
        yield from (f"  unknown: {text}" for text in run.unknown)
        for name, check in run.checks.items():
            if check.ok is not True:
                yield f"  {name}: {'' if check.ok is False else 'cannot tell: '}{check.text}"


def caveats(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """What nobody should read out of these verdicts; said once a scenario."""
    said = {(run.scenario, text): None for run in verdicts for text in run.not_judged}
    yield from (f"{scenario}: not judged: {text}" for scenario, text in said)


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    console.print(table(verdicts))
    for line in (*complaints(verdicts), *caveats(verdicts)):
        console.print(escape(line), soft_wrap=True, highlight=False)
