"""What a person sees of `lab run`: live progress, a line for each run as it ends, the table, the JSON file.

In:   a plan. Out: the exit status: 0 when every run passed, 1 when one failed or could not be judged.
No thread draws here: each run is forked off, and forking beside a drawing thread may hang.
"""

import json
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from holdfast.lab.campaign import Plan, Progress, check_machine, judge_one, run_one, run_one_simulated, short
from holdfast.lab.judges.verdict import Verdict
from holdfast.lab.report.folder import SEQUENCE
from holdfast.lab.report.sequence import WIDTH_MAX
from holdfast.lab.report.summary import build_summary
from holdfast.lab.report.table import STYLE, show


def run_and_show(plan: Plan, json_file: Path | None, *, charts: bool = False) -> int:
    """Run the plan.

    Args:
        charts: show the sequence chart of each run, too, where it fits.
    """
    check_machine(plan)
    console = Console(emoji=False)
    verdicts: list[Verdict] = []
    runs = plan.runs()
    began = time.monotonic()
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for number, (scenario, repeat) in enumerate(runs, 1):

                def tell(progress: Progress, number: int = number) -> None:
                    live.update(_progress(progress, number, len(runs), began), refresh=True)

                if plan.seed is None:
                    folder = run_one(scenario, repeat, plan.out, tell)
                else:
                    folder = run_one_simulated(scenario, repeat, plan.seed + repeat, plan.out, tell)
                verdicts.append(judge_one(folder))
                live.console.print(_line(verdicts[-1], scenario.title, console.width))
                if charts:
                    show_chart(folder / SEQUENCE, live.console)
    finally:
        if verdicts:
            show(verdicts, console)
            _where(verdicts, console)
            if json_file is not None:
                part = json_file.with_name(json_file.name + ".part")
                part.write_text(json.dumps(build_summary(verdicts), indent=1) + "\n")
                part.rename(json_file)
    return 0 if all(run.verdict == "pass" for run in verdicts) else 1


def _progress(progress: Progress, number: int, of: int, began: float) -> Text:
    text = Text(f"[{number}/{of}] ")
    text.append(progress.scenario, style="bold")
    text.append(f"  {progress.step}  ({time.monotonic() - began:.0f} s)")
    return text


def _line(run: Verdict, title: str, width: int) -> Text:
    outage = "-" if run.outage_ms is None else f"{run.outage_ms:.1f} ms"
    text = Text()
    text.append(f"{run.verdict:8}", style=STYLE[run.verdict])
    text.append(f"{run.scenario:20} ", style="bold")
    text.append(f"outage {outage:>10}  ")
    text.append(title, style="dim")
    text.truncate(width - 1, overflow="ellipsis")
    return text


def show_chart(path: Path, console: Console) -> None:
    """The chart itself, or where it is when this terminal is too narrow for it."""
    if console.is_terminal and console.width <= WIDTH_MAX:
        console.print(
            f"        who told whom what: less -S {short(path)}",
            style="dim",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.print("\n" + path.read_text(), markup=False, highlight=False, soft_wrap=True)


def _where(verdicts: list[Verdict], console: Console) -> None:
    last = verdicts[-1].dir
    console.print(
        f"Each run left a folder, such as {last}: sequence.txt (who told whom what), timeline.txt (every step\n"
        "with its reasons), journal.jsonl. In plain sentences: holdfast why --folder FOLDER",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
