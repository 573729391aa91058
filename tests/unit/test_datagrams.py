"""Datagrams between agents: who is believed, and what is dropped and counted."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.names import HostName
from holdfast.wire.datagrams import COPIES_KNOWN, MAC_BYTES, NONCE_BYTES, VERSION, Datagrams, Opened

A, B, C = HostName("a"), HostName("b"), HostName("c")
KEY = b"k" * 32


def nonces() -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        yield number.to_bytes(NONCE_BYTES, "big")


def agent(
    me: HostName, incarnation: int, *, cluster: str = "lab", keys: tuple[bytes, ...] = (KEY,), start: int = 0
) -> Datagrams:
    source = nonces()
    for _ in range(start):
        next(source)
    others = [name for name in (A, B, C) if name != me]
    return Datagrams(cluster, me, others, keys, incarnation, lambda _: next(source))


def exchange(one: Datagrams, other: Datagrams, name_of_one: HostName, name_of_other: HostName) -> None:
    """Carry greetings to and fro until there are none."""
    for _ in range(6):
        for greeting in one.take():
            if greeting.peer == name_of_other:
                assert other.open(greeting.datagram, 0) is None
        for greeting in other.take():
            if greeting.peer == name_of_one:
                assert one.open(greeting.datagram, 0) is None


def joined() -> tuple[Datagrams, Datagrams]:
    a, b = agent(A, 11), agent(B, 22, start=1000)
    a.tick(0)
    b.tick(0)
    exchange(a, b, A, B)
    return a, b


def sealed(sender: Datagrams, peer: HostName, body: bytes = b"ask") -> bytes:
    datagram = sender.seal(peer, body)
    assert datagram is not None
    return datagram


def test_after_greetings_bodies_arrive_with_the_life_that_sent_them() -> None:
    a, b = joined()
    assert b.open(sealed(a, B), 0) == Opened(A, 11, b"ask")
    assert a.open(sealed(b, A, b"ack"), 0) == Opened(B, 22, b"ack")


def test_nothing_is_sealed_for_a_peer_that_has_proven_no_life() -> None:
    assert agent(A, 11).seal(B, b"ask") is None


def test_a_datagram_counts_once_on_each_network() -> None:
    a, b = joined()
    datagram = sealed(a, B)
    assert b.open(datagram, 0) == Opened(A, 11, b"ask")
    assert b.open(datagram, 1) == Opened(A, 11, b"ask", is_copy=True)
    assert b.open(datagram, 0) is None
    assert b.refused["replay"] == 1


def test_an_older_datagram_is_dropped_after_a_newer_one() -> None:
    a, b = joined()
    old, new = sealed(a, B), sealed(a, B)
    assert b.open(new, 0) is not None
    assert b.open(old, 0) is None


def test_whatever_the_networks_lose_or_delay_each_body_is_new_once() -> None:
    a, b = joined()
    first, second, third = (sealed(a, B, body) for body in (b"1", b"2", b"3"))
    seen = [b.open(datagram, 0) for datagram in (first, third)]
    seen += [b.open(datagram, 1) for datagram in (first, second, third)]
    assert [(one.body, one.is_copy) for one in seen if one is not None] == [
        (b"1", False), (b"3", False), (b"1", True), (b"2", False), (b"3", True),
    ]  # fmt: skip


def test_what_comes_much_later_on_the_other_network_says_nothing_new() -> None:
    a, b = joined()
    late = sealed(a, B)
    for _ in range(COPIES_KNOWN - 1):
        newest = sealed(a, B)
    assert b.open(newest, 0) is not None
    barely = b.open(late, 1)
    assert barely == Opened(A, 11, b"ask")
    too_late = sealed(a, B)
    for _ in range(COPIES_KNOWN):
        newest = sealed(a, B)
    assert b.open(newest, 0) is not None
    assert b.open(too_late, 1) == Opened(A, 11, b"ask", is_copy=True)


@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 1)), max_size=80))
def test_of_copies_in_any_order_exactly_one_is_new(order: list[tuple[int, int]]) -> None:
    a, b = joined()
    datagrams = [sealed(a, B, b"%d" % n) for n in range(40)]
    opened = [one for n, network in order if (one := b.open(datagrams[n], network)) is not None]
    new = [one.body for one in opened if not one.is_copy]
    assert len(new) == len(set(new))
    assert set(new) == {one.body for one in opened}


@pytest.mark.parametrize(
    ("reason", "stranger"),
    [
        ("mac", lambda: agent(A, 11, keys=(b"other",))),
        ("cluster", lambda: agent(A, 11, cluster="another")),
    ],
)
def test_who_does_not_belong_is_dropped_and_counted(reason: str, stranger: object) -> None:
    _, b = joined()
    other = stranger() if callable(stranger) else None
    assert isinstance(other, Datagrams)
    other.tick(0)
    for greeting in other.take():
        if greeting.peer == B:
            assert b.open(greeting.datagram, 0) is None
    assert b.refused[reason] == 1
    assert b.take() == []


def test_what_is_meant_for_somebody_else_or_reflected_is_dropped() -> None:
    a, b = joined()
    datagram = sealed(a, B)
    assert agent(C, 33).open(datagram, 0) is None
    assert a.open(datagram, 0) is None
    assert a.refused["receiver"] == 1
    assert b.open(datagram, 0) is not None


def test_datagrams_for_a_former_life_of_the_receiver_are_dropped() -> None:
    a, _ = joined()
    again = agent(B, 23)
    assert again.open(sealed(a, B), 0) is None
    assert again.refused["life"] == 1


def test_a_peer_that_starts_again_must_prove_its_new_life_and_the_former_one_is_over() -> None:
    a, b = joined()
    old = sealed(a, B)
    again = agent(A, 12, start=5000)
    again.tick(0)
    exchange(again, b, A, B)
    assert b.open(sealed(again, B), 0) == Opened(A, 12, b"ask")
    assert b.open(old, 0) is None
    assert b.refused["stranger"] == 1


def test_a_replayed_greeting_of_a_former_life_changes_nothing() -> None:
    a = agent(A, 11)
    a.tick(0)
    recorded = [greeting.datagram for greeting in a.take() if greeting.peer == B]
    _, b = joined()
    for datagram in recorded:
        b.open(datagram, 0)
    again = agent(A, 12, start=5000)
    again.tick(0)
    exchange(again, b, A, B)
    for datagram in recorded:
        b.open(datagram, 0)
    assert b.open(sealed(again, B), 0) is not None


def test_two_keys_are_accepted_while_a_key_is_changed() -> None:
    new = b"n" * 32
    a, b = agent(A, 11, keys=(new, KEY)), agent(B, 22, keys=(KEY, new), start=1000)
    a.tick(0)
    b.tick(0)
    exchange(a, b, A, B)
    assert b.open(sealed(a, B), 0) is not None


def test_another_version_is_dropped_and_counted() -> None:
    a, b = joined()
    datagram = sealed(a, B)
    assert b.open(bytes([VERSION + 1]) + datagram[1:], 0) is None
    assert b.refused["version"] == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_dropped_without_a_trace_but_a_count(data: bytes) -> None:
    _, b = joined()
    before = sum(b.refused.values())
    assert b.open(data, 0) is None
    assert sum(b.refused.values()) == before + 1


@given(st.data())
def test_a_datagram_that_was_changed_anywhere_is_dropped(data: st.DataObject) -> None:
    a, b = joined()
    datagram = bytearray(sealed(a, B, b"some body"))
    place = data.draw(st.integers(0, len(datagram) - 1))
    datagram[place] ^= data.draw(st.integers(1, 255))
    assert b.open(bytes(datagram), 0) is None
    assert len(datagram) > MAC_BYTES
