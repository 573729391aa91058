"""What a person sees of `lab sim`: progress, failing seeds, and what was covered, as a table of faults and phases."""

import json
import statistics
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from holdfast.lab.drawn import KINDS
from holdfast.lab.sim.many import Total, run_many
from holdfast.lab.sim.seed import Outcome

PHASES = ("steady", "deciding", "isolating", "taking over", "repairing", "waiting")
SHOWN_MAX = 20
FORMAT = 1


def run_and_show(first: int, last: int, json_file: Path | None, keep: Path, workers: int | None) -> int:
    """Run the seeds; the exit status: 0 when all were clean."""
    console = Console(emoji=False)
    number = last - first + 1
    shown: set[int] = set()
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def tell(total: Total) -> None:
            for outcome in total.failed:
                if outcome.seed not in shown and len(shown) < SHOWN_MAX:
                    shown.add(outcome.seed)
                    live.console.print(_told(outcome), highlight=False, markup=False, soft_wrap=True)
            live.update(Text(_progress(total, number)), refresh=True)

        total = run_many(range(first, last + 1), keep, tell, workers)
    console.print(_covered(total))
    console.print(_progress(total, number), highlight=False, markup=False)
    if total.failed:
        console.print(
            f"{len(total.failed)} seeds failed; what is known of each: {keep}/SEED\n"
            f"once more: holdfast lab sim --seeds {total.failed[0].seed}..{total.failed[0].seed}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if json_file is not None:
        part = json_file.with_name(json_file.name + ".part")
        part.write_text(json.dumps(summary(total, first, last), indent=1) + "\n")
        part.rename(json_file)
    return 1 if total.failed else 0


def _told(outcome: Outcome) -> str:
    first = outcome.violations[0]
    more = f" (and {len(outcome.violations) - 1} more)" if len(outcome.violations) > 1 else ""
    return f"seed {outcome.seed}: {first.judge}: {first.text}, at {first.at_s:.3f} s{more}"


def _progress(total: Total, number: int) -> str:
    took = max(1e-9, time.monotonic() - total.began_at)
    a_core = total.seeds / total.processor_s * 60 if total.processor_s else 0.0
    return (
        f"{total.seeds} of {number} seeds, {len(total.failed)} failed; {total.events / took:,.0f} events/s, "
        f"{total.simulated_ms / 1000:,.0f} s simulated in {took:.0f} s; {a_core:.0f} seeds a minute and core"
    )


def _covered(total: Total) -> Table:
    table = Table(
        "fault", *PHASES, box=None, header_style="bold", title="faults, by the phase of a recovery they fell into"
    )
    for kind in KINDS:
        counts = [total.covered[kind.name, phase] for phase in PHASES]
        table.add_row(kind.name, *(str(count) if count else "-" for count in counts))
    return table


def summary(total: Total, first: int, last: int) -> dict[str, Any]:
    """`--json`: format in docs/simulation.md."""
    recovered = sorted(total.recovered_ms)
    return {
        "format": FORMAT,
        "seeds": [first, last],
        "run": total.seeds,
        "events": total.events,
        "simulated_s": total.simulated_ms / 1000,
        "seeds_a_minute_and_core": round(total.seeds / total.processor_s * 60, 1) if total.processor_s else None,
        "recovered_ms": {
            "median": statistics.median(recovered) if recovered else None,
            "max": recovered[-1] if recovered else None,
        },
        "covered": [
            {"fault": kind, "phase": phase, "times": times} for (kind, phase), times in sorted(total.covered.items())
        ],
        "failed": [
            {
                "seed": outcome.seed,
                "violations": [
                    {"judge": one.judge, "text": one.text, "at_s": round(one.at_s, 6)} for one in outcome.violations
                ],
            }
            for outcome in sorted(total.failed, key=lambda one: one.seed)
        ],
    }
