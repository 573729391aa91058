"""Service addresses (VIPs) in a zone: assigned, announced, withdrawn; each effect read back from the kernel.

All functions are synchronous and take well below a millisecond; the agent may call them in its event loop.
Errors are WorldError and name the interface, the address and the kernel's reply.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_interface

from holdfast.drivers.announce import announcement
from holdfast.drivers.netlink import (
    FOR_EVER,
    IFA_F_NOPREFIXROUTE,
    RT_SCOPE_LINK,
    HeldAddress,
    Interface,
    KernelRefused,
)
from holdfast.drivers.zone import Zone
from holdfast.errors import UserError, WorldError

ANNOUNCE_AGAIN_AFTER_S = (0.01, 0.05, 0.25, 1.0)
"""When the caller should call `announce` again, counted from `assign` (which announces once by itself)."""


def assign(zone: Zone, address: str) -> None:
    """Add `10.77.0.100/24` or `fd00::100/64` to the zone's interface, read it back, announce it once.

    Doing it again is harmless, and announces again.
    """
    place(zone, address)
    announce(zone, address)


def place(zone: Zone, address: str) -> None:
    """Add it and read it back; nobody is told where it is now. The zone's own address stays the preferred source."""
    wanted = _parsed(address)
    with _said(f"assign {wanted} to interface {zone.interface}"):
        present = _of_family(zone, wanted)
        same = [held for held in present if held.address.ip == wanted.ip]
        if isinstance(wanted.ip, IPv6Address):
            zone.listen_for_solicitations(wanted.ip)
        if not any(held.is_usable for held in same):
            for held in same:  # Its duplicate address detection runs or has failed: such an address never answers.
                zone.netlink.drop_address(zone.interface, held.address)
            _add(zone, wanted, present)
            if not holds(zone, address):
                raise WorldError(
                    f"{wanted} was added to interface {zone.interface} but is not usable there when read back",
                    "something else in the VM takes the address away or holds it for a duplicate",
                )


def withdraw(zone: Zone, address: str) -> None:
    """Take the address away and confirm that it is gone, whatever its prefix length. Absent already is fine.

    A zone whose interface is gone holds no address, so that is fine too.
    """
    unwanted = _parsed(address)
    try:
        with _said(f"withdraw {unwanted.ip} from interface {zone.interface}"):
            for held in _of_family(zone, unwanted):
                if held.address.ip == unwanted.ip:
                    zone.netlink.drop_address(zone.interface, held.address)
            if isinstance(unwanted.ip, IPv6Address):
                zone.stop_listening(unwanted.ip)
            remains = any(held.address.ip == unwanted.ip for held in _of_family(zone, unwanted))
    except KernelRefused as refused:
        if refused.errno != errno.ENODEV:
            raise
        return
    if remains:
        raise WorldError(
            f"{unwanted.ip} was deleted from interface {zone.interface} but is there when read back",
            "something else in the VM adds the address again",
        )


def announce(zone: Zone, address: str) -> None:
    """Tell the neighbours where the address is now (gratuitous ARP, unsolicited neighbour advertisement)."""
    wanted = _parsed(address)
    what = f"announce {wanted.ip} on interface {zone.interface}"
    with _said(what):
        mac = zone.netlink.mac(zone.interface)
    try:
        for frame in announcement(mac, wanted.ip):
            zone.packets.sendto(frame, (zone.interface, int.from_bytes(frame[12:14], "big")))
    except OSError as error:
        raise KernelRefused(what, error.errno or 0) from error


def held(zone: Zone) -> frozenset[str]:
    """All addresses on the zone's interface, with prefix length, link-local ones left out."""
    return frozenset(
        str(entry.address)
        for family in (socket.AF_INET, socket.AF_INET6)
        for entry in zone.netlink.addresses(zone.interface, family)
        if entry.scope < RT_SCOPE_LINK
    )


def holds(zone: Zone, address: str) -> bool:
    """Whether the address (prefix length ignored) is on the zone's interface and usable at this moment."""
    wanted = _parsed(address)
    return any(entry.address.ip == wanted.ip and entry.is_usable for entry in _of_family(zone, wanted))


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Whatever the kernel refuses inside is told as a failure of `what`."""
    try:
        yield
    except KernelRefused as refused:
        raise KernelRefused(what, refused.errno, refused.kernel_text) from refused


def _add(zone: Zone, wanted: Interface, present: list[HeldAddress]) -> None:
    # Where another address covers the subnet its route is there, with that address as the source. A second route
    # would make the service's address the source of what the VM itself begins.
    covered = any(wanted.ip in held.address.network for held in present if held.scope < RT_SCOPE_LINK)
    flags = IFA_F_NOPREFIXROUTE if covered else 0
    # IPv6 would choose the newest address as source; a deprecated one answers but is chosen last.
    preferred_s = 0 if wanted.version == 6 else FOR_EVER
    zone.netlink.put_address(zone.interface, wanted, flags, preferred_s)


def _of_family(zone: Zone, address: Interface) -> list[HeldAddress]:
    return zone.netlink.addresses(zone.interface, socket.AF_INET if address.version == 4 else socket.AF_INET6)


def _parsed(address: str) -> Interface:
    try:
        return ip_interface(address)
    except ValueError as error:
        raise UserError(
            f"{address!r} is not an address with prefix length", "write it like 10.77.0.100/24 or fd00::100/64"
        ) from error
