"""VM ports and bridges: a veth pair whose inner end is the VM's `eth0` and whose outer end is on the host's bridge.

Deleting the outer end takes the VM's interface away with it, whatever the VM does.
"""

import errno
import hashlib
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv6Interface
from pathlib import Path

from holdfast.drivers.namespaces import inside
from holdfast.drivers.netlink import INTERFACE_NAME_MAX, KernelRefused, Netlink
from holdfast.errors import WorldError


def port_name(deployment: str, vm: str) -> str:
    """The outer end's name: the same for every boot of the VM, at most 15 characters."""
    mark = hashlib.sha256(f"{deployment}/{vm}".encode()).hexdigest()[:6]
    readable = "".join(sign for sign in vm if sign.isascii() and (sign.isalnum() or sign in "-_"))
    return f"hf-{readable[: INTERFACE_NAME_MAX - 10]}-{mark}"


def mac_of(*names: str) -> bytes:
    """A locally administered MAC, always the same for the same names: neighbours need not learn it anew."""
    return b"\x02" + hashlib.sha256("/".join(names).encode()).digest()[:5]


def mac_of_port(port: str) -> bytes:
    """MAC of a port's outer end: above that of any card, so that a bridge never takes it for its own.

    A bridge that was not given a MAC has the lowest of its ports. Were that one of a VM, the bridge would change its
    own when the VM comes or goes, and the neighbours would send to nobody until they ask anew.
    """
    return b"\xfe" + mac_of("port", port)[1:]


def make_bridge(netlink: Netlink, name: str, addresses: Iterable[str] = ()) -> None:
    """Make the host's bridge, up, with the host's own addresses (with prefix length); one there already is kept."""
    own = tuple(addresses)
    if not netlink.exists(name):
        # Without a MAC of its own a bridge takes that of its lowest port, and changes it as VMs come and go.
        # The addresses are part of it: hosts in namespaces of one machine all name their bridge alike.
        netlink.bridge(name, mac_of("bridge", name, *own))
    _furnish(netlink, name, own)


def remove_bridge(netlink: Netlink, name: str) -> None:
    """Remove the bridge and confirm it; absent is fine."""
    _remove(netlink, name, "bridge")


def make_port(
    netlink: Netlink,
    bridge: str,
    port: str,
    netns_fd: int,
    *,
    inner: str = "eth0",
    addresses: Iterable[str] = (),
    gateway: str | None = None,
    guard: Callable[[str], None] | None = None,
) -> None:
    """Attach the VM whose namespace is `netns_fd`: `inner` there with its addresses, up, and loopback up.

    `guard` (normally `gate.guard`) is called with the port's name before the port lets anything pass.
    A port of that name left from an earlier boot is removed first.
    """
    netlink.delete(port)
    netlink.veth(port, inner, peer_netns_fd=netns_fd, mac=mac_of_port(port), peer_mac=mac_of("inner", port))
    try:
        netlink.make_quiet(port)
        if guard is not None:
            guard(port)
        netlink.enslave(port, bridge)
        netlink.up(port)
        inside(netns_fd, lambda: _calm(inner))
        with Netlink.open(netns_fd) as within:
            within.up("lo")
            _furnish(within, inner, addresses)
            if gateway is not None:
                within.default_route(gateway)
    except BaseException:
        netlink.delete(port)
        raise


def cut_port(netlink: Netlink, port: str) -> None:
    """Let nothing more pass in either direction, and confirm it; absent is fine. Takes 0.3 ms."""
    try:
        netlink.down(port)
        passes = netlink.is_up(port)
    except KernelRefused as refused:
        if refused.errno != errno.ENODEV:
            raise
        return
    if passes:
        raise WorldError(f"port {port} was set down but is up when read back", "somebody else sets it up again")


def remove_port(netlink: Netlink, port: str) -> None:
    """Remove the port and confirm that it is gone; absent is fine.

    The kernel takes 15 to 40 ms for it, so call it in a thread with a Netlink of its own, after `cut_port`.
    """
    _remove(netlink, port, "port")


def port_exists(netlink: Netlink, port: str) -> bool:
    return netlink.exists(port)


def _remove(netlink: Netlink, name: str, kind: str) -> None:
    netlink.delete(name)
    if netlink.exists(name):
        raise WorldError(f"{kind} {name} was deleted but is there when read back", "somebody else makes it again")


def _furnish(netlink: Netlink, name: str, addresses: Iterable[str]) -> None:
    """Give the interface its addresses and set it up, so that all of them answer at once."""
    wanted = tuple(addresses)
    netlink.make_quiet(name)
    netlink.fit_for_services(name)
    netlink.up(name)
    for address in wanted:
        netlink.add_address(name, address)
    try:
        netlink.put_address(name, _link_local(netlink.mac(name)))
    except KernelRefused:
        # No IPv6 on this machine or interface: nothing is missing unless an IPv6 address was asked for, and that
        # has been refused with its own reason above.
        if netlink.addresses(name, socket.AF_INET6):
            raise


def _link_local(mac: bytes) -> IPv6Interface:
    """RFC 4291, appendix A: what the kernel would choose too, but without a second of duplicate detection."""
    middle = bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return IPv6Interface((b"\xfe\x80" + bytes(6) + middle, 64))


def _calm(interface: str) -> None:
    """Switch off what a kernel does on its own on a new interface: asking for routers, detecting duplicates.

    Runs in the VM's namespace. Addresses of Holdfast carry NODAD anyway; this is for what components add themselves.
    """
    settings = Path("/proc/sys/net/ipv6/conf") / interface
    for name in ("accept_ra", "router_solicitations", "accept_dad"):
        try:
            (settings / name).write_text("0")
        except OSError:
            # /proc/sys may be read-only, or IPv6 absent: then the VM is a little less quiet, and works all the same.
            return
