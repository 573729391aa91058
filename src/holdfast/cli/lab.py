"""`holdfast lab …`: list the scenarios, run them, live or simulated; run many drawn ones; a live soak."""

import os
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.files import check_writable

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
    check_writable(json)
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
    import sys

    from holdfast.errors import UserError
    from holdfast.lab.sim import compiled
    from holdfast.lab.sim.show import run_and_show

    quicker = compiled.with_it(sys.argv[1:], os.environ)
    if quicker is not None:
        words, environment = quicker
        os.execve(words[0], words, environment)
    found = re.fullmatch(r"(\d+)\.\.(\d+)", seeds)
    if found is None or int(found[1]) > int(found[2]):
        raise UserError(f"--seeds is {seeds!r}", "expected the first and the last one, such as 1..1000")
    check_writable(json)
    raise typer.Exit(run_and_show(int(found[1]), int(found[2]), json, keep.absolute(), workers))


@app.command("soak")
def soak(
    seconds: Annotated[float, typer.Option(min=1, help="no episode begins later than this after the start")] = 600.0,
    seed: Annotated[int, typer.Option(min=0, help="of all that is drawn")] = 1,
    episodes: Annotated[
        str | None, typer.Option(help="only these, such as `3..3`: to repeat one that went wrong")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="write the results there (docs/lab.md has the format)")] = None,
    out: Annotated[Path, typer.Option(help="where the soak leaves its folder")] = Path("runs"),
) -> None:
    """Random faults of every kind on five live hosts, in episodes, each judged as it ends, for as long as you like."""
    from holdfast.lab.campaign import new_folder
    from holdfast.lab.soak.plan import SoakPlan, parse_episodes
    from holdfast.lab.soak.show import run_and_show

    check_writable(json)
    first, last = parse_episodes(episodes) if episodes is not None else (1, None)
    folder = new_folder(out.absolute() / "soak", str(seed), "episodes")
    raise typer.Exit(run_and_show(SoakPlan(seed, seconds, folder, first, last), json))


@app.command("explore")
def explore(
    scopes: Annotated[list[str] | None, typer.Argument(help="scopes; all of them by default")] = None,
    json: Annotated[
        Path | None, typer.Option(help="write the results there (docs/exhaustive.md has the format)")
    ] = None,
) -> None:
    """Go through every way in which the grants of three hosts can go on, within stated bounds; each state once."""
    from holdfast.lab.explore.scopes import chosen
    from holdfast.lab.explore.show import explore_and_show

    wanted = chosen(list(scopes or ()))
    check_writable(json)
    raise typer.Exit(explore_and_show(wanted, json))
