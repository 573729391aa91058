"""What a person sees of `bench failover`: a line for each trial as it ends, how long it may still take, the table."""

import time
from pathlib import Path

from rich.console import Console

from holdfast.lab.bench.campaign import BenchPlan, check_machine, run
from holdfast.lab.bench.results import Results
from holdfast.lab.bench.table import markdown, says
from holdfast.lab.bench.trial import Trial


def run_and_show(plan: BenchPlan, json_file: Path | None, markdown_file: Path | None) -> int:
    """Measure; returns the exit status: 0 if all that was promised was reached, 1 if not."""
    check_machine(plan)
    console = Console(emoji=False, highlight=False)
    results = Results(json_file, plan.systems)
    lines = _Lines(console, len(plan.todo(results)))
    for system in plan.systems:
        console.print(f"{system:18} {says(system)}", style="dim", markup=False)
    try:
        run(plan, results, lines.tell)
    finally:
        if results.trials:
            console.print(markdown(results), markup=False, soft_wrap=True)
    if markdown_file is not None:
        markdown_file.write_text(markdown(results))
    missed = [row for row in results.rows() if row["reached"] is False]
    for row in missed:
        console.print(f"not reached: {row['system']}, {row['case']}", style="red", markup=False)
    return 1 if missed or lines.failed else 0


class _Lines:
    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._done, self._began = 0, time.monotonic()
        self.failed = 0

    def tell(self, system: str, case: str, number: int, what: Trial | str | None) -> None:
        name = f"{case:10} {system:18} {number + 1:2}"
        if what is None:
            if self._console.is_terminal:
                self._console.print(f"[{self._done + 1}/{self._total}] {name} …", end="\r", markup=False)
            return
        self._done += 1
        left_s = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        if isinstance(what, str):
            self.failed += 1
            said = f"left nothing to judge: {what}"
        else:
            said = f"lost {what.lost:5}  outage {what.outage_ms:7.1f} ms  {'; '.join(what.why)}"
        self._console.print(
            f"[{self._done}/{self._total}] {name}  {said}  (about {left_s / 60:.0f} min left)",
            markup=False, soft_wrap=True,
        )  # fmt: skip
