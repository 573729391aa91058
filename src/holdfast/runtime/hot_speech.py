"""What the hot loop needs of the wire between agents, and of what rides on it: two small contracts.

`Speech` turns bodies into authentic datagrams and back, and keeps the sessions. `Rider` is what shares the loop and its
datagrams with suspicion: the grants. Both are sans-IO; the loop reads the clock and owns the sockets.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from holdfast.core.suspicion_words import Noticed
from holdfast.model.names import HostName
from holdfast.wire.datagrams import Greeting, Opened

Heard = Opened
"""An authentic datagram that was meant for this agent, in its present life."""
Outgoing = Greeting
"""A datagram to be sent now; with a network, on that one alone."""


class Speech(Protocol):
    """Authenticated datagrams between the agents of one cluster."""

    @property
    def incarnation(self) -> int:
        """This agent's present life."""

    @property
    def refused(self) -> Mapping[str, int]:
        """How many datagrams were not taken, by reason."""

    def seal(self, peer: HostName, body: bytes, now_ns: int) -> bytes | None:
        """The datagram that carries the body; None while there is no session with the peer yet."""

    def open(self, datagram: bytes, network: int, now_ns: int) -> Heard | None:
        """What it carries, or None: forged, replayed, of another cluster, not for us, or the session's own."""

    def tick(self, now_ns: int) -> None:
        """Called each heartbeat: sessions that are missing are asked for."""

    def take(self) -> Iterable[Outgoing]:
        """What the sessions themselves have to send."""

    def set_peers(self, peers: Iterable[HostName]) -> None:
        """The other agents from now on."""


class Rider(Protocol):
    """What rides on the loop.

    Every `now_ns` it is given was read for that call, after what it is told had arrived: a voter must not count a
    promise from a time before the request was there.
    """

    def beat(self, now_ns: int) -> None:
        """Heartbeats are about to be sent; what `take` answers next goes with it (the ASK of the grants)."""

    def received(self, peer: HostName, incarnation: int, body: bytes, now_ns: int) -> None:
        """What came with a datagram of the peer."""

    def noticed(self, noticed: Noticed, now_ns: int) -> None:
        """What suspicion has noticed."""

    def told(self, body: bytes, now_ns: int) -> None:
        """What the agent on this host tells it."""

    def tick(self, now_ns: int) -> None:
        """Time has come so far."""

    def deadline(self) -> int | None:
        """When to call `tick` at the latest."""

    def take(self) -> Iterable[tuple[HostName, bytes]]:
        """Bodies to send now (asks, answers, releases)."""

    def news(self) -> Iterable[bytes]:
        """What the agent on this host is to be told."""

    def set_peers(self, peers: Iterable[HostName], now_ns: int) -> None:
        """The other agents from now on."""


class NoRider:
    """Nothing rides on the loop: heartbeats alone."""

    def beat(self, now_ns: int) -> None:
        return

    def received(self, peer: HostName, incarnation: int, body: bytes, now_ns: int) -> None:
        return

    def noticed(self, noticed: Noticed, now_ns: int) -> None:
        return

    def told(self, body: bytes, now_ns: int) -> None:
        return

    def tick(self, now_ns: int) -> None:
        return

    def deadline(self) -> int | None:
        return None

    def take(self) -> Iterable[tuple[HostName, bytes]]:
        return ()

    def news(self) -> Iterable[bytes]:
        return ()

    def set_peers(self, peers: Iterable[HostName], now_ns: int) -> None:
        return
