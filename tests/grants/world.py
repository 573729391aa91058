"""A world for grants: hosts with clocks that run apart, kernels with two timed keys, messages that go any way.

Nothing here knows the rules: agents are processes that stop between any two of their steps, messages are what they
are, and what the kernels answer is told to the judge. Times are nanoseconds of the one true time, which nobody in the
world can read; each host has its own clock.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator

from holdfast.core.grants import Grantor
from holdfast.model.granting import MS, PPM, US, Heard, Output, Profile, SendTo, VoterSet, voter_set
from holdfast.model.names import HostName
from tests.grants.agent import Agent
from tests.grants.judge import Judge
from tests.grants.kernel import Kernel

BARE = Profile("bare", 10 * MS, 50 * MS, 5 * MS, 10 * MS, 50_000, slack_ns=200 * US, lag_ns=0, tick_ns=100 * US)
"""Clocks that are wrong by up to 5 %, and hardly any slack: what goes wrong with it goes wrong soon."""
STEP_NS = 10 * US
DELAY_NS = 150 * US

Letter = tuple[HostName, int, SendTo]
"""Sender, its life, and what it sent."""


class Clock:
    """A host's clock: how it runs beside true time."""

    def __init__(self, offset_ns: int, ppm: int) -> None:
        self.offset_ns = offset_ns
        self.ppm = ppm

    def at(self, true_ns: int) -> int:
        return self.offset_ns + true_ns * (PPM + self.ppm) // PPM

    def when(self, own_ns: int) -> int:
        """The true time at which it shows at least this."""
        return -(-(own_ns - self.offset_ns) * PPM // (PPM + self.ppm))


class Host:
    def __init__(self, name: HostName, clock: Clock, kernel: Kernel, disk: VoterSet) -> None:
        self.name = name
        self.clock = clock
        self.kernel = kernel
        self.disk = disk
        """The voter set that was written last."""
        self.is_on = True
        self.wall_ns = 0
        """How far its wall clock was set away from the other one."""
        self.agent: Agent | None = None
        self.lives = 0


class World:
    def __init__(
        self,
        names: tuple[str, ...],
        profile: Profile = BARE,
        *,
        ppm: dict[str, int] | None = None,
        witnesses: tuple[str, ...] = (),
        members: tuple[str, ...] = (),
        grantor: type[Grantor] = Grantor,
        agent: type[Agent] = Agent,
        asks_ns: int = 0,
    ) -> None:
        """
        Args:
            asks_ns: voters that start wait so long to hear from the others which epochs are over, and the store knows
                nothing of epochs; 0: the store knows every epoch at once, and nobody asks.
        """
        self.profile = profile
        self.asks_ns = asks_ns
        self.doubts: list[int] = []
        """When a voter has said that it votes without knowing enough of epochs."""
        self.grantor = grantor
        self.agent_type = agent
        self.true_ns = 0
        self.judge = Judge()
        self.delay: Callable[[HostName, HostName], Iterator[int]] = lambda _sender, _to: iter((DELAY_NS,))
        """How long each copy of a message takes; no copy: it is lost."""
        self.step_ns: Callable[[HostName, str], int] = lambda _host, _label: STEP_NS
        """How long an agent takes for its next step."""
        self.kernel_fails: Callable[[HostName], bool] = lambda _host: False
        """Whether what a kernel is told now is not done."""
        self.saw: Callable[[HostName, Output], None] = lambda _host, _output: None
        self.cut: set[tuple[HostName, HostName]] = set()
        self.held: dict[tuple[HostName, HostName], deque[Letter]] = {}
        self.sent: dict[tuple[HostName, HostName], deque[Letter]] = {}
        self.steps = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        first = voter_set(
            tuple(HostName(name) for name in members or names),
            profile,
            witnesses=tuple(HostName(name) for name in witnesses),
        )
        self.hosts: dict[HostName, Host] = {}
        for number, name in enumerate(names):
            host = HostName(name)
            # Far apart, so that a time of one host means nothing on another.
            clock = Clock((number + 1) * 1_000_000 * MS, (ppm or {}).get(name, 0))
            self.hosts[host] = Host(host, clock, Kernel(host, self.judge, clock.ppm, profile.tick_ns), first)
        for host in self.hosts:
            self.start(host)

    # Time.

    def at(self, when_ns: int, act: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (max(when_ns, self.true_ns), self._order, act))

    def run(self, length_ns: int) -> None:
        end = self.true_ns + length_ns
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.true_ns, _, act = heapq.heappop(queue)
            self.steps += 1
            act()
        self.true_ns = end

    def settle(self) -> None:
        """Until every voter has ended its silence."""
        self.run(
            max(host.disk.length_max_ns for host in self.hosts.values()) * 11 // 10 + 5 * self.profile.heartbeat_ns
        )

    # Processes.

    def start(self, host: HostName) -> None:
        """The agent's process begins a new life."""
        place = self.hosts[host]
        place.lives += 1
        place.agent = self.agent_type(self, place)
        place.agent.begin()

    def kill(self, host: HostName) -> None:
        """Its process is gone; the kernel, and the disk, stay as they are."""
        place = self.hosts[host]
        if place.agent is not None:
            place.agent.end()
        place.agent = None

    def off(self, host: HostName) -> None:
        """The machine has no power."""
        self.kill(host)
        place = self.hosts[host]
        place.is_on = False
        place.kernel.power_off(self.true_ns)

    def on(self, host: HostName) -> None:
        self.hosts[host].is_on = True
        self.start(host)

    # Messages.

    def send(self, sender: HostName, life: int, letter: SendTo) -> None:
        way = (sender, letter.host)
        post = (sender, life, letter)
        self.sent.setdefault(way, deque(maxlen=64)).append(post)
        if way in self.cut or letter.host not in self.hosts:
            return
        if way in self.held:
            self.held[way].append(post)
            return
        for delay in self.delay(*way):
            self.at(self.true_ns + delay, lambda: self.deliver(post))

    def deliver(self, post: Letter) -> None:
        """It arrives, whatever has happened since it was sent."""
        sender, life, letter = post
        place = self.hosts[letter.host]
        if place.agent is not None and place.is_on:
            place.agent.hear(Heard(sender, life, letter.incarnation, letter.version, letter.clock_ns, letter.message))

    def cut_off(self, host: HostName) -> None:
        """No message goes from or to it."""
        for other in self.hosts:
            if other != host:
                self.cut |= {(host, other), (other, host)}

    def heal(self) -> None:
        self.cut.clear()
