"""Who is there: both ends of a link prove that they know the deployment's key.

    caller                                  listener
      Hello(version, caller, nonce)   ──►
                                      ◄──   Welcome(version, listener, nonce, proof)
      Proof(proof)                    ──►

Each proof is an HMAC-SHA256 over the side, the protocol version, both names and both nonces. The nonces
are fresh for each link, so a proof that was overheard is of no use on another; the side is part of
it, so that it cannot be sent back. Both ends then have two keys of their own for this link, one for each direction,
with which every later frame is signed (`wire.frames`). Payloads in, payloads out; nonces come in as values; no socket.

The versions are told first, and a listener that does not speak the caller's answers with its own before it hangs up.
"""

import hashlib
import hmac
from typing import NamedTuple

import msgspec
from msgspec import Struct

from holdfast.errors import PeerError
from holdfast.model.names import Party
from holdfast.model.reading import UNREADABLE

PROTOCOL = 4
NONCE_BYTES = 16


class FrameKeys(NamedTuple):
    """With which the frames of one link are signed."""

    sends: bytes
    hears: bytes


class Hello(Struct, frozen=True, tag=True):
    protocol: int
    caller: Party
    nonce: bytes


class Welcome(Struct, frozen=True, tag=True):
    protocol: int
    listener: Party
    nonce: bytes
    proof: bytes


class Proof(Struct, frozen=True, tag=True):
    proof: bytes


_ENCODE = msgspec.msgpack.Encoder()
_DECODE: msgspec.msgpack.Decoder[Hello | Welcome | Proof] = msgspec.msgpack.Decoder(Hello | Welcome | Proof)


def _proof(key: bytes, side: bytes, hello: Hello, listener: Party, nonce: bytes) -> bytes:
    words = [side, str(hello.protocol).encode(), hello.caller.encode(), listener.encode(), hello.nonce, nonce]
    # Lengths in front, so that no two different lists of words give the same bytes.
    text = b"".join(len(word).to_bytes(4, "big") + word for word in words)
    return hmac.new(key, text, hashlib.sha256).digest()


def _frame_keys(key: bytes, hello: Hello, listener: Party, nonce: bytes) -> FrameKeys:
    """As the caller uses them."""
    return FrameKeys(
        _proof(key, b"caller's frames", hello, listener, nonce),
        _proof(key, b"listener's frames", hello, listener, nonce),
    )


def _decoded(payload: bytes) -> Hello | Welcome | Proof:
    try:
        return _DECODE.decode(payload)
    except UNREADABLE as error:
        raise PeerError(f"the peer does not speak the handshake of protocol {PROTOCOL}: {error}") from error


def _check_protocol(theirs: int) -> None:
    if theirs != PROTOCOL:
        raise PeerError(
            f"the peer speaks protocol {theirs}, this side speaks {PROTOCOL}",
            "run the same version on both sides",
            kind="version",
        )


class Calling:
    """The side that connects. `listener` is who it means to speak to."""

    def __init__(self, key: bytes, me: Party, listener: Party, nonce: bytes) -> None:
        self._key = key
        self._hello = Hello(PROTOCOL, me, nonce)
        self.peer: Party = listener
        self.keys: FrameKeys | None = None
        """Known when it is done."""
        self.farewell: bytes | None = None

    @property
    def is_done(self) -> bool:
        return self.keys is not None

    def first(self) -> bytes | None:
        """What to send before anything was received."""
        return _ENCODE.encode(self._hello)

    def answer(self, payload: bytes) -> bytes | None:
        """What to send on this; raises PeerError when the other side is not who it should be."""
        welcome = _decoded(payload)
        if not isinstance(welcome, Welcome) or self.is_done:
            raise PeerError(f"{self.peer} sent {type(welcome).__name__} out of turn")
        _check_protocol(welcome.protocol)
        if welcome.listener != self.peer:
            raise PeerError(f"{welcome.listener} answered where {self.peer} was expected")
        wanted = _proof(self._key, b"listener", self._hello, self.peer, welcome.nonce)
        if not hmac.compare_digest(wanted, welcome.proof):
            raise PeerError(f"{self.peer} does not know this deployment's key", kind="key")
        self.keys = _frame_keys(self._key, self._hello, self.peer, welcome.nonce)
        return _ENCODE.encode(Proof(_proof(self._key, b"caller", self._hello, self.peer, welcome.nonce)))


class Listening:
    """The side that was connected to. `peer` is known to be true only when `is_done`."""

    def __init__(self, key: bytes, me: Party, nonce: bytes) -> None:
        self._key = key
        self._me = me
        self._nonce = nonce
        self._hello: Hello | None = None
        self.peer: Party = Party("")
        self.keys: FrameKeys | None = None
        """Known when it is done."""
        self.farewell: bytes | None = None
        """After an error: what to send before hanging up, so that the caller knows why."""

    @property
    def is_done(self) -> bool:
        return self.keys is not None

    def first(self) -> bytes | None:
        """Nothing: the caller begins."""
        return None

    def answer(self, payload: bytes) -> bytes | None:
        """What to send on this, None at the end; raises PeerError when the caller is not to be believed."""
        message = _decoded(payload)
        if isinstance(message, Hello) and self._hello is None:
            if message.protocol != PROTOCOL:
                self.farewell = _ENCODE.encode(Welcome(PROTOCOL, self._me, self._nonce, b""))
            _check_protocol(message.protocol)
            if len(message.nonce) != NONCE_BYTES:
                raise PeerError(f"a nonce of {len(message.nonce)} bytes, expected {NONCE_BYTES}")
            self._hello = message
            self.peer = message.caller
            proof = _proof(self._key, b"listener", message, self._me, self._nonce)
            return _ENCODE.encode(Welcome(PROTOCOL, self._me, self._nonce, proof))
        if isinstance(message, Proof) and self._hello is not None and not self.is_done:
            wanted = _proof(self._key, b"caller", self._hello, self._me, self._nonce)
            if not hmac.compare_digest(wanted, message.proof):
                raise PeerError(f"{self.peer} does not know this deployment's key", kind="key")
            keys = _frame_keys(self._key, self._hello, self._me, self._nonce)
            self.keys = FrameKeys(sends=keys.hears, hears=keys.sends)
            return None
        raise PeerError(f"the caller sent {type(message).__name__} out of turn")
