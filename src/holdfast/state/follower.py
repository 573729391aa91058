"""The standby's end of replication, without any I/O.

In: bytes of the active. Out: changes to carry out, in order, and what to answer after that. What always
holds: an update is taken only right behind the one before it; nobody is followed whose epoch is older than
one that is known; what is acknowledged is what was handed out as a change.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast.errors import PeerError
from holdfast.state.frames import (
    ACK,
    HEARD,
    HELLO,
    PIECE,
    PING,
    REFUSED,
    SNAPSHOT,
    SNAPSHOT_BYTES_MAX,
    UPDATE,
    WELCOME,
    Entry,
    Frame,
    Frames,
    Greeting,
    frame,
)
from holdfast.wire.component import Position


class Fence(NamedTuple):
    """This epoch is known now: nothing older is followed any more, also after a restart."""

    epoch: int


class Restore(NamedTuple):
    """The whole state, in place of what was there."""

    position: Position
    data: bytes


Change = Entry | Fence | Restore


class Heard(NamedTuple):
    changes: list[Change]
    """To be carried out, in order."""
    answer: bytes
    """To be sent back after that."""
    broken: str
    """Why the link is to be closed after that; empty for a good one."""


class Follower:
    """The standby's end, for one link after another."""

    def __init__(self, *, service: str, name: str, position: Position, known_epoch: int, least_epoch: int = 0) -> None:
        self.service = service
        self.name = name
        self.position = position
        self.known_epoch = max(known_epoch, position.epoch)
        """Newest epoch under which anybody was seen to be active; an active that is older stops when it hears it."""
        self._least_epoch = least_epoch
        """Epoch of the instruction: an active that has not got there yet is not followed, and not stopped either."""
        self._begin()

    def greet(self) -> bytes:
        """First bytes on a new link."""
        self._begin()
        hello = Greeting(self.service, self.name, self.position)
        return frame(HELLO, Position(self.known_epoch, 0), hello.encode())

    def received(self, data: bytes) -> Heard:
        """What the active has said with these bytes; nothing that was whole is lost when the rest is broken."""
        changes: list[Change] = []
        self._answer = b""
        self._is_ack_due = False
        broken = ""
        try:
            for said in self._frames.feed(data):
                self._take(said, changes)
        except PeerError as error:
            broken = error.message
        if self._is_ack_due:
            self._answer += frame(ACK, self.position)
        return Heard(changes, self._answer, broken)

    def _take(self, said: Frame, changes: list[Change]) -> None:
        if not self._welcomed:
            self._welcome(said, changes)
        elif said.kind == UPDATE and not self._pieces:
            self._update(said, changes)
            self._is_ack_due = True
        elif said.kind == PIECE:
            self._piece(said)
            self._answer += frame(HEARD, self.position)
        elif said.kind == SNAPSHOT:
            self._restore(said, changes)
            self._is_ack_due = True
        elif said.kind == PING and not self._pieces:
            self._is_ack_due = True
        else:
            raise PeerError(f"frame of kind {said.kind} out of order")

    def _begin(self) -> None:
        self._frames = Frames()
        self._welcomed = False
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._answer = b""
        self._is_ack_due = False

    def _welcome(self, said: Frame, changes: list[Change]) -> None:
        if said.kind == REFUSED:
            raise PeerError(f"the active refuses: {said.payload.decode(errors='replace')[:200]}")
        if said.kind != WELCOME:
            raise PeerError(f"frame of kind {said.kind} before the welcome")
        if said.position.epoch < max(self.known_epoch, self._least_epoch):
            raise PeerError(
                f"the active has epoch {said.position.epoch}, known is {max(self.known_epoch, self._least_epoch)}"
            )
        self._welcomed = True
        if said.position.epoch > self.known_epoch:
            self.known_epoch = said.position.epoch
            changes.append(Fence(self.known_epoch))

    def _update(self, said: Frame, changes: list[Change]) -> None:
        at, before = said.position, self.position
        if at.sequence != before.sequence + 1 or not before.epoch <= at.epoch <= self.known_epoch:
            raise PeerError(f"update {at} cannot follow {before}")
        self.position = at
        changes.append(Entry(at.epoch, at.sequence, said.payload))

    def _piece(self, said: Frame) -> None:
        self._pieces.append(said.payload)
        self._pieces_bytes += len(said.payload)
        if self._pieces_bytes > SNAPSHOT_BYTES_MAX:
            raise PeerError(f"the snapshot is longer than {SNAPSHOT_BYTES_MAX} bytes")

    def _restore(self, said: Frame, changes: list[Change]) -> None:
        if said.position.epoch > self.known_epoch:
            raise PeerError(f"the snapshot {said.position} is newer than its epoch {self.known_epoch}")
        data = b"".join(self._pieces)
        self._pieces, self._pieces_bytes = [], 0
        self.position = said.position
        changes.append(Restore(said.position, data))
