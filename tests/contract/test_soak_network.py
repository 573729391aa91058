"""The troubles of a soak's network, on a bridge with three hosts: what is cut, lost or doubled, and what is not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from holdfast.drivers import ports
from holdfast.drivers.namespaces import inside
from holdfast.drivers.netlink import Netlink
from holdfast.lab.acts import FaultFailed
from holdfast.lab.soak.network import Roads
from holdfast.lab.world import port_of
from holdfast.model.names import HostName
from tests.contract.network import LIMIT_S, in_order, namespace

pytestmark = pytest.mark.namespaces
KIND = b"\x88\xb5"
"""An EtherType for experiments."""
H1, H2, H3 = (HostName(name) for name in ("h1", "h2", "h3"))
CLIENT = HostName("client")


class Bridged:
    """A bridge, and a socket at each end of it."""

    def __init__(self, stack: ExitStack) -> None:
        switch = self.switch = namespace(stack)
        self.netlink = stack.enter_context(Netlink.open(switch))
        ports.make_bridge(self.netlink, "lab0")
        self._taps: dict[HostName, socket.socket] = {}
        self._macs: dict[HostName, bytes] = {}
        for name in (H1, H2, H3, CLIENT):
            self._join(stack, name)
        self.roads = inside(switch, Roads)
        stack.callback(self.roads.close)

    def _join(self, stack: ExitStack, name: HostName) -> None:
        end, port = namespace(stack), port_of(name)
        self.netlink.veth(port, "uplink", peer_netns_fd=end)
        self.netlink.enslave(port, "lab0")
        self.netlink.up(port)
        with Netlink.open(end) as own:
            own.up("uplink")
            self._macs[name] = own.mac("uplink")

        def tap() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, int.from_bytes(KIND))
            made.bind(("uplink", int.from_bytes(KIND)))
            made.settimeout(LIMIT_S)
            return made

        self._taps[name] = inside(end, tap)
        stack.callback(self._taps[name].close)

    def send(self, sender: HostName, to: HostName, text: bytes) -> None:
        self._taps[sender].send(self._macs[to] + self._macs[sender] + KIND + text.ljust(50, b"\0"))

    def heard(self, by: HostName, until: bytes) -> list[bytes]:
        """What has arrived there, to the text that comes last."""
        found: list[bytes] = []
        while until not in found:
            found.append(self._taps[by].recv(2048)[14:].rstrip(b"\0"))
        return found


@pytest.fixture
def bridged() -> Iterator[Bridged]:
    with ExitStack() as stack, in_order():
        yield Bridged(stack)


def test_a_cut_holds_on_its_way_alone_and_is_over_when_it_is_taken_back(bridged: Bridged) -> None:
    undo = bridged.roads.cut([(H1, H2)])
    bridged.send(H1, H2, b"cut")
    bridged.send(H3, H2, b"of another")
    bridged.send(CLIENT, H2, b"of the client")
    assert bridged.heard(H2, b"of the client") == [b"of another", b"of the client"]
    bridged.send(H2, H1, b"back")
    assert bridged.heard(H1, b"back") == [b"back"]
    undo()
    bridged.send(H1, H2, b"again")
    assert bridged.heard(H2, b"again") == [b"again"]


def test_two_cuts_of_one_way_are_taken_back_each_for_itself(bridged: Bridged) -> None:
    first, second = bridged.roads.cut([(H1, H2)]), bridged.roads.cut([(H1, H2), (H2, H1)])
    first()
    bridged.send(H1, H2, b"cut still")
    bridged.send(H3, H2, b"of another")
    assert bridged.heard(H2, b"of another") == [b"of another"]
    second()
    bridged.send(H1, H2, b"again")
    assert bridged.heard(H2, b"again") == [b"again"]


def test_a_cut_outlasts_a_host_that_is_switched_off_and_on(bridged: Bridged) -> None:
    undo = bridged.roads.cut([(H1, H2)])
    with ExitStack() as stack:
        bridged.netlink.delete(port_of(H1))
        bridged._join(stack, H1)
        bridged.send(H1, H2, b"cut still")
        bridged.send(H3, H2, b"of another")
        assert bridged.heard(H2, b"of another") == [b"of another"]
        undo()
        bridged.send(H1, H2, b"again")
        assert bridged.heard(H2, b"again") == [b"again"]


def test_a_share_of_what_hosts_say_is_lost(bridged: Bridged) -> None:
    undo = bridged.roads.lose([(H1, H2)], 50)
    for number in range(200):
        bridged.send(H1, H2, b"%d" % number)
    bridged.send(CLIENT, H2, b"end")
    assert 40 < len(bridged.heard(H2, b"end")) < 160
    undo()


def test_what_is_doubled_comes_twice_and_no_more(bridged: Bridged) -> None:
    undo = inside(bridged.switch, lambda: bridged.roads.double([H1, H2, H3], 100))
    bridged.send(H1, H2, b"one")
    bridged.send(H3, H2, b"other")
    undo()
    bridged.send(H1, H2, b"end")
    assert sorted(bridged.heard(H2, b"end")) == [b"end", b"one", b"one", b"other", b"other"]


def test_where_there_is_no_port_nothing_is_doubled(bridged: Bridged) -> None:
    with pytest.raises(FaultFailed):
        bridged.roads.double([HostName("h9")], 30)
