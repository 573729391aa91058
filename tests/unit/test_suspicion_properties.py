"""What always holds of suspicion, whoever stands still for however long."""

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.suspicion import Suspicion
from holdfast.core.suspicion_words import PeerChanged, patience
from holdfast.model.names import HostName
from tests.suspicion.world import MS, World

NAMES = ["a", "b", "c", "d", "e"]
NETWORKS = st.sampled_from([("lan",), ("blue", "green")])


def failed(world: World) -> set[tuple[HostName, HostName]]:
    """Who found whom failed."""
    return {
        (who, noticed.peer)
        for _, who, noticed in world.seen
        if isinstance(noticed, PeerChanged) and noticed.after == "failed"
    }


@st.composite
def starvation(draw: st.DrawFn) -> tuple[World, int]:
    """A world in which every processor is taken away for a while, from and until nearly the same time everywhere."""
    heartbeat_ns = draw(st.sampled_from([10, 50])) * MS
    names = NAMES[: draw(st.integers(2, 5))]
    world = World(names, draw(NETWORKS), patience(heartbeat_ns))
    world.run(10 * heartbeat_ns + draw(st.integers(0, heartbeat_ns)))
    length_ns = draw(st.integers(0, 60 * heartbeat_ns))
    for name in names:
        begin_ns, end_ns = draw(st.integers(0, heartbeat_ns)), draw(st.integers(0, heartbeat_ns * 3 // 2))
        world.run(begin_ns // 10)
        world.stop(name, length_ns + end_ns)
    return world, heartbeat_ns


@settings(max_examples=40, deadline=None)
@given(starvation())
def test_nobody_is_found_failed_when_all_processors_were_taken_away(drawn: tuple[World, int]) -> None:
    world, heartbeat_ns = drawn
    world.run(80 * heartbeat_ns)
    assert failed(world) == set()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 5),
    NETWORKS,
    st.lists(st.tuples(st.integers(0, 4), st.floats(0, 3), st.floats(0, 6)), max_size=20),
)
def test_short_stops_of_anybody_at_any_time_find_nobody_failed(
    count: int, networks: tuple[str, ...], stops: list[tuple[int, float, float]]
) -> None:
    heartbeat_ns = 10 * MS
    world = World(NAMES[:count], networks, patience(heartbeat_ns))
    world.run(10 * heartbeat_ns)
    for who, length, pause in stops:
        agent = world.agents[HostName(NAMES[who % count])]
        # Not stopped again before it has run: two short stops without a heartbeat between them are a long one.
        if agent.runs_from_ns <= world.now_ns:
            world.stop(agent.name, round(length * heartbeat_ns))
        world.run(round(pause * heartbeat_ns))
    world.run(20 * heartbeat_ns)
    assert failed(world) == set()


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 5), NETWORKS, st.integers(0, 49), st.sampled_from([10, 50]))
def test_a_host_that_is_off_is_found_failed_by_all_others_before_a_grant_of_five_heartbeats_ends(
    count: int, networks: tuple[str, ...], phase: int, heartbeat_ms: int
) -> None:
    heartbeat_ns = heartbeat_ms * MS
    world = World(NAMES[:count], networks, patience(heartbeat_ns))
    world.run(10 * heartbeat_ns + phase * heartbeat_ns // 50)
    world.off("b")
    world.run(5 * heartbeat_ns - 1)
    others = {HostName(name) for name in NAMES[:count]} - {HostName("b")}
    assert failed(world) == {(other, HostName("b")) for other in others}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 5),
    NETWORKS,
    st.lists(st.tuples(st.integers(0, 4), st.floats(0, 10), st.floats(0, 6)), max_size=10),
)
def test_a_host_that_is_off_is_found_failed_in_the_end_whoever_was_late_before(
    count: int, networks: tuple[str, ...], stops: list[tuple[int, float, float]]
) -> None:
    limits = patience(10 * MS)
    world = World(NAMES[:count], networks, limits)
    world.run(10 * limits.heartbeat_ns)
    for who, length, pause in stops:
        world.stop(NAMES[who % count], round(length * limits.heartbeat_ns))
        world.run(round(pause * limits.heartbeat_ns))
    world.off("b")
    world.run(10 * limits.heartbeat_ns + limits.failed_after_ns + 2 * limits.stretch_max_ns + limits.doubt_ns)
    others = {HostName(name) for name in NAMES[:count]} - {HostName("b")}
    assert {who for who, peer in failed(world) if peer == "b"} == others


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 5), st.integers(5, 40), st.integers(0, 120))
def test_a_host_that_was_late_and_is_lost_is_found_failed_the_sooner_the_longer_it_was_on_time(
    count: int, late_beats: int, on_time_beats: int
) -> None:
    limits = patience(10 * MS)
    world = World(NAMES[:count], ("lan",), limits)
    world.run(20 * limits.heartbeat_ns)
    world.stop("b", late_beats * limits.heartbeat_ns)
    # It counts as heard again after return_beats heartbeats.
    world.run((late_beats + 10 + on_time_beats) * limits.heartbeat_ns)
    seen = len(world.seen)
    lost_ns = world.now_ns
    world.off("b")
    world.run(limits.failed_after_ns + limits.stretch_max_ns)
    found_ns = [
        at_ns - lost_ns
        for at_ns, _, noticed in world.seen[seen:]
        if isinstance(noticed, PeerChanged) and noticed.after == "failed"
    ]
    known_ns = min(late_beats * limits.heartbeat_ns, limits.stretch_max_ns)
    left_ns = known_ns * max(0, limits.late_window_ns - on_time_beats * limits.heartbeat_ns) // limits.late_window_ns
    assert len(found_ns) == count - 1
    assert max(found_ns) <= limits.failed_after_ns + left_ns


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 1200)), max_size=30))
def test_what_is_told_of_lateness_is_no_less_than_it_was_and_is_over_in_time(times: list[tuple[int, int]]) -> None:
    limits = patience(10 * MS)
    suspicion = Suspicion(HostName("a"), [HostName("b")], ("lan",), limits, 0)
    now_ns = 0
    for late_ms, pause_ms in times:
        suspicion.late(now_ns, late_ms * MS)
        told_ns = suspicion.told_late_ns(now_ns)
        assert told_ns <= limits.stretch_max_ns
        if late_ms * MS >= limits.late_from_ns:
            assert told_ns >= min(late_ms * MS, limits.stretch_max_ns)
        now_ns += pause_ms * MS
        assert suspicion.told_late_ns(now_ns) <= told_ns
    assert suspicion.told_late_ns(now_ns + limits.late_window_ns) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 5), st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8))
def test_nobody_that_a_heard_agent_hears_is_found_failed_whatever_is_cut(
    count: int, cuts: set[tuple[int, int]]
) -> None:
    limits = patience(10 * MS)
    names = NAMES[:count]
    world = World(names, ("lan",), limits)
    world.run(10 * limits.heartbeat_ns)
    ways = {(names[one % count], names[other % count]) for one, other in cuts if one % count != other % count}
    for sender, to in ways:
        world.cut(sender, to, [0])
    world.run(50 * limits.heartbeat_ns)
    for who, peer in failed(world):
        witnesses = [name for name in names if name not in (who, peer) and (name, who) not in ways]
        assert (peer, who) in ways
        assert witnesses, "an agent that hears nobody blames nobody"
        # At most three are asked; with five agents that is everybody.
        assert all((peer, witness) in ways for witness in witnesses)
