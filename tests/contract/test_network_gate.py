"""The contract of the gate, kept by the real one and by the simulated one. What it lets pass: test_network_packets."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.drivers.gate import Gate
from holdfast.drivers.netlink import Netlink
from holdfast.errors import UserError, WorldError
from holdfast.runtime.premises import Gate as PortGate
from tests.contract.network import V4, V6, namespace
from tests.contract.places import Simulated

SERVICES = (V4.vip, V6.vip, "")
PORT, OTHER = "hf-one", "hf-two"


@dataclass
class Ports:
    gate: PortGate


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.namespaces), "simulated"])
def ports(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ports]:
    """Two ports with closed gates."""
    with ExitStack() as stack:
        if request.param == "simulated":
            made = Ports(Simulated(tmp_path).premises.gate(SERVICES, "holdfast", timed=False))
        else:
            host = namespace(stack)
            netlink = stack.enter_context(Netlink.open(host))
            netlink.veth(PORT, OTHER)
            made = Ports(Gate(SERVICES, netns_fd=host))
        stack.callback(made.gate.close)
        for port in (PORT, OTHER):
            made.gate.guard(port)
        yield made


def test_guarded_port_is_closed(ports: Ports) -> None:
    assert ports.gate.guarded() == {PORT, OTHER}
    assert ports.gate.opened(PORT) == frozenset()


@pytest.mark.parametrize("address", [V4.vip, V6.vip, V4.vip_alone, V6.vip_alone])
def test_opening_is_for_one_port_and_reads_back(ports: Ports, address: str) -> None:
    ports.gate.open(PORT, address)
    ports.gate.open(PORT, address)
    assert ports.gate.opened(PORT) == {address.split("/")[0]}
    assert ports.gate.opened(OTHER) == frozenset()


def test_shutting_twice_is_fine_and_leaves_other_addresses_open(ports: Ports) -> None:
    for address in (V4.vip, V6.vip):
        ports.gate.open(PORT, address)
    for _ in range(2):
        ports.gate.shut(PORT, V4.vip)
    assert ports.gate.opened(PORT) == {V6.vip_alone}


def test_guarding_again_closes(ports: Ports) -> None:
    ports.gate.open(PORT, V4.vip)
    ports.gate.guard(PORT)
    assert ports.gate.opened(PORT) == frozenset()


def test_unguarding_twice_is_fine_and_concerns_one_port(ports: Ports) -> None:
    ports.gate.open(OTHER, V6.vip)
    for _ in range(2):
        ports.gate.unguard(PORT)
    assert ports.gate.guarded() == {OTHER}
    assert ports.gate.opened(OTHER) == {V6.vip_alone}


def test_port_without_a_gate_cannot_be_opened_and_is_named(ports: Ports) -> None:
    ports.gate.unguard(PORT)
    with pytest.raises(WorldError, match=PORT):
        ports.gate.open(PORT, V4.vip)
    with pytest.raises(WorldError, match=PORT):
        ports.gate.opened(PORT)


def test_port_without_a_gate_counts_as_shut(ports: Ports) -> None:
    ports.gate.unguard(PORT)
    ports.gate.shut(PORT, V4.vip)
    assert PORT not in ports.gate.guarded()


def test_address_that_nobody_declared_is_refused(ports: Ports) -> None:
    with pytest.raises(WorldError, match=r"10\.9\.9\.9"):
        ports.gate.open(PORT, "10.9.9.9")


def test_what_is_no_address_is_refused_with_its_value(ports: Ports) -> None:
    with pytest.raises(UserError, match="nonsense"):
        ports.gate.open(PORT, "nonsense")


@pytest.fixture
def host() -> Iterator[int]:
    with ExitStack() as stack:
        descriptor = namespace(stack)
        with Netlink.open(descriptor) as netlink:
            netlink.veth(PORT, OTHER)
        yield descriptor


@pytest.mark.namespaces
def test_new_gate_object_adopts_what_stands_and_is_open(host: int) -> None:
    first = Gate([V4.vip], netns_fd=host)
    first.guard(PORT)
    first.open(PORT, V4.vip)
    first.close()
    second = Gate([V4.vip, V6.vip], netns_fd=host)
    assert second.guarded() == {PORT}
    assert second.opened(PORT) == {V4.vip_alone}
    second.open(PORT, V6.vip)
    assert second.opened(PORT) == {V4.vip_alone, V6.vip_alone}
    second.close()


@pytest.mark.namespaces
def test_two_deployments_on_one_machine_do_not_meet(host: int) -> None:
    one, two = (Gate([V4.vip], table=name, netns_fd=host) for name in ("holdfast-one", "holdfast-two"))
    one.guard(PORT)
    two.guard(OTHER)
    one.open(PORT, V4.vip)
    two.close_table()
    assert one.guarded() == {PORT}
    assert one.opened(PORT) == {V4.vip_alone}
    one.close()
    two.close()


@pytest.mark.namespaces
def test_gate_of_a_port_that_is_gone_can_be_shut_and_taken_away(host: int) -> None:
    gate = Gate([V4.vip], netns_fd=host)
    gate.guard(PORT)
    gate.open(PORT, V4.vip)
    with Netlink.open(host) as netlink:
        netlink.delete(PORT)
        gate.shut(PORT, V4.vip)
        gate.unguard(PORT)
        assert gate.guarded() == frozenset()
        netlink.veth(PORT, OTHER)
    gate.guard(PORT)
    assert gate.opened(PORT) == frozenset()
    gate.close()


@pytest.mark.namespaces
def test_closed_library_is_told_plainly(host: int) -> None:
    gate = Gate([V4.vip], netns_fd=host)
    gate.close()
    gate.close()
    with pytest.raises(WorldError, match="closed"):
        gate.guard(PORT)


@pytest.mark.namespaces
@pytest.mark.parametrize("table", ["two words", "", "1st", "semi;colon"])
def test_table_name_that_nftables_cannot_read_is_refused(host: int, table: str) -> None:
    with pytest.raises(UserError, match="cannot be part of a gate's name"):
        Gate([], table=table, netns_fd=host)
