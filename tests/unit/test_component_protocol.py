"""The component protocol: lines of both directions, whole or in pieces, right or wrong."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import PeerError
from holdfast.model.limits import COMPONENT_LINE_BYTES_MAX
from holdfast.wire import component
from holdfast.wire.component import (
    BecomeActive,
    BecomeStandby,
    Check,
    ComponentRole,
    Failed,
    FromAgent,
    FromComponent,
    Hello,
    Lost,
    Ok,
    Position,
    Quiesce,
    Recorded,
    Stop,
    Synced,
    Unwell,
    Welcome,
    encode,
    from_agent,
    from_component,
)

SAID_BY_AGENT: list[tuple[bytes, FromAgent]] = [
    (b"welcome version=1", Welcome()),
    (
        b"@5 active service=registry epoch=7 in-sync=registry-2,registry-3 address=10.77.0.100/24 claim=no",
        BecomeActive(5, "registry", 7, ("registry-2", "registry-3"), "10.77.0.100/24"),
    ),
    (b"@5 active service=registry#2 epoch=7 claim=yes", BecomeActive(5, "registry#2", 7, claim=True)),
    (
        b"@6 standby service=registry epoch=7 active=registry-1 peer=[fd00::11]:7001",
        BecomeStandby(6, "registry", 7, "registry-1", "[fd00::11]:7001"),
    ),
    (b"@7 quiesce service=registry epoch=7", Quiesce(7, "registry", 7)),
    (b"@8 check", Check(8)),
    (b"@9 recorded standby=registry-2", Recorded(9, "registry-2")),
    (b"@10 stop", Stop(10)),
]
SAID_BY_COMPONENT: list[tuple[bytes, FromComponent]] = [
    (b"hello version=1 name=registry-1", Hello("registry-1")),
    (b"hello version=1 name=registry-1 position=7:1234", Hello("registry-1", 1, Position(7, 1234))),
    (
        b"hello version=1 name=r-1 position=7:1 role=active service=r epoch=8",
        Hello("r-1", 1, Position(7, 1), "active", "r", 8),
    ),
    (b"@5 ok", Ok(5)),
    (b"@5 ok position=7:1234", Ok(5, Position(7, 1234))),
    (b"@5 failed reason=port%20in%20use", Failed(5, "port in use")),
    (b"@8 unwell reason=100%25%20busy", Unwell("100% busy", 8)),
    (b"unwell reason=superseded", Unwell("superseded")),
    (b"lost standby=registry-2 epoch=7", Lost("registry-2", 7)),
    (b"synced standby=registry-2 epoch=7", Synced("registry-2", 7)),
]


@pytest.mark.parametrize(("line", "message"), SAID_BY_AGENT)
def test_each_line_of_an_agent_is_read_and_written_as_documented(line: bytes, message: FromAgent) -> None:
    assert from_agent().feed(line + b"\n") == [message]
    assert encode(message) == line + b"\n"


@pytest.mark.parametrize(("line", "message"), SAID_BY_COMPONENT)
def test_each_line_of_a_component_is_read_and_written_as_documented(line: bytes, message: FromComponent) -> None:
    assert from_component().feed(line + b"\n") == [message]
    assert encode(message) == line + b"\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"", "one space"),
        (b"@1", "one space"),
        (b"@8  ok", "one space"),
        (b"@x ok", "number"),
        (b"@-1 ok", "number"),
        (b"@" + b"9" * 19 + b" ok", "18 digits"),
        (b"ok", "lacks its number"),
        (b"jump high=yes", "unknown word 'jump'"),
        (b"@3 hello version=1 name=x", "not an answer"),
        (b"hello version=1", "lacks name="),
        (b"hello version=one name=x", "version="),
        (b"hello version=1 name=x name=y", "each key once"),
        (b"hello version=1 name=x role=boss", "role="),
        (b"@1 ok position=7", "position="),
        (b"@1 ok position=7:-3", "position="),
        (b"@1 ok loose", "key=value"),
        (b"@1 failed reason=%", "hexadecimal"),
        (b"@1 failed reason=%+1", "hexadecimal"),
        (b"@1 failed reason=%FF", "not UTF-8"),
        (b"\xff\xfe", "not UTF-8"),
        (b"@1 ok\r", "control character"),
    ],
)
def test_a_line_that_breaks_the_protocol_is_refused_with_what_is_wrong(line: bytes, complaint: str) -> None:
    decoder = from_component()
    with pytest.raises(PeerError, match=complaint):
        decoder.feed(line + b"\n")
    with pytest.raises(PeerError, match=complaint):
        decoder.feed(b"@1 ok\n")


def test_a_component_cannot_speak_as_an_agent() -> None:
    with pytest.raises(PeerError, match="unknown word 'stop'"):
        from_component().feed(b"@1 stop\n")


def test_keys_that_are_not_known_are_passed_over_for_the_sake_of_later_versions() -> None:
    assert from_component().feed(b"@1 ok mood=fine\n") == [Ok(1)]


def test_a_line_without_end_is_refused_at_the_limit() -> None:
    decoder = from_component()
    assert decoder.feed(b"x" * (COMPONENT_LINE_BYTES_MAX - 1)) == []
    with pytest.raises(PeerError, match="longer than"):
        decoder.feed(b"x")


def test_the_longest_line_is_as_long_written_as_read() -> None:
    names = tuple(f"{n:02d}" + "n" * 50 for n in range(component.LISTED_NAMES_MAX))
    room = BecomeActive(1, "s" * 32, 7, names)
    fits = BecomeActive(1, "s" * (32 + COMPONENT_LINE_BYTES_MAX - len(encode(room))), 7, names)
    assert len(encode(fits)) == COMPONENT_LINE_BYTES_MAX
    assert from_agent().feed(encode(fits)) == [fits]
    with pytest.raises(PeerError, match="longer than"):
        encode(BecomeActive(1, fits.service + "s", 7, names))


def test_long_reasons_are_cut_rather_than_refused() -> None:
    [message] = from_component().feed(encode(Failed(1, "\0" * 5000)))
    assert message == Failed(1, "\0" * component.REASON_CHARACTERS_MAX)


_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
_number = st.integers(0, 10**component.NUMBER_DIGITS_MAX - 1)
_position = st.none() | st.builds(Position, _number, _number)
_optional = _text | st.just("")
_roles: list[ComponentRole] = ["active", "standby", "quiescing"]
_by_agent: st.SearchStrategy[FromAgent] = st.one_of(
    st.builds(Welcome, _number),
    st.builds(BecomeActive, _number, _text, _number, st.lists(_text, max_size=5).map(tuple), _optional, st.booleans()),
    st.builds(BecomeStandby, _number, _text, _number, _text, _optional),
    st.builds(Quiesce, _number, _text, _number),
    st.builds(Check, _number),
    st.builds(Recorded, _number, _text),
    st.builds(Stop, _number),
)
_by_component: st.SearchStrategy[FromComponent] = st.one_of(
    st.builds(Hello, _text, _number, _position),
    st.builds(Hello, _text, _number, _position, st.sampled_from(_roles), _optional, _number),
    st.builds(Ok, _number, _position),
    st.builds(Failed, _number, _text),
    st.builds(Unwell, _text, st.none() | _number),
    st.builds(Lost, _text, _number),
    st.builds(Synced, _text, _number),
)


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(_by_agent, max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_an_agent_says_arrives_unchanged_however_it_is_cut(messages: list[FromAgent], cuts: list[int]) -> None:
    decoder = from_agent()
    pieces = _pieces(b"".join(encode(message) for message in messages), cuts)
    assert [message for piece in pieces for message in decoder.feed(piece)] == messages


@given(st.lists(_by_component, max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_a_component_says_arrives_unchanged_however_it_is_cut(
    messages: list[FromComponent], cuts: list[int]
) -> None:
    decoder = from_component()
    pieces = _pieces(b"".join(encode(message) for message in messages), cuts)
    assert [message for piece in pieces for message in decoder.feed(piece)] == messages


_nearly = st.lists(
    st.sampled_from([*b"@ =%,:\n", *b"hello", *b"version", *b"name", *b"ok", *b"position", *b"0123", 0xFF]), max_size=80
).map(bytes)


@given(st.lists(st.binary(max_size=200) | _nearly, max_size=8))
def test_no_bytes_do_more_harm_than_a_peer_error(pieces: list[bytes]) -> None:
    decoder = from_component()
    read: list[FromComponent] = []
    with contextlib.suppress(PeerError):
        for piece in pieces:
            read += decoder.feed(piece)
    for message in read:
        assert from_component().feed(encode(message)) == [message]
