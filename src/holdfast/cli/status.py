"""`holdfast status`: what the managers know at this moment."""

from typing import Annotated, Any

import typer

FORMAT = 1
UNKNOWN = "unknown"
OF_RESTARTS = {"heartbeats:life", "heartbeats:stranger", "heartbeats:nonce", "links:no-proof"}
SHOWN_OF_MANAGERS = ("away", "pid", "agents", "unreached", "refused", "outstanding", "store", "statistics", "late")


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    name: Annotated[str | None, typer.Argument(help="deployment, if there are several", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="as JSON (docs/status-json.md)")] = False,
) -> None:
    """Show services, their holders, components, incidents and alarms."""
    from holdfast.runtime import deployment
    from holdfast.runtime.given import load_layout

    folder = deployment.folder_of(name)
    layout = load_layout(folder)
    parties = deployment.statuses(layout, folder)
    document = gathered(folder.root.name, str(folder.root), {str(party): part for party, part in parties.items()})
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
    elif all("away" in part for part in parties.values()):
        raise deployment.nobody_answers(layout, folder)
    else:
        show(document)


def gathered(name: str, folder: str, parties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One document out of the answers of all parties."""
    present = [part for part in parties.values() if "away" not in part]
    vnfs = {vnf: shown for part in present for vnf, shown in part["vnfs"].items()}
    return {
        "format": FORMAT,
        "name": name,
        "folder": folder,
        "now": max((part["now"] for part in present), default=None),
        "vnfs": vnfs,
        "vms": {vm: shown for part in present for vm, shown in part["vms"].items()},
        "voters": next((part["voters"] for part in present if part.get("voters")), None),
        "incidents": [{"by": part["party"], **one} for part in present for one in part["incidents"]],
        "alarms": {alarm: text for part in present for alarm, text in part["alarms"].items()},
        "managers": {
            party: {key: part[key] for key in SHOWN_OF_MANAGERS if key in part} for party, part in parties.items()
        },
    }


def show(document: dict[str, Any]) -> None:
    """Print the document for people."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    console.print(_services(document))
    console.print(_components(document))
    if document["vms"]:
        console.print(_vms(document))
    if document["voters"] is not None:
        console.print(_voters(document["voters"]), markup=False)
    for incident in document["incidents"]:
        if incident["closed_at"] is None:
            ago = document["now"] - incident["opened_at"]
            what = f"{incident['about']}: {incident['cause']}"
            console.print(f"open incident {incident['incident']} ({ago:.1f} s): {what}", style="yellow", markup=False)
    for alarm, text in document["alarms"].items():
        console.print(f"alarm {alarm}: {text}", style="red", markup=False)
    for host in _away(document):
        parties = [name for name, part in document["managers"].items() if not part.get("agents", {}).get(host, True)]
        whys = [part.get("unreached", {}).get(host, "") for part in document["managers"].values()]
        why = next((f": {why}" for why in whys if why), "")
        console.print(f"agent {host} is not joined with {', '.join(parties)}{why}", style="red", markup=False)
    for who, counts in _refused(document).items():
        console.print(f"{who} has refused: {counts} (docs/bad-input.md)", style="yellow", markup=False)
    for line in _goes_back(document):
        console.print(line, markup=False)
    for line in _late(document):
        console.print(line, style="dim", markup=False)
    for party, part in document["managers"].items():
        if "away" in part:
            console.print(f"manager {party} is away: {part['away']}", style="red", markup=False)
            continue
        for action in part["outstanding"]:
            console.print(f"{party} waits for {action['action']} of {action['about']} ({action['id']})", markup=False)


def _refused(document: dict[str, Any]) -> dict[str, str]:
    """By party: what it has refused to hear, but for what comes with every restart of a host's agents."""
    told = [item for part in document["managers"].values() for item in part.get("refused", {}).items()]
    shown = {who: {kind: count for kind, count in counts.items() if kind not in OF_RESTARTS} for who, counts in told}
    return {
        who: ", ".join(f"{kind.replace(':', ' ')} {count}" for kind, count in counts.items())
        for who, counts in shown.items()
        if counts
    }


def _goes_back(document: dict[str, Any]) -> list[str]:
    """What becomes of services that are not where they are preferred, and would go back there by themselves."""
    services = {name: one for vnf in document["vnfs"].values() for name, one in vnf["services"].items()}
    lines = []
    for name, back in ((name, one["goes_back"]) for name, one in services.items() if one.get("goes_back")):
        if back["stays"]:
            when = "only by a person's switchover or a failure, since a person has moved it away"
        elif back["waits"]:
            when = "when that has been well and in step for long enough"
        elif back["at"] is None:
            when = "as soon as nothing else is under way"
        else:
            when = f"in {max(0.0, back['at'] - document['now']):.0f} s"
        lines.append(f"{name} goes back to {back['to']} {when}")
    return lines


def _late(document: dict[str, Any]) -> list[str]:
    """How late the agents were themselves, each once, whoever has told of it."""
    told = {name: late for part in document["managers"].values() for name, late in part.get("late", {}).items()}
    lines = []
    for name, late in told.items():
        hot = f", hot process {_pace(late['hot'])}" if late["hot"] is not None else ""
        lapses = f", {late['lapses']} grants lapsed" if late["lapses"] else ""
        lines.append(f"{name}, last minute: late by {_pace(late['agent'])}{hot}{lapses}")
        lines += [f"{name}, hot process: {lack}" for lack in late["lacks"]]
    return lines


def _pace(pace: dict[str, float]) -> str:
    return f"{pace['median_ms']:.1f} ms (worst {pace['worst_ms']:.1f})"


def _voters(voters: dict[str, Any]) -> str:
    names = ", ".join(f"{name} (witness)" if name in voters["witnesses"] else name for name in voters["members"])
    progress = "" if voters["state"] == "sealed" else f"; its change is under way ({voters['state']})"
    return f"voters: {names} (version {voters['version']}{progress})"


def _table(*columns: str) -> Any:
    from rich.table import Table

    return Table(*columns, box=None, header_style="bold", pad_edge=False)


def _services(document: dict[str, Any]) -> Any:
    table = _table("service", "state", "for", "address", "active", "epoch", "in sync")
    for vnf in document["vnfs"].values():
        for name, service in vnf["services"].items():
            provided = service["state"] == "provided"
            since = "" if service["since"] is None else f"{document['now'] - service['since']:.0f} s"
            port = f" port {service['port']}" if service["port"] else ""
            table.add_row(
                name,
                f"[{'green' if provided else 'red'}]{service['state']}[/]",
                since,
                service["address"].partition("/")[0] + port,
                service["vnfc"] or "-",
                str(service["epoch"]),
                ", ".join(service["in_sync"]),
            )
    return table


def _components(document: dict[str, Any]) -> Any:
    from rich.markup import escape

    table = _table("component", "condition", "role", "run", "host", "vm", "")
    for vnf in document["vnfs"].values():
        for name, vnfc in vnf["vnfcs"].items():
            condition = vnfc["condition"] if vnfc["known"] else UNKNOWN
            style = {"ready": "green", "failed": "red"}.get(condition, "yellow")
            table.add_row(
                name,
                f"[{style}]{condition}[/]",
                vnfc["role"] if vnfc["known"] else UNKNOWN,
                str(vnfc["run"]),
                vnfc["host"],
                vnfc["vm"] or "-",
                escape("; ".join(filter(None, (_last_known(vnfc, vnfc["role"]), vnfc["detail"])))),
            )
    return table


def _vms(document: dict[str, Any]) -> Any:
    table = _table("vm", "condition", "boot", "host", "")
    for name, vm in document["vms"].items():
        condition = vm["condition"] if vm["known"] else UNKNOWN
        style = {"up": "green", UNKNOWN: "yellow"}.get(condition, "red")
        table.add_row(name, f"[{style}]{condition}[/]", str(vm["boot"]), vm["host"], _last_known(vm))
    return table


def _last_known(shown: dict[str, Any], role: str = "none") -> str:
    if shown["known"]:
        return ""
    was = shown["condition"] if role == "none" else f"{shown['condition']}, {role}"
    return f"last known: {was}; its host's agent is away"


def _away(document: dict[str, Any]) -> list[str]:
    """Hosts whose agents some manager cannot reach: what is shown of them is what was heard last."""
    agents = [item for part in document["managers"].values() for item in part.get("agents", {}).items()]
    return list(dict.fromkeys(host for host, joined in agents if not joined))
