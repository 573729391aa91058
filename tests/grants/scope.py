"""Every way in which a short scene can go wrong at one point, or at two: loss, delay, a pause, a restart.

A scene is played again and again. Points are counted as they come: each message, each step of an agent. At the
chosen points things go otherwise; all else goes by the clock. So all that differs between two plays is what was chosen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from holdfast.core.grants import Grantor
from holdfast.model.granting import MS, Profile, Succession, Successor
from holdfast.model.names import HostName, ServiceName, VnfcName
from tests.grants.agent import Agent
from tests.grants.world import DELAY_NS, STEP_NS, World

S = ServiceName("s")
SCENE = Profile("scene", 20 * MS, 50 * MS, 5 * MS, 10 * MS, 1000, slack_ns=MS // 2, lag_ns=0, tick_ns=MS // 5)
Otherwise = Literal["lost", "late", "twice", "pause", "restart"]
OF_MESSAGES: tuple[Otherwise, ...] = ("lost", "late", "twice")
OF_STEPS: tuple[Otherwise, ...] = ("pause", "restart")
LONG_NS = 61 * MS
"""Longer than any promise."""
H1, H2, H3 = HostName("h1"), HostName("h2"), HostName("h3")


@dataclass(frozen=True)
class Point:
    number: int
    is_message: bool
    host: HostName

    def ways(self) -> tuple[Otherwise, ...]:
        return OF_MESSAGES if self.is_message else OF_STEPS


class Play:
    """One play of a scene, with what goes otherwise at which points."""

    def __init__(
        self,
        scene: Callable[["Play"], None],
        otherwise: dict[int, Otherwise],
        grantor: type[Grantor] = Grantor,
        agent: type[Agent] = Agent,
    ) -> None:
        self.world = World((H1, H2, H3), SCENE, grantor=grantor, agent=agent)
        for host in self.world.hosts.values():
            if host.agent is not None:
                host.agent.grantor.voter.quarantine_end_ns = 0
        self.points: list[Point] = []
        self._otherwise = otherwise
        self._scene = scene

    def run(self) -> World:
        self.claim(H1, 1)
        self.pass_ms(1)
        self.world.delay = self._delay
        self.world.step_ns = self._step
        self._scene(self)
        return self.world

    # What scenes are made of.

    def pass_ms(self, length: float) -> None:
        self.world.run(round(length * MS))

    def tell(self, host: HostName, command: Callable[[Grantor, int], None]) -> None:
        agent = self.world.hosts[host].agent
        if agent is not None:
            agent.do(command)

    def claim(self, host: HostName, epoch: int) -> None:
        self.tell(host, lambda grantor, now: grantor.claim(S, epoch, "take", now))

    def release(self, host: HostName) -> None:
        self.tell(host, lambda grantor, now: grantor.release(S, now))

    def order(self, holder: HostName, epoch: int, *reserved: tuple[HostName, int]) -> None:
        lives = {host: place.agent.incarnation for host, place in self.world.hosts.items() if place.agent}
        successors = [Successor(VnfcName("v"), host, lives[host], its) for host, its in reserved if host in lives]
        order = Succession(S, epoch, holder, epoch, tuple(successors))
        for host in self.world.hosts:
            self.tell(host, lambda grantor, now: grantor.order(order, now))

    def found_failed(self, host: HostName, other: HostName) -> None:
        self.tell(host, lambda grantor, now: grantor.found_failed(other, now))

    # Points.

    def _delay(self, sender: HostName, _to: HostName) -> Iterator[int]:
        match self._at(Point(len(self.points), True, sender)):
            case "lost":
                return
            case "late":
                yield LONG_NS
            case "twice":
                yield DELAY_NS
                yield LONG_NS - 5 * MS
            case _:
                yield DELAY_NS

    def _step(self, host: HostName, _label: str) -> int:
        match self._at(Point(len(self.points), False, host)):
            case "pause":
                return LONG_NS
            case "restart":
                self.world.at(self.world.true_ns, lambda: self._restart(host))
        return STEP_NS

    def _at(self, point: Point) -> Otherwise | None:
        self.points.append(point)
        return self._otherwise.get(point.number)

    def _restart(self, host: HostName) -> None:
        self.world.kill(host)
        self.world.start(host)


def hand_over(play: Play) -> None:
    """h1 lets go, h2 has it; then h3 takes it by force."""
    play.order(H1, 1, (H2, 2))
    play.pass_ms(0.5)
    play.release(H1)
    play.pass_ms(2)
    play.claim(H3, 9)
    play.pass_ms(130)


def host_lost(play: Play) -> None:
    """h1 is cut off; h2 follows the order; h1 comes back and takes it again."""
    play.order(H1, 1, (H2, 2), (H3, 3))
    play.pass_ms(1)
    play.world.cut_off(H1)
    play.found_failed(H2, H1)
    play.pass_ms(56)
    play.world.heal()
    play.claim(H1, 9)
    play.pass_ms(70)


def single(scene: Callable[[Play], None], until: int) -> Iterator[dict[int, Otherwise]]:
    """Every way for one of the first so many points to go otherwise."""
    for point in _points(scene)[:until]:
        for way in point.ways():
            yield {point.number: way}


def pairs(scene: Callable[[Play], None], until: int) -> Iterator[dict[int, Otherwise]]:
    """Every way for two of the first so many points to go otherwise, as they stand when nothing does."""
    for one, other in combinations(_points(scene)[:until], 2):
        for first in one.ways():
            for second in other.ways():
                yield {one.number: first, other.number: second}


def _points(scene: Callable[[Play], None]) -> list[Point]:
    play = Play(scene, {})
    play.run()
    return play.points
