"""What a layout cannot survive, or survives too slowly for its SAL: said before it happens, as data with a sentence."""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from holdfast.descriptor.defaults import detection_s
from holdfast.model.layout import Component, Group, Layout, grant_suffices
from holdfast.model.names import HostName

Kind = Literal[
    "same-vm",
    "same-host",
    "no-redundancy",
    "one-failure",
    "late-spare",
    "state-lost",
    "updates-lost",
    "two-writers",
    "hang-unseen",
    "too-slow",
    "no-port",
    "no-repair",
    "no-fence",
    "no-grants",
    "one-network",
    "one-more-voter",
    "two-voters",
    "standby-vm-shared",
    "standby-vm-same-host",
]


class Finding(Struct, frozen=True):
    """One weakness: of which entity, and what happens there, as a sentence without a full stop."""

    kind: Kind
    about: str
    sentence: str


def survey(layout: Layout) -> list[Finding]:
    """Find the weaknesses of a layout, in the order of the descriptor."""
    findings: list[Finding] = []
    for group in layout.groups.values():
        component = layout.components[group.name]
        findings.extend(_placing(layout, group))
        findings.extend(_state(group, component))
        findings.extend(_seeing(layout, group, component))
    findings.extend(_machines(layout))
    return findings


def _placing(layout: Layout, group: Group) -> Iterator[Finding]:
    name, members = group.name, [layout.vnfcs[vnfc] for vnfc in group.vnfcs]
    if group.redundancy == "no-redundancy":
        yield Finding("no-redundancy", name, f"{name} has no redundancy: its service is away until it is repaired")
        return
    vms = {(vnfc.host, vnfc.vm) for vnfc in members}
    hosts = {vnfc.host for vnfc in members}
    if len(vms) == 1 and members[0].vm:
        yield Finding("same-vm", name, f"all VNFCs of {name} run in VM {members[0].vm}: its failure ends the service")
    elif len(hosts) == 1:
        yield Finding(
            "same-host", name, f"all VNFCs of {name} run on host {members[0].host}: its failure ends the service"
        )
    if len(members) - len(group.services) == 1:
        yield Finding(
            "one-failure",
            name,
            f"{name} survives one failure at a time: until it is repaired nothing is left to take over",
        )
    if group.reserve == "late-spare":
        yield Finding(
            "late-spare", name, f"the spare of {name} is started after a failure: the outage contains its start"
        )


def _state(group: Group, component: Component) -> Iterator[Finding]:
    waits = component.speaks or component.become_active is not None or component.ocf is not None
    if group.state == "external" and group.reserve == "spare" and group.redundancy != "no-redundancy" and not waits:
        yield Finding(
            "two-writers",
            group.name,
            f"the spare of {group.name} runs beside the active on the same storage and nothing tells it to wait: both "
            "may act on the stored state (late-spare, or a component that is told its role, cannot)",
        )
    if group.state != "internal":
        return
    if group.redundancy == "no-redundancy":
        yield Finding(
            "state-lost", group.name, f"the state of {group.name} is lost with each failure: nobody else holds it"
        )
    elif component.replication is None:
        yield Finding(
            "state-lost",
            group.name,
            f"Holdfast does not know how {group.name} replicates its state, so cannot tell which standby holds it",
        )
    elif component.replication.mode == "periodic":
        yield Finding(
            "updates-lost",
            group.name,
            f"a failure of {group.name} loses the updates of up to {component.replication.period_s:g} s: "
            "replication is periodic",
        )


def _seeing(layout: Layout, group: Group, component: Component) -> Iterator[Finding]:
    if all(check.kind in ("process", "tcp") for check in component.checks):
        # The kernel accepts connections for a process that hangs, until its queue is full.
        looked_at = "its process is" if len(component.checks) == 1 else "its process and its port are"
        yield Finding(
            "hang-unseen", group.name, f"a VNFC of {group.name} that hangs is not noticed: only {looked_at} checked"
        )
    level = layout.vnfs[group.vnf].sal
    allowed_s = layout.sal_s.get(level, 0.0)
    worst_s = max(map(detection_s, component.checks), default=0.0) + component.cleanup_limit_s
    worst_s += component.role_limit_s if group.role_is_assigned else 0.0
    steps = "detection, cleanup and change of role" if group.role_is_assigned else "detection and cleanup"
    if worst_s > allowed_s:
        yield Finding(
            "too-slow",
            group.name,
            f"{steps} of {group.name} may take {worst_s:.3g} s together: more than the {allowed_s:g} s of SAL {level}",
        )
    for service in group.services:
        if layout.services[service].address and not layout.services[service].port:
            yield Finding("no-port", service, f"the interface of {service} has no port, so that it cannot be probed")


def _machines(layout: Layout) -> Iterator[Finding]:
    replaced: dict[str, str] = {}
    occupied = {vnfc.host for vnfc in layout.vnfcs.values()}
    for vm in layout.vms.values():
        if vm.repair == "none":
            yield Finding("no-repair", vm.name, f"VM {vm.name} is not repaired: after a failure it stays away")
        standby = layout.vms.get(vm.standby_vm) if vm.standby_vm else None
        if standby is None:
            continue
        if standby.host == vm.host:
            yield Finding(
                "standby-vm-same-host",
                vm.name,
                f"VM {standby.name} stands by for {vm.name} on the same host {vm.host}, whose failure takes both",
            )
        if standby.name in replaced:
            yield Finding(
                "standby-vm-shared",
                standby.name,
                f"VM {standby.name} stands by for {replaced[standby.name]} and {vm.name}: it can replace one of them",
            )
        replaced[standby.name] = vm.name
    yield from _hosts(layout, occupied)


def _two_voters(layout: Layout) -> Finding:
    """Neither of two is a majority; how does the other one know that it may go on alone?"""
    unfenced = [host.name for host in layout.hosts.values() if not host.fence]
    alone = "two hosts vote, and neither goes on alone"
    if not unfenced:
        sentence = f"{alone} before the other's fence device has confirmed that it is off"
    else:
        sentence = (
            f"{alone}: if {' or '.join(unfenced)} is lost, all services end until a person says that it is off "
            "(`holdfast lock HOST --is-off`); a witness (`witness: yes`) or a fence device would spare that"
        )
    return Finding("two-voters", layout.name, sentence)


def _hosts(layout: Layout, occupied: set[HostName]) -> Iterator[Finding]:
    several = len(layout.hosts) > 1
    if several and layout.grants is None:
        yield Finding(
            "no-grants",
            layout.name,
            "there are several hosts and no `grants`: when the network between them is cut, nobody can tell a failed "
            "host from an unheard one, and two may be active",
        )
    if layout.grants is not None and not any(host.second for host in layout.hosts.values()):
        yield Finding(
            "one-network",
            layout.name,
            "one network joins the hosts: a host that is cut from it has failed for the others, and its services move "
            "(network.second-subnet adds another)",
        )
    if layout.grants is not None and len(layout.hosts) == 2:
        yield _two_voters(layout)
    elif layout.grants is not None and len(layout.hosts) % 2 == 0:
        survives = (len(layout.hosts) - 1) // 2
        yield Finding(
            "one-more-voter",
            layout.name,
            f"{len(layout.hosts)} hosts vote, which survives the loss of {survives}, as one fewer would",
        )
    for host in layout.hosts.values():
        needed = any(not grant_suffices(layout, vnfc.group) for vnfc in layout.vnfcs.values() if vnfc.host == host.name)
        if not host.fence and host.name in occupied and several and needed:
            yield Finding(
                "no-fence",
                host.name,
                f"host {host.name} has no fence device: when it is silent, nobody can be sure that nothing runs there, "
                "so that nothing of it is taken over",
            )
