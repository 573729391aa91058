"""Two hot loops in this process, turn by turn: what rides on them, and datagrams that are not to be believed."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from holdfast.core.suspicion_words import Noticed, OwnLate, PeerChanged
from holdfast.model.names import HostName
from holdfast.runtime.hot_link import HotLink, connected
from holdfast.runtime.hot_loop import HotLoop
from holdfast.runtime.hot_main import make_speech
from holdfast.runtime.hot_sockets import HotSockets
from holdfast.runtime.hot_words import (
    PACKET_BYTES_MAX,
    Began,
    FromRider,
    HotEvent,
    HotNetwork,
    HotPeer,
    HotSettings,
    Pulse,
    SetPeers,
    ToRider,
    event,
    packed,
)
from tests.contract.hot_fakes import PlainSpeech

MS = 1_000_000
A, B = HostName("a"), HostName("b")
ROUNDS_MAX = 2000
One = TypeVar("One", bound=HotEvent)


class AskingRider:
    """Asks at each heartbeat, answers each ask, and tells its agent of each answer; orders its times."""

    def __init__(self, peer: HostName) -> None:
        self.peer = peer
        self.noticed_: list[Noticed] = []
        self.times: list[int] = []
        self.heard: list[bytes] = []
        self.peers: tuple[HostName, ...] = ()
        self._asked = 0
        self._out: list[tuple[HostName, bytes]] = []
        self._news: list[bytes] = []

    def beat(self, now_ns: int) -> None:
        self.times.append(now_ns)
        self._asked += 1
        self._out += [(self.peer, b"ask %d" % self._asked), (self.peer, b"second")]

    def received(self, peer: HostName, incarnation: int, body: bytes, now_ns: int) -> None:
        self.times.append(now_ns)
        self.heard.append(body)
        if body.startswith(b"ask "):
            self._out.append((peer, b"answer to " + body[4:]))
        else:
            self._news.append(body)

    def noticed(self, noticed: Noticed, now_ns: int) -> None:
        self.noticed_.append(noticed)

    def told(self, body: bytes, now_ns: int) -> None:
        self._news.append(b"told " + body)

    def tick(self, now_ns: int) -> None:
        return

    def deadline(self) -> int | None:
        return None

    def take(self) -> Iterable[tuple[HostName, bytes]]:
        out, self._out = self._out, []
        return out

    def news(self) -> Iterable[bytes]:
        news, self._news = self._news, []
        return news

    def set_peers(self, peers: Iterable[HostName], now_ns: int) -> None:
        self.peers = tuple(peers)


class Pair:
    """Loops a and b on the loopback interface; a's agent is this test."""

    def __init__(self, stack: ExitStack, folder: Path, addresses: tuple[str, ...] = ("127.0.0.1",)) -> None:
        ports = {A: free_port(), B: free_port()}
        key = os.urandom(32)
        self.key = key
        self.ports = ports
        self.riders = {A: AskingRider(B), B: AskingRider(A)}
        self.loops: dict[HostName, HotLoop] = {}
        for me, other in ((A, B), (B, A)):
            settings = HotSettings(
                cluster="test",
                me=me,
                networks=tuple(HotNetwork(f"lan {address}", address, ports[me]) for address in addresses),
                peers={other: HotPeer(addresses, ports[other])},
                heartbeat_ns=10 * MS,
                key_file="",
                socket=str(folder / f"{me}.sock"),
                pulse_ns=50 * MS,
            )
            sockets = HotSockets(settings.networks, settings.peers)
            link = HotLink(Path(settings.socket))
            speech = make_speech(settings, key, ord(me), 0) if len(addresses) > 1 else PlainSpeech(me, key, ord(me))
            self.loops[me] = HotLoop(settings, speech, sockets, link, rider=self.riders[me])
            stack.callback(self.loops[me].close)
        self.agent = stack.enter_context(connected(folder / "a.sock"))
        self.events: list[HotEvent] = []

    def round(self) -> None:
        """One round of each; each lasts until its next heartbeat at most."""
        for loop in self.loops.values():
            loop.round()
        while True:
            try:
                self.events.append(event(self.agent.recv(PACKET_BYTES_MAX)))
            except BlockingIOError:
                return

    def until(self, is_it: type[One]) -> One:
        for _ in range(ROUNDS_MAX):
            self.round()
            for place, one in enumerate(self.events):
                if isinstance(one, is_it):
                    del self.events[: place + 1]
                    return one
        raise AssertionError(f"no {is_it} in {ROUNDS_MAX} rounds")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack, tmp_path)


def test_asks_go_with_heartbeats_and_answers_at_once(pair: Pair) -> None:
    bodies = []
    for _ in range(4):
        news = pair.until(FromRider)
        bodies.append(news.body)
    assert b"second" in bodies
    assert any(body.startswith(b"answer to ") for body in bodies)
    for rider in pair.riders.values():
        assert rider.times == sorted(rider.times)


def test_on_two_networks_the_rider_hears_each_body_once_and_on_one_all_the_same(tmp_path: Path) -> None:
    with ExitStack() as stack:
        pair = Pair(stack, tmp_path, ("127.0.0.1", "127.0.0.2"))
        heard = pair.riders[A].heard
        while len(heard) < 40:
            pair.round()
        asked = [body for body in heard if body.startswith((b"ask ", b"answer "))]
        assert len(asked) == len(set(asked)) > 20
        # Nothing of a reaches b on the first network any more, and the other way round.
        for me, other in ((A, B), (B, A)):
            pair.loops[me]._sockets.set_peers({other: HotPeer(("127.0.0.3", "127.0.0.2"), pair.ports[other])})
        answers = sum(body.startswith(b"answer ") for body in heard)
        while sum(body.startswith(b"answer ") for body in heard) < answers + 10:
            pair.round()
        # On a busy machine, when the loops have had their turns again.
        for _ in range(ROUNDS_MAX):
            if pair.loops[A].suspicion.level(B) in ("well", "degraded"):
                return
            pair.round()
        raise AssertionError(f"{B} is {pair.loops[A].suspicion.level(B)}")


def test_the_rider_hears_of_changes_and_of_its_agent(pair: Pair) -> None:
    # On a busy machine the first thing noticed may be the own lateness.
    for _ in range(ROUNDS_MAX):
        pair.round()
        if pair.riders[A].noticed_:
            break
    assert isinstance(pair.riders[A].noticed_[0], PeerChanged | OwnLate)
    pair.agent.send(packed(ToRider(b"take dns")))
    while True:
        news = pair.until(FromRider)
        if news.body.startswith(b"told"):
            break
    assert news.body == b"told take dns"


def test_other_peers_are_set_while_it_runs(pair: Pair) -> None:
    pair.until(Began)
    pair.agent.send(packed(SetPeers({HostName("c"): HotPeer(("127.0.0.1",), 9)})))
    for _ in range(ROUNDS_MAX):
        pair.round()
        if pair.riders[A].peers:
            break
    assert pair.riders[A].peers == ("c",)
    assert list(pair.loops[A].suspicion.states(0)) == ["c"]


def test_a_peer_that_the_own_kernel_lets_nothing_be_sent_to_is_not_blamed(pair: Pair) -> None:
    pair.until(Began)
    pair.agent.send(packed(SetPeers({HostName("c"): HotPeer(("255.255.255.255",), 9)})))
    reasons: list[str] = []
    while "own-sends-refused" not in reasons:
        change = pair.until(PeerChanged)
        assert change.after != "failed"
        reasons = [reason.code for reason in change.reasons]
    assert (change.peer, change.after) == ("c", "suspected")


def test_forged_replayed_and_senseless_datagrams_are_refused_and_counted(pair: Pair) -> None:
    pair.until(Pulse)
    forger = PlainSpeech(B, os.urandom(32), ord("b"))
    forged = forger.seal(A, b"\0\0", 0)
    honest = PlainSpeech(B, pair.key, 7).seal(A, b"\0", 0)
    assert forged is not None
    assert honest is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thrower:
        for datagram in (b"", b"x", bytes(1500), forged, honest, honest):
            thrower.sendto(datagram, ("127.0.0.1", pair.ports[A]))
    refused = 0
    while refused < 5:
        pulse = pair.until(Pulse)
        refused += pulse.refused
    assert refused == 5
