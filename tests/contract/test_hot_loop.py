"""Three hot processes on three hosts: what they say of one another when processes stop or networks are cut."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.core.suspicion_words import OwnLate, PeerChanged, patience
from holdfast.runtime.hot_words import AskStanding, Began, EndHot, HotEvent, Standing
from tests.contract.hot_hosts import LIMIT_S, MS, HotHost, HotNet

pytestmark = pytest.mark.namespaces
HEARTBEAT_NS = 20 * MS
PATIENCE = patience(HEARTBEAT_NS)
ATTEMPTS = 10
"""So often a scene is played again in which the machine itself held up a process that the test wanted to run."""
PROGRAM = ["holdfast.runtime.hot_process"]

MakeNet = Callable[[int], HotNet]


@pytest.fixture
def make_net(tmp_path: Path) -> Iterator[MakeNet]:
    with ExitStack() as stack:

        def make(networks: int) -> HotNet:
            net = HotNet(stack, tmp_path, networks=networks, heartbeat_ns=HEARTBEAT_NS, program=PROGRAM)
            for host in net.hosts.values():
                until_so(host, is_all_well)
            return net

        yield make


def becomes(peer: str, level: str) -> Callable[[HotEvent], bool]:
    return lambda one: isinstance(one, PeerChanged) and (one.peer, one.after) == (peer, level)


def levels_of(events: Sequence[HotEvent], peer: str) -> list[str]:
    return [one.after for one in events if isinstance(one, PeerChanged) and one.peer == peer]


def standing(host: HotHost) -> Standing:
    """How everything stands now, in this host's eyes."""
    host.tell(AskStanding())
    last = host.until(lambda one: isinstance(one, Standing))[-1]
    assert isinstance(last, Standing)
    return last


def is_all_well(now: Standing) -> bool:
    return {state.level for state in now.peers.values()} == {"well"}


def until_so(host: HotHost, is_so: Callable[[Standing], bool]) -> list[HotEvent]:
    """Ask after each of its events until everything stands so; answers what it told meanwhile."""
    is_asked = False

    def is_it(one: HotEvent) -> bool:
        nonlocal is_asked
        if isinstance(one, Standing):
            is_asked = False
            if is_so(one):
                return True
        elif not is_asked:
            host.tell(AskStanding())
            is_asked = True
        return False

    host.tell(AskStanding())
    is_asked = True
    return host.until(is_it)


def is_all_well_and_in_no_doubt(now: Standing) -> bool:
    return is_all_well(now) and not now.is_in_doubt


def test_a_stopped_process_is_found_failed_by_both_others_and_not_before_its_time(make_net: MakeNet) -> None:
    net = make_net(1)
    a, b, c = net.hosts.values()
    for host in (a, b, c):
        until_so(host, is_all_well_and_in_no_doubt)
    stopped_ns = c.signal(signal.SIGSTOP)
    for host in (a, b):
        events = host.until(becomes("c", "failed"))
        last = events[-1]
        assert isinstance(last, PeerChanged)
        assert last.at_ns > stopped_ns
        assert last.silent_ns >= PATIENCE.failed_after_ns
        assert [reason.code for reason in last.reasons][-1] == "peer-unheard-by-other"
        # When a doubt of its own is over, silence may weigh more than one step at once.
        if not any(isinstance(one, OwnLate) for one in events):
            assert levels_of(events, "c")[-3:] == ["degraded", "suspected", "failed"]
    continued_ns = c.signal(signal.SIGCONT)
    for host, other in ((a, "b"), (b, "a")):
        events = host.until(lambda one: isinstance(one, PeerChanged) and one.peer == "c" and one.before == "failed")
        last = events[-1]
        assert isinstance(last, PeerChanged)
        # It says itself that it was late, so it is not quite well yet, until that is long ago.
        assert last.after == "degraded" or last.at_ns - continued_ns > PATIENCE.late_window_ns // 4
        assert "failed" not in levels_of(events, other)
    events = c.until(lambda one: isinstance(one, OwnLate) and one.at_ns > continued_ns)
    assert [one for one in events if isinstance(one, PeerChanged) and one.at_ns > continued_ns] == []
    events = until_so(c, is_all_well)
    assert "failed" not in levels_of(events, "a") + levels_of(events, "b")


def test_a_host_that_is_cut_off_blames_nobody_and_the_others_find_it_failed_until_it_is_back(make_net: MakeNet) -> None:
    net = make_net(1)
    a, b, c = net.hosts.values()
    net.cut("c")
    for host in (a, b):
        host.until(becomes("c", "failed"))
    events = until_so(c, lambda now: now.is_outnumbered)
    assert {state.level for state in standing(c).peers.values()} <= {"degraded", "suspected"}
    net.heal("c")
    for host in (a, b):
        host.until(becomes("c", "well"))
    events += until_so(c, lambda now: is_all_well(now) and not now.is_outnumbered)
    assert "failed" not in levels_of(events, "a") + levels_of(events, "b")


def test_one_of_two_networks_cut_only_degrades(make_net: MakeNet) -> None:
    net = make_net(2)
    assert any(one_network_only_degrades(net) for _ in range(ATTEMPTS))


def one_network_only_degrades(net: HotNet) -> bool:
    """Whether all that c and the others find is the silent network; False if heartbeats came late besides."""
    a, b, c = net.hosts.values()
    for host in (a, b, c):
        until_so(host, is_all_well)
    net.cut("c", place=1)
    reasons: list[list[str]] = []
    for host, peers in ((a, (c,)), (b, (c,)), (c, (a, b))):
        for peer in peers:
            events = until_so(host, lambda now, peer=peer: now.peers[peer.name].lost == ("net1",))  # type: ignore[misc]
            events += until_so(host, lambda now, peer=peer: now.peers[peer.name].level == "degraded")  # type: ignore[misc]
            assert "failed" not in levels_of(events, peer.name)
            reasons.append([reason.code for reason in standing(host).peers[peer.name].reasons])
    net.heal("c", place=1)
    for host in (a, b, c):
        events = until_so(host, is_all_well)
        assert "failed" not in [one.after for one in events if isinstance(one, PeerChanged)]
    return all(codes == ["network-silent"] for codes in reasons)


def test_an_asymmetric_cut_only_degrades_because_the_third_one_hears_both(make_net: MakeNet) -> None:
    net = make_net(1)
    assert any(only_degrades(net) for _ in range(ATTEMPTS))


def only_degrades(net: HotNet) -> bool:
    """Whether a, deaf to c, finds it degraded and no worse; False if c's heartbeats came late to others, too.

    A late word of the third one may make c suspected for a moment: what must not follow is that it is failed.
    """
    a, b, c = net.hosts.values()
    for host in (a, b, c):
        until_so(host, is_all_well)
    deaf_from_ns = net.deafen("a", "c")
    # Long after it could have been failed.
    events = until_so(a, lambda now: now.peers[c.name].silent_ns["net0"] > 10 * PATIENCE.failed_after_ns)
    if "failed" in levels_of(events, "c"):
        by_b = [one for one in until_so(b, is_all_well) if isinstance(one, PeerChanged) and one.at_ns > deaf_from_ns]
        assert any(level != "well" for level in levels_of(by_b, "c")), "failed, though the third one heard it"
        net.hear("a")
        return False
    until_so(a, lambda now: now.peers[c.name].level == "degraded")
    # It learns from c's own side that c knows, unless c has found another fault with it before.
    until_so(c, lambda now: now.peers[a.name].level == "degraded")
    reasons = [reason.code for reason in standing(c).peers[a.name].reasons]
    until_so(b, is_all_well)
    net.hear("a")
    return reasons == ["peer-does-not-hear"]


def test_an_agent_that_comes_back_hears_how_everything_stands(make_net: MakeNet) -> None:
    net = make_net(1)
    a = net.hosts["a"]
    a.link.close()
    a.connect()
    first, second = a.next(), a.next()
    assert isinstance(first, Began)
    assert first.heartbeat_ns == HEARTBEAT_NS
    assert isinstance(second, Standing)
    assert set(second.peers) == {"b", "c"}
    until_so(a, is_all_well)


def test_it_ends_when_told_and_the_others_notice_its_new_life(make_net: MakeNet) -> None:
    net = make_net(1)
    a, b, _ = net.hosts.values()
    b.tell(EndHot())
    assert b.sandbox.wait(b.process, LIMIT_S) == 0, b.log.read_text()
    assert not (b.folder / "hot.sock").exists()
    b.start()
    b.link.close()
    b.connect()
    until_so(b, is_all_well)
    a.until(lambda one: type(one).__name__ == "PeerRestarted")
    assert b.log.read_text() == ""
