"""A short talk with a manager or an agent from outside an event loop: command line, supervisor.

In:   a run folder, a party, what to say.
Out:  its answer.
Always: within the limit, or PeerError. No event loop, so that a command starts fast.
"""

import os
import socket
import time
from types import TracebackType

from holdfast.errors import PeerError
from holdfast.model.names import OPERATOR, Party
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.sockets import connected
from holdfast.wire.frames import FrameReader, FrameWriter
from holdfast.wire.handshake import NONCE_BYTES, Calling
from holdfast.wire.link_messages import AllEnded, Answer, Ask, EndAll, LinkMessage, Question, decoded, encoded

_PIECE_BYTES = 1 << 16


class Talk:
    """A link that waits; to be used with `with`."""

    def __init__(self, folder: RunFolder, to: Party, limit_s: float, me: Party = OPERATOR) -> None:
        self._to = to
        self._limit = time.monotonic() + limit_s
        self._reader, self._writer = FrameReader(), FrameWriter()
        handshake = Calling(folder.key.read_bytes(), me, to, os.urandom(NONCE_BYTES))
        try:
            self._socket = connected(folder.socket(to), limit_s)
        except OSError as error:
            raise PeerError(f"{to} does not answer: {error.strerror or error}") from error
        try:
            payload = handshake.first()
            while payload is not None:
                self._write(payload)
                payload = None if handshake.is_done else handshake.answer(self._read())
            if handshake.keys is not None:
                self._writer.seal(handshake.keys.sends)
                self._reader.seal(handshake.keys.hears)
        except PeerError:
            self._socket.close()
            raise

    def __enter__(self) -> "Talk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def say(self, message: LinkMessage) -> None:
        self._write(encoded(message))

    def hear(self) -> LinkMessage:
        return decoded(self._read())

    def _rest(self) -> float:
        rest = self._limit - time.monotonic()
        if rest <= 0:
            raise PeerError(f"{self._to} does not answer within its time limit")
        return rest

    def _write(self, payload: bytes) -> None:
        block = self._writer.frame(payload)
        self._socket.settimeout(self._rest())
        try:
            self._socket.sendall(block)
        except OSError as error:
            raise PeerError(f"{self._to} cannot be told: {error}") from error

    def _read(self) -> bytes:
        while (payload := self._reader.next()) is None:
            self._socket.settimeout(self._rest())
            try:
                piece = self._socket.recv(_PIECE_BYTES)
            except socket.timeout as error:  # noqa: UP041  # the same, but says what it is
                raise PeerError(f"{self._to} does not answer within its time limit") from error
            except OSError as error:
                raise PeerError(f"the link with {self._to} broke: {error.strerror}") from error
            if not piece:
                raise PeerError(f"{self._to} closed the link")
            self._reader.feed(piece)
        return payload


def ask(folder: RunFolder, party: Party, question: Question, limit_s: float = 2.0) -> Answer:
    """Ask a manager; raises PeerError if it does not answer in time."""
    with Talk(folder, party, limit_s) as talk:
        talk.say(Ask(1, question))
        while True:
            answer = talk.hear()
            if isinstance(answer, Answer):
                return answer


def end_all(folder: RunFolder, agent: Party, limit_s: float) -> tuple[str, ...]:
    """Let an agent end everything on its host; answer what would not go."""
    with Talk(folder, agent, limit_s) as talk:
        talk.say(EndAll())
        while True:
            answer = talk.hear()
            if isinstance(answer, AllEnded):
                return answer.left
