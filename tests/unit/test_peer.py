"""What agents say to one another about grants, as bytes and back."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import PeerError
from holdfast.model.granting import (
    CHANGES_BYTES_MAX,
    DEFAULT,
    NUMBERS_MAX,
    REFUSALS_MAX,
    Ack,
    Ask,
    AskEpochs,
    Change,
    EpochsAre,
    Fenced,
    GrantMessage,
    Heard,
    Nak,
    Refusal,
    Release,
    SendTo,
    VoterSetIs,
    voter_set,
)
from holdfast.model.names import HostName, ServiceName
from holdfast.wire.peer import BODY_BYTES_MAX, LETTERS_MAX, VERSION, packed, unpacked

H1, H2 = HostName("h1"), HostName("h2")
S = ServiceName("registry")
LIFE = (1 << 64) - 1
MESSAGES: tuple[GrantMessage, ...] = (
    Ask(7, 3, 5, (Change(4, S, 9, "take"), Change(5, ServiceName("t"), 2, "release"))),
    Ack(7, 5, 4, (Refusal(5, "busy", 12_000_000),), (3,), (1, 2)),
    Nak(7, "quarantine", 49_000_000),
    Release(((S, 9),)),
    Fenced(H2, LIFE, "fenced by ipmi at 12:00"),
    VoterSetIs(voter_set((H1, H2), DEFAULT)),
    AskEpochs(ServiceName("dns")),
    EpochsAre(ServiceName("dns"), ((ServiceName("ntp"), 1000003), (ServiceName("web"), 2)), "whole", more=True),
)
FRAME_BYTES = 1500
AROUND_BYTES = 28 + 58 + 16 + 200
"""IP and UDP heads, head and MAC of the datagram, and a heartbeat beside it."""


def letter(message: GrantMessage) -> SendTo:
    return SendTo(H1, message, version=3, clock_ns=1 << 61, incarnation=LIFE)


def test_every_message_comes_back_as_it_was() -> None:
    heard = unpacked(H2, 77, packed([letter(message) for message in MESSAGES]))
    assert [one.message for one in heard] == list(MESSAGES)
    assert {(one.sender, one.incarnation, one.to_incarnation, one.version, one.clock_ns) for one in heard} == {
        (H2, 77, LIFE, 3, 1 << 61)
    }
    assert {type(message) for message in MESSAGES} == set(get_args(GrantMessage))


def test_the_messages_of_every_heartbeat_are_small() -> None:
    assert len(packed([letter(Ask(1 << 40, 1 << 20, 1 << 20))])) < 64
    assert len(packed([letter(Ack(1 << 40, 1 << 20, 1 << 20))])) < 64


def test_the_fullest_messages_fit_into_one_frame() -> None:
    changes = tuple(
        Change(60_000 + n, ServiceName("s" * 40), 1 << 30, "release") for n in range(CHANGES_BYTES_MAX // 65)
    )
    refused = tuple(Refusal(n, "busy", 1 << 30) for n in range(REFUSALS_MAX))
    fullest = (
        Ask(1 << 40, 1, 1 << 20, changes),
        Ack(1 << 40, 1 << 20, 1, refused, tuple(range(40_000, 40_000 + NUMBERS_MAX // 2))),
        Ack(1 << 40, 1 << 20, 1, (), (), tuple(range(40_000, 40_000 + NUMBERS_MAX))),
    )
    for message in fullest:
        assert len(packed([letter(message)])) + AROUND_BYTES < FRAME_BYTES


def read(body: bytes) -> list[Heard] | None:
    """What it says; None if it is refused. Nothing else is ever raised."""
    try:
        return unpacked(H2, 1, body)
    except PeerError:
        return None


@given(st.binary(max_size=200))
def test_bytes_that_are_no_messages_are_refused_in_words(body: bytes) -> None:
    assert read(body) is None or body[0] & 0xF0 == 0x90


@given(st.integers(min_value=0, max_value=200), st.integers(min_value=0, max_value=255))
def test_a_message_with_one_byte_changed_is_read_or_refused(at: int, byte: int) -> None:
    body = bytearray(packed([letter(message) for message in MESSAGES]))
    body[at % len(body)] = byte
    heard = read(bytes(body))
    assert heard is None or len(heard) <= LETTERS_MAX


def test_another_version_is_refused() -> None:
    with pytest.raises(PeerError, match="version 2"):
        unpacked(H2, 1, msgspec.msgpack.encode((VERSION + 1, ())))


def test_too_much_at_once_is_refused() -> None:
    with pytest.raises(PeerError, match="bytes"):
        unpacked(H2, 1, bytes(BODY_BYTES_MAX + 1))
    with pytest.raises(PeerError, match="messages at once"):
        unpacked(H2, 1, packed([letter(Ask(1, 0, 0))] * (LETTERS_MAX + 1)))
