"""What the managers asked of the hosts after a loss, held against what they should: who moves, and in which order.

In: what was given to whom since the loss, and how things were before. Out: what is wrong, in words; nothing if all is
well. Always holds: it knows nothing of the cores, only instructions and the layout.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from holdfast.lab.bench.scale_hosts import Given
from holdfast.model.actions import Activate, StartVm, StartVnfc
from holdfast.model.layout import Layout
from holdfast.model.names import HostName, ServiceName, VnfcName


def recovered(
    layout: Layout, lost: Sequence[HostName], before: Mapping[ServiceName, VnfcName], given: Sequence[Given]
) -> list[str]:
    """Of the time until services are back: each service of the lost hosts is given once, the others are left alone."""
    owed = {service for service, vnfc in before.items() if layout.vnfcs[vnfc].host in lost}
    moves = [one.action for one in given if isinstance(one.action, Activate)]
    times = Counter(move.service for move in moves)
    wrong = [f"{service} was given to nobody" for service in sorted(owed - set(times))]
    wrong += [f"{service} was moved, and nothing of it was lost" for service in sorted(set(times) - owed)]
    wrong += [f"{service} was given {count} times" for service, count in times.items() if count > 1]
    wrong += [
        f"{move.service} was given to {move.vnfc} on a lost host"
        for move in moves
        if layout.vnfcs[move.vnfc].host in lost
    ]
    wrong += [
        f"{type(one.action).__name__} came before the services were back"
        for one in given
        if isinstance(one.action, StartVm | StartVnfc)
    ]
    return wrong + _out_of_order(layout, before, moves)


def _out_of_order(layout: Layout, before: Mapping[ServiceName, VnfcName], moves: Sequence[Activate]) -> list[str]:
    """Hosts are found failed one after the other; of each the services of SAL 1 come first."""
    numbers = {move.service: int(move.id.rpartition("/")[2]) for move in moves}
    by_host: dict[HostName, list[ServiceName]] = {}
    for service in numbers:
        if service in before:
            by_host.setdefault(layout.vnfcs[before[service]].host, []).append(service)
    wrong = []
    for host, services in by_host.items():
        sals = [layout.vnfs[layout.groups[layout.services[one].group].vnf].sal for one in services]
        decided = [sal for _, sal in sorted(zip((numbers[one] for one in services), sals, strict=True))]
        if decided != sorted(decided):
            wrong.append(f"services of {host} were not given in the order of their SALs: {decided}")
    return wrong


def repaired(layout: Layout, lost: Sequence[HostName], given: Sequence[Given]) -> list[str]:
    """Of the time after that: all VMs and components of the lost hosts are started again, once, by their SALs."""
    vms = [one.action.vm for one in given if isinstance(one.action, StartVm)]
    vnfcs = [one.action.vnfc for one in given if isinstance(one.action, StartVnfc)]
    owed_vms = {vm.name for vm in layout.vms.values() if vm.host in lost}
    owed_vnfcs = {vnfc.name for vnfc in layout.vnfcs.values() if vnfc.host in lost}
    wrong = [f"{name} was started {count} times" for name, count in Counter([*vms, *vnfcs]).items() if count > 1]
    wrong += [f"{name} was not started again" for name in sorted((owed_vms - set(vms)) | (owed_vnfcs - set(vnfcs)))]
    wrong += [
        f"{name} was started, and was not lost" for name in sorted((set(vms) - owed_vms) | (set(vnfcs) - owed_vnfcs))
    ]
    sals = {layout.vnfcs[name].vm: layout.vnfs[layout.vnfcs[name].vnf].sal for name in owed_vnfcs}
    started = sorted((layout.vms[name].host, place, sals[name]) for place, name in enumerate(vms) if name in sals)
    for host, places in groupby(started, key=lambda one: one[0]):
        order = [sal for _, _, sal in places]
        if order != sorted(order):
            wrong.append(f"VMs of {host} were not started in the order of their SALs: {order}")
    return wrong
