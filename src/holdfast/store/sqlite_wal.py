"""The write-ahead log of an SQLite file, looked at before SQLite does.

SQLite goes by its frames up to the first whose checksum does not fit, and says nothing of those behind. That is right
after a crash, and hides a byte that has changed: saves that were acknowledged would be gone without a word.
"""

import struct
from pathlib import Path

_HEADER = struct.Struct(">8I")
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_FRAME_BYTES = 24


def damage_of(path: Path) -> str:
    """What is wrong with it, and where; empty if all of its frames can be used."""
    try:
        log = path.read_bytes()
    except FileNotFoundError:
        return ""
    if len(log) < _HEADER.size:
        return ""
    magic, _, page_bytes, _, salt, other_salt, *sums = _HEADER.unpack_from(log)
    order = _MAGIC.get(magic)
    if order is None or _summed(log[:24], order, (0, 0)) != tuple(sums):
        return f"the header of {path.name} has changed"
    total = (sums[0], sums[1])
    frame_bytes = _FRAME_BYTES + page_bytes
    for number, begin in enumerate(range(_HEADER.size, len(log) - frame_bytes + 1, frame_bytes)):
        head = log[begin : begin + _FRAME_BYTES]
        its_salt, its_other_salt = struct.unpack_from(">2I", head, 8)
        if its_salt != salt and its_other_salt != other_salt:
            return ""  # What follows is left over from an earlier log.
        total = _summed(log[begin + _FRAME_BYTES : begin + frame_bytes], order, _summed(head[:8], order, total))
        if (salt, other_salt, *total) != struct.unpack_from(">4I", head, 8):
            return f"frame {number + 1} of {path.name} has changed (at byte {begin})"
    return ""


def _summed(data: bytes, order: str, total: tuple[int, int]) -> tuple[int, int]:
    first, second = total
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
