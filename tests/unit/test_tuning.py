"""Lengths that suit measured hosts, and those that cannot work."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from holdfast.core.tuning import Jitter, RoundTrip, judge, majority_trip_ns, propose, shortest_grant_ns, with_heartbeat
from holdfast.model.granting import DEFAULT, FAST, MS, SECOND, Profile

CALM = Jitter(5.0, 500, 60_000, 200_000, 500_000, MS)


def late(worst_ms: float, p99_ms: float = 0.2) -> Jitter:
    worst_ns, p99_ns = round(worst_ms * MS), round(p99_ms * MS)
    return Jitter(5.0, 500, 60_000, p99_ns, worst_ns, worst_ns)


def trip(p99_ms: float, lost: int = 0) -> RoundTrip:
    return RoundTrip(round(p99_ms * MS) // 2, round(p99_ms * MS), round(p99_ms * MS), 100, lost)


def lengths(heartbeat_ms: int, grant_ms: int) -> Profile:
    return structs.replace(DEFAULT, heartbeat_ns=heartbeat_ms * MS, length_ns=grant_ms * MS)


def codes(profile: Profile, jitter: Jitter | None = None) -> list[str]:
    return [finding.code for finding in judge(profile, jitter).findings]


def test_the_profiles_mean_what_is_written_about_them() -> None:
    fast, default = judge(FAST), judge(DEFAULT)
    assert fast.implied.rounds_lost_surely == 2
    assert (fast.bears_late_ns, fast.failed_after_ns) == (30 * MS - 300_000, 45 * MS)
    assert fast.host_off_ns == (43 * MS, 53 * MS + 300_000)
    assert default.implied.rounds_lost_surely == 3
    # The grant would bear 190 ms; the others find a silent peer failed sooner.
    assert (default.bears_late_ns, default.failed_after_ns) == (175 * MS - 300_000, 225 * MS)
    assert default.host_off_ns == (203 * MS, 253 * MS + 300_000)


def test_every_profile_works_on_a_calm_machine_and_the_shortest_is_proposed() -> None:
    proposal = propose(CALM)
    assert all(verdict.is_comfortable for verdict in proposal.verdicts.values())
    assert proposal.profile == "fast"
    assert proposal.fitted is not None
    assert proposal.fitted.profile.length_ns == FAST.length_ns


def test_a_loop_that_was_later_than_a_profile_bears_refuses_it_and_says_by_how_much() -> None:
    proposal = propose(late(45), host="host1")
    verdict = proposal.verdicts["fast"]
    assert not verdict.works
    assert verdict.findings[0].sentence == "the loop of host1 woke 45 ms late, and 29.7 ms are borne"
    assert proposal.profile == "default"


def test_a_loop_near_the_limit_is_told_and_the_longer_profile_is_proposed() -> None:
    proposal = propose(late(20))
    assert proposal.verdicts["fast"].works
    assert not proposal.verdicts["fast"].is_comfortable
    assert proposal.profile == "default"
    assert proposal.fitted is not None
    assert FAST.heartbeat_ns < proposal.fitted.profile.heartbeat_ns < DEFAULT.heartbeat_ns


def test_a_profile_that_works_narrowly_is_proposed_when_none_works_well() -> None:
    assert propose(late(1000, p99_ms=1)).profile == "wan"


def test_no_profile_is_proposed_for_a_machine_that_stands_still_for_seconds() -> None:
    proposal = propose(late(5000, p99_ms=900))
    assert proposal.profile is None
    assert proposal.fitted is None


def test_a_loop_that_is_always_a_little_late_would_doubt_itself() -> None:
    assert codes(FAST, late(6, p99_ms=6)) == ["loop-doubts-itself"]


def test_a_grant_shorter_than_the_kernel_can_end_in_time_is_refused_without_measuring() -> None:
    assert codes(lengths(2, 10)) == ["kernel-too-coarse"]
    assert codes(lengths(10, 30)) == ["too-few-rounds", "detection-after-grant"]
    assert codes(lengths(0, 30)) == ["heartbeat-too-short"]


def test_a_finer_tick_of_the_kernel_allows_shorter_grants() -> None:
    fine = Jitter(5.0, 500, 0, 0, 0, 0, tick_ns=MS)
    assert codes(lengths(5, 25), fine) == []
    assert "kernel-too-coarse" in codes(lengths(5, 25))


def test_the_round_trip_that_counts_is_that_of_a_majority_without_the_nearest_peer() -> None:
    def of(*trips: float) -> int:
        return majority_trip_ns(Jitter(1, 1, 0, 0, 0, 0, round_trips={str(t): trip(t) for t in trips})) // MS

    assert majority_trip_ns(CALM) == 300_000
    assert of(7) == 7
    assert of(1, 40) == 40
    assert of(1, 2, 3, 40) == 3


def test_of_a_peer_on_two_networks_the_farther_one_counts_since_the_other_may_be_lost() -> None:
    trips = {"a1": trip(1), "a2": trip(9), "b1": trip(2), "b2": trip(3)}
    both = Jitter(1, 1, 0, 0, 0, 0, round_trips=trips, peers=(("a1", "a2"), ("b1", "b2")))
    assert majority_trip_ns(both) == 9 * MS
    assert majority_trip_ns(structs.replace(both, peers=(("a1",), ("b1", "b2")))) == 3 * MS
    assert majority_trip_ns(structs.replace(both, peers=())) == 3 * MS


def test_peers_too_far_away_refuse_a_profile() -> None:
    far = Jitter(5.0, 500, 0, 0, 0, 0, round_trips={"near": trip(0.3), "witness": trip(35)})
    assert codes(FAST, far) == ["peer-too-far"]
    assert codes(DEFAULT, far) == []


def test_lost_datagrams_are_told() -> None:
    lossy = Jitter(5.0, 500, 0, 0, 0, 0, round_trips={"b": trip(0.3, lost=20), "c": trip(0.3)})
    verdict = judge(DEFAULT, lossy)
    assert verdict.works
    assert [finding.sentence for finding in verdict.findings] == [
        "200 of 1000 datagrams to b were lost; more than 50 make heartbeats unsteady"
    ]


@given(st.integers(1, 2000), st.integers(1, 10), st.integers(0, 3000), st.sampled_from([1, 4, 10]))
def test_lengths_that_work_bear_what_was_measured(
    heartbeat_ms: int, heartbeats: int, late_ms: int, tick_ms: int
) -> None:
    profile = lengths(heartbeat_ms, heartbeats * heartbeat_ms)
    jitter = Jitter(5.0, 500, 0, 0, 0, late_ms * MS, tick_ns=tick_ms * MS)
    verdict = judge(profile, jitter)
    kernel_end_ns = verdict.implied.kernel_end_ns[0]
    # The kernel closes before the promise ends, whatever the lengths.
    assert kernel_end_ns + tick_ms * MS < profile.length_ns
    if verdict.works:
        assert late_ms * MS + profile.heartbeat_ns <= kernel_end_ns
        assert verdict.implied.rounds_lost_surely >= 2


@given(st.integers(1, 11_900))
def test_the_shortest_grant_works_and_a_shorter_one_does_not(heartbeat_ms: int) -> None:
    shortest_ns = shortest_grant_ns(heartbeat_ms * MS)
    assert shortest_ns is not None
    assert judge(DEFAULT.with_lengths(heartbeat_ms * MS, shortest_ns)).works
    assert not judge(DEFAULT.with_lengths(heartbeat_ms * MS, shortest_ns - MS)).works


def test_there_is_no_grant_for_a_heartbeat_that_is_too_short_or_too_long() -> None:
    assert shortest_grant_ns(MS // 2) is None
    assert shortest_grant_ns(30 * SECOND) is None
    assert codes(lengths(10 * 1000, 61 * 1000)) == ["grant-too-long"]


@given(st.integers(1, 2000))
def test_fitted_lengths_keep_their_proportions(heartbeat_ms: int) -> None:
    profile = with_heartbeat(heartbeat_ms * MS)
    assert judge(profile).failed_after_ns <= profile.length_ns == 5 * heartbeat_ms * MS
