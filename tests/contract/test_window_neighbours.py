"""What a closed window must stop beside answers, what it must let pass, and who else is on the host."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from ipaddress import IPv4Address, ip_interface
from pathlib import Path

import pytest

from holdfast.drivers import addresses
from holdfast.drivers.bpf import Code, load_classifier
from holdfast.drivers.namespaces import inside
from holdfast.drivers.netlink import KernelRefused
from holdfast.drivers.nft import Nft
from holdfast.drivers.window import raw_clock_ns
from holdfast.drivers.window_choice import open_window as choose_window
from holdfast.drivers.window_keys import KeyedWindow
from holdfast.drivers.window_probe import probe_kernel
from holdfast.drivers.window_stamp import StampedWindow
from holdfast.drivers.zone import Zone
from holdfast.errors import WorldError
from tests.contract.network import LIMIT_S, UDP_PORT, V4, V6, Family, arp, datagram, frames, in_order, namespace
from tests.contract.window_net import ATTEMPTS, KINDS, LONG, LONGEST, SERVICES, Asker, Kind, Scene, arm_for_long

pytestmark = pytest.mark.namespaces


@pytest.fixture(params=KINDS)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    kind: Kind = request.param
    with ExitStack() as stack, in_order():
        yield Scene(kind, "host", stack)


def udp_in(namespace_fd: int, stack: ExitStack, address: str, port: int = 0) -> socket.socket:
    made = inside(namespace_fd, lambda: socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, 2))
    stack.enter_context(made)
    made.settimeout(LIMIT_S)
    made.bind((address, port))
    return made


def announcements(scene: Scene, vip: str) -> list[bytes]:
    """The frames about the address that reach the client when the host announces it; a witness is sent after it."""
    tap = scene.client.listen()
    witness, wanted = IPv4Address("10.9.9.9"), ip_interface(vip).ip
    with Zone.open(scene.host, "hf0") as zone:
        with suppress(KernelRefused):  # ENOBUFS is how the sender of a frame learns that it was dropped.
            addresses.announce(zone, vip)
        zone.packets.sendto(arp(1, scene.mac, witness, bytes(6), witness), ("hf0", 0x0806))
    seen = []
    for frame in frames(tap):
        if witness.packed in frame:
            break
        if wanted.packed in frame:
            seen.append(frame)
    return seen


@pytest.mark.parametrize("vip", [V4.vip, V6.vip], ids=["ipv4", "ipv6"])
def test_announcement_leaves_only_while_owned_and_the_window_open(scene: Scene, vip: str) -> None:
    """A process that was stopped before it announces must not draw the clients to itself afterwards."""
    with scene.window() as window:
        window.own([vip])
        assert announcements(scene, vip) == []
        arm_for_long(window)
        assert any(announcements(scene, vip) for _ in range(ATTEMPTS))
        window.disown([vip])
        assert announcements(scene, vip) == []


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
def test_host_with_a_closed_window_still_reaches_the_owner_elsewhere(scene: Scene, family: Family) -> None:
    """The owner is another host: here the client, which announces itself."""
    with Zone.open(scene.host, "hf0") as zone:
        for service in SERVICES:
            addresses.withdraw(zone, service)
    with scene.window():
        addresses.assign(scene.client.zone, family.vip)
        owner = udp_in(scene.client.namespace, scene.stack, family.vip_alone, UDP_PORT)
        asking = udp_in(scene.host, scene.stack, family.of(1))
        for _ in range(ATTEMPTS):
            # What is sent while the neighbour is looked for is lost if it is not found in time.
            asking.sendto(b"who is there", (family.vip_alone, UDP_PORT))
            if select.select([owner], [], [], 1.0)[0]:
                break
        _, sender = owner.recvfrom(64)
        owner.sendto(b"the owner", sender)
        assert asking.recv(64) == b"the owner"


def test_what_the_host_passes_on_is_held_too(scene: Scene) -> None:
    """A load balancer on the host rewrites the address before any of its own sockets could see it."""
    service, backend = V4.vip_alone, V4.of(11)
    inside(scene.host, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
    with Nft(scene.host) as nft:
        nft.run(
            f"add table ip balancer\nadd chain ip balancer there {{ type nat hook prerouting priority dstnat; }}\n"
            f"add rule ip balancer there ip daddr {service} dnat to {backend}\n"
            f"add chain ip balancer back {{ type nat hook postrouting priority srcnat; }}\n"
            f"add rule ip balancer back ip daddr {backend} snat to {V4.of(1)}"
        )
    balanced = udp_in(scene.a.namespace, scene.stack, backend, UDP_PORT)

    tap = scene.client.listen()

    def is_answered() -> bool:
        """Whether a datagram to the service is; one to the backend itself follows it, and surely is."""
        client = scene.client
        client.send(datagram(client, scene.mac, V4.of(client.n), service, b"to the service"))
        client.send(datagram(client, scene.a.mac, V4.of(client.n), backend, b"to the backend"))
        payload = b""
        while payload != b"to the backend":
            payload, sender = balanced.recvfrom(64)
            balanced.sendto(payload, sender)
        answers = []
        for frame in frames(tap):
            if frame[12:14] == b"\x08\0" and frame[30:34] == IPv4Address(V4.of(client.n)).packed:
                answers.append(str(IPv4Address(frame[26:30])))
                if answers[-1] == backend:
                    break
        return service in answers

    with scene.window() as window:
        # Where bridged packets pass the rules of IP too, addresses are rewritten at the bridge's ports.
        window.guard(scene.client.port)
        assert not is_answered()
        window.own([V4.vip])
        arm_for_long(window)
        assert is_answered()
        window.close()
        assert not is_answered()


def test_two_deployments_on_one_host_do_not_meet(scene: Scene) -> None:
    asker = Asker(scene)
    with scene.window() as window:
        kind = StampedWindow if scene.kind == "stamp" else KeyedWindow
        with kind(["10.77.0.250"], "holdfast-two", scene.host, longest_ns=LONGEST) as other:
            other.guard("hf0")
            other.close()
            window.own([V4.vip])
            arm_for_long(window)
            assert asker.gets_an_answer()
            other.remove()
            assert asker.gets_an_answer()
            window.close()
            assert not asker.is_answered()


@pytest.fixture
def host() -> Iterator[int]:
    with ExitStack() as stack:
        yield namespace(stack)


def test_tables_that_somebody_flushed_are_told_plainly(host: int) -> None:
    with KeyedWindow([V4.vip], netns_fd=host, longest_ns=LONGEST) as window, Nft(host) as nft:
        window.own([V4.vip])
        nft.run("flush ruleset")
        with pytest.raises(WorldError, match="nothing keeps the service addresses"):
            window.arm(raw_clock_ns() + LONG)


def test_probing_finds_the_tick_and_leaves_nothing(host: int) -> None:
    found = probe_kernel(host)
    assert 1_000_000 <= found.tick_ns <= 10_000_000
    with Nft(host) as nft:
        assert nft.ask("list tables") == []


def test_the_best_kind_that_works_here_is_chosen(host: int) -> None:
    best = KeyedWindow if probe_kernel(host).no_stamp else StampedWindow
    for way, kind in (("best", best), ("keys", KeyedWindow)):
        window = choose_window([V4.vip], netns_fd=host, longest_ns=LONG, way=way)  # type: ignore[arg-type]
        assert isinstance(window, kind)
        assert window.gate_is_timed == (kind is KeyedWindow)
        window.detach()


def test_program_that_the_kernel_refuses_is_told_with_its_words(host: int) -> None:
    code = Code()
    code.copy(0, 9)
    code.leave(0)
    with pytest.raises(WorldError, match="R9 !read_ok"):
        load_classifier(code, "wrong")


def test_many_addresses_are_owned_and_read_back(host: int) -> None:
    many = [f"10.9.0.{n}" for n in range(1, 101)] + [f"fd00::{n:x}" for n in range(1, 101)]
    for kind in (KeyedWindow, StampedWindow):
        with kind(many, netns_fd=host, longest_ns=LONGEST) as window:
            window.own(many)
            assert window.owned() == frozenset(many)
            window.disown(many[1:])
            assert window.owned() == {many[0]}
