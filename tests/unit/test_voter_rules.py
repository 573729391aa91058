"""Who votes: every set of up to seven voters, and every part of it that may be off."""

from collections.abc import Iterator
from itertools import combinations

import pytest

from holdfast.core.voter_rules import bears, who_comes, who_leaves
from holdfast.model.granting import quorum
from holdfast.model.names import HostName

HOSTS = tuple(HostName(f"h{n}") for n in range(1, 8))


def cases() -> Iterator[tuple[tuple[HostName, ...], tuple[HostName, ...], tuple[HostName, ...]]]:
    """Members, those that are off, and those of them that are not expected back."""
    for size in range(1, len(HOSTS) + 1):
        members = HOSTS[:size]
        for count in range(size + 1):
            for off in combinations(members, count):
                for lasting in range(count + 1):
                    yield members, off, off[:lasting]


def test_only_who_is_off_leaves_and_only_where_the_rest_can_bring_it_to_its_end() -> None:
    for members, off, for_good in cases():
        change = who_leaves(members, off, for_good)
        if change is None:
            continue
        assert change.host in off
        left = change.applied(members)
        assert set(left) == set(members) - {change.host}
        # Sealed: those that can acknowledge it leave no majority of the members before it.
        assert len(off) < quorum(members)


def test_to_leave_never_lowers_what_may_be_lost_and_ends_with_more_or_with_nobody_who_is_not_expected() -> None:
    for members, off, for_good in cases():
        now, before = members, bears(members, off)
        while (change := who_leaves(now, off, for_good)) is not None:
            after = change.applied(now)
            assert bears(after, off) >= bears(now, off)
            now = after
        if now != members:
            assert bears(now, off) > before or not set(now) & set(for_good)


@pytest.mark.parametrize(
    ("size", "off", "stays"),
    [(2, 1, 1), (3, 1, 3), (3, 2, 3), (4, 1, 3), (4, 2, 3), (5, 1, 5), (5, 2, 3), (6, 1, 5), (6, 3, 3), (7, 3, 5)],
)
def test_how_many_are_left_when_some_are_off_for_a_while(size: int, off: int, stays: int) -> None:
    members = HOSTS[:size]
    while (change := who_leaves(members, HOSTS[:off], ())) is not None:
        members = change.applied(members)
    assert len(members) == stays


@pytest.mark.parametrize("size", range(2, 8))
def test_lost_one_after_the_other_for_good_the_last_one_goes_on_alone(size: int) -> None:
    members = HOSTS[:size]
    for lost in range(1, size):
        while (change := who_leaves(members, HOSTS[:lost], HOSTS[:lost])) is not None:
            members = change.applied(members)
        assert bears(members, HOSTS[:lost]) >= 0
    assert members == (HOSTS[size - 1],)


def test_who_is_ready_comes_and_lowers_nothing() -> None:
    for members, off, _ in cases():
        if len(members) == len(HOSTS) or bears(members, off) < 0:
            continue
        change = who_comes(members, off, HOSTS)
        assert change is not None
        assert change.host not in members
        assert bears(change.applied(members), off) >= bears(members, off)
    assert who_comes(HOSTS, (), HOSTS) is None


def test_the_reason_says_what_is_better() -> None:
    leaves = who_leaves(HOSTS[:4], HOSTS[:1], ())
    comes = who_comes(HOSTS[:2], (), HOSTS[:3])
    assert leaves is not None
    assert comes is not None
    assert leaves.why == (
        "without it 3 voters bear the loss of 1 more; with it 4 voters of which 1 is off bear no further loss"
    )
    assert comes.why == "with it 3 voters bear the loss of 1 more; without it 2 voters bear no further loss"
