"""Suspicion beside grants: heartbeats and ASKs leave together, and what silence means is told to each Grantor.

Two worlds with the same hosts and the same time, which go on in turn by steps much shorter than a heartbeat.
"""

from collections.abc import Callable

from holdfast.core.suspicion_words import PeerChanged, patience
from holdfast.model.granting import US
from holdfast.model.names import HostName
from tests.grants.world import World
from tests.suspicion.world import FOR_EVER
from tests.suspicion.world import World as Heartbeats

STEP_NS = 100 * US
SETTLED_HEARTBEATS = 100


class Detecting:
    """The heartbeats of a world of grants."""

    def __init__(self, world: World, noticed: Callable[[HostName, PeerChanged], None]) -> None:
        self.world = world
        self._noticed = noticed
        heartbeat_ns = world.profile.heartbeat_ns
        self._heartbeats = Heartbeats(list(world.hosts), ("lan",), patience(heartbeat_ns))
        # Everybody has been heard for long when the world of grants joins in.
        self._heartbeats.run(SETTLED_HEARTBEATS * heartbeat_ns)
        self._told = len(self._heartbeats.seen)
        self._beaten = {host: agent.next_beat_ns for host, agent in self._heartbeats.agents.items()}

    def run(self, length_ns: int) -> None:
        end_ns = self.world.true_ns + length_ns
        while self.world.true_ns < end_ns:
            step_ns = min(STEP_NS, end_ns - self.world.true_ns)
            self._heartbeats.run(step_ns)
            self._pass_on()
            self.world.run(step_ns)

    def _pass_on(self) -> None:
        """To the Grantor of each host: that it sends its heartbeats, and what its suspicion has noticed."""
        for host, agent in self._heartbeats.agents.items():
            if agent.next_beat_ns != self._beaten[host]:
                self._beaten[host] = agent.next_beat_ns
                self._beat(host)
        for _, who, noticed in self._heartbeats.seen[self._told :]:
            if isinstance(noticed, PeerChanged):
                self._noticed(who, noticed)
                self._change(who, noticed)
        self._told = len(self._heartbeats.seen)

    def _beat(self, host: HostName) -> None:
        agent = self.world.hosts[host].agent
        if agent is not None:
            agent.do(lambda grantor, now: grantor.beat(now))

    def _change(self, host: HostName, change: PeerChanged) -> None:
        agent = self.world.hosts[host].agent
        if agent is not None:
            agent.do(lambda grantor, now: grantor.noticed(change, now))

    # Faults.

    def off(self, host: HostName) -> None:
        self._heartbeats.off(host)

    def stop(self, host: HostName) -> None:
        self._heartbeats.stop(host, FOR_EVER)

    def go(self, host: HostName) -> None:
        self._heartbeats.agents[host].runs_from_ns = self._heartbeats.now_ns
