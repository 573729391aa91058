"""`holdfast why`: what happened and for which reasons, told from the journals."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.core.explain import Incident
    from holdfast.model.layout import Layout
    from holdfast.model.records import Record
    from holdfast.runtime.folder import RunFolder
    from holdfast.store.journal import Broken

TOLD_AT_ONCE = 3
"""How many incidents of one VNF, VNFC or VM are told in full; of several the last ones."""
EARLIER_SHOWN = 8


def register(app: typer.Typer) -> None:
    app.command()(why)


def why(
    about: Annotated[str | None, typer.Argument(help="incident, VNF, VNFC, service or VM", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    name: Annotated[str | None, typer.Option(help="deployment, if there are several")] = None,
    folder: Annotated[Path | None, typer.Option(help="folder of an earlier run, or of one of the lab")] = None,
) -> None:
    """Tell what happened and for which reasons: the last incident, or the one that is meant."""
    from holdfast.runtime.given import load_layout

    place = _place(name, folder)
    layout = load_layout(place) if place.layout.exists() else None
    records, broken = read_journals(place)
    damaged = [_say_broken(one) for one in broken]
    _tell_of(about, json, layout, records)
    if elsewhere := _journals_elsewhere(place, layout) if not json else []:
        typer.echo(f"what was decided while a manager on another host led is told there: {', '.join(elsewhere)}")
    if any(damaged):
        raise typer.Exit(1)


def _say_broken(broken: "Broken") -> bool:
    """On standard error; whether the disk, or somebody, has damaged what was written."""
    typer.echo(f"holdfast: {broken}", err=True)
    if not broken.is_cut:
        typer.echo("hint: the line stays there and is passed over; check the disk, keep a copy of the file", err=True)
    return not broken.is_cut


def _tell_of(about: str | None, json: bool, layout: "Layout | None", records: "list[Record]") -> None:
    from holdfast.core import explain

    incidents = explain.incidents(records, layout)
    meant = _meant(about, incidents, layout)
    chosen = meant if json and about is not None else meant[-1 if about is None else -TOLD_AT_ONCE :]
    stands: list[str] = []
    if about is not None and layout is not None and about in layout.vnfs:
        stands = explain.why_runs_where(about, records)
    told = [(one, explain.tell(one, records, layout)) for one in chosen]
    if json:
        _print_json([(one, lines, wall_time(one.opened_at, records)) for one, lines in told], stands)
        return
    for line in stands:
        typer.echo(line)
    for one, lines in told:
        began = datetime.fromtimestamp(wall_time(one.opened_at, records)).strftime("%Y-%m-%d %H:%M:%S")
        typer.echo(f"{began}  {lines[0]}")
        for line in lines[1:]:
            typer.echo(line)
    if not told:
        whom = "" if about is None else f" of {about}"
        typer.echo(f"no failure{whom} has been seen so far")
    earlier = [one.id for one in meant if one not in chosen]
    if earlier:
        typer.echo(f"earlier incidents: {', '.join(earlier[-EARLIER_SHOWN:])} (holdfast why INCIDENT)")


def wall_time(at: float, records: "list[Record]") -> float:
    """What the clock on the wall showed at that moment of the journals' clock (seconds since 1970)."""
    from holdfast.model.records import Opened

    opened = [record for record in records if isinstance(record, Opened)]
    last = max((one for one in opened if one.at <= at), key=lambda one: one.at, default=None)
    return 0.0 if last is None else last.wall + at - last.at


def _meant(about: str | None, incidents: "list[Incident]", layout: "Layout | None") -> "list[Incident]":
    """The incidents that are meant, oldest first."""
    from holdfast.errors import UserError

    if about is None:
        return incidents
    by_id = [one for one in incidents if about in one.ids]
    if by_id:
        return by_id
    names = {about}
    if layout is not None:
        names |= {vnfc.name for vnfc in layout.vnfcs.values() if about == vnfc.vnf}
        known = {*layout.vnfs, *layout.vnfcs, *layout.vms, *layout.services, *layout.hosts}
        if about not in known:
            ids = ", ".join(one.id for one in incidents[-8:]) or "none so far"
            raise UserError(f"nothing here is called {about}", f"incidents: {ids}; VNFs: {', '.join(layout.vnfs)}")
    return [one for one in incidents if names & {*one.about, *one.services}]


def _journals_elsewhere(folder: "RunFolder", layout: "Layout | None") -> list[str]:
    """Hosts that keep journals of their own."""
    from holdfast.model.names import agent_party

    hosts = layout.hosts if layout is not None else ()
    return [host for host in hosts if not folder.journal(agent_party(host)).exists()]


def _print_json(told: "list[tuple[Incident, list[str], float]]", stands: list[str]) -> None:
    import msgspec

    shown = [
        {**msgspec.to_builtins(one), "incident": one.id, "opened_wall": wall, "told": lines}
        for one, lines, wall in told
    ]
    document = {"format": 1, "incidents": shown, "stands": stands}
    typer.echo(msgspec.json.format(msgspec.json.encode(document)).decode())


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


def read_journals(folder: "RunFolder") -> "tuple[list[Record], list[Broken]]":
    """All records of a run, of whichever party, and the lines that are none."""
    from holdfast.errors import UserError
    from holdfast.store.journal import read

    paths = sorted((folder.root / "journal").glob("*.jsonl"))
    if not paths:
        raise UserError(f"there is no journal in {folder.root}", "give the folder of a run: --folder")
    broken: list[Broken] = []
    return [record for path in paths for record in read(path, broken.append)], broken
