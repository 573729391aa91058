"""What is written, resolved into a Layout: defaults filled in, addresses drawn, and all of it checked together.

In: models and the Notes of their file; out: a Layout, to be used only if the Notes hold no mistake. Raises nothing but
Enough, when there is more than anybody would read.
"""

import re
from ipaddress import ip_interface

from holdfast.descriptor.addresses import HOSTS_FROM, VMS_FROM, Addresses, plan
from holdfast.descriptor.components import component
from holdfast.descriptor.defaults import SAL_S, pace
from holdfast.descriptor.granting import grants_of
from holdfast.descriptor.groups import Places, TypeOf, group_of, places, services_of
from holdfast.descriptor.mistakes import nearest, one_of
from holdfast.descriptor.names import check_names, check_vnfc_names
from holdfast.descriptor.notes import Enough, Notes
from holdfast.descriptor.orders import after_of, check_cycles
from holdfast.descriptor.tree import Path
from holdfast.model.descriptor import (
    FORMAT,
    ComponentText,
    DescriptorText,
    EscalationText,
    FenceLevelsText,
    HostText,
    VmText,
    VnfText,
)
from holdfast.model.layout import (
    Component,
    Escalation,
    FenceDevice,
    FenceLevels,
    Group,
    Host,
    Layout,
    RepairPolicy,
    Service,
    Vm,
    Vnf,
    Vnfc,
)
from holdfast.model.limits import DESCRIPTOR_ENTITIES_MAX
from holdfast.model.names import GroupName, HostName, ServiceName, VmName, VnfcName, VnfmName, VnfName

THIS_HOST = "this"
VNFC_ESCALATION = Escalation(maximum=3, probation_s=60.0)
VM_ESCALATION = Escalation(maximum=3, probation_s=300.0)
_BRIDGE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$", re.ASCII)
HOST_ESCALATION = Escalation(maximum=1, probation_s=300.0)


def resolve(text: DescriptorText, notes: Notes) -> Layout:
    """Resolve a descriptor."""
    if not _is_of_bounded_size(text, notes):
        raise Enough(notes)
    _check_top(text, notes)
    check_names(text, notes)
    sal_s = {**SAL_S, **text.sal_thresholds}
    hosts = text.hosts or {THIS_HOST: HostText()}
    addresses = plan(text.network, notes)
    where = places(text.vms, tuple(hosts), notes)
    given, second = _claimed(hosts, text.vms, addresses)
    types = _types(text, notes)
    groups_of: dict[str, list[GroupName]] = {name: [] for name in text.vnfs}
    components: dict[GroupName, Component] = {}
    groups: dict[GroupName, Group] = {}
    services: dict[ServiceName, Service] = {}
    vnfcs: dict[VnfcName, Vnfc] = {}
    paths: dict[str, Path] = {}
    for one in types:
        group, members = group_of(one, where, after_of(one, types, notes), notes)
        needed = pace(sal_s.get(text.vnfs[one.vnf].sal, SAL_S[1]))
        components[one.group] = component(one.text, one.path, one.name, one.vnf, one.group, needed, notes)
        groups[one.group] = group
        groups_of[one.vnf].append(one.group)
        services.update((service.name, service) for service in services_of(one, group, addresses, notes))
        vnfcs.update((vnfc.name, vnfc) for vnfc in members)
        paths.update((vnfc.name, one.path) for vnfc in members)
    check_vnfc_names(text, paths, notes)
    check_cycles(types, groups, notes)
    _check_ports(types, vnfcs, notes)
    _draw(hosts, text.vms, given, addresses)
    _draw_second(hosts, second, addresses)
    return Layout(
        name=text.name,
        hosts={HostName(name): _host(name, host, given[name], second[name], notes) for name, host in hosts.items()},
        vms={VmName(name): _vm(name, vm, where, given, text, notes) for name, vm in text.vms.items()},
        vnfs={VnfName(name): _vnf(name, vnf, groups_of[name], sal_s, notes) for name, vnf in text.vnfs.items()},
        components=components,
        groups=groups,
        services=services,
        vnfcs=vnfcs,
        sal_s=sal_s,
        grants=grants_of(text, hosts, vnfcs.values(), notes),
    )


def _is_of_bounded_size(text: DescriptorText, notes: Notes) -> bool:
    """Whether all that is compared with one another below is so few that this ends soon; notes what is not."""
    of_all = {
        ("hosts",): len(text.hosts),
        ("vms",): len(text.vms),
        ("vnfs",): sum(len(vnf.components) or 1 for vnf in text.vnfs.values()),
    }
    places = sum(
        len(one.place) for vnf in text.vnfs.values() for one in (vnf.components.values() if vnf.components else (vnf,))
    )
    words = {("hosts",): "hosts", ("vms",): "VMs", ("vnfs",): "component types"}
    expected = f"at most {DESCRIPTOR_ENTITIES_MAX} in one descriptor"
    for path, count in of_all.items():
        if count > DESCRIPTOR_ENTITIES_MAX:
            notes.wrong(path, expected, said=f"{count} {words[path]}")
    if places > DESCRIPTOR_ENTITIES_MAX:
        notes.wrong(("vnfs",), expected, said=f"{places} VNFCs")
    return max(*of_all.values(), places) <= DESCRIPTOR_ENTITIES_MAX


def _check_top(text: DescriptorText, notes: Notes) -> None:
    if text.holdfast is None:
        notes.missing(("holdfast",), f"holdfast: {FORMAT}, the version of this format")
    elif text.holdfast != FORMAT:
        notes.wrong(("holdfast",), f"{FORMAT}, the version of this format that is known here", found=text.holdfast)
    if not text.name:
        notes.missing(("name",), "a name for the deployment")
    if not text.vnfs:
        notes.missing(("vnfs",), "at least one VNF")


def _types(text: DescriptorText, notes: Notes) -> list[TypeOf]:
    """The component types of all VNFs, with the groups they make."""
    types: list[TypeOf] = []
    for name, vnf in text.vnfs.items():
        path: Path = ("vnfs", name)
        if not vnf.components:
            types.append(TypeOf(vnf, path, name, VnfName(name), GroupName(name)))
            continue
        for field in sorted(vnf.model_fields_set & set(ComponentText.model_fields)):
            key = field.replace("_", "-")
            notes.unknown((*path, key), "it under one of the components", "this VNF has several component types")
        for kind, body in vnf.components.items():
            group = name if len(vnf.components) == 1 else f"{name}.{kind}"
            types.append(TypeOf(body, (*path, "components", kind), kind, VnfName(name), GroupName(group)))
    return types


def _claimed(
    hosts: dict[str, HostText], vms: dict[str, VmText], addresses: Addresses
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The addresses that hosts and VMs are given in the descriptor; and those of hosts on the second network."""
    given: dict[str, list[str]] = {}
    second: dict[str, str] = {}
    for name, host in hosts.items():
        path = ("hosts", name, "addresses")
        given[name], second[name] = _claim_all(host.addresses, path, f"an address of host {name}", addresses, True)
    for name, vm in vms.items():
        path = ("vms", name, "address")
        given[name], _ = _claim_all(vm.address, path, f"the address of VM {name}", addresses, False)
    return given, second


def _claim_all(
    texts: tuple[str, ...], path: Path, owner: str, addresses: Addresses, of_host: bool
) -> tuple[list[str], str]:
    claimed: list[str] = []
    second = ""
    for number, text in enumerate(texts):
        address = addresses.claim(text, (*path, number), owner, of_host=of_host)
        if not address:
            continue
        if of_host and addresses.is_second(ip_interface(address).ip):
            if second:
                addresses.notes.wrong((*path, number), "one address on the second network at most", found=text)
            second = second or address
            continue
        if _version(address) in map(_version, claimed) and not (of_host and addresses.second_misread):
            expected = "one IPv4 and one IPv6 address at most"
            of_another = "an address on a second network is in another subnet: network.second-subnet"
            addresses.notes.wrong((*path, number), expected, of_another if of_host else "", text)
        claimed.append(address)
    return claimed, second


def _draw(
    hosts: dict[str, HostText], vms: dict[str, VmText], given: dict[str, list[str]], addresses: Addresses
) -> None:
    """Draw what is still missing, now that every address that is written is known."""
    wanting = [(name, ("hosts", name), HOSTS_FROM) for name in hosts] + [
        (name, ("vms", name), VMS_FROM) for name in vms
    ]
    for name, path, start in wanting:
        for version in (4, 6):
            if version not in map(_version, given[name]):
                drawn = addresses.draw(version, start[version], path, f"an address of {name}")
                given[name] += [drawn] if drawn else []
        given[name].sort(key=_version)


def _draw_second(hosts: dict[str, HostText], second: dict[str, str], addresses: Addresses) -> None:
    """All hosts are on the second network: their addresses there are written for each of them, or for none."""
    notes = addresses.notes
    written = [name for name, host in hosts.items() if addresses.names_second(host.addresses)]
    for name, host in hosts.items():
        path: Path = ("hosts", name, "addresses")
        if not written:
            second[name] = addresses.draw_second(1, ("hosts", name), f"an address of {name}")
        elif name not in written:
            expected = f"an address in {addresses.second} (network.second-subnet) too, as host {written[0]} has"
            hint = "write one for each host, or for none: then they are drawn"
            if host.addresses:
                notes.wrong(path, expected, hint, said="none there")
            else:
                notes.missing(path, expected, hint)


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _host(name: str, text: HostText, given: list[str], second: str, notes: Notes) -> Host:
    path = ("hosts", name)
    if not _BRIDGE.match(text.bridge):
        notes.wrong((*path, "bridge"), "the name of a network interface, at most 15 signs", found=text.bridge)
    return Host(
        name=HostName(name),
        addresses=tuple(given),
        second=second,
        bridge=text.bridge,
        witness=text.witness,
        fence=_fence(text.fence, (*path, "fence"), notes),
        escalation=_escalation(text.escalation, HOST_ESCALATION),
    )


def _fence(levels: FenceLevelsText, path: Path, notes: Notes) -> FenceLevels:
    for number, level in enumerate(levels):
        for place, device in enumerate(level):
            if not device.agent:
                of_level = (number,) if len(levels) > 1 else ()
                of_device = (place,) if len(level) > 1 else ()
                notes.missing((*path, *of_level, *of_device, "agent"), "a fence agent, such as fence_ipmilan")
    return tuple(tuple(FenceDevice(one.agent, one.options, one.within) for one in level) for level in levels)


def _vm(
    name: str, text: VmText, where: Places, given: dict[str, list[str]], around: DescriptorText, notes: Notes
) -> Vm:
    path: Path = ("vms", name)
    repair: RepairPolicy = text.repair or ("standby-vm" if text.standby_vm else "negotiated")
    if repair == "standby-vm" and not text.standby_vm:
        notes.missing((*path, "standby-vm"), "the VM that replaces it")
    elif repair != "standby-vm" and text.standby_vm:
        notes.wrong((*path, "repair"), "standby-vm, as a standby-vm is named", found=text.repair)
    elif text.standby_vm and (text.standby_vm == name or text.standby_vm not in around.vms):
        others = [vm for vm in around.vms if vm != name]
        notes.wrong((*path, "standby-vm"), "another VM", nearest(text.standby_vm, others), text.standby_vm)
    return Vm(
        name=VmName(name),
        host=where.vms[name],
        addresses=tuple(given[name]),
        repair=repair,
        standby_vm=VmName(text.standby_vm) if text.standby_vm else None,
        ack_limit_s=text.acknowledgement_within,
        boot_limit_s=text.boot_within,
        isolate_limit_s=text.isolate_within,
        escalation=_escalation(text.escalation, VM_ESCALATION),
    )


def _vnf(name: str, text: VnfText, groups: list[GroupName], sal_s: dict[int, float], notes: Notes) -> Vnf:
    if text.sal not in sal_s:
        hint = "other levels need their time under sal-thresholds"
        notes.wrong(("vnfs", name, "sal"), f"one of the levels {one_of(map(str, sorted(sal_s)))}", hint, text.sal)
    return Vnf(
        name=VnfName(name),
        vnfm=VnfmName(text.vnfm),
        sal=text.sal,
        report=text.report,
        groups=tuple(groups),
        vnfc_escalation=_escalation(text.escalation, VNFC_ESCALATION),
    )


def _escalation(text: EscalationText | None, default: Escalation) -> Escalation:
    if text is None:
        return default
    return Escalation(maximum=text.maximum or default.maximum, probation_s=text.probation or default.probation_s)


def _check_ports(types: list[TypeOf], vnfcs: dict[VnfcName, Vnfc], notes: Notes) -> None:
    """Two components that listen on one port cannot both run in one VM."""
    taken: dict[tuple[str, str, int], tuple[VnfcName, Path]] = {}
    said: set[Path] = set()
    by_group = {one.group: one for one in types}
    for vnfc in vnfcs.values():
        one = by_group[vnfc.group]
        for path, transport, port in _ports(one):
            place = vnfc.vm or vnfc.host
            other = taken.setdefault((place, transport, port), (vnfc.name, path))
            if other != (vnfc.name, path) and path not in said:
                said.add(path)
                expected = f"a {transport.upper()} port that is free in {place}: {other[0]} listens there"
                notes.wrong(path, f"{expected} (line {notes.line(other[1])})", found=port)


def _ports(one: TypeOf) -> list[tuple[Path, str, int]]:
    ports: list[tuple[Path, str, int]] = []
    interface, replication = one.text.interface, one.text.replication
    if interface is not None and interface.port:
        ports.append(((*one.path, "interface", "port"), interface.transport or "tcp", interface.port))
    if replication is not None and replication.port:
        ports.append(((*one.path, "replication", "port"), "tcp", replication.port))
    return ports
