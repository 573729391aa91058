"""The same agents over real bytes: sealed datagrams, sessions made anew after a restart, replays of everything."""

import random
from functools import partial

from holdfast.core.grants import Grantor
from holdfast.model.granting import MS, Ack, Ask, Change, Fenced, Heard, Held, Nak, Output, Release, SendTo
from holdfast.model.names import HostName, ServiceName
from holdfast.wire.datagrams import Datagrams
from holdfast.wire.peer import packed, unpacked
from tests.grants.world import BARE, DELAY_NS, World

S = ServiceName("s")
H1, H2, H3 = HostName("h1"), HostName("h2"), HostName("h3")
KEY = b"k" * 32


class WiredWorld(World):
    """Messages travel as sealed datagrams; every one that was ever sent may come again."""

    def __init__(self, lost: float, seed: int) -> None:
        self.dice = random.Random(seed)
        self.lost = lost
        self.ends: dict[HostName, Datagrams] = {}
        self.all_sent: list[tuple[HostName, bytes]] = []
        super().__init__(("h1", "h2", "h3"), BARE)

    def start(self, host: HostName) -> None:
        super().start(host)
        agent = self.hosts[host].agent
        assert agent is not None
        others = [other for other in (H1, H2, H3) if other != host]
        self.ends[host] = Datagrams("test", host, others, (KEY,), agent.incarnation, self.dice.randbytes)

    def send(self, sender: HostName, life: int, letter: SendTo) -> None:
        end = self.ends[sender]
        datagram = end.seal(letter.host, packed([letter]))
        if datagram is None:
            end.tick(0)
        else:
            self._post(letter.host, datagram)
        self._greet(sender)

    def _greet(self, host: HostName) -> None:
        for greeting in self.ends[host].take():
            self._post(greeting.peer, greeting.datagram)

    def _post(self, to: HostName, datagram: bytes) -> None:
        self.all_sent.append((to, datagram))
        if self.dice.random() >= self.lost:
            self.at(self.true_ns + DELAY_NS, lambda: self.arrive(to, datagram))

    def arrive(self, to: HostName, datagram: bytes) -> None:
        agent = self.hosts[to].agent
        if agent is None or to not in self.ends:
            return
        opened = self.ends[to].open(datagram, 0)
        self._greet(to)
        if opened is not None:
            for heard in unpacked(opened.peer, opened.incarnation, opened.body):
                agent.hear(heard)


def _tell(world: World, host: HostName, epoch: int) -> None:
    agent = world.hosts[host].agent
    assert agent is not None
    agent.do(lambda grantor, now: grantor.claim(S, epoch, "take", now))


def _answering(world: World) -> list[str]:
    return [host.name for host in world.hosts.values() if host.kernel.answers(S, world.true_ns)]


def test_a_service_is_held_and_handed_over_by_datagrams() -> None:
    world = WiredWorld(0.0, 1)
    world.settle()
    _tell(world, H1, 1)
    world.run(10 * MS)
    assert _answering(world) == ["h1"]
    agent = world.hosts[H1].agent
    assert agent is not None
    agent.do(lambda grantor, now: grantor.release(S, now))
    _tell(world, H2, 2)
    world.run(10 * MS)
    assert _answering(world) == ["h2"]


def test_after_a_restart_the_sessions_are_made_anew_and_replays_change_nothing() -> None:
    for seed in range(10):
        world = WiredWorld(0.1, seed)
        held: list[tuple[HostName, int]] = []
        world.saw = partial(_note, held)
        world.settle()
        for turn in range(1, 7):
            host = (H1, H2, H3)[turn % 3]
            world.kill((H1, H2, H3)[(turn + 1) % 3])
            world.start((H1, H2, H3)[(turn + 1) % 3])
            world.run(65 * MS)
            _tell(world, host, turn)
            for to, datagram in world.dice.sample(world.all_sent, 40):
                world.arrive(to, datagram)
            world.run(75 * MS)
        assert not world.judge.wrong
        assert len(held) >= 3, held
        assert sum(world.ends[H1].refused.values()) > 0


def _note(held: list[tuple[HostName, int]], host: HostName, output: Output) -> None:
    if isinstance(output, Held):
        held.append((host, output.epoch))


def test_a_grantor_that_hears_what_it_cannot_use_goes_on() -> None:
    world = WiredWorld(0.0, 3)
    world.settle()
    agent = world.hosts[H1].agent
    assert agent is not None
    for sender in (H2, HostName("nobody")):
        for seq in (0, 1 << 63):
            for number in (0, 7):
                _hear_all(agent.grantor, sender, seq, number, agent.clock())
    world.run(30 * MS)
    _tell(world, H1, 1)
    world.run(30 * MS)
    assert _answering(world) == ["h1"]


def _hear_all(grantor: Grantor, sender: HostName, seq: int, number: int, now: int) -> None:
    messages = (
        Ack(seq, number, number),
        Nak(seq, "quarantine"),
        Ask(seq, number, number, (Change(number, S, 0, "drop"),)),
        Release(((S, -1),)),
        Fenced(sender, 5, ""),
    )
    for message in messages:
        grantor.receive(Heard(sender, 999, grantor.incarnation, 1, 0, message), now)
