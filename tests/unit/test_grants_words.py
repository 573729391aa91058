"""Profiles and their arithmetic, the claim set, voter sets one after the other, and clocks that are watched."""

from pathlib import Path

import pytest

from holdfast.core.grant_claims import Claims
from holdfast.core.grant_clock import DRIFT_WINDOW_NS, REST_WINDOW_NS, ClockWatch
from holdfast.core.grant_members import Members, ill_made, why_not
from holdfast.core.grants import Grantor
from holdfast.errors import UserError
from holdfast.model.granting import (
    CLAIMS_MAX,
    DEFAULT,
    FAST,
    MS,
    PROFILES,
    US,
    Profile,
    Refused,
    VoterSet,
    implied,
    surely_ns,
    usable_ns,
    voter_set,
)
from holdfast.model.names import HostName, ServiceName

A, B, C, D, E = (HostName(name) for name in "abcde")
SECOND = 1000 * MS


# Profiles.


@pytest.mark.parametrize(
    ("profile", "usable_ms", "kernel_ms", "lost", "late_ms"),
    [(FAST, 49.9, (40, 44), 2, 29.7), (DEFAULT, 249.5, (240, 244), 3, 189.7)],
    ids=["fast", "default"],
)
def test_a_profile_means_what_the_protocol_says(
    profile: Profile, usable_ms: float, kernel_ms: tuple[int, int], lost: int, late_ms: float
) -> None:
    means = implied(profile)
    assert round(means.usable_ns / MS, 1) == usable_ms
    assert tuple(end // MS for end in means.kernel_end_ns) == kernel_ms
    assert means.rounds_lost_surely == lost
    assert means.late_ns / MS == late_ms
    assert means.host_off_ns == (profile.length_ns - profile.heartbeat_ns, profile.length_ns + 300 * US)


def test_a_holder_ends_before_its_voters_whatever_the_clocks_do() -> None:
    for profile in PROFILES.values():
        rho = profile.rho_ppm
        latest_true = usable_ns(profile.length_ns, rho) * 1_000_000 / (1_000_000 - rho)
        earliest_true = profile.length_ns * 1_000_000 / (1_000_000 + rho)
        assert latest_true < earliest_true
        assert surely_ns(profile.length_ns, rho) * (1_000_000 - rho) >= profile.length_ns * (1_000_000 + rho)


# The claim set.


def test_a_voter_is_told_what_it_lacks_in_order_and_no_more() -> None:
    claims = Claims()
    names = [ServiceName(f"s{n}") for n in range(3)]
    for name in names:
        claims.put(name, 1, "take")
    entry = claims.get(names[0])
    assert entry is not None
    claims.end(entry, "release")
    assert claims.since(4) == ((), 4)
    changes, upto = claims.since(1)
    assert [(change.number, change.service, change.step) for change in changes] == [
        (2, "s1", "take"),
        (3, "s2", "take"),
        (4, "s0", "release"),
    ]
    assert upto == 4


def test_what_does_not_fit_into_one_message_comes_in_the_next() -> None:
    claims = Claims()
    for n in range(200):
        claims.put(ServiceName(f"some-network-function.component-{n}"), n, "take")
    told, base = [], 0
    while base < claims.number:
        changes, base = claims.since(base)
        assert len(changes) < 40
        told += [change.number for change in changes]
    assert told == list(range(1, 201))


def test_an_agent_cannot_claim_without_bound() -> None:
    grantor = Grantor(A, 1, FAST, voter_set((A, B, C), FAST), 0)
    for n in range(CLAIMS_MAX + 1):
        grantor.claim(ServiceName(f"s{n}"), 1, "take", n)
    refused = [output.reason for output in grantor.take() if isinstance(output, Refused)]
    assert refused == ["this agent has claimed too many services in its life"]


# Voter sets.


def test_members_change_one_at_a_time() -> None:
    old = voter_set((A, B, C), FAST)
    assert why_not(old, voter_set((A, B, C, D), FAST, after=old)) is None
    assert why_not(old, voter_set((A, B), FAST, after=old)) is None
    assert why_not(old, voter_set((A, B, D), FAST, after=old)) == "members c, d change at once: one at a time"
    assert why_not(old, VoterSet(2, (A, B, C), FAST.length_ns, MS, (), (A, B, C))) is not None
    assert why_not(old, VoterSet(2, (A, B, C), FAST.length_ns, FAST.length_ns, (), (A, B))) is not None


def test_the_longest_promise_never_goes_down() -> None:
    slow = voter_set((A, B, C), DEFAULT)
    fast = voter_set((A, B, C), FAST, after=slow)
    assert (fast.length_ns, fast.length_max_ns) == (FAST.length_ns, DEFAULT.length_ns)


@pytest.mark.parametrize("members", [(), (A, A), tuple(HostName(f"h{n}") for n in range(16))])
def test_a_voter_set_that_is_none_is_refused(members: tuple[HostName, ...]) -> None:
    wrong = VoterSet(1, members, FAST.length_ns, FAST.length_ns)
    assert ill_made(wrong) is not None
    with pytest.raises(UserError, match="cannot be used"):
        Grantor(A, 1, FAST, wrong, 0)


def test_a_version_is_used_when_it_is_on_disk_and_followed_when_it_is_sealed() -> None:
    old = voter_set((A, B, C), FAST)
    members = Members(A, old, FAST.rho_ppm)
    new = voter_set((A, B, C, D), FAST, after=old)
    assert members.propose(new) is None
    assert (members.current, members.newest) == (old, new)
    assert not members.persisted(1)
    assert members.persisted(2)
    longest = surely_ns(FAST.length_ns, FAST.rho_ppm)
    assert not members.may_change(0)
    members.heard(D, 2, 10)
    assert not members.may_change(10 * SECOND)
    members.heard(B, 2, 20 * SECOND)
    assert not members.may_change(20 * SECOND + longest - 1)
    assert members.may_change(20 * SECOND + longest)


def test_two_voter_sets_of_one_version_are_noticed() -> None:
    old = voter_set((A, B, C), FAST)
    members = Members(A, old, FAST.rho_ppm)
    members.propose(voter_set((A, B, C, D), FAST, after=old))
    assert members.propose(voter_set((A, B, C, E), FAST, after=old)) is not None
    assert members.propose(old) is None


def test_who_was_away_takes_the_newest_however_far_it_is() -> None:
    members = Members(A, voter_set((A, B, C), FAST), FAST.rho_ppm)
    assert members.propose(VoterSet(7, (C, D, E), FAST.length_ns, FAST.length_ns, (), (C, D))) is None


# Clocks.


def watched(peers: dict[HostName, int], length: int, watch: ClockWatch) -> int:
    """So long, a message of each peer every 10 ms; its clock runs wrong by so many ppm."""
    now = 0
    for now in range(0, length, 10 * MS):
        for peer, ppm in peers.items():
            delay = (100 + now // MS * 7919 % 900) * US
            theirs = (now - delay) * (1_000_000 + ppm) // 1_000_000 + 5 * SECOND
            assert not watch.peer(peer, 1, theirs, now)
    return now


def test_clocks_within_the_bound_are_not_doubted() -> None:
    watch = ClockWatch(1000, 10 * MS)
    watched({B: 900, C: -900}, 4 * DRIFT_WINDOW_NS, watch)
    assert watch.doubt() is None
    assert watch.peers_off() == ()


def test_a_clock_that_disagrees_with_most_is_doubted() -> None:
    watch = ClockWatch(1000, 10 * MS)
    watched({B: 5000, C: 5000}, 3 * DRIFT_WINDOW_NS, watch)
    assert watch.doubt() == "this clock runs apart from those of b, c"


def test_one_peer_of_several_that_disagrees_is_the_one_that_is_wrong() -> None:
    watch = ClockWatch(1000, 10 * MS)
    watched({B: 5000, C: 0, D: 100}, 3 * DRIFT_WINDOW_NS, watch)
    assert watch.doubt() is None
    assert watch.peers_off() == (B,)


def test_with_a_single_peer_nobody_knows_who_is_wrong_so_this_one_is_doubted() -> None:
    watch = ClockWatch(1000, 10 * MS)
    watched({B: 5000}, 3 * DRIFT_WINDOW_NS, watch)
    assert watch.doubt() is not None


def test_a_monotonic_clock_that_is_bent_too_far_is_doubted_until_it_is_not() -> None:
    watch = ClockWatch(1000, 10 * MS)
    for second, monotonic in ((0, 0), (1, SECOND + 100 * US)):
        watch.own(second * SECOND, monotonic)
    assert watch.doubt() is None
    watch.own(2 * SECOND, 2 * SECOND + 5 * MS)
    assert watch.doubt() == "CLOCK_MONOTONIC runs apart from CLOCK_MONOTONIC_RAW by 4890 ppm"
    watch.own(3 * SECOND, 3 * SECOND + 5 * MS)
    assert watch.doubt() is None


def test_a_machine_that_stood_still_sees_it_and_a_delay_is_no_sign_of_it() -> None:
    watch = ClockWatch(1000, 10 * MS)
    now = watched({B: 0}, 4 * REST_WINDOW_NS, watch)
    assert not watch.peer(B, 1, now + 5 * SECOND - 300 * MS, now)
    assert not watch.peer(B, 1, now + 5 * SECOND + 5 * MS, now)
    assert watch.peer(B, 1, now + 5 * SECOND + 30 * MS, now)


def test_a_peer_that_starts_again_is_watched_anew() -> None:
    watch = ClockWatch(1000, 10 * MS)
    now = watched({B: 0}, 4 * REST_WINDOW_NS, watch)
    assert not watch.peer(B, 2, now + 60 * SECOND, now)


# The document.


def test_the_table_of_profiles_in_the_document_is_what_the_code_says() -> None:
    rows: dict[str, list[str]] = {"U": [], "kernel": [], "lost": [], "late": [], "off": []}
    for profile in (FAST, DEFAULT, PROFILES["wan"]):
        means = implied(profile)
        rows["U"].append(f"{means.usable_ns / MS:.1f} ms")
        rows["kernel"].append(f"{means.kernel_end_ns[0] // MS} to {means.kernel_end_ns[1] // MS} ms")
        rows["lost"].append(str(means.rounds_lost_surely))
        rows["late"].append(f"{means.late_ns / MS:g} ms")
        rows["off"].append(f"{means.host_off_ns[0] // MS} to {means.host_off_ns[1] // MS} ms")
    text = (Path(__file__).parents[2] / "docs" / "grants.md").read_text()
    for row in rows.values():
        assert f"| {' | '.join(row)} |" in text
