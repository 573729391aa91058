"""`holdfast bench …`: Holdfast beside its peers, measured in one call."""

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.files import check_writable

app = typer.Typer(no_args_is_help=True, help="Measure Holdfast and its peers side by side.")


@app.callback()
def group() -> None:
    """Measure Holdfast and its peers side by side."""


@app.command("failover")
def failover(
    systems: Annotated[str, typer.Option(help="with commas, of those that `--systems list` shows")] = "all",
    cases: Annotated[str, typer.Option(help="with commas, of those that `--cases list` shows")] = "all",
    repeat: Annotated[int, typer.Option(min=0, max=1000, help="how often each case is measured")] = 20,
    json: Annotated[
        Path | None, typer.Option(help="results (docs/performance.md has the format); trials in it count already")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="write the table there")] = None,
    idle_seconds: Annotated[float, typer.Option(min=10, help="length of the case in which nothing fails")] = 60.0,
    out: Annotated[Path, typer.Option(help="where each trial leaves its folder")] = Path("runs/bench"),
) -> None:
    """Crash, hang, host off, switchover, return, and nothing at all on busy cores: what does the client lose?"""
    from holdfast.lab.bench.campaign import SYSTEMS, BenchPlan
    from holdfast.lab.bench.cases import CASES
    from holdfast.lab.bench.show import run_and_show
    from holdfast.lab.bench.table import says

    chosen_systems = _chosen("--systems", systems, {name: says(name) for name in SYSTEMS})
    chosen_cases = _chosen("--cases", cases, CASES)
    for file in (json, markdown):
        check_writable(file)
    plan = BenchPlan(chosen_systems, chosen_cases, repeat, out.absolute(), idle_seconds)
    raise typer.Exit(run_and_show(plan, json, markdown))


@app.command("path")
def path(
    system: Annotated[str, typer.Option(help="holdfast or holdfast-hosts")] = "holdfast",
    case: Annotated[str, typer.Option(help="crash or switchover")] = "crash",
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="how many runs")] = 5,
    out: Annotated[Path, typer.Option(help="where each run leaves its folder")] = Path("runs/path"),
) -> None:
    """Where does the time go, from the last answer of the old one to the first of the new one?"""
    from holdfast.errors import UserError
    from holdfast.lab.bench.own import walked
    from holdfast.lab.bench.path import PATHS, table

    moments = PATHS.get((system, case))
    if moments is None:
        known = "; ".join(f"--system {one} --case {other}" for one, other in PATHS)
        raise UserError(f"the path of {case} with {system} is not known", f"expected one of: {known}")
    runs = [walked(system, case, number, out.absolute(), moments) for number in range(repeat)]
    typer.echo(table(moments, runs))


@app.command("scale")
def scale(
    vnfs: Annotated[str, typer.Option(help="how many VNFs, several numbers with commas")] = "10,100,1000",
    hosts: Annotated[int, typer.Option(help="how many hosts they are on")] = 50,
    json: Annotated[
        Path | None,
        typer.Option(help="results (docs/performance.md has the format); sizes in it count already"),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="write the table there")] = None,
    chart: Annotated[Path | None, typer.Option(help="write the picture (SVG) there")] = None,
    out: Annotated[Path, typer.Option(help="where each size has its folder while it is measured")] = Path("runs/scale"),
) -> None:
    """Thousands of VNFs, simulated hosts, real managers: one host lost, ten at once; what does it cost?"""
    from holdfast.lab.bench.scale_show import ScalePlan, run_and_show
    from holdfast.lab.bench.scale_words import HOSTS_MAX, HOSTS_MIN, VNFS_MAX

    sizes = [_number("--vnfs", text, 1, VNFS_MAX) for text in vnfs.split(",")]
    _number("--hosts", str(hosts), HOSTS_MIN, HOSTS_MAX)
    for file in (json, markdown, chart):
        check_writable(file)
    raise typer.Exit(run_and_show(ScalePlan(sorted(set(sizes)), hosts, out.absolute()), json, markdown, chart))


def _number(option: str, text: str, least: int, most: int) -> int:
    from holdfast.errors import UserError

    if not (text.isdecimal() and text.isascii()) or not least <= int(text) <= most:
        raise UserError(f"{option} has {text!r}", f"expected a whole number from {least} to {most}")
    return int(text)


def _chosen(option: str, text: str, known: dict[str, str]) -> list[str]:
    from holdfast.errors import UserError

    if text == "list":
        for name, says in known.items():
            typer.echo(f"{name:18} {says}")
        raise typer.Exit
    names = list(known) if text == "all" else list(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"{option} has {', '.join(unknown)}", f"expected some of {', '.join(known)}")
    return [name for name in known if name in names]
