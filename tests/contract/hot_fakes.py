"""A speech for hot loops in tests: authentic datagrams without sessions."""

import hashlib
import struct
from collections.abc import Iterable

from holdfast.model.names import HostName
from holdfast.runtime.hot_speech import Heard, Outgoing

_HEAD = struct.Struct("!16s16sQQ")
MAC_BYTES = 16


class PlainSpeech:
    """Keyed and numbered; believes any incarnation at once."""

    def __init__(self, me: HostName, key: bytes, incarnation: int) -> None:
        self._me = me.encode().ljust(16, b"\0")
        self._key = key
        self.incarnation = incarnation
        self.refused: dict[str, int] = {}
        self._number = 0
        self._last: dict[tuple[HostName, int, int], int] = {}

    def seal(self, peer: HostName, body: bytes, now_ns: int) -> bytes | None:
        self._number += 1
        sealed = _HEAD.pack(self._me, peer.encode().ljust(16, b"\0"), self.incarnation, self._number) + body
        return self._mac(sealed) + sealed

    def open(self, datagram: bytes, network: int, now_ns: int) -> Heard | None:
        sealed = datagram[MAC_BYTES:]
        if len(sealed) < _HEAD.size or self._mac(sealed) != datagram[:MAC_BYTES]:
            return None
        sender, receiver, incarnation, number = _HEAD.unpack_from(sealed)
        peer = HostName(sender.rstrip(b"\0").decode())
        if receiver != self._me or number <= self._last.get((peer, incarnation, network), 0):
            return None
        self._last[peer, incarnation, network] = number
        return Heard(peer, incarnation, sealed[_HEAD.size :])

    def _mac(self, sealed: bytes) -> bytes:
        return hashlib.blake2s(sealed, key=self._key, digest_size=MAC_BYTES).digest()

    def tick(self, now_ns: int) -> None:
        return

    def take(self) -> Iterable[Outgoing]:
        return ()

    def set_peers(self, peers: Iterable[HostName]) -> None:
        return
