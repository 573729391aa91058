"""Random runs: everything that the assumptions allow, at random times. One seed, one run.

Messages are lost, late, doubled, and come again much later; agents stop before any of their steps, for any time, are
killed and start again; machines lose their power and get it back; hosts are cut off; clocks run at the ends of what is
allowed. Over all of it sits a manager that gives orders with fresh epochs, and finds failed whom it likes.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from holdfast.core.grants import Grantor
from holdfast.model.granting import MS, US, Profile, Succession, Successor, VoterSet, voter_set
from holdfast.model.names import HostName, ServiceName, VnfcName
from tests.grants.agent import Agent
from tests.grants.world import DELAY_NS, STEP_NS, World

SERVICES = (ServiceName("s"), ServiceName("t"))
QUICK = Profile("quick", 15 * MS, 50 * MS, 5 * MS, 10 * MS, 50_000, slack_ns=500 * US, lag_ns=0, tick_ns=200 * US)


@dataclass(frozen=True)
class Weather:
    """How rough it is; chances are per message, or per step of an agent."""

    lost: float = 0.08
    late: float = 0.08
    doubled: float = 0.08
    again: float = 0.02
    refused: float = 0.0
    """By the kernel."""
    pause: float = 0.012
    pauses_ms: tuple[float, ...] = (3.0, 20.0, 60.0, 110.0)
    every_ms: tuple[float, float] = (2.0, 25.0)
    """How long the manager and the faults rest between two acts."""
    acts: dict[str, int] = field(
        default_factory=lambda: {
            "order": 6,
            "claim": 3,
            "release": 4,
            "failed": 5,
            "restart": 2,
            "off": 1,
            "cut": 2,
            "heal": 3,
            "one way": 1,
            "seal": 3,
        }
    )


SEASONS: dict[str, Weather] = {
    "storm": Weather(),
    "restarts": Weather(
        lost=0.04,
        late=0.1,
        again=0.05,
        pause=0.006,
        every_ms=(2, 12),
        acts={"claim": 6, "order": 4, "restart": 8, "failed": 3, "one way": 1, "heal": 2},
    ),
    "releases": Weather(
        lost=0.04,
        late=0.15,
        again=0.03,
        pause=0.02,
        refused=0.1,
        every_ms=(1, 8),
        acts={"claim": 5, "order": 5, "release": 4, "hand over": 4, "failed": 2},
    ),
    "pauses": Weather(
        lost=0.02,
        late=0.04,
        pause=0.04,
        pauses_ms=(1, 3, 15, 45, 60),
        every_ms=(4, 20),
        acts={"claim": 3, "order": 5, "failed": 4, "clock set": 1, "seal": 3},
    ),
    "cuts": Weather(
        lost=0.3,
        late=0.04,
        pause=0.002,
        every_ms=(2, 20),
        acts={"claim": 3, "order": 3, "cut": 4, "one way": 6, "heal": 3, "off": 1, "fence": 1},
    ),
    "forgotten": Weather(
        lost=0.02,
        late=0.02,
        doubled=0.02,
        again=0.0,
        pause=0.0,
        every_ms=(8, 40),
        acts={"claim": 5, "cut": 5, "heal": 4, "restart": 5},
    ),
    "voters": Weather(
        pause=0.006, acts={"order": 4, "claim": 5, "release": 2, "voters": 12, "restart": 4, "cut": 2, "heal": 3}
    ),
}


class Chance:
    def __init__(
        self,
        seed: int,
        weather: Weather = Weather(),
        *,
        hosts: int = 3,
        voters: int = 0,
        services: int = 1,
        profile: Profile = QUICK,
        grantor: type[Grantor] = Grantor,
        agent: type[Agent] = Agent,
        habits: frozenset[str] = frozenset(),
        asks_ns: int = 0,
    ) -> None:
        """Get ready.

        Args:
            seed: makes the run.
            weather: how rough it is.
            hosts: how many.
            voters: how many of them vote; 0 for all.
            services: how many.
            profile: lengths.
            grantor: may have a mistake planted.
            agent: the same.
            habits: bad ones of the manager: "same epoch", "resumes", "several members", "unsealed".
            asks_ns: the store knows nothing of epochs, and voters that start ask the others for so long.
        """
        self.habits = habits
        self.is_calm = False
        self.dice = random.Random(seed)
        self.weather = weather
        self.services = SERVICES[:services]
        names = tuple(f"h{number}" for number in range(1, hosts + 1))
        rho = profile.rho_ppm
        ppm = {name: self.dice.choice((-rho, 0, rho)) for name in names}
        members = names[:voters] if voters else names
        self.world = World(names, profile, ppm=ppm, members=members, grantor=grantor, agent=agent, asks_ns=asks_ns)
        self.epoch = 0
        self.revision = 0
        self.next_set: VoterSet | None = None
        self.voter_sets = 1
        for host in self.world.hosts.values():
            if host.agent is not None:
                # These voters have never promised anything.
                host.agent.grantor.voter.quarantine_end_ns = 0
        self.world.delay = self._delay
        self.world.step_ns = self._step
        self.world.kernel_fails = lambda _host: self.dice.random() < weather.refused
        self._next_act()

    def run(self, length_ms: float) -> World:
        self._claim(self.services[0])
        self.world.run(round(length_ms * MS))
        return self.world

    # Messages and processes.

    def _delay(self, sender: HostName, to: HostName) -> Iterator[int]:
        roll = self.dice.random()
        weather = self.weather
        if roll < weather.lost:
            return
        yield round(self.dice.uniform(0.05, 0.6) * MS)
        if roll < weather.lost + weather.late:
            yield round(self.dice.uniform(1, 70) * MS)
        elif roll < weather.lost + weather.late + weather.doubled:
            yield round(self.dice.uniform(0.05, 3) * MS)

    def _step(self, _host: HostName, _label: str) -> int:
        if self.dice.random() < self.weather.pause:
            return round(self.dice.choice(self.weather.pauses_ms) * self.dice.uniform(0.5, 1.1) * MS)
        return 20 * US

    # Acts.

    def _next_act(self) -> None:
        pause = self.dice.uniform(*self.weather.every_ms)
        self.world.at(self.world.true_ns + round(pause * MS), self._act)

    def _act(self) -> None:
        if self.is_calm:
            return
        acts = self.weather.acts
        act = self.dice.choices(list(acts), list(acts.values()))[0]
        known: dict[str, Callable[[], None]] = {
            "order": lambda: self._order(self.dice.choice(self.services)),
            "claim": lambda: self._claim(self.dice.choice(self.services)),
            "release": self._release,
            "hand over": self._hand_over,
            "seal": self._seal,
            "failed": self._found_failed,
            "restart": self._restart,
            "off": self._off,
            "cut": lambda: self.world.cut_off(self._any()),
            "heal": self.world.heal,
            "one way": lambda: self.world.cut.add((self._any(), self._any())),
            "voters": self._change_voters,
            "fence": self._fence,
            "clock set": self._set_wall_clock,
        }
        known[act]()
        if self.dice.random() < self.weather.again * 20:
            self._again()
        self._next_act()

    def _any(self) -> HostName:
        return self.dice.choice(list(self.world.hosts))

    def _agent(self, host: HostName) -> Agent | None:
        return self.world.hosts[host].agent

    def _again(self) -> None:
        """Messages that were sent long ago arrive once more."""
        ways = [way for way, letters in self.world.sent.items() if letters]
        for way in self.dice.sample(ways, min(len(ways), 3)):
            for letter in self.dice.sample(list(self.world.sent[way]), min(len(self.world.sent[way]), 4)):
                self.world.deliver(letter)

    def _order(self, service: ServiceName) -> None:
        """A standing order with fresh epochs, for some order of the hosts; not everybody hears of it."""
        self.revision += 1
        before = self.epoch
        hosts = list(self.world.hosts)
        self.dice.shuffle(hosts)
        successors = []
        for host in hosts[: self.dice.choice((1, 2, 2, len(hosts)))]:
            agent = self._agent(host)
            if agent is not None:
                self.epoch += 1
                successors.append(Successor(VnfcName(f"v-{host}"), host, agent.incarnation, self.epoch))
        order = Succession(service, self.revision, None, before, tuple(successors))
        for host in hosts:
            agent = self._agent(host)
            if agent is not None and self.dice.random() < 0.8:
                agent.do(lambda grantor, now: grantor.order(order, now))

    def _claim(self, service: ServiceName) -> None:
        agent = self._agent(self._any())
        if "same epoch" not in self.habits or self.dice.random() < 0.5:
            self.epoch += 1
        epoch, how = self.epoch, self.dice.choice(("take", "take", "wait"))
        if agent is not None:
            agent.do(lambda grantor, now: grantor.claim(service, epoch, "take" if how == "take" else "wait", now))

    def _release(self) -> None:
        """Of a holder if there is one."""
        service = self.dice.choice(self.services)
        true = self.world.true_ns
        holders = [host for host in self.world.hosts.values() if host.kernel.answers(service, true)]
        host = holders[0] if holders else self.world.hosts[self._any()]
        if host.agent is not None:
            host.agent.do(lambda grantor, now: grantor.release(service, now))

    def _seal(self) -> None:
        """The holder is to go on under a higher epoch."""
        service = self.dice.choice(self.services)
        true = self.world.true_ns
        self.epoch += 1
        epoch = self.epoch
        for host in self.world.hosts.values():
            if host.agent is not None and host.kernel.answers(service, true):
                host.agent.do(lambda grantor, now: grantor.seal(service, epoch, now))

    def _hand_over(self) -> None:
        """Planned: somebody waits, and the holder is told to let go."""
        service = self.dice.choice(self.services)
        agent = self._agent(self._any())
        self.epoch += 1
        epoch = self.epoch
        if agent is not None:
            agent.do(lambda grantor, now: grantor.claim(service, epoch, "wait", now))
        self.world.at(self.world.true_ns + round(self.dice.uniform(0.2, 6) * MS), self._release)

    def _found_failed(self) -> None:
        agent, failed = self._agent(self._any()), self._any()
        if agent is not None:
            if self.dice.random() < 0.7:
                agent.do(lambda grantor, now: grantor.found_failed(failed, now))
            else:
                agent.do(lambda grantor, _now: grantor.trust(failed))

    def _restart(self) -> None:
        host = self._any()
        if self.world.hosts[host].is_on:
            self.world.kill(host)
            pause = round(self.dice.choice((0.1, 5, 40)) * MS)
            self.world.at(self.world.true_ns + pause, lambda: self._begin(host))

    def _begin(self, host: HostName) -> None:
        place = self.world.hosts[host]
        if place.is_on and place.agent is None:
            self.world.start(host)
            agent = self._agent(host)
            if "resumes" in self.habits and agent is not None:
                for service, epoch in place.kernel.owned.items():
                    self._resume(agent, service, epoch)

    def _resume(self, agent: Agent, service: ServiceName, epoch: int) -> None:
        agent.do(lambda grantor, now: grantor.claim(service, epoch, "take", now))

    def _off(self) -> None:
        """A machine loses its power; sometimes that is confirmed and told; later it is on again."""
        host = self._any()
        agent = self._agent(host)
        if agent is None:
            return
        incarnation = agent.incarnation
        self.world.off(host)
        if self.dice.random() < 0.6:
            other = self._agent(self._any())
            if other is not None:
                other.do(lambda grantor, now: grantor.fenced(host, incarnation, "confirmed", now))
        pause = round(self.dice.uniform(5, 100) * MS)
        self.world.at(self.world.true_ns + pause, lambda: self._on(host))

    def _on(self, host: HostName) -> None:
        if not self.world.hosts[host].is_on:
            self.world.on(host)

    def _fence(self) -> None:
        """The fence device says that a host is off which is not."""
        host, agent = self._any(), self._agent(self._any())
        fenced = self._agent(host)
        if agent is not None and fenced is not None:
            incarnation = fenced.incarnation
            agent.do(lambda grantor, now: grantor.fenced(host, incarnation, "a lie", now))

    def _set_wall_clock(self) -> None:
        self.world.hosts[self._any()].wall_ns += round(self.dice.uniform(-80, 120) * MS)

    def _change_voters(self) -> None:
        """One member more or less, as soon as some agent knows that the present set is sealed."""
        place = self.dice.choice(list(self.world.hosts.values()))
        if place.agent is None:
            return
        agent = place.agent
        present = agent.grantor.members.current
        if self.next_set is not None and present.version < self.next_set.version:
            following = self.next_set
        elif self.may_change(agent):
            following = self.next_set = self.following(present)
            self.voter_sets = following.version
        else:
            return
        for host in self.world.hosts.values():
            if host.agent is not None and self.dice.random() < 0.7:
                host.agent.do(lambda grantor, now: grantor.set_voter_set(following, now))

    def may_change(self, agent: Agent) -> bool:
        return "unsealed" in self.habits or agent.grantor.may_change_voters(agent.clock())

    def following(self, present: VoterSet) -> VoterSet:
        others = [host for host in self.world.hosts if host not in present.members]
        if "several members" in self.habits:
            self.dice.shuffle(others)
            return voter_set((*others, *present.members)[:3], self.world.profile, after=present)
        members = list(present.members)
        if others and (len(members) <= 2 or self.dice.random() < 0.5):
            members.append(self.dice.choice(others))
        else:
            members.remove(self.dice.choice(members))
        return voter_set(tuple(members), self.world.profile, after=present)

    def calm_down(self) -> None:
        """No more faults: all machines are on, all agents run, every message arrives; who was fenced starts again."""
        world = self.world
        self.is_calm = True
        world.delay = lambda _sender, _to: iter((DELAY_NS,))
        world.step_ns = lambda _host, _label: STEP_NS
        world.kernel_fails = lambda _host: False
        world.run(130 * MS)
        world.heal()
        for _ in range(2):
            # An agent learns that it was fenced when somebody refuses it for that.
            for host, place in world.hosts.items():
                place.is_on = True
                if place.agent is None or place.agent.grantor.is_fenced:
                    world.kill(host)
                    world.start(host)
            world.run(100 * MS)
