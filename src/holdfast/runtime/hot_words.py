"""What the hot process is told at its start, what it tells the agent, and what the agent tells it.

One packet of the UNIX seqpacket socket holds one message, as msgpack. Nothing here is needed for the loop to go on: the
agent may be away, and hears with `Standing` how things are when it is back.
"""

import msgspec
from msgspec import Struct

from holdfast.core.suspicion_words import Noticed, PeerState
from holdfast.model.names import HostName
from holdfast.runtime.hot_lateness import Lateness
from holdfast.runtime.hot_rights import Rights

PACKET_BYTES_MAX = 1 << 16
LINK_QUEUE_MAX = 256
"""Messages that wait for an agent that does not read; more are dropped, counted, and made up for by a `Standing`."""
PORT = 7947
"""UDP port of the agents among themselves, unless another is set."""


class HotNetwork(Struct, frozen=True):
    """One network that joins the agents."""

    name: str
    address: str
    """The own address on it."""
    port: int = PORT


class HotPeer(Struct, frozen=True):
    """Where another agent is reached: an address for each network, in the order of the networks."""

    addresses: tuple[str, ...]
    port: int = PORT


class HotSettings(Struct, frozen=True):
    """Everything the hot process knows at its start."""

    cluster: str
    me: HostName
    networks: tuple[HotNetwork, ...]
    peers: dict[HostName, HotPeer]
    heartbeat_ns: int
    key_file: str
    socket: str
    """Where it listens for its agent."""
    priority: int = 50
    """SCHED_FIFO; 0 for none."""
    pulse_ns: int = 1_000_000_000
    """How often it tells how it is."""


class Began(Struct, frozen=True, tag=True):
    """The first message on each connection."""

    me: HostName
    incarnation: int
    heartbeat_ns: int
    rights: Rights


class Standing(Struct, frozen=True, tag=True):
    """How everything stands: at the start of a connection, when asked, and after messages were dropped."""

    at_ns: int
    peers: dict[HostName, PeerState]
    is_outnumbered: bool
    is_in_doubt: bool
    late_ns: int


class Pulse(Struct, frozen=True, tag=True):
    """How the loop itself has been since the last pulse."""

    at_ns: int
    lateness: Lateness
    processor_ns: int
    """Processor time it used."""
    sent: int
    received: int
    refused: int
    """Datagrams that were not authentic, not for us, or not understood."""
    unsent: dict[str, int]
    """By network: datagrams that the own kernel did not take, because the interface is down or full."""
    dropped: int
    """Messages to the agent that found no room since the start."""
    refused_by: dict[str, int] = {}
    """Datagrams of no session of ours, by reason, since the process began; a hot process of before tells none."""


class FromRider(Struct, frozen=True, tag=True):
    """What rides on the loop (the grants) tells the agent, in words of its own."""

    body: bytes


HotEvent = Began | Standing | Pulse | Noticed | FromRider


class AskStanding(Struct, frozen=True, tag=True):
    """Tell how everything stands."""


class SetPeers(Struct, frozen=True, tag=True):
    """The other agents from now on."""

    peers: dict[HostName, HotPeer]


class ToRider(Struct, frozen=True, tag=True):
    """For what rides on the loop."""

    body: bytes


class EndHot(Struct, frozen=True, tag=True):
    """End the process."""


HotCommand = AskStanding | SetPeers | ToRider | EndHot

_ENCODE = msgspec.msgpack.Encoder()
_EVENTS: msgspec.msgpack.Decoder[HotEvent] = msgspec.msgpack.Decoder(HotEvent)
_COMMANDS: msgspec.msgpack.Decoder[HotCommand] = msgspec.msgpack.Decoder(HotCommand)


def packed(message: HotEvent | HotCommand) -> bytes:
    return _ENCODE.encode(message)


def event(packet: bytes) -> HotEvent:
    """Raises one of UNREADABLE for bytes that are none."""
    return _EVENTS.decode(packet)


def command(packet: bytes) -> HotCommand:
    """Raises one of UNREADABLE for bytes that are none."""
    return _COMMANDS.decode(packet)
