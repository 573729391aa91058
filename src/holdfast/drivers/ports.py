"""VM ports and bridges: a veth pair whose inner end is the VM's `eth0` and whose outer end is on the host's bridge.

Deleting the outer end takes the VM's interface away with it, whatever the VM does.
"""

from collections.abc import Callable, Iterable

from holdfast.drivers.netlink import Netlink


def port_name(deployment: str, vm: str) -> str:
    """The outer end's name: the same for every boot of the VM, at most 15 characters."""
    raise NotImplementedError


def mac_of(*names: str) -> bytes:
    """A locally administered MAC, always the same for the same names: neighbours need not learn it anew."""
    raise NotImplementedError


def make_bridge(netlink: Netlink, name: str, addresses: Iterable[str] = ()) -> None:
    """Make the host's bridge, up, with the host's own addresses (with prefix length); one there already is kept."""
    raise NotImplementedError


def remove_bridge(netlink: Netlink, name: str) -> None:
    """Remove the bridge and confirm it; absent is fine."""
    raise NotImplementedError


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
    raise NotImplementedError


def remove_port(netlink: Netlink, port: str) -> None:
    """Remove the port and confirm that it is gone; absent is fine."""
    raise NotImplementedError


def port_exists(netlink: Netlink, port: str) -> bool:
    raise NotImplementedError
