"""Components that take the service's address themselves: the kernel has it, and the neighbours hear of it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from holdfast import vnfc
from holdfast.drivers import addresses
from holdfast.drivers.namespaces import inside
from tests.contract.component_agent import until
from tests.contract.network import V4, V6, Family, SmallNetwork, frames, until_taken

pytestmark = pytest.mark.namespaces
both_families = pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])


@pytest.fixture
def network() -> Iterator[SmallNetwork]:
    with ExitStack() as stack:
        yield SmallNetwork(stack)


def _is_announcement(frame: bytes, mac: bytes, family: Family) -> bool:
    """ARP with this sender, or a neighbour advertisement for the address."""
    if family is V4:
        return frame[12:14] == b"\x08\x06" and frame[22:32] == mac + bytes([10, 77, 0, 100])
    target = b"\xfd\0" + b"\0" * 13 + b"\0"
    return frame[12:14] == b"\x86\xdd" and frame[54] == 136 and frame[62:64] == target[:2] and frame[-6:] == mac


@both_families
def test_a_claimed_address_is_there_and_announced(network: SmallNetwork, family: Family) -> None:
    machine = network.client
    tap = network.a.listen()
    inside(machine.namespace, lambda: vnfc.claim_address(family.vip))
    assert addresses.holds(machine.zone, family.vip)
    assert any(_is_announcement(frame, machine.mac, family) for frame in frames(tap))
    inside(machine.namespace, lambda: vnfc.claim_address(family.vip))
    inside(machine.namespace, lambda: vnfc.release_address(family.vip))
    assert not addresses.holds(machine.zone, family.vip)
    inside(machine.namespace, lambda: vnfc.release_address(family.vip))
    assert not addresses.holds(machine.zone, family.vip)


@both_families
def test_an_announced_address_can_be_reached(network: SmallNetwork, family: Family) -> None:
    machine = network.client
    inside(machine.namespace, lambda: vnfc.claim_address(family.vip))
    served = machine.udp(family.vip_alone, 5300)
    asking = network.a.udp() if family is V4 else network.a.udp("::")
    assert until_taken(served, lambda: asking.sendto(b"hello", (family.vip_alone, 5300))) == b"hello"


def test_the_announcement_is_repeated_while_the_address_is_held(network: SmallNetwork) -> None:
    machine = network.client
    tap = network.a.listen()
    loop = vnfc.Loop()
    tap.setblocking(False)
    heard: list[bytes] = []

    def hear() -> None:
        frame = tap.recv(2048)
        if _is_announcement(frame, machine.mac, V4):
            heard.append(frame)

    def claim_and_turn() -> None:
        vnfc.claim_address(V4.vip, "eth0", loop)
        until(loop, lambda: len(heard) >= 3)
        vnfc.release_address(V4.vip)
        told = len(heard)
        until(loop, lambda: not loop.has_timers)
        assert len(heard) == told, "an address that was given up is not announced"

    loop.on_readable(tap, hear)
    inside(machine.namespace, claim_and_turn)
    loop.close()
    assert not addresses.holds(machine.zone, V4.vip)
