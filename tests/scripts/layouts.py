"""Small deployments that the stories play in, built in code so that a story shows only what happens.

Each function returns a resolved Layout; `LAYOUTS` names them for the `layout` command.
"""

from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from holdfast.model.layout import (
    Component,
    Escalation,
    FenceDevice,
    Grants,
    Group,
    Host,
    Layout,
    Operation,
    Replication,
    Service,
    Vm,
    Vnf,
    Vnfc,
)
from holdfast.model.names import (
    GroupName,
    HostName,
    Redundancy,
    Reserve,
    ServiceName,
    StateKind,
    VmName,
    VnfcName,
    VnfmName,
    VnfName,
)

Repair = Literal["negotiated", "initial", "snapshot", "standby-vm", "none"]


def machines(places: dict[str, str], repair: Repair = "negotiated", fenced: bool = False) -> Layout:
    """Hosts and VMs: VM name to host name; a VM named "" makes a host without one."""
    hosts = {
        HostName(host): Host(HostName(host), fence=((FenceDevice("fence_test"),),) if fenced else ())
        for host in dict.fromkeys(places.values())
    }
    vms = {
        VmName(vm): Vm(VmName(vm), HostName(host), (f"10.77.0.{number}/24",), repair)
        for number, (vm, host) in enumerate(places.items(), start=11)
        if not vm.startswith("bare")
    }
    return Layout(name="story", hosts=hosts, vms=vms)


def with_vnf(
    layout: Layout,
    name: str,
    places: tuple[str, ...],
    redundancy: Redundancy = "2N",
    reserve: Reserve = "standby",
    state: StateKind = "internal",
    actives: int = 1,
    speaks: bool = True,
    report: bool = True,
    vnfm: str = "core",
    after: tuple[str, ...] = (),
    group: str = "",
    maximum: int = 3,
) -> Layout:
    """Add a group of VNFCs, one in each of the places (VMs, or hosts for VNFCs without a VM)."""
    group_name = GroupName(f"{name}.{group}" if group else name)
    stem = f"{name}-{group}" if group else name
    vnfcs = tuple(VnfcName(f"{stem}-{number}") for number in range(1, len(places) + 1))
    services = tuple(ServiceName(group_name if actives == 1 else f"{group_name}#{n}") for n in range(1, actives + 1))
    known = layout.vnfs.get(VnfName(name))
    vnf = Vnf(
        name=VnfName(name),
        vnfm=VnfmName(vnfm),
        sal=1,
        report=report,
        groups=(*(known.groups if known else ()), group_name),
        vnfc_escalation=Escalation(maximum=maximum, probation_s=60.0),
    )
    component = Component(
        name=group or name,
        vnf=vnf.name,
        group=group_name,
        start=Operation((stem,)),
        speaks=speaks,
        replication=Replication(port=7000) if state == "internal" else None,
    )
    added = {
        vnfc: _placed(layout, vnfc, component, group_name, place) for vnfc, place in zip(vnfcs, places, strict=True)
    }
    return replace(
        layout,
        vnfs={**layout.vnfs, vnf.name: vnf},
        components={**layout.components, group_name: component},
        groups={
            **layout.groups,
            group_name: Group(
                name=group_name,
                vnf=vnf.name,
                component=component.name,
                redundancy=redundancy,
                reserve=reserve,
                state=state,
                services=services,
                vnfcs=vnfcs,
                after=tuple(GroupName(one) for one in after),
            ),
        },
        services={
            **layout.services,
            **{service: _reached(layout, service, group_name, place) for place, service in enumerate(services)},
        },
        vnfcs={**layout.vnfcs, **added},
    )


def _placed(layout: Layout, name: VnfcName, component: Component, group: GroupName, place: str) -> Vnfc:
    vm = layout.vms.get(VmName(place))
    host = vm.host if vm else HostName(place)
    return Vnfc(name, component.vnf, component.name, group, host, vm.name if vm else None)


def _reached(layout: Layout, name: ServiceName, group: GroupName, place: int) -> Service:
    return Service(name, group, f"10.77.0.{100 + len(layout.services) + place}/24", 80, "tcp")


TWO = {"vm1": "host1", "vm2": "host2"}
THREE = {"vm1": "host1", "vm2": "host2", "vm3": "host3"}


def registry() -> Layout:
    """A stateful VNF: active and standby, each in a VM on a host of its own; errors are reported."""
    return with_vnf(machines(TWO), "registry", ("vm1", "vm2"))


def registry_three() -> Layout:
    """A stateful VNF with two standbys."""
    return with_vnf(machines(THREE), "registry", ("vm1", "vm2", "vm3"))


def registry_bare() -> Layout:
    """The stateful VNF on two hosts, without VMs."""
    return with_vnf(machines({"bare1": "host1", "bare2": "host2"}), "registry", ("host1", "host2"), maximum=2)


def registry_configured() -> Layout:
    """The stateful VNF in VMs whose repair is configured (restart in initial state) instead of negotiated."""
    return with_vnf(machines(TWO, repair="initial"), "registry", ("vm1", "vm2"))


def registry_no_repair() -> Layout:
    """The stateful VNF in VMs that nobody repairs."""
    return with_vnf(machines(TWO, repair="none"), "registry", ("vm1", "vm2"))


def registry_fenced() -> Layout:
    """The stateful VNF in VMs on hosts that can be switched off."""
    return with_vnf(machines(TWO, fenced=True), "registry", ("vm1", "vm2"))


def registry_two_vnfms() -> Layout:
    """The stateful VNF shares VM 1 with a DNS of another VNFM."""
    layout = with_vnf(machines(TWO), "registry", ("vm1", "vm2"))
    return with_vnf(layout, "dns", ("vm1",), "no-redundancy", "spare", "none", speaks=False, report=False, vnfm="edge")


def dns() -> Layout:
    """A stateless VNF: a program that cannot be told an epoch once it runs, and a spare; no error reports."""
    return with_vnf(machines(TWO), "dns", ("vm1", "vm2"), reserve="spare", state="none", speaks=False, report=False)


def dns_reported() -> Layout:
    """The stateless VNF with error reports."""
    return with_vnf(machines(TWO), "dns", ("vm1", "vm2"), reserve="spare", state="none", speaks=False)


def dns_late() -> Layout:
    """A stateless VNF whose spare is instantiated after a failure only."""
    return with_vnf(
        machines(TWO), "dns", ("vm1", "vm2"), reserve="late-spare", state="none", speaks=False, report=False
    )


def shared_spare() -> Layout:
    """N+M: two actives, and one spare that protects both."""
    return with_vnf(
        machines(THREE),
        "dns",
        ("vm1", "vm2", "vm3"),
        redundancy="N+M",
        reserve="spare",
        state="none",
        actives=2,
        speaks=False,
        report=False,
    )


def external() -> Layout:
    """State on shared storage, an active and a spare that must not act on it at the same time."""
    return with_vnf(machines(TWO), "billing", ("vm1", "vm2"), reserve="spare", state="external", speaks=True)


def two_groups() -> Layout:
    """A VNF of two component types: a store with a standby, and a front without one that is started after it."""
    layout = with_vnf(machines(TWO), "shop", ("vm1", "vm2"), group="store")
    return with_vnf(
        layout,
        "shop",
        ("vm2",),
        "no-redundancy",
        "spare",
        "none",
        speaks=False,
        group="front",
        after=("shop.store",),
    )


def nginx() -> Layout:
    """A stateless VNF of one VNFC: no redundancy, so its VNFM is in charge."""
    return with_vnf(machines({"vm1": "host1"}), "nginx", ("vm1",), "no-redundancy", "spare", "none", speaks=False)


def ledger() -> Layout:
    """A VNF of one VNFC whose state is on external storage."""
    return with_vnf(machines({"vm1": "host1"}), "ledger", ("vm1",), "no-redundancy", "spare", "external")


def two_vnfms_one_vm() -> Layout:
    """Two VNFs without redundancy, of two VNFMs, in the same VM."""
    layout = with_vnf(
        machines({"vm1": "host1"}), "nginx", ("vm1",), "no-redundancy", "spare", "none", speaks=False, vnfm="web"
    )
    return with_vnf(layout, "dns", ("vm1",), "no-redundancy", "spare", "none", speaks=False, report=False, vnfm="edge")


def escalation_hosts() -> Layout:
    """Two VMs of two VNFMs on a host that can be fenced, a third VM on another host."""
    layout = machines({"vm1": "host1", "vm2": "host1", "vm3": "host2"}, fenced=True)
    layout = with_vnf(layout, "nginx", ("vm1",), "no-redundancy", "spare", "none", speaks=False, vnfm="web", maximum=1)
    return with_vnf(layout, "dns", ("vm2",), "no-redundancy", "spare", "none", speaks=False, vnfm="edge", maximum=1)


def granted(layout: Layout) -> Layout:
    """With grants, and a further host that only votes."""
    witness = Host(HostName("witness"), witness=True)
    return replace(layout, hosts={**layout.hosts, witness.name: witness}, grants=Grants("fast"))


def registry_granted() -> Layout:
    """As registry, on hosts that hold grants."""
    return granted(registry())


def dns_granted() -> Layout:
    """As dns-reported, on hosts that hold grants."""
    return granted(dns_reported())


def external_granted() -> Layout:
    """As external, on hosts that hold grants and can be switched off."""
    return granted(with_vnf(machines(TWO, fenced=True), "billing", ("vm1", "vm2"), reserve="spare", state="external"))


def external_granted_bare() -> Layout:
    """As external-granted, without VMs."""
    vmless = machines({"bare1": "host1", "bare2": "host2"}, fenced=True)
    return granted(with_vnf(vmless, "billing", ("host1", "host2"), reserve="spare", state="external"))


def registry_four() -> Layout:
    """A stateful VNF with two standbys, and a fourth host that only votes; all can be switched off."""
    places = {**THREE, "bare4": "host4"}
    layout = with_vnf(machines(places, fenced=True), "registry", ("vm1", "vm2", "vm3"))
    return replace(layout, grants=Grants("fast"))


def registry_granted_three() -> Layout:
    """As registry-three, on hosts that hold grants and can be switched off."""
    layout = with_vnf(machines(THREE, fenced=True), "registry", ("vm1", "vm2", "vm3"))
    return replace(layout, grants=Grants("fast"))


def registry_granted_bare() -> Layout:
    """As registry-bare, on hosts that hold grants."""
    return granted(registry_bare())


def registry_granted_two() -> Layout:
    """As registry, on two hosts that hold grants, and can be switched off by nobody."""
    return replace(registry(), grants=Grants("fast"))


def registry_granted_fenced() -> Layout:
    """As registry, on two hosts that hold grants and can be switched off."""
    return replace(registry_fenced(), grants=Grants("fast"))


def adjusting(layout: Layout) -> Layout:
    """Services go back to the VNFCs named first for them, when these have been well for a minute."""
    groups = {name: replace(group, auto_adjust_s=60.0) for name, group in layout.groups.items()}
    return replace(layout, groups=groups)


def registry_adjusting() -> Layout:
    return adjusting(registry())


def registry_adjusting_granted() -> Layout:
    """With two standbys, on hosts that hold grants."""
    return adjusting(registry_granted_three())


def pool_adjusting() -> Layout:
    """Two actives that share a spare."""
    return adjusting(shared_spare())


LAYOUTS: dict[str, Callable[[], Layout]] = {
    "registry": registry,
    "registry-adjusting": registry_adjusting,
    "registry-adjusting-granted": registry_adjusting_granted,
    "pool-adjusting": pool_adjusting,
    "registry-granted": registry_granted,
    "registry-granted-bare": registry_granted_bare,
    "registry-granted-two": registry_granted_two,
    "registry-granted-fenced": registry_granted_fenced,
    "registry-granted-three": registry_granted_three,
    "registry-four": registry_four,
    "registry-three": registry_three,
    "registry-bare": registry_bare,
    "registry-configured": registry_configured,
    "registry-no-repair": registry_no_repair,
    "registry-fenced": registry_fenced,
    "registry-two-vnfms": registry_two_vnfms,
    "dns": dns,
    "dns-reported": dns_reported,
    "dns-late": dns_late,
    "dns-granted": dns_granted,
    "shared-spare": shared_spare,
    "external": external,
    "external-granted": external_granted,
    "external-granted-bare": external_granted_bare,
    "two-groups": two_groups,
    "nginx": nginx,
    "ledger": ledger,
    "two-vnfms": two_vnfms_one_vm,
    "escalation-hosts": escalation_hosts,
}
