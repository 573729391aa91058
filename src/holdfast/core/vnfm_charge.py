"""Which part of a layout one VNFM looks after, arranged so that an event costs only what it touches.

In: the layout and the VNFM's party. Out: a `Charge`. Always holds: it says nothing that the layout does not.
"""

from dataclasses import dataclass
from typing import TypeVar

from holdfast.model.layout import Escalation, Layout, in_charge
from holdfast.model.names import HA, GroupName, HostName, Party, ServiceName, VmName, VnfcName, vnfm_party

K = TypeVar("K")

CHARGES_KEPT = 16
"""Layouts times VNFMs that are remembered; a process holds a handful."""


@dataclass(frozen=True)
class Charge:
    own: frozenset[VnfcName]
    """VNFCs this VNFM starts and cleans up itself (VNFs without redundancy)."""
    in_vm: dict[VmName, tuple[VnfcName, ...]]
    on_host: dict[HostName, tuple[VnfcName, ...]]
    """Own VNFCs on the host, in a VM or not."""
    service_of: dict[VnfcName, ServiceName]
    dependents: dict[GroupName, tuple[VnfcName, ...]]
    """Own VNFCs that start only when all of the group is provided."""
    bare_on: dict[HostName, tuple[VnfcName, ...]]
    """Own VNFCs on the host that are in no VM."""
    hosts_with_ha: frozenset[HostName]
    """Hosts with VNFCs in no VM, of VNFs that this VNFM has given to the HA manager."""
    vms_with_ha: frozenset[VmName]
    """VMs with VNFCs of VNFs that this VNFM has given to the HA manager."""


_KNOWN: list[tuple[Layout, Party, Charge]] = []


def charge_of(layout: Layout, party: Party) -> Charge:
    """The charge; worked out once for each layout and party."""
    for known, by, charge in _KNOWN:
        if known is layout and by == party:
            return charge
    charge = _worked_out(layout, party)
    _KNOWN.append((layout, party, charge))
    del _KNOWN[:-CHARGES_KEPT]
    return charge


def _worked_out(layout: Layout, party: Party) -> Charge:
    in_vm: dict[VmName, list[VnfcName]] = {}
    on_host: dict[HostName, list[VnfcName]] = {}
    service_of: dict[VnfcName, ServiceName] = {}
    dependents: dict[GroupName, list[VnfcName]] = {}
    bare_on: dict[HostName, list[VnfcName]] = {}
    vms_with_ha: set[VmName] = set()
    hosts_with_ha: set[HostName] = set()
    own: list[VnfcName] = []
    charged = {name: in_charge(layout, name) for name in layout.vnfs}
    for vnfc in layout.vnfcs.values():
        if charged[vnfc.vnf] == HA and vnfm_party(layout.vnfs[vnfc.vnf].vnfm) == party:
            if vnfc.vm:
                vms_with_ha.add(vnfc.vm)
            else:
                hosts_with_ha.add(vnfc.host)
        if charged[vnfc.vnf] != party:
            continue
        own.append(vnfc.name)
        on_host.setdefault(vnfc.host, []).append(vnfc.name)
        if vnfc.vm:
            in_vm.setdefault(vnfc.vm, []).append(vnfc.name)
        else:
            bare_on.setdefault(vnfc.host, []).append(vnfc.name)
        group = layout.groups[vnfc.group]
        place = group.vnfcs.index(vnfc.name)
        if place < len(group.services):
            service_of[vnfc.name] = group.services[place]
        for before in group.after:
            dependents.setdefault(before, []).append(vnfc.name)
    return Charge(
        own=frozenset(own),
        in_vm=_fixed(in_vm),
        on_host=_fixed(on_host),
        service_of=service_of,
        dependents=_fixed(dependents),
        bare_on=_fixed(bare_on),
        hosts_with_ha=frozenset(hosts_with_ha),
        vms_with_ha=frozenset(vms_with_ha),
    )


def _fixed(lists: dict[K, list[VnfcName]]) -> dict[K, tuple[VnfcName, ...]]:
    return {key: tuple(names) for key, names in lists.items()}


def escalation_of(layout: Layout, vnfc: VnfcName) -> Escalation:
    return layout.vnfs[layout.vnfcs[vnfc].vnf].vnfc_escalation
