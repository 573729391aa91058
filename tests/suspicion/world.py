"""Several agents' suspicions on simulated networks, in simulated time: one wire, one way of stopping a process.

In: who is stopped, cut, switched off, and how long the world goes on. Out: what each agent noticed, in order.
The rounds are those of the hot loop: one reading of the clock, own lateness, what has arrived, the tick.
"""

import heapq
from collections.abc import Callable

from holdfast.core.suspicion import Suspicion
from holdfast.core.suspicion_words import Beat, Noticed, Patience
from holdfast.model.names import HostName

MS = 1_000_000
LATENCY_NS = 200_000
FOR_EVER = 1 << 62


class Agent:
    """One agent's process: its suspicion, its schedule, and what waits in its sockets."""

    def __init__(
        self, name: HostName, peers: list[HostName], networks: tuple[str, ...], patience: Patience, start_ns: int
    ) -> None:
        self.name = name
        self.incarnation = 1
        self._peers, self._networks, self._patience = peers, networks, patience
        self.begin(start_ns)

    def begin(self, now_ns: int) -> None:
        """A new life."""
        self.suspicion = Suspicion(self.name, self._peers, self._networks, self._patience, now_ns)
        self.next_beat_ns = now_ns
        self.runs_from_ns = 0
        self.waiting: list[tuple[HostName, int, int, Beat]] = []

    @property
    def wakes_ns(self) -> int:
        due_ns = min(self.next_beat_ns, self.suspicion.deadline())
        return max(due_ns, self.runs_from_ns)

    def round(self, now_ns: int, send: Callable[["Agent", HostName, int, Beat], None]) -> tuple[Noticed, ...]:
        """What the hot loop does when it wakes."""
        suspicion = self.suspicion
        due_ns = min(self.next_beat_ns, suspicion.deadline())
        suspicion.late(now_ns, max(0, now_ns - due_ns))
        for sender, network, incarnation, beat in self.waiting:
            suspicion.receive(sender, network, incarnation, now_ns, beat)
        self.waiting.clear()
        is_beat = now_ns >= self.next_beat_ns
        if is_beat or now_ns >= suspicion.deadline():
            suspicion.tick(now_ns)
        if is_beat:
            missed = (now_ns - self.next_beat_ns) // self._patience.heartbeat_ns
            self.next_beat_ns += (missed + 1) * self._patience.heartbeat_ns
            for peer in self._peers:
                beat = suspicion.beat(peer, now_ns)
                for network in range(len(self._networks)):
                    send(self, peer, network, beat)
        return suspicion.take()


class World:
    """Agents joined by networks. A cut is (from, to, network): one way of one network."""

    def __init__(self, names: list[str], networks: tuple[str, ...], patience: Patience) -> None:
        hosts = [HostName(name) for name in names]
        self.networks = networks
        self.now_ns = 0
        self.cuts: set[tuple[HostName, HostName, int]] = set()
        self.refused: set[tuple[HostName, HostName, int]] = set()
        """What the sender's own kernel does not take."""
        self.is_off: set[HostName] = set()
        self.seen: list[tuple[int, HostName, Noticed]] = []
        self._on_the_way: list[tuple[int, int, HostName, tuple[HostName, int, int, Beat]]] = []
        self._sent = 0
        spread_ns = patience.heartbeat_ns // (len(hosts) + 1)
        self.agents = {
            host: Agent(host, [peer for peer in hosts if peer != host], networks, patience, place * spread_ns)
            for place, host in enumerate(hosts)
        }

    def _send(self, sender: Agent, to: HostName, network: int, beat: Beat) -> None:
        if (sender.name, to, network) in self.refused:
            sender.suspicion.unsent(to, network, self.now_ns)
            return
        if (sender.name, to, network) in self.cuts:
            return
        self._sent += 1
        arrives_ns = self.now_ns + LATENCY_NS
        heapq.heappush(self._on_the_way, (arrives_ns, self._sent, to, (sender.name, network, sender.incarnation, beat)))

    def run(self, length_ns: int) -> None:
        """Go on for so long."""
        end_ns = self.now_ns + length_ns
        while True:
            arrives_ns = self._on_the_way[0][0] if self._on_the_way else FOR_EVER
            running = [agent for agent in self.agents.values() if agent.name not in self.is_off]
            first = min(running, key=lambda agent: agent.wakes_ns, default=None)
            wakes_ns = first.wakes_ns if first is not None else FOR_EVER
            at_ns = min(arrives_ns, wakes_ns)
            if at_ns > end_ns:
                break
            self.now_ns = max(self.now_ns, at_ns)
            if arrives_ns <= wakes_ns:
                self._arrive()
            elif first is not None:
                self._round(first)
        self.now_ns = end_ns

    def _arrive(self) -> None:
        _, _, to, datagram = heapq.heappop(self._on_the_way)
        if to in self.is_off or (datagram[0], to, datagram[1]) in self.cuts:
            return
        agent = self.agents[to]
        agent.waiting.append(datagram)
        if self.now_ns >= agent.runs_from_ns:
            self._round(agent)

    def _round(self, agent: Agent) -> None:
        for noticed in agent.round(self.now_ns, self._send):
            self.seen.append((self.now_ns, agent.name, noticed))

    def stop(self, name: str, length_ns: int) -> None:
        """The agent's process gets no processor for so long."""
        agent = self.agents[HostName(name)]
        agent.runs_from_ns = max(agent.runs_from_ns, self.now_ns + length_ns)

    def off(self, name: str) -> None:
        self.is_off.add(HostName(name))

    def on(self, name: str) -> None:
        """The agent starts: a new life."""
        agent = self.agents[HostName(name)]
        self.is_off.discard(agent.name)
        agent.incarnation += 1
        agent.begin(self.now_ns)

    def cut(self, sender: str, to: str, networks: list[int], *, heal: bool = False) -> None:
        """One way only."""
        for network in networks:
            way = (HostName(sender), HostName(to), network)
            if heal:
                self.cuts.discard(way)
            else:
                self.cuts.add(way)
