"""Can this machine run the layout? Asked before anything is started.

In:   a layout whose VMs and VNFCs shall all run here.
Out:  nothing; or UserError (the descriptor asks for what is taken here) or MachineLacks (something is not
installed, or not allowed), each naming the component or interface and the value.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from ipaddress import ip_interface

from holdfast.drivers import ocf
from holdfast.drivers.fence import program as fence_program
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.nft import Nft
from holdfast.errors import MachineLacks, UserError, WorldError
from holdfast.model.layout import Component, Host, Layout
from holdfast.runtime.agent_components import SOCKET_PATH_BYTES_MAX
from holdfast.runtime.folder import RunFolder, default_base

FREE_BYTES_MIN = 8 << 20
"""Room for journals, logs and stores of a short run."""


def check_machine(layout: Layout, folder: RunFolder) -> None:
    """Raise on the first thing that would keep the layout from running here."""
    check_one_host(layout)
    check_privileges()
    check_folder(layout, folder)
    check_programs(layout)
    check_network(layout, folder)
    check_ports(layout)


def check_one_host(layout: Layout) -> None:
    """`up` is for one machine."""
    if len(layout.hosts) != 1:
        raise UserError(
            f"`up` runs all of a deployment on this machine, but {layout.name} has {len(layout.hosts)} hosts: "
            f"{', '.join(layout.hosts)}",
            "leave one host; for several, run `holdfast prepare` on each of them (docs/several-hosts.md)",
        )


def reservations(layout: Layout) -> list[str]:
    """What the layout asks for and sandboxes do not have: it runs, but not in all as it is written."""
    said = {
        "snapshot": "a sandbox has no snapshots: after a failure it stays away",
        "standby-vm": "a sandbox is not replaced by another: after a failure it is started anew",
    }
    return [f"VM {vm.name} (repair: {vm.repair}): {said[vm.repair]}" for vm in layout.vms.values() if vm.repair in said]


def check_privileges() -> None:
    """Root, and a kernel that lets it make gates."""
    if os.geteuid() != 0:
        raise MachineLacks(
            "namespaces and addresses need root, and this is user id " + str(os.geteuid()),
            "run it with sudo; `holdfast lab run` also works without root",
        )
    Nft().close()


def check_folder(layout: Layout, folder: RunFolder, free_min: int = FREE_BYTES_MIN) -> None:
    """The run folder's path is short enough for sockets, and there is room where it will be."""
    for host in layout.hosts:
        path = folder.component_socket(host)
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            raise UserError(
                f"the path {path} is too long for a socket (at most {SOCKET_PATH_BYTES_MAX} bytes)",
                "set HOLDFAST_RUN to a folder with a shorter path",
            )
    place = next(parent for parent in (folder.root, *folder.root.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < free_min:
        raise MachineLacks(
            f"only {free // 1024} KiB are free on the file system of {place}, expected at least {free_min // 1024}",
            "make room there, or set HOLDFAST_RUN to another folder",
        )


def check_programs(layout: Layout) -> None:
    """Every program that components and hosts need is there."""
    check_components(layout)
    for host in layout.hosts.values():
        for device in (device for level in host.fence for device in level):
            if fence_program(device.agent) is None:
                raise MachineLacks(
                    f"host {host.name}: there is no fence agent {device.agent}", "install the package fence-agents"
                )


def check_components(layout: Layout) -> None:
    """Every program that a component needs is there."""
    for component in layout.components.values():
        if component.ocf is not None:
            try:
                ocf.program(component.ocf)
            except WorldError as error:
                raise MachineLacks(f"{_owner(component)}: {error.message}", error.hint) from None
        for purpose, program in _programs(component):
            if "${" in program or (os.sep in program and not os.path.isabs(program)):
                continue  # In the VNFC's own folder, which does not exist yet.
            if shutil.which(program) is None:
                raise MachineLacks(
                    f"{_owner(component)}: the program {program} of its {purpose} is not there",
                    f"install it, or correct `{purpose}` in the descriptor",
                )


def _owner(component: Component) -> str:
    """Where in the descriptor it stands."""
    if component.name == component.vnf:
        return f"VNF {component.vnf}"
    return f"component {component.name} of VNF {component.vnf}"


def _programs(component: Component) -> Iterator[tuple[str, str]]:
    for purpose in ("start", "stop", "cleanup", "become_active", "become_standby"):
        operation = getattr(component, purpose)
        if operation is not None and operation.command:
            yield purpose, operation.command[0]
    for check in component.checks:
        if check.kind == "command" and check.command:
            yield "check", check.command[0]


def check_network(layout: Layout, folder: RunFolder) -> None:
    """Bridges and subnets of the layout are free, or a bridge is there on purpose with the right addresses."""
    with Netlink.open() as netlink:
        for host in layout.hosts.values():
            if not host.addresses:
                continue
            is_there = netlink.exists(host.bridge)
            if is_there:
                _check_bridge(netlink, host, folder)
            _check_subnets(netlink, host)


def _check_bridge(netlink: Netlink, host: Host, folder: RunFolder) -> None:
    for other in bridge_makers(host):
        if other.root != folder.root:
            raise UserError(
                f"bridge {host.bridge} of host {host.name} belongs to the deployment {other.root.name}",
                f"choose another `bridge` (and subnet) for host {host.name}, or run `holdfast down {other.root.name}`",
            )
    if not os.path.isdir(f"/sys/class/net/{host.bridge}/bridge"):
        raise UserError(
            f"interface {host.bridge} is there already and is no bridge",
            f"choose another `bridge` for host {host.name}",
        )
    held = {
        str(one.address)
        for family in (socket.AF_INET, socket.AF_INET6)
        for one in netlink.addresses(host.bridge, family)
    }
    missing = [address for address in host.addresses if str(ip_interface(address)) not in held]
    if missing:
        raise UserError(
            f"bridge {host.bridge} is there already and does not hold {', '.join(missing)} of host {host.name}",
            f"choose another `bridge`, or give it the address yourself: ip addr add {missing[0]} dev {host.bridge}",
        )


def bridge_makers(host: Host) -> list[RunFolder]:
    """Deployments of this machine that made a bridge of that name."""
    makers = []
    for root in sorted(default_base().glob("*")):
        for marker in root.glob("bridge-*"):
            if marker.read_text() == host.bridge:
                makers.append(RunFolder(root))
    return makers


def _check_subnets(netlink: Netlink, host: Host) -> None:
    wanted = [ip_interface(address).network for address in host.addresses]
    for _, name in socket.if_nameindex():
        if name in {host.bridge, "lo"}:
            continue
        for family in (socket.AF_INET, socket.AF_INET6):
            for held in netlink.addresses(name, family):
                if held.address.is_link_local:
                    continue
                for network in wanted:
                    if network.version == held.address.version and network.overlaps(held.address.network):
                        raise UserError(
                            f"subnet {network} of host {host.name} overlaps {held.address} of interface {name}",
                            "choose another subnet in the descriptor",
                        )


def check_ports(layout: Layout) -> None:
    """Ports of components that run on the host itself are free."""
    for vnfc in layout.vnfcs.values():
        if vnfc.vm is not None:
            continue
        component = layout.components[vnfc.group]
        services = [layout.services[name] for name in layout.groups[vnfc.group].services]
        wanted = {(service.transport, service.port) for service in services if service.port and service.transport}
        wanted |= {("tcp", check.port) for check in component.checks if check.kind in {"tcp", "http"} and check.port}
        for transport, port in sorted(wanted):
            kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
            if not _is_free(kind, port):
                raise UserError(
                    f"{transport} port {port} of {vnfc.name} on host {vnfc.host} is in use on this machine",
                    f"see who holds it: ss -ln{transport[0]}p 'sport = :{port}'",
                )


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind == socket.SOCK_STREAM else 0)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((everywhere, port))
            except OSError:
                return False
    return True
