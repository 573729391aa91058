"""Frames are put together whatever the pieces, and refused when too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import PeerError
from holdfast.model.limits import FRAME_BYTES_MAX
from holdfast.wire.frames import FrameReader, frame


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(min_value=1, max_value=60))
def test_payloads_come_out_as_they_went_in_however_the_stream_is_cut(payloads: list[bytes], piece: int) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    reader = FrameReader()
    found = [out for start in range(0, len(stream), piece) for out in reader.feed(stream[start : start + piece])]
    assert found == payloads


def test_a_frame_that_is_too_long_is_refused_before_its_content_arrives_and_counted() -> None:
    reader = FrameReader()
    with pytest.raises(PeerError, match="longer than the permitted"):
        reader.feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    assert reader.refused == 1
    with pytest.raises(PeerError, match="given up"):
        reader.feed(frame(b"later"))


def test_a_payload_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(PeerError, match="longer than the permitted"):
        frame(bytes(FRAME_BYTES_MAX + 1))
