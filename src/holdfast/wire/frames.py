"""Frames: a length of four bytes, then that many bytes; once both ends are known, each of the two with a MAC.

In:   payloads to be sent; the bytes that a stream delivers.
Out:  bytes; payloads.
Always: never is more buffered than one frame of the permitted length, and before the seal that is a short one: a
longer one is refused as soon as its length is known. From `seal` on the reader gives out what a writer with the same
key has written, all of it, in its order, and nothing else: the first byte that was changed, left out, put in, doubled
or moved is an error, and so is all that follows. Both parts of a frame are numbered from the seal on, without being
told; the MAC (keyed BLAKE2s of 16 bytes) is over the number and the part. So a length that was changed is found before
anything is waited for.
"""

import hashlib
import struct
from hmac import compare_digest

from holdfast.errors import PeerError
from holdfast.model.limits import FRAME_BYTES_MAX, STRANGERS_FRAME_BYTES_MAX

MAC_BYTES = 16
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")


class _Seal:
    """MACs of one direction: each part of each frame has the next number."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2s(key=key, digest_size=MAC_BYTES)
        self._number = 0

    def mac(self, part: bytes) -> bytes:
        made = self._keyed.copy()
        made.update(_NUMBER.pack(self._number))
        made.update(part)
        self._number += 1
        return made.digest()


class FrameWriter:
    """Makes frames for one direction of a link."""

    def __init__(self) -> None:
        self._seal: _Seal | None = None

    def seal(self, key: bytes) -> None:
        """From the next frame on, sign."""
        self._seal = _Seal(key)

    def frame(self, payload: bytes) -> bytes:
        """The payload as it goes on the stream, after all that were made before."""
        if len(payload) > FRAME_BYTES_MAX:
            raise PeerError(f"a message of {len(payload)} bytes is longer than the permitted {FRAME_BYTES_MAX}")
        length = _LENGTH.pack(len(payload))
        if self._seal is None:
            return length + payload
        return b"".join((length, self._seal.mac(length), payload, self._seal.mac(payload)))


class FrameReader:
    """Puts the pieces that a stream delivers together again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._seal: _Seal | None = None
        self._length: int | None = None
        """Of the payload that is being waited for."""
        self._trouble = ""

    def seal(self, key: bytes) -> None:
        """From the next frame on, expect that they are signed."""
        self._seal = _Seal(key)

    def feed(self, received: bytes) -> None:
        """Take what has arrived; ask `next` for what is complete."""
        if not self._trouble:
            self._buffer += received

    def next(self) -> bytes | None:
        """The next payload, None if it has not arrived yet.

        Raises:
            PeerError: what has arrived is not what the peer has sent, or it announced a frame that is too long. The
                stream is of no more use.
        """
        if self._trouble:
            raise PeerError(f"the link was given up before: {self._trouble}")
        if self._length is None:
            head = self._part(_LENGTH.size)
            if head is None:
                return None
            (length,) = _LENGTH.unpack(head)
            permitted = STRANGERS_FRAME_BYTES_MAX if self._seal is None else FRAME_BYTES_MAX
            if length > permitted:
                raise self._given_up(f"a frame of {length} bytes is longer than the permitted {permitted}", "too-long")
            self._length = length
        payload = self._part(self._length)
        if payload is not None:
            self._length = None
        return payload

    def _part(self, size: int) -> bytes | None:
        """So many bytes and their MAC, taken out of the buffer."""
        mac_bytes = MAC_BYTES if self._seal is not None else 0
        if len(self._buffer) < size + mac_bytes:
            return None
        part = bytes(self._buffer[:size])
        if self._seal is not None and not compare_digest(
            self._seal.mac(part), bytes(self._buffer[size : size + mac_bytes])
        ):
            raise self._given_up("what arrived is not what was sent: it was changed on the way", "changed")
        del self._buffer[: size + mac_bytes]
        return part

    def _given_up(self, trouble: str, kind: str) -> PeerError:
        self._trouble = trouble
        self._buffer.clear()
        return PeerError(trouble, kind=kind)
