"""A checksum at the end of a JSON object, so that a byte that changed on the disk is noticed.

`{"a":1}` becomes `{"a":1,"crc":"2cfe1b4a"}`: one more field, which readers that know nothing of it pass over. What was
written without one is believed as it stands.
"""

import re
import zlib

_SUM = re.compile(rb',"crc":"([0-9a-f]{8})"}')
_HEX = b"0123456789abcdef"
_SHAPE = b',"crc":"........"}'
_ANY = ord(".")
SUM_BYTES = len(_SHAPE)


def with_sum(text: bytes) -> bytes:
    """The encoded object with its checksum. It has at least one field."""
    return text[:-1] + b',"crc":"%08x"}' % zlib.crc32(text[:-1])


def checked(text: bytes) -> bytes:
    """The same text.

    Raises:
        ValueError: it has a checksum that does not fit.
    """
    found = _SUM.fullmatch(text[-SUM_BYTES:])
    if found is not None and int(found[1], 16) != zlib.crc32(text[:-SUM_BYTES]):
        raise ValueError("its checksum does not fit: it has changed since it was written")
    return text


def is_whole(text: bytes) -> bool:
    """Whether a checksum was written in it, of which one byte may have changed: it is more than a beginning."""
    return _SUM.search(text) is not None or _is_nearly_a_sum(text[-SUM_BYTES:])


def _is_nearly_a_sum(end: bytes) -> bool:
    fits = (one in _HEX if shape == _ANY else one == shape for one, shape in zip(end, _SHAPE, strict=False))
    return sum(fits) >= SUM_BYTES - 1
