"""Slow ways of the simulated network: what takes one arrives late, in another order, or again, and never altered."""

import itertools
import random

import pytest
from msgspec.structs import replace

from holdfast.lab.drawn import PlannedFault
from holdfast.lab.sim.draw import Plan, draw
from holdfast.lab.sim.hot import Ether, SimUdp
from holdfast.lab.sim.late import Late
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.seed import run_seed
from holdfast.lab.sim.timeline import Timeline
from holdfast.runtime.hot_words import HotNetwork

MS = 1_000_000
SLOW_MS = 500
SENT = [bytes([number]) for number in range(40)]


class Two:
    """A host `a` that sends to `b`, one datagram each 10 ms."""

    def __init__(self) -> None:
        self.timeline = Timeline(7)
        self.net = Net(self.timeline, "first")
        self.ether = Ether(lambda _: self.net, {"10.0.0.1": "a", "10.0.0.2": "b"}.__getitem__)
        self.sender = SimUdp(self.ether, "a", HotNetwork("first", "10.0.0.1", 7))
        self.receiver = SimUdp(self.ether, "b", HotNetwork("first", "10.0.0.2", 7))

    def slow(self, receiver: str, *, is_copied: bool) -> None:
        self.ether.late.append(Late(self.timeline, "a", receiver, SLOW_MS * MS, is_copied=is_copied))

    def send(self) -> list[bytes]:
        """What has come before the next one, and after the last one until all has arrived."""
        for number, datagram in enumerate(SENT):
            self.timeline.run(number * 10 * MS)
            self.sender.sendto(datagram, ("10.0.0.2", 7))
        self.timeline.run(SLOW_MS * MS)
        return list(self.receiver.waiting)

    def in_the_end(self) -> list[bytes]:
        self.timeline.run(2 * SLOW_MS * MS)
        return list(self.receiver.waiting)


def test_what_is_late_arrives_once_in_another_order() -> None:
    two = Two()
    two.slow("b", is_copied=False)
    before_the_end = two.send()
    assert 0 < len(before_the_end) < len(SENT)
    assert any(later < earlier for earlier, later in itertools.pairwise(before_the_end))
    assert sorted(two.in_the_end()) == SENT


def test_what_comes_again_has_come_in_time_as_well() -> None:
    two = Two()
    two.slow("", is_copied=True)
    two.send()
    assert sorted(two.in_the_end()) == sorted(SENT * 2)
    first_times = list(dict.fromkeys(two.receiver.waiting))
    assert first_times == SENT


def test_others_are_not_slow() -> None:
    two = Two()
    two.slow("c", is_copied=False)
    assert two.send() == SENT


def test_what_would_arrive_while_its_way_is_cut_is_lost() -> None:
    two = Two()
    two.slow("b", is_copied=False)
    arrived = two.send()
    two.net.cut("a", "b")
    assert two.in_the_end() == arrived


def drawn(seed: int) -> Plan:
    """A drawn run, and on top of it datagrams that are late or come again, and clocks at their limits."""
    chance, plan = random.Random(f"late {seed}"), draw(seed)
    added = []
    for kind in chance.sample(("messages-late", "messages-again", "clock-slow", "clock-fast"), 3):
        place, other = chance.sample(plan.hosts, 2)
        receiver = other if kind.startswith("messages") and chance.random() < 0.4 else ""
        added.append(PlannedFault(kind, chance.randrange(100, 2500), place, chance.randrange(100, 3000), receiver))
    return replace(plan, faults=tuple(sorted((*plan.faults, *added), key=lambda fault: fault.at_ms)))


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_drawn_run_goes_well_with_late_messages_too(seed: int) -> None:
    assert run_seed(drawn(seed)).violations == []
