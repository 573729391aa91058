"""The sockets of the hot loop on a real network: what becomes of datagrams to hosts that are off."""

from contextlib import ExitStack, closing

import pytest

from holdfast.drivers.namespaces import inside
from holdfast.model.names import HostName
from holdfast.runtime.hot_sockets import HotSockets
from holdfast.runtime.hot_words import HotNetwork, HotPeer
from tests.contract.network import V4, V6, Family, SmallNetwork

pytestmark = pytest.mark.namespaces
PORT = 7947
BEATS = 2000
"""Of a heartbeat of 10 ms: 20 s in which hosts are off."""
OFF = tuple(HostName(name) for name in ("c", "d", "e"))


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_hosts_that_are_off_take_no_room_from_those_that_are_not(family: Family) -> None:
    with ExitStack() as stack:
        net = SmallNetwork(stack)
        hearing = net.b.udp(family.of(net.b.n), PORT)
        peers = {HostName("b"): HotPeer((family.of(net.b.n),), PORT)}
        # Nobody has these addresses, so the kernel keeps what is sent there until it knows that.
        peers |= {name: HotPeer((family.of(40 + place),), PORT) for place, name in enumerate(OFF)}
        network = HotNetwork("lan", family.of(net.a.n), PORT)
        sockets = stack.enter_context(closing(inside(net.a.namespace, lambda: HotSockets((network,), peers))))
        for beat in range(BEATS):
            for name in OFF:
                sockets.send(name, bytes(200))
            if beat % 100 == 0:
                sockets.send(HostName("b"), b"%d" % beat)
                assert hearing.recv(100) == b"%d" % beat
        assert sockets.unsent_by_name() == {"lan": 0}
