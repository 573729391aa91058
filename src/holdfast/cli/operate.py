"""`holdfast switchover`: move services on purpose, or accept a loss so that they can move at all."""

import difflib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from holdfast.model.layout import Layout
    from holdfast.runtime.folder import RunFolder

_POLL_S = 0.01


def register(app: typer.Typer) -> None:
    app.command()(switchover)


def switchover(
    vnf: Annotated[str, typer.Argument(help="VNF whose services are moved", show_default=False)],
    to: Annotated[str | None, typer.Option(help="VNFC that shall take over; otherwise the first successor")] = None,
    service: Annotated[str | None, typer.Option(help="only this service")] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="let a standby be promoted that has not got all acknowledged state")
    ] = False,
    name: Annotated[str | None, typer.Option(help="deployment, if there are several")] = None,
    limit: Annotated[float, typer.Option(help="seconds to wait for it")] = 15.0,
) -> None:
    """Move the services of a VNF to their successors, in good order."""
    from holdfast.errors import WorldError
    from holdfast.model.layout import in_charge
    from holdfast.model.names import ServiceName, VnfcName, VnfName
    from holdfast.runtime import deployment
    from holdfast.runtime.given import load_layout
    from holdfast.runtime.outside import ask
    from holdfast.wire.link_messages import AskAcceptLoss, AskSwitchover

    folder = deployment.folder_of(name)
    layout = load_layout(folder)
    known("VNF", vnf, list(layout.vnfs))
    if to is not None:
        known("VNFC", to, [one.name for one in layout.vnfcs.values() if one.vnf == vnf])
    if service is not None:
        known("service", service, _services_of(layout, vnf))
    wanted = [service] if service is not None else _services_of(layout, vnf)
    party = in_charge(layout, VnfName(vnf))
    before = _held(folder, layout, wanted)
    if not before:
        raise deployment.nobody_answers(layout, folder)
    if to is not None and any(one["vnfc"] == to and one["state"] == "provided" for one in before.values()):
        typer.echo(f"{to} is the active one already")
        return
    answers = []
    if accept_loss:
        answers.append(ask(folder, party, AskAcceptLoss(VnfName(vnf))))
    if not accept_loss or all(one["state"] == "provided" for one in before.values()):
        target = VnfcName(to) if to is not None else None
        only = ServiceName(service) if service is not None else None
        answers.append(ask(folder, party, AskSwitchover(VnfName(vnf), only, target)))
    refused = "; ".join(answer.refused for answer in answers if answer.refused)
    if refused:
        raise WorldError(f"refused: {refused}", f"holdfast status, holdfast why {vnf}")
    after = _moved(folder, layout, before, limit)
    if after is None:
        raise WorldError(f"{vnf} was not switched over within {limit:g} s", f"holdfast status, holdfast why {vnf}")
    if to is not None and all(one["vnfc"] != to for one in after.values()):
        now = ", ".join(f"{name_} is provided by {one['vnfc']}" for name_, one in after.items())
        raise WorldError(f"{to} did not take over: {now}", f"holdfast why {vnf}")
    for name_, one in after.items():
        typer.echo(f"{name_} is provided by {one['vnfc']} (epoch {one['epoch']})")


def known(kind: str, given: str, known: list[Any]) -> None:
    from holdfast.errors import UserError

    if given in known:
        return
    near = difflib.get_close_matches(given, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
    raise UserError(f"there is no {kind} {given} here", hint)


def _services_of(layout: "Layout", vnf: str) -> list[str]:
    return [name for group in layout.groups.values() if group.vnf == vnf for name in group.services]


def _held(folder: "RunFolder", layout: "Layout", wanted: list[str]) -> dict[str, dict[str, Any]]:
    from holdfast.runtime import deployment

    found: dict[str, dict[str, Any]] = {}
    for part in deployment.statuses(layout, folder).values():
        for vnf in part.get("vnfs", {}).values():
            found |= {name: one for name, one in vnf["services"].items() if name in wanted}
    return found


def _moved(
    folder: "RunFolder", layout: "Layout", before: dict[str, dict[str, Any]], limit_s: float
) -> dict[str, dict[str, Any]] | None:
    """The services when each is provided under a newer epoch; None if that does not happen in time."""
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        now = _held(folder, layout, list(before))
        if len(now) == len(before) and all(
            one["state"] == "provided" and one["epoch"] > before[name]["epoch"] for name, one in now.items()
        ):
            return now
        time.sleep(_POLL_S)
    return None
