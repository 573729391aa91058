"""Frames are put together whatever the pieces, refused when too long, and once sealed, taken only as they were sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import PeerError
from holdfast.model.limits import FRAME_BYTES_MAX
from holdfast.wire.frames import MAC_BYTES, FrameReader, FrameWriter

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
PAYLOADS = st.lists(st.binary(max_size=50), min_size=1, max_size=8)
PIECES = st.integers(min_value=1, max_value=200)
CHANGED = "not what was sent"


def ends(key: bytes | None = KEY) -> tuple[FrameWriter, FrameReader]:
    writer, reader = FrameWriter(), FrameReader()
    if key is not None:
        writer.seal(key)
        reader.seal(key)
    return writer, reader


def read(reader: FrameReader, stream: bytes, piece: int) -> tuple[list[bytes], PeerError | None]:
    """What comes out of a stream that arrives in pieces, and the error that ends it."""
    found: list[bytes] = []
    for start in range(0, len(stream), piece):
        reader.feed(stream[start : start + piece])
        try:
            while (payload := reader.next()) is not None:
                found.append(payload)
        except PeerError as error:
            return found, error
    return found, None


@given(PAYLOADS, PIECES, st.sampled_from([None, KEY]))
def test_payloads_come_out_as_they_went_in_however_the_stream_is_cut(
    payloads: list[bytes], piece: int, key: bytes | None
) -> None:
    writer, reader = ends(key)
    assert read(reader, b"".join(writer.frame(payload) for payload in payloads), piece) == (payloads, None)


@given(PAYLOADS, PAYLOADS, PIECES)
def test_a_link_is_sealed_between_two_frames_also_when_they_arrive_together(
    plain: list[bytes], signed: list[bytes], piece: int
) -> None:
    writer, reader = ends(None)
    stream = b"".join(writer.frame(payload) for payload in plain)
    writer.seal(KEY)
    reader.feed(stream + b"".join(writer.frame(payload) for payload in signed))
    assert [reader.next() for _ in plain] == plain
    reader.seal(KEY)
    assert [reader.next() for _ in signed] == signed
    assert reader.next() is None


@given(PAYLOADS, PIECES, st.data())
def test_any_byte_that_was_changed_is_found_and_nothing_from_there_on_is_taken(
    payloads: list[bytes], piece: int, data: st.DataObject
) -> None:
    writer, reader = ends()
    frames = [writer.frame(payload) for payload in payloads]
    stream = bytearray(b"".join(frames))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    whole = sum(sum(len(frame) for frame in frames[: count + 1]) <= at for count in range(len(frames)))
    found, error = read(reader, bytes(stream), piece)
    assert error is not None
    assert CHANGED in error.message
    assert found == payloads[:whole]


@given(PAYLOADS, PIECES, st.data())
def test_whatever_else_is_done_to_the_stream_only_its_beginning_is_taken(
    payloads: list[bytes], piece: int, data: st.DataObject
) -> None:
    """Parts left out, doubled, moved, put in: at any place, whole frames or not."""
    writer, reader = ends()
    frames = [writer.frame(payload) for payload in payloads]
    stream = b"".join(frames)
    cuts = [sum(len(frame) for frame in frames[:count]) for count in range(len(frames) + 1)]
    place = st.one_of(st.sampled_from(cuts), st.integers(0, len(stream)))
    begin, end = sorted((data.draw(place), data.draw(place)))
    to = data.draw(place)
    without = stream[:begin] + stream[end:]
    changed = data.draw(
        st.sampled_from(
            [without, stream[:end] + stream[begin:], without[:to] + stream[begin:end] + without[to:], stream[:begin]]
        )
        | st.binary(max_size=80).map(lambda other: stream[:to] + other + stream[to:])
    )
    found, error = read(reader, changed, piece)
    assert found == payloads[: len(found)]
    if error is None:
        # Nothing was wrong so far: what has arrived is what was sent, to its end or to where it broke off.
        assert stream.startswith(changed) or len(changed) - cuts[len(found)] < 4 + 2 * MAC_BYTES + 50


@given(PAYLOADS)
def test_frames_of_the_other_direction_or_of_another_link_are_refused(payloads: list[bytes]) -> None:
    writer, reader = FrameWriter(), FrameReader()
    writer.seal(OTHER_KEY)
    reader.seal(KEY)
    found, error = read(reader, b"".join(writer.frame(payload) for payload in payloads), 1000)
    assert found == []
    assert error is not None
    assert CHANGED in error.message


def test_a_length_that_was_changed_is_found_before_so_much_is_waited_for() -> None:
    writer, reader = ends()
    frame = bytearray(writer.frame(b"release"))
    frame[1] = 0x0F
    reader.feed(bytes(frame))
    with pytest.raises(PeerError, match=CHANGED):
        reader.next()


def test_a_stream_that_was_given_up_stays_so() -> None:
    writer, reader = ends()
    first, second = writer.frame(b"first"), writer.frame(b"second")
    reader.feed(second)
    with pytest.raises(PeerError, match=CHANGED):
        reader.next()
    reader.feed(first + second)
    with pytest.raises(PeerError, match="given up before"):
        reader.next()


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
def test_a_frame_that_is_too_long_is_refused_before_its_content_arrives(key: bytes | None) -> None:
    _, reader = ends(key)
    reader.feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(MAC_BYTES))
    with pytest.raises(PeerError, match="longer than the permitted" if key is None else CHANGED):
        reader.next()


def test_a_payload_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(PeerError, match="longer than the permitted"):
        FrameWriter().frame(bytes(FRAME_BYTES_MAX + 1))
