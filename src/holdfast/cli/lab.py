"""`holdfast lab …`: list the scenarios, run them, live or simulated; run many drawn ones."""

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Break things on purpose and measure what a client sees of it.")


@app.command("list")
def list_scenarios() -> None:
    """Show all scenarios with what they do."""
    from rich.console import Console
    from rich.table import Table

    from holdfast.lab import scenario

    table = Table("scenario", "what happens", box=None, header_style="bold")
    for name in scenario.names():
        table.add_row(name, scenario.load(name).title)
    Console(emoji=False).print(table)


@app.command("run")
def run(
    names: Annotated[list[str], typer.Argument(help="scenarios, files of your own (*.yaml), or `all`")],
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="how often each one is run")] = 1,
    world: Annotated[str, typer.Option(help="`live`: real processes on this machine; `sim`: simulated ones")] = "live",
    seed: Annotated[
        int, typer.Option(min=0, help="in the simulated world: of the first run; the next has the next")
    ] = 1,
    out: Annotated[Path, typer.Option(help="where each run leaves its folder")] = Path("runs"),
    json: Annotated[Path | None, typer.Option(help="write the results there (docs/lab.md has the format)")] = None,
    charts: Annotated[bool, typer.Option("--charts", help="show the sequence chart of each run")] = False,
) -> None:
    """Run scenarios: break what they break, judge the outcome, keep the evidence."""
    from holdfast.errors import UserError
    from holdfast.lab import scenario
    from holdfast.lab.campaign import Plan
    from holdfast.lab.show import run_and_show

    if world not in ("live", "sim"):
        raise UserError(f"no world is called `{world}`", "the lab has two worlds: `live` and `sim`")
    chosen = scenario.names() if list(names) == ["all"] else tuple(dict.fromkeys(names))
    if json is not None and not (json.parent.is_dir() and os.access(json.parent, os.W_OK) and not json.is_dir()):
        raise UserError(f"{json} cannot be written", "give a file in a folder that is there and yours")
    scenarios = [scenario.load(name) for name in chosen]
    plan = Plan(scenarios, repeat, out.absolute(), seed if world == "sim" else None)
    raise typer.Exit(run_and_show(plan, json, charts=charts))


@app.command("sim")
def sim(
    seeds: Annotated[str, typer.Option(help="from A to B: `1..1000`")],
    json: Annotated[
        Path | None, typer.Option(help="write the results there (docs/simulation.md has the format)")
    ] = None,
    keep: Annotated[Path, typer.Option(help="where failing seeds leave what is known of them")] = Path("runs/sim"),
    workers: Annotated[int | None, typer.Option(min=1, help="processes at once; one a processor by default")] = None,
) -> None:
    """Run drawn deployments under drawn faults in the simulated world, and judge each run."""
    import re

    from holdfast.errors import UserError
    from holdfast.lab.sim.show import run_and_show

    found = re.fullmatch(r"(\d+)\.\.(\d+)", seeds)
    if found is None or int(found[1]) > int(found[2]):
        raise UserError(f"--seeds is {seeds!r}", "expected the first and the last one, such as 1..1000")
    if json is not None and not (json.parent.is_dir() and os.access(json.parent, os.W_OK) and not json.is_dir()):
        raise UserError(f"{json} cannot be written", "give a file in a folder that is there and yours")
    raise typer.Exit(run_and_show(int(found[1]), int(found[2]), json, keep.absolute(), workers))
