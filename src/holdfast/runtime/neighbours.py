"""Deployments of one machine beside one another: do they want the same bridge, subnet or address?

In:   the layout that shall be started, and the layout of one that runs already (or is just being started).
Out:  nothing, or a UserError that names what both want.
"""

from collections.abc import Iterator
from ipaddress import ip_interface

from holdfast.errors import UserError
from holdfast.model.layout import Host, Layout


def refuse_clash(layout: Layout, other: Layout, shared: frozenset[str] = frozenset()) -> None:
    """Raise if both cannot run at the same time.

    Args:
        layout: what shall be started.
        other: what is there already.
        shared: bridges that neither of them makes: two may be attached to one on purpose.
    """
    for mine in layout.hosts.values():
        for theirs in other.hosts.values():
            _refuse_same_network(mine, theirs, other.name, shared)
    taken = dict(_addresses(other))
    for address, whose in _addresses(layout):
        if address in taken:
            raise UserError(
                f"address {address} of {whose} belongs to {taken[address]} of the deployment {other.name}",
                f"choose another address, or run `holdfast down {other.name}`",
            )


def _refuse_same_network(mine: Host, theirs: Host, name: str, shared: frozenset[str]) -> None:
    if not mine.addresses or not theirs.addresses:
        return
    if mine.bridge == theirs.bridge:
        if mine.bridge in shared:
            return
        raise UserError(
            f"bridge {mine.bridge} of host {mine.name} belongs to the deployment {name}",
            f"choose another `bridge` (and subnet) for host {mine.name}, or run `holdfast down {name}`",
        )
    for address in mine.addresses:
        for held in theirs.addresses:
            one, other = ip_interface(address).network, ip_interface(held).network
            if one.version == other.version and one.overlaps(other):
                raise UserError(
                    f"subnet {one} of host {mine.name} overlaps {other} of the deployment {name}",
                    f"choose another subnet under `network`, or run `holdfast down {name}`",
                )


def _addresses(layout: Layout) -> Iterator[tuple[str, str]]:
    """Each address of a VM or a service, without its prefix length, and whose it is."""
    for vm in layout.vms.values():
        for address in vm.addresses:
            yield address.partition("/")[0], f"VM {vm.name}"
    for service in layout.services.values():
        if service.address:
            yield service.address.partition("/")[0], f"service {service.name}"
