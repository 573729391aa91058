"""`holdfast validate` and `holdfast schema`: descriptors, without running anything."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command()(validate)
    app.command()(schema)


def validate(file: Annotated[Path, typer.Argument(help="descriptor, a YAML file", show_default=False)]) -> None:
    """Report every mistake in a descriptor, and what the layout cannot survive."""
    from rich.console import Console

    from holdfast.descriptor import EXPLAINED, check, survey

    mistakes, warnings, layout = check(file)
    say = Console(highlight=False, emoji=False, soft_wrap=True)
    for mistake in mistakes:
        say.print(str(mistake), style="red", markup=False)
    for warning in warnings:
        say.print(f"{warning}", style="yellow", markup=False)
    if layout is None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        typer.echo(f"holdfast: {file}: {count}\nhint: {EXPLAINED}", err=True)
        raise typer.Exit(2)
    parts = (("VNF", layout.vnfs), ("VNFC", layout.vnfcs), ("VM", layout.vms), ("host", layout.hosts))
    counts = ", ".join(f"{len(found)} {word}{'' if len(found) == 1 else 's'}" for word, found in parts)
    say.print(f"{file}: valid ({counts})", markup=False)
    for finding in survey(layout):
        say.print(f"  note: {finding.sentence}", style="cyan", markup=False)


def schema() -> None:
    """Print the JSON Schema of descriptors, for editors."""
    import json

    from holdfast.descriptor import schema as made

    typer.echo(json.dumps(made(), indent=2))
