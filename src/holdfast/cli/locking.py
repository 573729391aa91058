"""`holdfast lock HOST --is-off`, `holdfast unlock HOST`: a person's word that a host is off, or is wanted back."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.model.layout import Layout
    from holdfast.runtime.folder import RunFolder
    from holdfast.wire.link_messages import AskLock, AskUnlock

Entity = Annotated[str, typer.Argument(help="host", show_default=False)]
Name = Annotated[str | None, typer.Option(help="deployment, if there are several")]


def register(app: typer.Typer) -> None:
    for command in (lock, unlock):
        app.command()(command)


def lock(
    entity: Entity,
    is_off: Annotated[bool, typer.Option("--is-off", help="you have made sure that the host is off")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask whether you are sure")] = False,
    name: Name = None,
) -> None:
    """Say that a host is off, so that the others go on without it."""
    from holdfast.cli.operate import known
    from holdfast.errors import UserError
    from holdfast.model.names import HostName
    from holdfast.runtime import deployment
    from holdfast.runtime.given import load_layout
    from holdfast.wire.link_messages import AskLock

    folder = deployment.folder_of(name)
    layout = load_layout(folder)
    known("host", entity, list(layout.hosts))
    if not is_off:
        raise UserError(
            f"a host is locked only by somebody who knows that it is off: `holdfast lock {entity} --is-off`",
            "one that runs is taken out of use by moving its services away: holdfast switchover VNF --to VNFC",
        )
    host = HostName(entity)
    for line in _what_follows(layout, host):
        typer.echo(line)
    if not yes and not typer.confirm(f"Are you sure that {host} is off?"):
        raise typer.Exit(1)
    _tell(layout, folder, AskLock(host))
    typer.echo(f"{host} is locked: `holdfast status` shows how the others go on")
    typer.echo(f"when it is to be used again: holdfast unlock {host}")


def _what_follows(layout: "Layout", host: str) -> list[str]:
    from holdfast.model.layout import grant_suffices

    there = [vnfc for vnfc in layout.vnfcs.values() if vnfc.host == host]
    stored = sorted({vnfc.vnf for vnfc in there if not grant_suffices(layout, vnfc.group)})
    lines = [f"{host} will count as off, by your word:"]
    if there:
        lines.append(f"- what ran there ({', '.join(vnfc.name for vnfc in there)}) is taken over elsewhere, at once")
    if stored and len(layout.hosts) > 1:
        lines.append(f"- so is the storage of {', '.join(stored)}: if {host} still writes to it, it is destroyed")
    lines.append("- what only it may have acknowledged in its last moments is given up")
    if layout.grants is not None:
        lines.append("- it votes no longer, so that the others can agree without it")
    lines.append("- nobody switches it on and nothing is started there until it is unlocked")
    return lines


def unlock(entity: Entity, name: Name = None) -> None:
    """Take a locked host back: it is switched on if it has a fence device, and used when its agent is there."""
    from holdfast.cli.operate import known
    from holdfast.model.names import HostName
    from holdfast.runtime import deployment
    from holdfast.runtime.given import load_layout
    from holdfast.wire.link_messages import AskUnlock

    folder = deployment.folder_of(name)
    layout = load_layout(folder)
    known("host", entity, list(layout.hosts))
    host = HostName(entity)
    _tell(layout, folder, AskUnlock(host))
    how = "it is being switched on" if layout.hosts[host].fence else "switch it on, if it is not"
    typer.echo(f"{host} is unlocked: {how}; it is used as soon as its agent has joined")


def _tell(layout: "Layout", folder: "RunFolder", question: "AskLock | AskUnlock") -> None:
    from holdfast.errors import PeerError, WorldError
    from holdfast.model.names import VIM
    from holdfast.runtime import deployment
    from holdfast.runtime.outside import ask

    try:
        answer = ask(folder, VIM, question)
    except PeerError as error:
        raise deployment.nobody_answers(layout, folder) from error
    if answer.refused:
        raise WorldError(f"refused: {answer.refused}", "holdfast status")
