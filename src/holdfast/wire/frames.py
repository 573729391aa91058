"""Frames: a length of four bytes, then that many bytes. Bytes in, payloads out; no socket.

The reader never buffers more than one frame of the permitted length: a longer one is refused as soon
as its length is known, counted, and the link is of no more use.
"""

import struct

from holdfast.errors import PeerError
from holdfast.model.limits import FRAME_BYTES_MAX

_LENGTH = struct.Struct(">I")


def frame(payload: bytes) -> bytes:
    """The payload with its length in front."""
    if len(payload) > FRAME_BYTES_MAX:
        raise PeerError(f"a message of {len(payload)} bytes is longer than the permitted {FRAME_BYTES_MAX}")
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Puts the pieces that a stream delivers together again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.refused = 0
        """Frames that were longer than permitted."""

    def feed(self, received: bytes) -> list[bytes]:
        """Take what has arrived; answer the payloads that are complete now.

        Raises:
            PeerError: the peer announced a frame that is too long.
        """
        if self.refused:
            raise PeerError("the link was given up after a frame that was too long")
        self._buffer += received
        payloads: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > FRAME_BYTES_MAX:
                self.refused += 1
                self._buffer.clear()
                raise PeerError(f"a frame of {length} bytes is longer than the permitted {FRAME_BYTES_MAX}")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return payloads
