"""Ports of VMs, the host's bridge, and the links of which a lab makes its networks."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from holdfast.drivers import ports
from holdfast.drivers.addresses import held
from holdfast.drivers.namespaces import inside, new_namespace
from holdfast.drivers.netlink import KernelRefused, Netlink
from holdfast.drivers.zone import Zone
from holdfast.errors import UserError, WorldError
from tests.contract.network import V4, V6, namespace

BRIDGE = "hf0"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def host(stack: ExitStack) -> int:
    return namespace(stack)


@pytest.fixture
def netlink(stack: ExitStack, host: int) -> Netlink:
    opened = stack.enter_context(Netlink.open(host))
    ports.make_bridge(opened, BRIDGE, [V4.own(1), V6.own(1)])
    return opened


def test_port_names_fit_the_kernel_and_differ_by_deployment_and_vm() -> None:
    names = {
        ports.port_name(deployment, vm)
        for deployment in ("one", "two")
        for vm in ("registry-1", "registry-2", "äöü", "a", "x" * 60)
    }
    assert len(names) == 10
    assert all(len(name.encode()) <= 15 and name.startswith("hf-") for name in names)


def test_macs_are_local_single_and_always_the_same() -> None:
    for mac_of in (ports.mac_of, ports.mac_of_port):
        mac = mac_of("vm-1")
        assert mac == mac_of("vm-1") != mac_of("vm-2")
        assert len(mac) == 6
        assert mac[0] & 3 == 2


@pytest.mark.namespaces
def test_bridge_has_its_addresses_and_a_lasting_mac(stack: ExitStack, host: int, netlink: Netlink) -> None:
    mac = netlink.mac(BRIDGE)
    zone = stack.enter_context(Zone.open(host, BRIDGE))
    ports.make_port(netlink, BRIDGE, "hf-vm", namespace(stack))
    ports.make_bridge(netlink, BRIDGE, [V4.own(1)])
    assert held(zone) == {V4.own(1), V6.own(1)}
    assert netlink.mac(BRIDGE) == mac


@pytest.mark.namespaces
def test_a_bridge_without_a_mac_of_its_own_keeps_that_of_its_card_when_vms_come_and_go(
    stack: ExitStack, host: int, netlink: Netlink
) -> None:
    netlink.bridge("br-by-hand")
    netlink.veth("card", "other-end", peer_netns_fd=namespace(stack), mac=b"\x52\x54\x00\xff\xff\xff")
    netlink.enslave("card", "br-by-hand")
    mac = netlink.mac("br-by-hand")
    assert mac == netlink.mac("card")
    for name in ("vm-1", "vm-2", "vm-3"):
        ports.make_port(netlink, "br-by-hand", ports.port_name("test", name), namespace(stack))
        assert netlink.mac("br-by-hand") == mac


@pytest.mark.namespaces
def test_bridge_is_removed_once_and_twice(netlink: Netlink) -> None:
    for _ in range(2):
        ports.remove_bridge(netlink, BRIDGE)
        assert not netlink.exists(BRIDGE)


@pytest.mark.namespaces
def test_vm_has_its_addresses_and_the_same_mac_at_every_boot(stack: ExitStack, netlink: Netlink) -> None:
    macs = []
    for _ in range(2):
        vm = namespace(stack)
        ports.make_port(netlink, BRIDGE, "hf-vm", vm, addresses=[V4.own(11), V6.own(11)], gateway=V4.of(1))
        zone = stack.enter_context(Zone.open(vm, "eth0"))
        assert held(zone) == {V4.own(11), V6.own(11)}
        macs.append(zone.netlink.mac("eth0"))
    assert macs[0] == macs[1]


@pytest.mark.namespaces
def test_new_boot_takes_the_port_from_the_old_one(stack: ExitStack, netlink: Netlink) -> None:
    old, new = namespace(stack), namespace(stack)
    for vm in (old, new):
        ports.make_port(netlink, BRIDGE, "hf-vm", vm)
    with Netlink.open(old) as within:
        assert not within.exists("eth0")
    with Netlink.open(new) as within:
        assert within.exists("eth0")


@pytest.mark.namespaces
def test_removing_the_port_takes_the_interface_out_of_the_vm(stack: ExitStack, netlink: Netlink) -> None:
    vm = namespace(stack)
    ports.make_port(netlink, BRIDGE, "hf-vm", vm)
    assert ports.port_exists(netlink, "hf-vm")
    for _ in range(2):
        ports.remove_port(netlink, "hf-vm")
        assert not ports.port_exists(netlink, "hf-vm")
    with Netlink.open(vm) as within:
        assert not within.exists("eth0")


@pytest.mark.namespaces
def test_port_is_cut_at_once_and_absent_ones_are_cut_already(stack: ExitStack, netlink: Netlink) -> None:
    ports.make_port(netlink, BRIDGE, "hf-vm", namespace(stack))
    assert netlink.is_up("hf-vm")
    ports.cut_port(netlink, "hf-vm")
    assert not netlink.is_up("hf-vm")
    ports.cut_port(netlink, "hf-gone")
    assert not netlink.exists("hf-gone")


@pytest.mark.namespaces
def test_guard_stands_before_the_port_is_on_the_bridge(stack: ExitStack, host: int, netlink: Netlink) -> None:
    seen: list[str] = []

    def guard(port: str) -> None:
        command = ["ip", "-oneline", "link", "show", "dev", port]
        shown = inside(host, lambda: subprocess.run(command, capture_output=True, text=True, check=True))
        seen.append(shown.stdout)

    ports.make_port(netlink, BRIDGE, "hf-vm", namespace(stack), guard=guard)
    assert len(seen) == 1
    assert "hf-vm" in seen[0]
    assert "master" not in seen[0]
    assert "state DOWN" in seen[0]


@pytest.mark.namespaces
def test_port_that_cannot_be_guarded_is_not_left_behind(stack: ExitStack, netlink: Netlink) -> None:
    def refuse(port: str) -> None:
        raise WorldError(f"no gate for {port}")

    with pytest.raises(WorldError, match="no gate for hf-vm"):
        ports.make_port(netlink, BRIDGE, "hf-vm", namespace(stack), guard=refuse)
    assert not ports.port_exists(netlink, "hf-vm")


@pytest.mark.namespaces
def test_port_for_a_missing_bridge_names_it_and_is_not_left_behind(stack: ExitStack, netlink: Netlink) -> None:
    with pytest.raises(WorldError, match="hf9"):
        ports.make_port(netlink, "hf9", "hf-vm", namespace(stack))
    assert not ports.port_exists(netlink, "hf-vm")


@pytest.mark.namespaces
def test_link_moves_into_another_namespace_under_a_new_name(stack: ExitStack, netlink: Netlink) -> None:
    elsewhere = namespace(stack)
    netlink.veth("near", "far")
    netlink.to_namespace("far", elsewhere, "uplink")
    with Netlink.open(elsewhere) as there:
        there.bridge("br0")
        there.enslave("uplink", "br0")
        for name in ("br0", "uplink", "lo"):
            there.up(name)
        there.down("uplink")
        assert there.exists("uplink")
        netlink.delete("near")
        assert not there.exists("uplink")
    assert not netlink.exists("far")


@pytest.mark.namespaces
def test_what_the_kernel_refuses_carries_name_reply_and_number(netlink: Netlink) -> None:
    with pytest.raises(KernelRefused, match=r"gone0.*ENODEV") as gone:
        netlink.up("gone0")
    assert gone.value.errno == errno.ENODEV
    with pytest.raises(KernelRefused, match=rf"{BRIDGE}.*EEXIST"):
        netlink.veth(BRIDGE, "other")
    with pytest.raises(KernelRefused, match=r"192\.0\.2\.1.*ENETUNREACH"):
        netlink.default_route("192.0.2.1")


@pytest.mark.namespaces
@pytest.mark.parametrize("name", ["", "sixteen-letters-", "a b", "a/b", "a:b"])
def test_impossible_interface_name_is_refused(netlink: Netlink, name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of an interface"):
        netlink.bridge(name)


@pytest.mark.namespaces
def test_errors_inside_a_namespace_reach_the_one_who_asked(host: int) -> None:
    def fail() -> None:
        raise LookupError("from inside")

    with pytest.raises(LookupError, match="from inside"):
        inside(host, fail)


@pytest.mark.namespaces
def test_this_process_stays_in_its_own_namespace() -> None:
    before = os.readlink("/proc/self/ns/net")
    descriptor = new_namespace()
    there = inside(descriptor, lambda: os.readlink("/proc/thread-self/ns/net"))
    os.close(descriptor)
    assert there != before
    assert os.readlink("/proc/self/ns/net") == before == os.readlink("/proc/thread-self/ns/net")


def test_descriptor_that_is_no_namespace_is_refused() -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(WorldError, match="cannot enter network namespace"):
            inside(descriptor, lambda: None)
    finally:
        os.close(descriptor)
