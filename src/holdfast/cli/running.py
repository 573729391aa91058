"""`holdfast up`, `down`, `prepare`, `agent`, `manager`: start and end what runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Option(help="run folder with layout.json and key", show_default=False)]


class Split(StrEnum):
    """How the managers are spread over processes."""

    one = "one"
    three = "three"


class Share(StrEnum):
    """Managers of one process."""

    all = "all"
    ha = "ha"
    vnfm = "vnfm"
    vim = "vim"


def register(app: typer.Typer) -> None:
    for command in (up, down, prepare, agent, manager):
        app.command()(command)


def up(
    file: Annotated[Path, typer.Argument(help="descriptor, a YAML file", show_default=False)],
    managers: Annotated[
        Split, typer.Option(help="all managers in one process, or HA, VNFM and VIM in three")
    ] = Split.one,
    name: Annotated[str | None, typer.Option(help="name of the deployment, if not the descriptor's")] = None,
) -> None:
    """Run a descriptor on this machine, and wait until all its services are provided."""
    from msgspec.structs import replace
    from rich.console import Console

    from holdfast.descriptor import load
    from holdfast.runtime import deployment
    from holdfast.runtime.folder import RunFolder, default_base
    from holdfast.runtime.machine import reservations

    layout = load(file)
    if name is not None:
        _check_name(name)
        layout = replace(layout, name=name)
    folder = RunFolder(default_base() / layout.name)
    deployment.interrupt_on_sigterm()
    console = Console(stderr=True, highlight=False, emoji=False)
    with console.status("") as shown:
        took_s = deployment.up(layout, folder, managers.value, lambda text: shown.update(f"{layout.name}: {text}"))
    typer.echo(f"{layout.name} is up after {took_s:.1f} s; all services are provided:")
    for service in layout.services.values():
        where = f" at {service.address.partition('/')[0]}" if service.address else ""
        port = f" {service.transport} port {service.port}".replace("  ", " ") if service.port else ""
        typer.echo(f"  {service.name}{where}{port}")
    for note in reservations(layout):
        typer.echo(f"  note: {note}")
    typer.echo(f"run folder: {folder.root} (journal/, log/)")
    typer.echo(f"next: holdfast status {layout.name} · holdfast why · holdfast down {layout.name}")


def _check_name(name: str) -> None:
    from holdfast.errors import UserError

    if not name.isascii() or not name.replace("-", "").isalnum() or len(name) > 40:
        raise UserError(f"{name!r} cannot be the name of a deployment", "letters, digits and hyphens, at most 40")


def down(
    name: Annotated[str | None, typer.Argument(help="deployment, if there are several", show_default=False)] = None,
) -> None:
    """End a deployment, and confirm that nothing of it is left."""
    from rich.console import Console

    from holdfast.runtime import deployment

    folder = deployment.folder_of(name)
    console = Console(stderr=True, highlight=False, emoji=False)
    with console.status("") as shown:
        deployment.down(folder, lambda text: shown.update(f"{folder.root.name}: {text}"))
    typer.echo(f"{folder.root.name} is down; nothing of it is left")
    ended = deployment.ended_folder(folder.root.name)
    if ended is not None:
        typer.echo(f"its journal and logs: {ended.root}")


def prepare(
    file: Annotated[Path, typer.Argument(help="descriptor, the same on every host", show_default=False)],
    folder: Annotated[Path | None, typer.Option(help="run folder of this host", show_default=False)] = None,
    key: Annotated[Path | None, typer.Option(help="key of the deployment, from the first host")] = None,
) -> None:
    """Make this host's run folder for a deployment on several hosts: layout and key."""
    from holdfast.descriptor import load
    from holdfast.runtime.folder import RunFolder, default_base
    from holdfast.runtime.prepared import prepare_host

    layout = load(file)
    prepared = RunFolder(folder.absolute() if folder is not None else default_base() / layout.name)
    said = prepare_host(layout, prepared, key)
    typer.echo(f"{prepared.root} is prepared for {layout.name}; on every host these must be the same:")
    typer.echo(f"  layout {said['layout']}  key {said['key']}")
    if said["made"]:
        typer.echo(f"the key is new; on the other hosts: holdfast prepare {file} --key COPY-OF {said['made']}")


def agent(
    folder: Folder,
    host: Annotated[str, typer.Option(help="name of this host in the layout", show_default=False)],
    end: Annotated[bool, typer.Option("--end", help="end all that the agent of this host has started")] = False,
) -> None:
    """Run the agent of one host in the foreground."""
    from holdfast.runtime import agent_process

    raise typer.Exit(agent_process.main(["--folder", str(folder), "--host", host, *(["--end"] if end else [])]))


def manager(
    folder: Folder,
    parties: Annotated[Share, typer.Option(help="which managers to hold")] = Share.all,
    store: Annotated[str, typer.Option(help="etcd://… that the managers of several hosts share")] = "",
    manager: Annotated[str, typer.Option(help="name of this one among them; the machine's by default")] = "",
    least_term: Annotated[int, typer.Option(help="lead under this term or a higher one (docs/etcd.md)")] = 0,
) -> None:
    """Run the managers in the foreground."""
    from holdfast.runtime import manager_process

    words = ["--folder", str(folder), "--parties", parties.value, "--least-term", str(least_term)]
    words += [*(["--store", store] if store else []), *(["--manager", manager] if manager else [])]
    raise typer.Exit(manager_process.main(words, may_be_alone=False))
