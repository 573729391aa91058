"""Where the HA manager's VNFCs are, arranged so that an event costs only what it touches.

In: the layout. Out: an `Estate`. Always holds: it says nothing that the layout does not.
"""

from dataclasses import dataclass

from holdfast.model.layout import Layout
from holdfast.model.names import HostName, VmName, VnfcName

LAYOUTS_KEPT = 8


@dataclass(frozen=True)
class Estate:
    in_vm: dict[VmName, tuple[VnfcName, ...]]
    on_host: dict[HostName, tuple[VnfcName, ...]]
    """In a VM or not; as all of these in the order of the descriptor."""


_KNOWN: list[tuple[Layout, Estate]] = []


def estate_of(layout: Layout) -> Estate:
    """Worked out once for each layout."""
    for known, estate in _KNOWN:
        if known is layout:
            return estate
    in_vm: dict[VmName, list[VnfcName]] = {}
    on_host: dict[HostName, list[VnfcName]] = {}
    for vnfc in layout.vnfcs.values():
        on_host.setdefault(vnfc.host, []).append(vnfc.name)
        if vnfc.vm is not None:
            in_vm.setdefault(vnfc.vm, []).append(vnfc.name)
    estate = Estate(
        {vm: tuple(names) for vm, names in in_vm.items()}, {host: tuple(names) for host, names in on_host.items()}
    )
    _KNOWN.append((layout, estate))
    del _KNOWN[:-LAYOUTS_KEPT]
    return estate
