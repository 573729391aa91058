"""What always holds of suspicion, whoever stands still for however long."""

from hypothesis import given, settings
from hypothesis import strategies as st

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
