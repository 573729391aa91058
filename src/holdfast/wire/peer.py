"""What agents say to one another about grants, as the body of an authentic datagram (`wire.datagrams`), and back.

In:   messages with their heads, for one peer; bodies received. Out: bodies; messages as `Heard`.
Always: one body is one flat msgpack list, and decodes as a whole or not at all: a body that is none, of another
version, or too long raises PeerError. Nothing in it is believed but that its sender said it: who that is, and in which
life, comes from the datagram's session.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from holdfast.errors import PeerError
from holdfast.model.granting import (
    Ack,
    Ask,
    AskEpochs,
    EpochsAre,
    Fenced,
    Heard,
    Nak,
    Release,
    SendTo,
    VoterSetIs,
)
from holdfast.model.names import HostName
from holdfast.model.reading import UNREADABLE

VERSION = 1
LETTERS_MAX = 64
"""Messages in one body."""
BODY_BYTES_MAX = 16 << 10


class Letter(Struct, frozen=True, array_like=True):
    """One message, with what the head of each has to say."""

    voter_set: int
    """The version that the sender has on disk: saying it acknowledges it."""
    clock_ns: int
    to_incarnation: int
    message: Ask | Ack | Nak | Release | Fenced | VoterSetIs | AskEpochs | EpochsAre


class Body(Struct, frozen=True, array_like=True):
    version: int
    letters: tuple[Letter, ...]


_ENCODE = msgspec.msgpack.Encoder()
_DECODE = msgspec.msgpack.Decoder(Body)


def packed(messages: Iterable[SendTo]) -> bytes:
    """Messages to one peer as a body."""
    letters = tuple(Letter(one.version, one.clock_ns, one.incarnation, one.message) for one in messages)
    return _ENCODE.encode(Body(VERSION, letters))


def unpacked(sender: HostName, incarnation: int, body: bytes | memoryview) -> list[Heard]:
    """What that life of that peer has said.

    Raises:
        PeerError: this is no body of this version.
    """
    if len(body) > BODY_BYTES_MAX:
        raise PeerError(f"{sender} sent {len(body)} bytes about grants, at most {BODY_BYTES_MAX} are expected")
    try:
        read = _DECODE.decode(body)
    except UNREADABLE as error:
        raise PeerError(f"what {sender} sent about grants cannot be read: {error}") from error
    if read.version != VERSION:
        raise PeerError(f"{sender} speaks version {read.version} about grants, this side speaks {VERSION}")
    if len(read.letters) > LETTERS_MAX:
        raise PeerError(f"{sender} sent {len(read.letters)} messages at once, at most {LETTERS_MAX} are expected")
    return [
        Heard(sender, incarnation, one.to_incarnation, one.voter_set, one.clock_ns, one.message) for one in read.letters
    ]
