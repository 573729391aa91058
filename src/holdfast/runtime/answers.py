"""What a manager answers to an operator: its view as JSON (docs/status-json.md), and refusals in words."""

import os
from typing import Any

import msgspec

from holdfast.core.ha_state import State as HaState
from holdfast.model.actions import Action, Decision, Refuse
from holdfast.model.layout import Layout, Vm, Vnfc, in_charge
from holdfast.model.names import VIM, HostName, ServiceName, VnfName
from holdfast.model.reasons import sentence
from holdfast.runtime.refusals import DISK, JOURNAL
from holdfast.runtime.seat import Seat
from holdfast.runtime.view import View, VmView, VnfcView, role_of
from holdfast.wire.link_messages import Late

FORMAT = 1
LATE = ("agent", "hot", "lapses", "lacks")


def about(action: Action) -> str:
    """The entity an action is about, for lists that people read."""
    for name in ("vnfc", "vm", "host", "service", "to", "alarm", "incident", "about"):
        value = getattr(action, name, None)
        if value:
            return str(value)
    return ""


def status_of(
    layout: Layout,
    seat: Seat,
    joined: dict[HostName, bool],
    unreached: dict[HostName, str],
    now: float,
    refused: dict[str, dict[str, int]],
    late: dict[str, Late],
) -> dict[str, Any]:
    """The party's part of `holdfast status --json`."""
    view = seat.view
    return {
        "format": FORMAT,
        "party": seat.party,
        "pid": os.getpid(),
        "now": now,
        "agents": joined,
        "unreached": unreached,
        "refused": refused,
        "late": {name: {key: msgspec.to_builtins(getattr(one, key)) for key in LATE} for name, one in late.items()},
        "vnfs": _vnfs(layout, seat, joined),
        "vms": {vm.name: _vm(vm, view, joined) for vm in layout.vms.values()} if seat.party == VIM else {},
        "voters": None if view.voters is None else msgspec.to_builtins(view.voters),
        "incidents": [{"incident": name, **msgspec.to_builtins(incident)} for name, incident in view.incidents.items()],
        "alarms": view.alarms | (_disks(refused) if seat.party == VIM else {}),
        "outstanding": [
            {"id": getattr(action, "id", ""), "action": type(action).__name__, "about": about(action)}
            for action in seat.outstanding()
        ],
        "store": msgspec.to_builtins(seat.waiting),
        "statistics": {"events": seat.events, "bugs": seat.bugs, "journal_lost": seat.journal_lost},
    }


def _disks(refused: dict[str, dict[str, int]]) -> dict[str, str]:
    """Of hosts whose agents cannot write their journals."""
    parties = (party for party, counts in refused.items() if f"{DISK}:{JOURNAL}" in counts)
    return {f"{JOURNAL}:{party}": "its records are lost: the disk is full or read-only" for party in parties}


def _is_known(condition: str, is_joined: bool) -> bool:
    """Whether that is how it is now. What runs may end unheard; what does not run begins only when it is told to."""
    return is_joined or condition in ("absent", "failed")


def _vm(vm: Vm, seen: View, joined: dict[HostName, bool]) -> dict[str, Any]:
    view = seen.vms.get(vm.name, VmView())
    known = _is_known(view.condition, joined.get(vm.host, False))
    return {"host": vm.host, **msgspec.to_builtins(view), "known": known}


def _vnfc(layout: Layout, vnfc: Vnfc, seen: View, joined: dict[HostName, bool]) -> dict[str, Any]:
    view = seen.vnfcs.get(vnfc.name, VnfcView())
    shown = dict(msgspec.to_builtins(view))
    shown["known"] = _is_known(view.condition, joined.get(vnfc.host, False))
    group = layout.groups[vnfc.group]
    shown["role"] = role_of(seen, vnfc.name, group.services)
    # A spare is told no role: it waits, and that is its role.
    if group.role_is_assigned and group.reserve != "standby" and (view.condition, view.role) == ("ready", "none"):
        shown["role"] = "spare"
    return shown


def _vnfs(layout: Layout, seat: Seat, joined: dict[HostName, bool]) -> dict[str, Any]:
    """Every VNF this party is in charge of, with its services and components."""
    view = seat.view
    shown: dict[str, Any] = {}
    vnfcs_of: dict[VnfName, list[Vnfc]] = {}
    for vnfc in layout.vnfcs.values():
        vnfcs_of.setdefault(vnfc.vnf, []).append(vnfc)
    for vnf in layout.vnfs.values():
        if in_charge(layout, vnf.name) != seat.party:
            continue
        services = {}
        for group in vnf.groups:
            for name in layout.groups[group].services:
                known = view.services.get(name)
                services[name] = {
                    "address": layout.services[name].address,
                    "port": layout.services[name].port,
                    "state": known.state if known else "interrupted",
                    "vnfc": known.vnfc if known else None,
                    "epoch": known.epoch if known else 0,
                    "since": known.since if known else None,
                    "in_sync": list(known.in_sync) if known else [],
                    "goes_back": goes_back(layout, seat.state, name),
                }
        shown[vnf.name] = {
            "sal": vnf.sal,
            "services": services,
            "vnfcs": {
                vnfc.name: {
                    "host": vnfc.host,
                    "vm": vnfc.vm,
                    **_vnfc(layout, vnfc, view, joined),
                }
                for vnfc in vnfcs_of.get(vnf.name, ())
            },
        }
    return shown


def goes_back(layout: Layout, state: Any, name: ServiceName) -> dict[str, Any] | None:
    """Where the service goes back by itself (`auto-adjust`), and when; None where it is there, or nobody asks for that.

    Args:
        state: of the core of the party in charge.
    """
    group = layout.groups[layout.services[name].group]
    if group.auto_adjust_s is None or not isinstance(state, HaState):
        return None
    service = state.groups[group.name].services[name]
    first = group.vnfcs[group.services.index(name)]
    if service.holder in (None, first):
        return None
    known = service.adjusting
    return {"to": first, "at": known.until, "waits": known.run == 0, "stays": known.by_hand}


def refusals_of(decisions: tuple[Decision, ...]) -> str:
    """What was refused and why, in words; empty if nothing was."""
    refused = []
    for decision in decisions:
        if isinstance(decision.action, Refuse):
            why = "; ".join(sentence(reason) for reason in decision.reasons)
            refused.append(f"{decision.action.what} of {decision.action.about}: {why}")
    return "\n".join(refused)
