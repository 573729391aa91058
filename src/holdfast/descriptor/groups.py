"""The component types of the VNFs as groups: who protects whom, from where, behind which address."""

from dataclasses import dataclass, field
from ipaddress import ip_address

from holdfast.descriptor.addresses import Addresses
from holdfast.descriptor.mistakes import nearest, one_of
from holdfast.descriptor.notes import Notes
from holdfast.descriptor.tree import Path
from holdfast.model.descriptor import ComponentText, InterfaceText, VmText
from holdfast.model.layout import Group, Service, Vnfc
from holdfast.model.names import (
    GroupName,
    HostName,
    Redundancy,
    Reserve,
    ServiceName,
    VmName,
    VnfcName,
    VnfName,
)

_NAMES_SHOWN_MAX = 8


@dataclass
class Places:
    """Where VNFCs can be: VMs with the host each one runs on, hosts, and VMs that wait to replace others."""

    vms: dict[str, HostName]
    hosts: tuple[str, ...]
    reserved: dict[str, str] = field(default_factory=dict)
    """Standby VM to the VM that it replaces."""


@dataclass(frozen=True)
class TypeOf:
    """A component type while it is being resolved: what is written, and where."""

    text: ComponentText
    path: Path
    name: str
    vnf: VnfName
    group: GroupName


def places(vms: dict[str, VmText], hosts: tuple[str, ...], notes: Notes) -> Places:
    """Find the host of each VM."""
    found = Places(vms={}, hosts=hosts)
    for name, vm in vms.items():
        path: Path = ("vms", name)
        host = vm.host or hosts[0]
        if vm.host and vm.host not in hosts:
            if not notes.is_dropped(("hosts",)):
                expected = f"a host: {one_of(hosts)}" if len(hosts) <= _NAMES_SHOWN_MAX else "one of the hosts"
                notes.wrong((*path, "host"), expected, nearest(vm.host, hosts), vm.host)
        elif not vm.host and len(hosts) > 1:
            notes.missing((*path, "host"), "the host it runs on: there are several")
        found.vms[name] = HostName(host if host in hosts else hosts[0])
        if vm.standby_vm:
            found.reserved[vm.standby_vm] = name
    return found


def group_of(one: TypeOf, where: Places, after: tuple[GroupName, ...], notes: Notes) -> tuple[Group, list[Vnfc]]:
    """Resolve a component type into its group and the VNFCs of it; services are named, not yet made."""
    text = one.text
    placed = _placed(one, where, notes)
    redundancy: Redundancy = text.redundancy or ("2N" if len(text.place) > 1 else "no-redundancy")
    actives = _actives(one, redundancy, notes)
    vnfcs = [
        Vnfc(
            name=VnfcName(f"{one.group}-{number}"),
            vnf=one.vnf,
            component=one.name,
            group=one.group,
            host=host,
            vm=vm,
        )
        for number, (host, vm) in enumerate(placed, start=1)
    ]
    names = [one.group] if actives == 1 else [f"{one.group}#{number}" for number in range(1, actives + 1)]
    group = Group(
        name=one.group,
        vnf=one.vnf,
        component=one.name,
        redundancy=redundancy,
        reserve=_reserve(one, redundancy, notes),
        state=text.state,
        services=tuple(ServiceName(name) for name in names),
        vnfcs=tuple(vnfc.name for vnfc in vnfcs),
        after=after,
        auto_adjust_s=_auto_adjust(one, redundancy, notes),
    )
    _check_state(one, redundancy, group.reserve, notes)
    return group, vnfcs


def _placed(one: TypeOf, where: Places, notes: Notes) -> list[tuple[HostName, VmName | None]]:
    path = (*one.path, "place")
    if not one.text.place:
        notes.missing(path, "the VMs (or hosts) for its VNFCs")
    placed: list[tuple[HostName, VmName | None]] = []
    for number, name in enumerate(one.text.place):
        at = (*path, number)
        if name in where.vms:
            placed.append((where.vms[name], VmName(name)))
        elif name in where.hosts:
            placed.append((HostName(name), None))
        else:
            if not (notes.is_dropped(("vms",)) or notes.is_dropped(("hosts",))):
                notes.wrong(at, "a VM or a host", nearest(name, (*where.vms, *where.hosts)), name)
            continue
        if name in where.reserved:
            notes.wrong(
                at, f"a VM that is not kept to replace another: {name} replaces {where.reserved[name]}", "", name
            )
        _check_apart(one, placed, at, name, notes)
    return placed


def _check_apart(
    one: TypeOf, placed: list[tuple[HostName, VmName | None]], path: Path, name: str, notes: Notes
) -> None:
    *others, (host, vm) = placed
    kept = one.text.anti_affinity
    if kept == "host" and any(other == host for other, _ in others):
        expected = f"VNFCs on different hosts (anti-affinity: host): one is on {host} already"
        notes.wrong(path, expected, found=name)
    elif kept == "vm" and (host, vm) in others:
        expected = "each VNFC in a VM of its own"
        notes.wrong(path, expected, "write anti-affinity: none if they may fail together", name)


def _actives(one: TypeOf, redundancy: Redundancy, notes: Notes) -> int:
    """How many of the VNFCs are active at the same time."""
    text, path, count = one.text, (*one.path, "actives"), len(one.text.place)
    if redundancy == "N+M":
        given = text.interface.addresses if text.interface else ()
        actives = text.actives or len(given) or max(count - 1, 1)
        if count and actives >= count:
            said = f"{actives} actives in {count} places"
            notes.wrong((*one.path, "place"), "more places than actives, for what waits beside them", said=said)
        return actives
    wanted = 1 if redundancy == "2N" else max(count, 1)
    if redundancy == "2N" and count == 1:
        hint = "write redundancy: no-redundancy if one is enough"
        notes.wrong((*one.path, "place"), "two places or more for redundancy 2N", hint, said="one place")
    if text.actives is not None and text.actives != wanted:
        hint = "several actives with something beside them are redundancy: N+M"
        notes.wrong(path, f"{wanted} with redundancy {redundancy}", hint, text.actives)
    return wanted


def _reserve(one: TypeOf, redundancy: Redundancy, notes: Notes) -> Reserve:
    text, path = one.text, (*one.path, "reserve")
    if redundancy == "no-redundancy":
        if text.reserve is not None:
            notes.wrong(
                path, "no reserve with redundancy no-redundancy", "add a place, or remove reserve", text.reserve
            )
        return "spare"
    if text.reserve is None:
        return "standby" if text.state == "internal" else "spare"
    if text.state == "internal" and text.reserve != "standby":
        notes.wrong(path, "standby with state: internal", f"a {text.reserve} holds no state", text.reserve)
    if text.reserve == "standby" and redundancy == "N+M" and text.state != "internal":
        notes.wrong(path, "spare or late-spare with redundancy N+M", "a standby follows one active only", "standby")
    return text.reserve


def _auto_adjust(one: TypeOf, redundancy: Redundancy, notes: Notes) -> float | None:
    text, path = one.text, (*one.path, "auto-adjust")
    if text.auto_adjust is not None and redundancy == "no-redundancy":
        notes.unknown(path, "no auto-adjust with redundancy no-redundancy: the service never leaves its place")
    elif text.auto_adjust is not None and text.reserve == "late-spare":
        expected = "no auto-adjust with reserve: late-spare"
        hint = "the place named first is not started while another one serves; write reserve: spare"
        notes.unknown(path, expected, hint)
    return text.auto_adjust


def _check_state(one: TypeOf, redundancy: Redundancy, reserve: Reserve, notes: Notes) -> None:
    """What is written about state, storage, replication and roles must fit together."""
    text, path = one.text, one.path
    if text.state == "internal" and redundancy == "N+M":
        hint = "2N groups, one for each active, can hold state"
        notes.wrong((*path, "state"), "none or external with redundancy N+M", hint, "internal")
    if text.storage and text.state == "none":
        notes.wrong(
            (*path, "storage"), "no storage with state: none", "state: external if it keeps its state there", "yes"
        )
    if text.state == "external" and not text.storage:
        notes.doubt((*path, "state"), "the state is external, but there is no storage", "add storage: yes")
    tells = text.speaks or text.ocf is not None or text.become_active is not None
    if text.replication is not None:
        if text.state != "internal" or redundancy == "no-redundancy":
            at, expected = (*path, "replication"), "replication with state: internal and a standby only"
            notes.unknown(at, expected, "remove replication")
        if text.speaks is False:
            expected = "yes with replication: roles and losses are told on the component protocol"
            notes.wrong((*path, "speaks"), expected, found="no")
    elif reserve == "standby" and redundancy != "no-redundancy" and not tells:
        notes.doubt(path, "nothing tells a standby that it becomes active", "add speaks: yes, or become-active")
    _check_roles(one, redundancy, bool(tells) or text.replication is not None, notes)


def _check_roles(one: TypeOf, redundancy: Redundancy, tells: bool, notes: Notes) -> None:
    text, path = one.text, one.path
    if redundancy == "no-redundancy":
        for key, command in (("become-active", text.become_active), ("become-standby", text.become_standby)):
            if command is not None:
                notes.doubt((*path, key), "never run: without redundancy no roles are assigned", f"remove {key}")
    elif text.interface is not None and text.interface.assigned_by == "component" and not tells:
        expected = "ha-manager, as the component is not told when to claim the address"
        at = (*path, "interface", "assigned-by")
        notes.wrong(at, expected, "add speaks: yes, or become-active", "component")


def services_of(one: TypeOf, group: Group, addresses: Addresses, notes: Notes) -> list[Service]:
    """Make the services of a group, each with its address."""
    interface = one.text.interface or InterfaceText()
    path = (*one.path, "interface")
    if interface.address and interface.addresses:
        notes.unknown((*path, "addresses"), "either address or addresses")
    written = interface.addresses or ((interface.address,) if interface.address else ())
    key = "addresses" if interface.addresses else "address"
    if written and len(written) != len(group.services):
        expected = f"{len(group.services)}, one for each active of {group.name}"
        notes.wrong((*path, key), expected, said=f"{len(written)} address{'es' if len(written) > 1 else ''}")
    if len(_versions(written)) > 1:
        notes.wrong((*path, key), "addresses of one kind", said="IPv4 and IPv6 mixed")
    if interface.transport is not None and interface.port is None:
        notes.missing((*path, "port"), "a port for the transport")
    claimed = [
        addresses.claim(text, (*path, key, number) if key == "addresses" else (*path, key), f"the address of {service}")
        for number, (text, service) in enumerate(zip(written, group.services, strict=False))
    ]
    claimed += [""] * (len(group.services) - len(claimed))
    return [
        Service(
            name=service,
            group=group.name,
            address=address,
            port=interface.port or 0,
            transport=(interface.transport or "tcp") if interface.port else "",
            assigned_by=interface.assigned_by,
        )
        for service, address in zip(group.services, claimed, strict=True)
    ]


def _versions(texts: tuple[str, ...]) -> set[int]:
    versions: set[int] = set()
    for text in texts:
        try:
            versions.add(ip_address(text.partition("/")[0]).version)
        except ValueError:
            continue
    return versions
