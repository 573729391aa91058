"""What active and standby say to each other on the replication port: frames of a header and a payload.

In: bytes in any pieces. Out: frames, or PeerError. Every length is bounded.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from holdfast.errors import PeerError
from holdfast.wire.component import Position

HEADER = struct.Struct("!IBQQ")
"""Length of the payload, kind, epoch, sequence."""
UPDATE_BYTES_MAX = 1 << 20
PIECE_BYTES = 256 * 1024
"""A snapshot travels in pieces of this size."""
SNAPSHOT_BYTES_MAX = 32 << 20
NAME_CHARACTERS_MAX = 200

HELLO, WELCOME, REFUSED, UPDATE, PIECE, SNAPSHOT, PING, ACK, HEARD = range(1, 10)


class Frame(NamedTuple):
    kind: int
    position: Position
    payload: bytes


class Entry(NamedTuple):
    """One update of the state: under which epoch it was written, its number, what it says."""

    epoch: int
    sequence: int
    payload: bytes

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.sequence)


def frame(kind: int, position: Position, payload: bytes = b"") -> bytes:
    return HEADER.pack(len(payload), kind, position[0], position[1]) + payload


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        rest = self._rest + data if self._rest else data
        found: list[Frame] = []
        at = 0
        while len(rest) - at >= HEADER.size:
            length, kind, epoch, sequence = HEADER.unpack_from(rest, at)
            if length > UPDATE_BYTES_MAX or not HELLO <= kind <= HEARD:
                raise PeerError(f"not a frame of the replication protocol (kind {kind}, {length} bytes)")
            end = at + HEADER.size + length
            if len(rest) < end:
                break
            found.append(Frame(kind, Position(epoch, sequence), rest[at + HEADER.size : end]))
            at = end
        self._rest = rest[at:]
        return found


class Greeting(NamedTuple):
    """What a standby says of itself first: who it is, what it follows, how new its state is."""

    service: str
    name: str
    position: Position

    def encode(self) -> bytes:
        return f"1\n{self.service}\n{self.name}\n{self.position.epoch} {self.position.sequence}".encode()


def greeting(payload: bytes) -> Greeting:
    """Raises PeerError for anything that is not a greeting of version 1."""
    try:
        version, service, name, position = payload.decode().split("\n")
        epoch, sequence = position.split(" ")
        said = Greeting(service, name, Position(int(epoch), int(sequence)))
    except ValueError:
        raise PeerError(f"not a greeting of a standby: {payload[:60]!r}") from None
    if version != "1" or not 0 < len(name) <= NAME_CHARACTERS_MAX or min(said.position) < 0:
        raise PeerError(f"not a greeting of a standby: {payload[:60]!r}")
    return said
