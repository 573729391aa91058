"""What a descriptor becomes: names, derived defaults, drawn addresses, and a way to every field of a Layout."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import pytest

from holdfast.descriptor import check_text
from holdfast.descriptor.defaults import detection_s
from holdfast.model.layout import Check, Layout, Operation, in_charge

Part = TypeVar("Part")

EVERYTHING = """
holdfast: 1
name: everything
network: {subnet: 192.0.2.0/24, subnet6: 2001:db8::/64, second-subnet: 198.51.100.0/24}
sal-thresholds: {0: 1s, 1: 5s}
hosts:
  h1:
    addresses: [192.0.2.1, "2001:db8::1"]
    bridge: br0
    fence: {agent: fence_ipmilan, options: {ip: 10.0.0.1, lanplus: 1}, within: 9s}
    escalation: {maximum: 2, probation: 10m}
  h2:
  h3: {witness: yes}
grants: {profile: fast, port: 7500}
vms:
  vm1: {host: h1, address: 192.0.2.21, standby-vm: vm9, acknowledgement-within: 3s, boot-within: 1m,
        isolate-within: 4s, escalation: {maximum: 5, probation: 1h}}
  vm2: {host: h2, repair: snapshot}
  vm3: {host: h2}
  vm9: {host: h2}
vnfs:
  registry:
    sal: 2
    vnfm: other
    report: no
    redundancy: 2N
    state: internal
    place: [vm1, vm2]
    auto-adjust: 90s
    interface: {address: 192.0.2.100, port: 5300, transport: udp, assigned-by: component}
    start: [f, "a b"]
    stop: {command: f --stop, within: 7s}
    cleanup: f --clean
    become-active: f --active
    become-standby: f --standby
    speaks: yes
    checks:
      - {http: 8080, path: /health, status: 204, every: 20ms, within: 30ms, misses: 5}
      - {command: "f --well"}
      - {protocol: , every: 10ms}
    limits: {start: 20s, role: 3s, cleanup: 2500ms}
    files: {etc/f.conf: "a: ${vnfc}"}
    environment: {LEVEL: 3, ON: yes}
    replication: {port: 7001, mode: periodic, period: 250ms}
    storage: yes
    escalation: {maximum: 4, probation: 90s}
  shop:
    components:
      db: {place: vm3, state: external, storage: /srv/shop, ocf: {agent: ocf:nobody:db, parameters: {size: 5}}}
      front: {after: [db, registry], redundancy: N+M, reserve: late-spare, place: [vm1, vm2, h2], start: f,
              interface: {addresses: ["2001:db8::101", "2001:db8::102"], port: 80}}
"""


def layout_of(text: str) -> Layout:
    mistakes, _, layout = check_text(text.encode())
    assert mistakes == []
    assert layout is not None
    return layout


def with_vnf(body: str) -> Layout:
    return layout_of(f"holdfast: 1\nname: x\nvms: {{vm1: , vm2: , vm3: }}\nvnfs: {{f: {{start: f, {body}}}}}\n")


def one(collection: Mapping[Any, Part], name: str) -> Part:
    """The part of this name (names of different things are different types)."""
    return collection[name]


def structs_in(value: object) -> list[msgspec.Struct]:
    """All parts of a layout, at any depth."""
    if isinstance(value, msgspec.Struct):
        inner = [part for name in value.__struct_fields__ for part in structs_in(getattr(value, name))]
        return [value, *inner]
    if isinstance(value, dict):
        return [part for one in value.values() for part in structs_in(one)]
    if isinstance(value, tuple):
        return [part for one in value for part in structs_in(one)]
    return []


def test_every_field_of_a_layout_can_be_reached_from_a_descriptor() -> None:
    default = layout_of("holdfast: 1\nname: x\nvms: {vm1: }\nvnfs: {f: {place: vm1, start: f}}\n")
    ordinary = {type(part): part for part in structs_in(default)}
    changed = {(type(part), name) for part in structs_in(layout_of(EVERYTHING)) for name in part.__struct_fields__
               if type(part) not in ordinary or getattr(part, name) != getattr(ordinary[type(part)], name)}  # fmt: skip
    every = {(type(part), name) for part in structs_in(layout_of(EVERYTHING)) for name in part.__struct_fields__}
    assert every - changed == set()
    assert {kind.__name__ for kind, _ in every} == {
        "Layout", "Host", "FenceDevice", "Vm", "Vnf", "Group", "Component", "Operation", "OcfAgent", "Check",
        "Service", "Vnfc", "Escalation", "Replication", "Grants",
    }  # fmt: skip


def test_a_layout_survives_its_way_through_json() -> None:
    layout = layout_of(EVERYTHING)
    assert msgspec.json.decode(msgspec.json.encode(layout), type=Layout) == layout


def test_a_vnf_with_one_component_type_gives_its_name_to_group_service_and_vnfcs() -> None:
    layout = layout_of(EVERYTHING)
    assert one(layout.groups, "registry").vnfcs == ("registry-1", "registry-2")
    assert one(layout.groups, "registry").services == ("registry",)
    assert one(layout.vnfcs, "registry-2").vm == "vm2"
    assert one(layout.vnfcs, "registry-2").host == "h2"


def test_several_component_types_and_several_actives_have_longer_names() -> None:
    layout = layout_of(EVERYTHING)
    assert one(layout.vnfs, "shop").groups == ("shop.db", "shop.front")
    front = one(layout.groups, "shop.front")
    assert front.vnfcs == ("shop.front-1", "shop.front-2", "shop.front-3")
    assert front.services == ("shop.front#1", "shop.front#2")
    assert one(layout.services, "shop.front#2").address == "2001:db8::102/64"
    assert front.after == ("shop.db", "registry")


def test_a_place_on_a_host_is_without_a_vm() -> None:
    vnfc = one(layout_of(EVERYTHING).vnfcs, "shop.front-3")
    assert (vnfc.host, vnfc.vm) == ("h2", None)


def test_hosts_are_reached_on_each_network_at_an_address_of_its_own() -> None:
    hosts = layout_of(EVERYTHING).hosts.values()
    assert [host.reached_at for host in hosts] == [
        ("192.0.2.1", "198.51.100.1"), ("192.0.2.2", "198.51.100.2"), ("192.0.2.3", "198.51.100.3"),
    ]  # fmt: skip
    assert [host.second for host in hosts] == ["198.51.100.1/24", "198.51.100.2/24", "198.51.100.3/24"]
    alone = layout_of("holdfast: 1\nname: x\nvms: {vm1: }\nvnfs: {f: {place: vm1, start: f}}\n")
    assert [host.reached_at for host in alone.hosts.values()] == [("10.77.0.1",)]


def test_the_manager_in_charge_follows_from_redundancy() -> None:
    layout = with_vnf("place: vm1")
    assert in_charge(layout, one(layout.vnfs, "f").name) == "vnfm:default"
    layout = with_vnf("place: [vm1, vm2]")
    assert in_charge(layout, one(layout.vnfs, "f").name) == "ha"


@pytest.mark.parametrize(
    ("body", "redundancy", "reserve", "services"),
    [
        ("place: vm1", "no-redundancy", "spare", 1),
        ("place: [vm1, vm2], redundancy: no-redundancy", "no-redundancy", "spare", 2),
        ("place: [vm1, vm2]", "2N", "spare", 1),
        ("place: [vm1, vm2], state: external, storage: yes", "2N", "spare", 1),
        ("place: [vm1, vm2], state: internal, speaks: yes", "2N", "standby", 1),
        ("place: [vm1, vm2, vm3], redundancy: N+M", "N+M", "spare", 2),
        ("place: [vm1, vm2, vm3], redundancy: N+M, actives: 1", "N+M", "spare", 1),
    ],
)
def test_redundancy_and_reserve_are_derived(body: str, redundancy: str, reserve: str, services: int) -> None:
    group = one(with_vnf(body).groups, "f")
    assert (group.redundancy, group.reserve, len(group.services)) == (redundancy, reserve, services)


@pytest.mark.parametrize(("sal", "below_s"), [(1, 1.0), (2, 5.0), (3, 10.0)])
def test_detection_is_derived_from_the_sal_target(sal: int, below_s: float) -> None:
    check = one(with_vnf(f"place: vm1, sal: {sal}, checks: [{{tcp: 80}}]").components, "f").checks[1]
    assert check.kind == "tcp"
    assert 0.0 < detection_s(check) < below_s


def test_a_lower_threshold_quickens_the_checks() -> None:
    text = (
        "holdfast: 1\nname: x\n{}vms: {{vm1: }}\nvnfs: {{f: {{sal: 3, place: vm1, start: f, checks: [{{tcp: 80}}]}}}}\n"
    )
    slow, fast = (one(layout_of(text.format(line)).components, "f") for line in ("", "sal-thresholds: {3: 2s}\n"))
    assert detection_s(fast.checks[1]) < detection_s(slow.checks[1])


def test_the_process_is_always_checked_and_the_protocol_if_it_is_spoken() -> None:
    kinds = {
        body: tuple(check.kind for check in one(with_vnf(f"place: vm1, {body}").components, "f").checks)
        for body in ("speaks: no", "speaks: yes", "checks: [{tcp: 80}]", "checks: [{tcp: 80}, process]", "checks: []")
    }
    assert list(kinds.values()) == [
        ("process",), ("process", "protocol"), ("process", "tcp"), ("tcp", "process"), ("process",),
    ]  # fmt: skip


def test_a_check_without_a_port_asks_the_interface() -> None:
    layout = with_vnf("place: vm1, interface: {address: 10.77.0.9, port: 8080}, checks: [tcp, {http: , path: /a}]")
    assert one(layout.components, "f").checks[1:] == (
        Check(kind="tcp", every_s=0.05, limit_s=0.1, port=8080),
        Check(kind="http", every_s=0.05, limit_s=0.1, port=8080, path="/a"),
    )


def test_a_command_line_is_split_as_a_shell_would_and_lists_are_taken_as_they_are() -> None:
    layout = with_vnf("place: vm1, stop: \"sh -c 'a  b'\", cleanup: [x, 'y z']")
    component = one(layout.components, "f")
    assert component.stop == Operation(command=("sh", "-c", "a  b"), limit_s=5.0)
    assert component.cleanup is not None
    assert component.cleanup.command == ("x", "y z")


def test_addresses_are_drawn_around_those_that_are_given() -> None:
    text = """
holdfast: 1
name: x
hosts: {h1: , h2: {addresses: [10.77.0.1]}}
vms: {vm1: {host: h1}, vm2: {host: h1, address: 10.77.0.11}, vm3: {host: h2, address: "fd77::99"}}
vnfs: {f: {place: [vm1, vm2], start: f, interface: {address: 10.77.0.12, port: 1}}}
"""
    layout = layout_of(text)
    drawn = {str(host.name): host.addresses for host in layout.hosts.values()}
    drawn |= {str(vm.name): vm.addresses for vm in layout.vms.values()}
    assert drawn == {
        "h1": ("10.77.0.2/24", "fd77::1/64"),
        "h2": ("10.77.0.1/24", "fd77::2/64"),
        "vm1": ("10.77.0.13/24", "fd77::11/64"),
        "vm2": ("10.77.0.11/24", "fd77::12/64"),
        "vm3": ("10.77.0.14/24", "fd77::99/64"),
    }
    assert layout_of(text) == layout


def test_a_family_that_is_turned_off_gives_no_addresses() -> None:
    text = "holdfast: 1\nname: x\nnetwork: {subnet: none}\nvms: {vm1: }\nvnfs: {f: {place: vm1, start: f}}\n"
    assert one(layout_of(text).vms, "vm1").addresses == ("fd77::11/64",)


def test_shared_storage_is_left_to_the_run_folder_or_is_the_path_that_is_given() -> None:
    layout = layout_of(EVERYTHING)
    assert one(layout.components, "registry").storage == "yes"
    assert one(layout.components, "shop.db").storage == "/srv/shop"


def test_a_standby_vm_is_a_configured_repair() -> None:
    assert one(layout_of(EVERYTHING).vms, "vm1").repair == "standby-vm"
