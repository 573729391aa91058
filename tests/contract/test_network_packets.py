"""What the wire shows of addresses, announcements and gates: real frames between namespaces."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from holdfast.drivers import addresses
from holdfast.drivers.namespaces import inside
from tests.contract.network import (
    UDP_PORT,
    V4,
    V6,
    Family,
    Machine,
    SmallNetwork,
    advertisement,
    answered,
    arp,
    datagram,
    frames,
    in_order,
    question,
    solicitation,
    until_taken,
    who_answers,
)

pytestmark = pytest.mark.namespaces
both_families = pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])


@pytest.fixture
def network() -> Iterator[SmallNetwork]:
    with ExitStack() as stack, in_order():
        yield SmallNetwork(stack)


TRIED = b"tried"


def vip_answers(network: SmallNetwork, family: Family, witness: Machine) -> list[bytes]:
    return who_answers(network.client, family.vip_alone, witness=family.of(witness.n))


@both_families
def test_address_behind_a_closed_gate_is_not_answered_for(network: SmallNetwork, family: Family) -> None:
    addresses.assign(network.a.zone, family.vip)
    assert vip_answers(network, family, network.a) == []


@both_families
def test_own_address_is_answered_for_behind_a_closed_gate(network: SmallNetwork, family: Family) -> None:
    assert who_answers(network.client, family.of(11), witness=family.of(12)) == [network.a.mac]


def test_an_ipv6_address_is_answered_for_at_once(network: SmallNetwork) -> None:
    """Asked in the same instant, before the kernel's own work queue has joined the group for it."""
    network.gate.open(network.a.port, V6.vip)
    for _ in range(50):
        addresses.assign(network.a.zone, V6.vip)
        assert vip_answers(network, V6, network.a) == [network.a.mac]
        addresses.withdraw(network.a.zone, V6.vip)
        assert vip_answers(network, V6, network.a) == []


@both_families
def test_address_behind_an_open_gate_is_answered_for_until_it_is_shut(network: SmallNetwork, family: Family) -> None:
    addresses.assign(network.a.zone, family.vip)
    network.gate.open(network.a.port, family.vip)
    assert vip_answers(network, family, network.a) == [network.a.mac]
    network.gate.shut(network.a.port, family.vip)
    assert vip_answers(network, family, network.a) == []


@both_families
def test_two_machines_hold_the_address_and_only_the_open_one_answers(network: SmallNetwork, family: Family) -> None:
    for machine in (network.a, network.b):
        addresses.assign(machine.zone, family.vip)
    network.gate.open(network.b.port, family.vip)
    assert vip_answers(network, family, network.a) == [network.b.mac]


@both_families
def test_guarding_again_closes_and_stays_closed(network: SmallNetwork, family: Family) -> None:
    addresses.assign(network.a.zone, family.vip)
    network.gate.open(network.a.port, family.vip)
    network.gate.guard(network.a.port)
    assert vip_answers(network, family, network.a) == []


@both_families
def test_withdrawn_address_is_not_answered_for(network: SmallNetwork, family: Family) -> None:
    addresses.assign(network.a.zone, family.vip)
    network.gate.open(network.a.port, family.vip)
    addresses.withdraw(network.a.zone, family.vip)
    assert vip_answers(network, family, network.a) == []


@both_families
def test_datagrams_to_the_address_enter_by_an_open_gate_only(network: SmallNetwork, family: Family) -> None:
    a, client = network.a, network.client
    addresses.assign(a.zone, family.vip)
    inbox = a.udp("::" if family is V6 else "", UDP_PORT)
    network.gate.open(a.port, family.vip)
    tried = datagram(client, a.mac, family.of(200), family.vip_alone, TRIED)
    assert until_taken(inbox, lambda: client.send(tried)) == TRIED
    network.gate.shut(a.port, family.vip)

    def first_in(*targets: str) -> bytes:
        for target in targets:
            client.send(datagram(client, a.mac, family.of(200), target, target.encode()))
        return next(text for text in iter(lambda: inbox.recv(100), b"") if text != TRIED)

    assert first_in(family.vip_alone, family.of(11)) == family.of(11).encode()
    network.gate.open(a.port, family.vip)
    assert first_in(family.vip_alone) == family.vip_alone.encode()
    network.gate.shut(a.port, family.vip)
    assert first_in(family.vip_alone, family.of(11)) == family.of(11).encode()


@both_families
def test_datagrams_from_the_address_leave_by_an_open_gate_only(network: SmallNetwork, family: Family) -> None:
    a, client = network.a, network.client
    inbox = client.udp("::" if family is V6 else "", UDP_PORT)

    def first_out(*sources: str) -> bytes:
        for source in sources:
            a.send(datagram(a, client.mac, source, family.of(200), source.encode()))
        return inbox.recv(100)

    assert first_out(family.vip_alone, family.of(11)) == family.of(11).encode()
    network.gate.open(a.port, family.vip)
    assert first_out(family.vip_alone) == family.vip_alone.encode()
    network.gate.shut(a.port, family.vip)
    assert first_out(family.vip_alone, family.of(11)) == family.of(11).encode()


def claims(machine: Machine, family: Family) -> list[bytes]:
    """Every frame by which a machine can make neighbours believe that it has the address."""
    if family is V4:
        vip, own = IPv4Address(V4.vip_alone), IPv4Address(V4.of(machine.n))
        return [
            arp(1, machine.mac, vip, bytes(6), vip),
            arp(2, machine.mac, vip, machine.mac, vip),
            arp(1, machine.mac, vip, bytes(6), own),
            arp(1, machine.mac, IPv4Address("0.0.0.0"), bytes(6), vip),
        ]
    vip6, own6 = IPv6Address(V6.vip_alone), IPv6Address(V6.of(machine.n))
    return [
        advertisement(machine.mac, vip6, vip6),
        advertisement(machine.mac, own6, vip6),
        solicitation(machine.mac, vip6, own6),
        solicitation(machine.mac, IPv6Address("::"), vip6),
    ]


@both_families
def test_no_claim_to_the_address_leaves_a_closed_gate(network: SmallNetwork, family: Family) -> None:
    a = network.a
    tap = network.client.listen()
    forbidden = claims(a, family)
    last = datagram(a, network.client.mac, family.of(11), family.of(200), b"last")
    for frame in [*forbidden, last]:
        a.send(frame)
    heard = []
    for frame in frames(tap):
        heard.append(frame)
        if frame == last:
            break
    assert not set(heard) & set(forbidden)


@both_families
def test_each_claim_to_the_address_leaves_an_open_gate(network: SmallNetwork, family: Family) -> None:
    network.gate.open(network.a.port, family.vip)
    tap = network.client.listen()
    missing = set(claims(network.a, family))
    for frame in sorted(missing):
        network.a.send(frame)
    for frame in frames(tap):
        missing.discard(frame)
        if not missing:
            break
    assert not missing


@both_families
def test_questions_for_the_address_enter_by_an_open_gate_only(network: SmallNetwork, family: Family) -> None:
    a, client = network.a, network.client
    asked, last = question(client, family.vip_alone), question(client, family.of(11))

    def enters() -> bool:
        tap = a.listen()
        for frame in (asked, last):
            client.send(frame)
        return next(frame for frame in frames(tap) if frame in (asked, last)) == asked

    assert not enters()
    network.gate.open(a.port, family.vip)
    assert enters()
    network.gate.shut(a.port, family.vip)
    assert not enters()


@both_families
def test_announcements_are_heard_by_neighbours_even_behind_closed_gates(network: SmallNetwork, family: Family) -> None:
    network.gate.open(network.a.port, family.vip)
    taps = [network.client.listen(), network.b.listen()]
    addresses.assign(network.a.zone, family.vip)
    for tap in taps:
        announcement = next(frame for frame in frames(tap) if answered(frame) == ip_address(family.vip_alone))
        assert announcement[6:12] == network.a.mac


def neighbour_mac(machine: Machine, address: str) -> str:
    """What the machine's kernel believes."""
    command = ["ip", "neighbour", "show", "to", address]
    listed = inside(machine.namespace, lambda: subprocess.run(command, capture_output=True, text=True, check=True))
    words = listed.stdout.split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


@both_families
def test_announcement_moves_the_neighbour_entry(network: SmallNetwork, family: Family) -> None:
    a, b, client = network.a, network.b, network.client
    network.gate.open(a.port, family.vip)
    addresses.assign(a.zone, family.vip)
    inbox = a.udp("::" if family is V6 else "", UDP_PORT)
    voice = client.udp(family.of(200), UDP_PORT)
    assert until_taken(inbox, lambda: voice.sendto(b"hello", (family.vip_alone, UDP_PORT))) == b"hello"
    assert neighbour_mac(client, family.vip_alone) == a.mac.hex(":")
    network.gate.shut(a.port, family.vip)
    addresses.withdraw(a.zone, family.vip)
    network.gate.open(b.port, family.vip)
    addresses.assign(b.zone, family.vip)
    b.send(datagram(b, client.mac, family.of(12), family.of(200), b"after"))
    assert voice.recv(100) == b"after"
    assert neighbour_mac(client, family.vip_alone) == b.mac.hex(":")


@both_families
def test_address_answers_but_is_not_chosen_as_source(network: SmallNetwork, family: Family) -> None:
    addresses.assign(network.a.zone, family.vip)
    voice = network.a.udp("::" if family is V6 else "")
    voice.connect((family.of(200), UDP_PORT))
    assert voice.getsockname()[0] == family.of(11)


@both_families
def test_only_address_of_its_family_reaches_its_subnet(network: SmallNetwork, family: Family) -> None:
    for own in addresses.held(network.a.zone):
        addresses.withdraw(network.a.zone, own)
    network.gate.open(network.a.port, family.vip)
    addresses.assign(network.a.zone, family.vip)
    inbox = network.client.udp("::" if family is V6 else "", UDP_PORT)
    voice = network.a.udp("::" if family is V6 else "")
    voice.sendto(b"hello", (family.of(200), UDP_PORT))
    assert inbox.recvfrom(100)[1][0] == family.vip_alone
