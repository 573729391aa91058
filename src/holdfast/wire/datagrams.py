"""Authentic datagrams between the agents of one deployment, with sessions; sans-IO.

In:   bodies to be sealed for a peer; datagrams received; the clock only to space out greetings.
Out:  datagrams; bodies with the peer and the life of it that sent them; greetings to be sent (`take`).
Always: what `open` returns was sealed by somebody who knows the key, for this agent in its present life, by the life of
the peer that has proven (by answering a fresh nonce) that it is the present one, and has not been returned before on
the same network; what comes on another one as well is said to be a copy there. Everything else is dropped and counted
by reason. Nothing grows with what strangers send.

Head: version, kind, cluster, sender, receiver, sender's life, receiver's life as last proven (0 in greetings), number.
The MAC is keyed BLAKE2s of 16 bytes over head and body; while a key is being changed, two are accepted.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from hmac import compare_digest

from msgspec import Struct

from holdfast.model.names import HostName

VERSION = 1
DATA, HELLO, WELCOME = 0, 1, 2
MAC_BYTES = 16
NAME_BYTES = 8
NONCE_BYTES = 16
_HEAD = struct.Struct(f"!BB{NAME_BYTES}s{NAME_BYTES}s{NAME_BYTES}sQQQ")
KEYS_MAX = 2
COPIES_KNOWN = 1024
"""How far a network may be behind another one, in numbers of the sender; what is behind further counts as a copy."""
REASONS = ("short", "version", "mac", "cluster", "receiver", "sender", "life", "stranger", "replay", "nonce")


class Opened(Struct, frozen=True, gc=False):
    peer: HostName
    incarnation: int
    body: bytes
    is_copy: bool = False
    """It has been opened before, on another network."""


class Greeting(Struct, frozen=True, gc=False):
    """A datagram of the sessions themselves, to be sent on every network."""

    peer: HostName
    datagram: bytes
    network: int | None = None


class _Session:
    __slots__ = ("incarnation", "last", "mark", "nonce", "seen")

    def __init__(self, peer: HostName) -> None:
        self.mark = _mark(peer)
        self.incarnation = 0
        """The peer's present life; 0 while it has proven none."""
        self.nonce = b""
        """Asked with, and not answered yet."""
        self.last: dict[int, int] = {}
        """By network: the highest number that was taken."""
        self.seen = _Seen()


class _Seen:
    """Which of the latest numbers have been taken, on whichever network."""

    __slots__ = ("_bits", "_highest")

    def __init__(self) -> None:
        self._highest = 0
        self._bits = 0
        """Bit n: the number that is n below the highest has been taken."""

    def take(self, number: int) -> bool:
        """Whether it is new."""
        behind = self._highest - number
        if behind < 0:
            self._bits = (self._bits << -behind | 1) & _KNOWN if -behind < COPIES_KNOWN else 1
            self._highest = number
            return True
        if behind >= COPIES_KNOWN or self._bits >> behind & 1:
            return False
        self._bits |= 1 << behind
        return True


_KNOWN = (1 << COPIES_KNOWN) - 1


def _mark(name: str) -> bytes:
    return hashlib.blake2s(name.encode(), digest_size=NAME_BYTES).digest()


def _mac(keyed: "hashlib.blake2s", text: bytes) -> bytes:
    """With a hash that has taken in its key already: the copy is cheaper than the key."""
    made = keyed.copy()
    made.update(text)
    return made.digest()


class Datagrams:
    """One agent's end of all its sessions, for one life."""

    def __init__(
        self,
        cluster: str,
        me: HostName,
        peers: Iterable[HostName],
        keys: Sequence[bytes],
        incarnation: int,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """
        Args:
            keys: the first one seals; up to two are accepted.
            incarnation: random, not 0, new for each start.
            random_bytes: unpredictable bytes for nonces.
        """
        if not keys or len(keys) > KEYS_MAX or not incarnation:
            raise ValueError(f"one or two keys and an incarnation other than 0 are needed, got {len(keys)} keys")
        self.incarnation = incarnation
        self._keyed = tuple(hashlib.blake2s(key=hashlib.blake2s(key).digest(), digest_size=MAC_BYTES) for key in keys)
        self._cluster, self._me = _mark(cluster), _mark(me)
        self._random = random_bytes
        self._number = 0
        self._sessions: dict[HostName, _Session] = {}
        self._names: dict[bytes, HostName] = {}
        self._out: list[Greeting] = []
        self.refused = dict.fromkeys(REASONS, 0)
        self.set_peers(peers)

    def set_peers(self, peers: Iterable[HostName]) -> None:
        """The other agents from now on; sessions with those that stay go on."""
        self._sessions = {peer: self._sessions.get(peer) or _Session(peer) for peer in peers}
        self._names = {session.mark: peer for peer, session in self._sessions.items()}

    def seal(self, peer: HostName, body: bytes, now_ns: int = 0) -> bytes | None:
        """The datagram that carries the body; None while the peer has not proven its life."""
        session = self._sessions.get(peer)
        if session is None or not session.incarnation:
            return None
        return self._sealed(DATA, session, session.incarnation, body)

    def _sealed(self, kind: int, to: _Session, to_life: int, body: bytes) -> bytes:
        self._number += 1
        head = _HEAD.pack(VERSION, kind, self._cluster, self._me, to.mark, self.incarnation, to_life, self._number)
        text = head + body
        return text + _mac(self._keyed[0], text)

    def tick(self, now_ns: int) -> None:
        """Called each heartbeat: greet those that have proven no life yet."""
        for peer, session in self._sessions.items():
            if not session.incarnation:
                self._greet(peer, session)

    def _greet(self, peer: HostName, session: _Session) -> None:
        # The same nonce until it is answered: an answer that comes late still proves that it came after the question.
        session.nonce = session.nonce or self._random(NONCE_BYTES)
        self._out.append(Greeting(peer, self._sealed(HELLO, session, 0, session.nonce)))

    def take(self) -> list[Greeting]:
        """Greetings to be sent now."""
        out, self._out = self._out, []
        return out

    def open(self, datagram: bytes, network: int, now_ns: int = 0) -> Opened | None:
        """What it carries, or None: not authentic, not for us, old, or the sessions' own."""
        if len(datagram) < _HEAD.size + MAC_BYTES:
            return self._drop("short")
        version, kind, cluster, sender, receiver, life, to_life, number = _HEAD.unpack_from(datagram)
        text = datagram[:-MAC_BYTES]
        if version != VERSION:
            return self._drop("version")
        if not self._is_authentic(text, datagram[-MAC_BYTES:]):
            return self._drop("mac")
        if cluster != self._cluster:
            return self._drop("cluster")
        peer = self._names.get(sender)
        if receiver != self._me or peer is None:
            return self._drop("receiver" if receiver != self._me else "sender")
        session = self._sessions[peer]
        body = text[_HEAD.size :]
        if kind == HELLO:
            self._answer(peer, session, life, body)
            return None
        if to_life != self.incarnation:
            return self._drop("life")
        if kind == WELCOME:
            self._welcomed(session, life, body)
            return None
        if life != session.incarnation:
            self._greet(peer, session)
            return self._drop("stranger")
        if number <= session.last.get(network, 0):
            return self._drop("replay")
        session.last[network] = number
        return Opened(peer, life, body, is_copy=not session.seen.take(number))

    def _is_authentic(self, text: bytes, mac: bytes) -> bool:
        first, *others = self._keyed
        return compare_digest(_mac(first, text), mac) or any(compare_digest(_mac(one, text), mac) for one in others)

    def _answer(self, peer: HostName, session: _Session, life: int, nonce: bytes) -> None:
        """A HELLO proves nothing by itself (it may be old); it is answered, and a new life is asked for proof."""
        if len(nonce) != NONCE_BYTES:
            self._drop("nonce")
            return
        self._out.append(Greeting(peer, self._sealed(WELCOME, session, life, nonce)))
        if life != session.incarnation:
            self._greet(peer, session)

    def _welcomed(self, session: _Session, life: int, nonce: bytes) -> None:
        if not session.nonce or not compare_digest(nonce, session.nonce):
            self._drop("nonce")
            return
        session.nonce = b""
        if life != session.incarnation:
            session.incarnation = life
            session.last.clear()
            session.seen = _Seen()

    def _drop(self, reason: str) -> Opened | None:
        self.refused[reason] += 1
        return None
