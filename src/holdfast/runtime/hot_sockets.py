"""The UDP sockets of the hot loop: one for each network, bound to the own address there, never waiting.

In: datagrams to send, by peer. Out: datagrams received. Always: a datagram that the own kernel does not take (interface
down, route gone, buffer full) is counted for its network and forgotten: the next heartbeat is a better one. To whom it
was is told, so that nobody is blamed for a silence that begins here. One of several networks may be missing at the
start, because that is what there are several for; it is used once it is there.
"""

import errno
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from holdfast.errors import WorldError
from holdfast.model.granting import AGENTS_MAX
from holdfast.model.names import HostName
from holdfast.runtime.hot_words import HotNetwork, HotPeer
from holdfast.runtime.sockets import bind_before_it_is_there
from holdfast.wire.peer import BODY_BYTES_MAX

DATAGRAM_BYTES_MAX = BODY_BYTES_MAX + 2048
"""The largest letter with its heartbeat and seal. The kernel cuts what is longer, and what is cut is not believed."""
DRAINED_MAX = 1024
"""Datagrams taken from one socket in a round: more than can gather while the process stands still for seconds."""
_BUFFER_BYTES = 1 << 20
_KEPT_BYTES = 212_992
"""What the kernel keeps for one neighbour that it cannot find (unres_qlen_bytes), at the cost of the socket's room."""
_SEND_BYTES = (AGENTS_MAX + 1) * _KEPT_BYTES
"""Room for all of them: with less, two hosts that are off took the heartbeats from those that were not."""
_SO_SNDBUFFORCE = 32
_DSCP_CS6 = 0xC0
"""Network control: switches that know classes drop it last."""


class Datagrams(Protocol):
    """What is needed of a UDP socket; nothing of it waits."""

    def fileno(self) -> int: ...

    def sendto(self, datagram: bytes, address: tuple[str, int], /) -> int: ...

    def recv_into(self, buffer: bytearray, /) -> int: ...

    def close(self) -> None: ...


class HotSockets:
    """One socket a network, in the order of the networks."""

    def __init__(
        self,
        networks: tuple[HotNetwork, ...],
        peers: dict[HostName, HotPeer],
        bound: "Callable[[HotNetwork], Datagrams] | None" = None,
    ) -> None:
        self._networks = networks
        self._buffer = bytearray(DATAGRAM_BYTES_MAX)
        self._view = memoryview(self._buffer)
        self._unsent = [0] * len(networks)
        self._refused: set[tuple[HostName, int]] = set()
        self.sent = 0
        self.sockets: list[Datagrams] = []
        self._addresses: list[dict[HostName, tuple[str, int]]] = []
        try:
            if bound is None:
                self.sockets.extend(_bound(networks))
            else:
                self.sockets.extend(map(bound, networks))
        except BaseException:
            self.close()
            raise
        self.set_peers(peers)

    def set_peers(self, peers: dict[HostName, HotPeer]) -> None:
        """Where the others are from now on."""
        self._addresses = [
            {name: (peer.addresses[place], peer.port) for name, peer in peers.items() if place < len(peer.addresses)}
            for place in range(len(self._networks))
        ]

    def send(self, peer: HostName, datagram: bytes, only: int | None = None) -> None:
        """To the peer, on every network, or on one."""
        for place, link in enumerate(self.sockets):
            if only is not None and place != only:
                continue
            address = self._addresses[place].get(peer)
            if address is None:
                continue
            try:
                link.sendto(datagram, address)
                self.sent += 1
            except OSError:
                self._unsent[place] += 1
                self._refused.add((peer, place))

    def received(self, place: int) -> Iterator[bytes]:
        """What waits on this network now."""
        link = self.sockets[place]
        for _ in range(DRAINED_MAX):
            try:
                size = link.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:
                # An error of an earlier datagram, reported late by the kernel: it concerns no datagram received.
                continue
            yield bytes(self._view[:size])

    def take_refused(self) -> Iterable[tuple[HostName, int]]:
        """To whom, and on which network, the own kernel has not taken a datagram since the last call."""
        if not self._refused:
            return ()
        refused, self._refused = self._refused, set()
        return refused

    def unsent_by_name(self) -> dict[str, int]:
        return {network.name: count for network, count in zip(self._networks, self._unsent, strict=True)}

    def close(self) -> None:
        for link in self.sockets:
            link.close()


def _make_room(link: socket.socket) -> None:
    """Beyond `net.core.wmem_max`, which only the network's administrator may; without that right, up to there."""
    try:
        link.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BYTES)
    except PermissionError:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)


def _bound(networks: Sequence[HotNetwork]) -> list[socket.socket]:
    """To the own address on each network, of which one at least must be there."""
    links: list[socket.socket] = []
    absent: list[tuple[HotNetwork, socket.socket, OSError]] = []
    try:
        for network in networks:
            links.append(link := _opened(network))
            try:
                link.bind((network.address, network.port))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise _refused(network, error) from error
                absent.append((network, link, error))
        for network, link, why in absent:
            if len(absent) == len(links):
                raise _refused(network, why) from why
            bind_before_it_is_there(link, network.address, network.port)
    except BaseException:
        for link in links:
            link.close()
        raise
    return links


def _opened(network: HotNetwork) -> socket.socket:
    family = socket.AF_INET6 if ":" in network.address else socket.AF_INET
    link = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        link.setblocking(False)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        _make_room(link)
        if family == socket.AF_INET:
            link.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _DSCP_CS6)
        else:
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _DSCP_CS6)
    except OSError as error:
        link.close()
        raise _refused(network, error) from error
    return link


def _refused(network: HotNetwork, error: OSError) -> WorldError:
    return WorldError(
        f"cannot listen on {network.address} port {network.port} (network {network.name}): {error.strerror}",
        "the address must be one of this host's own, and no other agent may use the port",
    )
