"""What a person sees of `lab explore`: how far it is, what came of each scope, and the path to what is wrong."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from holdfast.lab.explore.contest import Contest
from holdfast.lab.explore.explorer import STATES_MAX, Explored, explore
from holdfast.lab.explore.scope import Scope
from holdfast.lab.explore.words import script

FORMAT = 1


@dataclass(frozen=True)
class Outcome:
    scope: Scope
    explored: Explored
    lives: int
    """Different states of single processes."""
    processor_s: float
    script: str | None
    """The path to what is wrong."""

    @property
    def verdict(self) -> str:
        return self.explored.wrong or self.explored.stopped or "all of them, nothing wrong"


def explore_scope(scope: Scope, states_max: int, tell: Callable[[Explored], None]) -> Outcome:
    began_s = time.process_time()
    contest = Contest(scope)
    explored = explore(contest, states_max, tell)
    took_s = time.process_time() - began_s
    path = script(contest, explored.path, explored.wrong) if explored.wrong is not None else None
    return Outcome(scope, explored, len(contest.lives), took_s, path)


def explore_and_show(scopes: Sequence[Scope], json_file: Path | None, states_max: int = STATES_MAX) -> int:
    """Explore one after the other; the exit status: 0 when all were explored to the end and nothing was wrong."""
    console = Console(emoji=False)
    outcomes: list[Outcome] = []
    for scope in scopes:
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def tell(so_far: Explored, live: Live = live, scope: Scope = scope) -> None:
                told = f"{scope.name}: {so_far.states} states, {so_far.transitions} transitions, {so_far.depth} deep"
                live.update(Text(told), refresh=True)

            outcomes.append(explore_scope(scope, states_max, tell))
        if outcomes[-1].explored.stopped == "interrupted":
            break
    console.print(_table(outcomes))
    for outcome in outcomes:
        if outcome.script is not None:
            console.print(outcome.script, highlight=False, markup=False, soft_wrap=True)
    if json_file is not None:
        part = json_file.with_name(json_file.name + ".part")
        part.write_text(json.dumps(summary(outcomes), indent=1) + "\n")
        part.rename(json_file)
    return 0 if len(outcomes) == len(scopes) and all(outcome.explored.is_whole for outcome in outcomes) else 1


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table("scope", "states", "transitions", "moves deep", "processor s", "found", box=None, header_style="bold")
    for outcome in outcomes:
        found = outcome.explored
        numbers = (found.states, found.transitions, found.depth, f"{outcome.processor_s:.1f}")
        table.add_row(outcome.scope.name, *map(str, numbers), outcome.verdict)
    return table


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What `--json` writes; docs/exhaustive.md has the format."""
    return {
        "format": FORMAT,
        "scopes": [
            {
                "scope": outcome.scope.name,
                "states": outcome.explored.states,
                "transitions": outcome.explored.transitions,
                "depth": outcome.explored.depth,
                "processes": outcome.lives,
                "processor_s": round(outcome.processor_s, 1),
                "whole": outcome.explored.is_whole,
                "stopped": outcome.explored.stopped,
                "wrong": outcome.explored.wrong,
                "script": outcome.script,
            }
            for outcome in outcomes
        ],
    }
