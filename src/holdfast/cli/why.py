"""`holdfast why`: what happened and for which reasons, told from the journals."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.model.records import Record
    from holdfast.runtime.folder import RunFolder


def register(app: typer.Typer) -> None:
    app.command()(why)


def why(
    about: Annotated[str | None, typer.Argument(help="incident, VNF, VNFC or VM", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    name: Annotated[str | None, typer.Option(help="deployment, if there are several")] = None,
    folder: Annotated[Path | None, typer.Option(help="run folder of an earlier run or of the lab")] = None,
) -> None:
    """Tell the last incident, or the one that is meant."""
    from holdfast.errors import UserError

    place = _place(name, folder)
    records = read_journals(place)
    if not records:
        raise UserError(f"there is no journal in {place.root}", "give the folder of a run: --folder")


def _place(name: str | None, folder: Path | None) -> "RunFolder":
    from holdfast.errors import UserError
    from holdfast.runtime import deployment
    from holdfast.runtime.folder import RunFolder

    if folder is not None:
        return RunFolder(folder)
    try:
        return deployment.folder_of(name)
    except UserError:
        ended = deployment.ended_folder(name) if name is not None else None
        if ended is None:
            raise
        return ended


def read_journals(folder: "RunFolder") -> "list[Record]":
    """All records of a run, of whichever party, in the order in which they were written."""
    from holdfast.store.journal import read

    paths = sorted((folder.root / "journal").glob("*.jsonl"))
    return sorted(
        (record for path in paths for record in read(path)), key=lambda record: (record.at, record.by, record.n)
    )
