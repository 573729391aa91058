"""Heartbeats as bytes: what goes into an authenticated datagram between agents, and back.

Version, flags, number of views, the sender's lateness; then the views, 24 bytes each. Lengths travel in microseconds,
at most an hour. Whatever does not fit that is no heartbeat (None), never an error: it may come from a newer version.
"""

import struct

from holdfast.core.suspicion_words import Beat, View

VERSION = 1
VIEWS_MAX = 32
_HEARS_YOU = 1
_HEAD = struct.Struct("!BBBxI")
_VIEW = struct.Struct("!IQIIB3x")
_US_MAX = 3_600_000_000
LEVELS_MAX = 4


def encode_views(views: tuple[View, ...]) -> bytes:
    """The part that is the same for every receiver."""
    return b"".join(
        _VIEW.pack(view.about, view.incarnation, _us(view.heard_ago_ns), _us(view.silent_ns), view.rank)
        for view in views[:VIEWS_MAX]
    )


def encode(late_ns: int, hears_you: bool, views: bytes) -> bytes:
    """A whole heartbeat."""
    return _HEAD.pack(VERSION, _HEARS_YOU if hears_you else 0, len(views) // _VIEW.size, _us(late_ns)) + views


def decode(body: bytes | memoryview) -> Beat | None:
    """The heartbeat, or None if these bytes are none that this version knows."""
    if len(body) < _HEAD.size:
        return None
    version, flags, count, late_us = _HEAD.unpack_from(body)
    if version != VERSION or count > VIEWS_MAX or len(body) != _HEAD.size + count * _VIEW.size:
        return None
    views = []
    for about, incarnation, heard_ago_us, silent_us, rank in _VIEW.iter_unpack(body[_HEAD.size :]):
        if rank >= LEVELS_MAX:
            return None
        views.append(View(about, rank, incarnation, heard_ago_us * 1000, silent_us * 1000))
    return Beat(late_us * 1000, bool(flags & _HEARS_YOU), tuple(views))


def _us(length_ns: int) -> int:
    return min(max(0, length_ns) // 1000, _US_MAX)
