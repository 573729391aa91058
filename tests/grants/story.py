"""Plays the commands of one story in a `World`; what agents notice meanwhile, a line each, is the answer.

Commands are in COMMANDS, each with a function whose docstring says what it does. Times are milliseconds since the
first command after `world`.
"""

from collections import deque
from collections.abc import Callable

from holdfast.core.suspicion_words import PeerChanged
from holdfast.model.granting import MS, PROFILES, Output, Succession, Successor, voter_set
from holdfast.model.names import HostName, ServiceName, VnfcName
from tests.grants.agent import Agent
from tests.grants.detecting import Detecting
from tests.grants.plants import Plant
from tests.grants.words import told
from tests.grants.world import BARE, DELAY_NS, STEP_NS, World

RIGHT = Plant("nothing is wrong")


class Story:
    def __init__(self, plant: Plant = RIGHT) -> None:
        self.plant = plant
        self._world: World | None = None
        self._detecting: Detecting | None = None
        self._zero_ns = 0
        self.lines: list[str] = []
        self.side_ns = STEP_NS
        self._claimed: dict[HostName, dict[ServiceName, int]] = {}
        self._revision = 0

    @property
    def world(self) -> World:
        assert self._world is not None, "a story begins with `world HOST…`"
        return self._world

    def play(self, commands: str) -> str:
        """Run the commands of one block; what was said meanwhile."""
        before, judged = len(self.lines), len(self._world.judge.wrong) if self._world else 0
        for line in commands.splitlines():
            words = line.split()
            handler = COMMANDS.get(words[0])
            assert handler is not None, f"no such command: {line!r}; known are {', '.join(COMMANDS)}"
            self.lines += handler(self, words[1:])
        said = self.lines[before:] + [f"JUDGE: {wrong}" for wrong in self.world.judge.wrong[judged:]]
        return "\n".join(said) or "(nothing)"

    def _saw(self, host: HostName, output: Output) -> None:
        words = told(output)
        if words:
            self._saw_words(host, words)

    def _saw_words(self, host: HostName, words: str) -> None:
        self.lines.append(f"{(self.world.true_ns - self._zero_ns) / MS:7.1f} {host} {words}")

    def _noticed(self, host: HostName, change: PeerChanged) -> None:
        if "failed" in (change.before, change.after):
            self._saw_words(
                host, f"finds {change.peer} {change.after}, after {change.silent_ns / MS:.1f} ms of silence"
            )

    def _agent(self, host: str) -> Agent:
        agent = self.world.hosts[HostName(host)].agent
        assert agent is not None, f"{host} has no agent now"
        return agent

    # The world.

    def make(self, words: list[str]) -> list[str]:
        """`world HOST… [profile NAME] [voters HOST,…] [witness HOST] [slow HOST,…] [fast HOST,…]`: all start.

        With `detects yes` at the end there are heartbeats too, and what they find failed, so does the Grantor. With
        `asks MS` the store knows nothing of epochs, and voters that start ask the others for so long.
        """
        names = [word for word in words if word.startswith("h") and word[1:].isdigit()]
        hosts = []
        for word in words:
            if word not in names or word in hosts:
                break
            hosts.append(word)
        options = dict(zip(words[len(hosts) :: 2], words[len(hosts) + 1 :: 2], strict=True))
        profile = {**PROFILES, "bare": BARE}[options.get("profile", "bare")]
        ppm = {host: -profile.rho_ppm for host in options.get("slow", "").split(",") if host}
        ppm |= {host: profile.rho_ppm for host in options.get("fast", "").split(",") if host}
        self._world = World(
            tuple(hosts),
            profile,
            ppm=ppm,
            members=tuple(options.get("voters", ",".join(hosts)).split(",")),
            witnesses=tuple(filter(None, (options.get("witness"),))),
            grantor=self.plant.grantor,
            agent=self.plant.agent,
            asks_ns=int(options.get("asks", "0")) * MS,
        )
        self.world.step_ns = lambda _host, label: self.side_ns if label == "side" else STEP_NS
        self.world.settle()
        if options.get("detects") == "yes":
            self._detecting = Detecting(self.world, self._noticed)
        self.world.saw = self._saw
        self._zero_ns = self.world.true_ns
        return []

    def run(self, words: list[str]) -> list[str]:
        """`run MS`."""
        (self._detecting or self.world).run(round(float(words[0]) * MS))
        return []

    # Instructions.

    def claim(self, words: list[str]) -> list[str]:
        """`claim HOST SERVICE EPOCH [wait]`: the manager says so."""
        host, service, epoch = HostName(words[0]), ServiceName(words[1]), int(words[2])
        self._claimed.setdefault(host, {})[service] = epoch
        is_wait = words[3:] == ["wait"]
        self._agent(host).do(lambda grantor, now: grantor.claim(service, epoch, "wait" if is_wait else "take", now))
        return []

    def release(self, words: list[str]) -> list[str]:
        """`release HOST SERVICE`: its component has died, or is to be moved."""
        service = ServiceName(words[1])
        self._agent(words[0]).do(lambda grantor, now: grantor.release(service, now))
        return []

    def seal(self, words: list[str]) -> list[str]:
        """`seal HOST SERVICE EPOCH`: the holder is to go on under a higher epoch."""
        service, epoch = ServiceName(words[1]), int(words[2])
        self._agent(words[0]).do(lambda grantor, now: grantor.seal(service, epoch, now))
        return []

    def order(self, words: list[str]) -> list[str]:
        """`order SERVICE held by HOST under EPOCH then HOST=EPOCH…`: told to all agents."""
        service, holder, epoch = ServiceName(words[0]), HostName(words[3]), int(words[5])
        successors = []
        for word in words[7:]:
            host, _, reserved = word.partition("=")
            life = self._agent(host).incarnation
            successors.append(Successor(VnfcName(f"vnfc-{host}"), HostName(host), life, int(reserved)))
        self._revision += 1
        order = Succession(service, self._revision, holder, epoch, tuple(successors))
        for place in self.world.hosts.values():
            if place.agent is not None:
                place.agent.do(lambda grantor, now: grantor.order(order, now))
        return []

    def failed(self, words: list[str]) -> list[str]:
        """`failed HOST OTHER`: the first's suspicion has found the other failed."""
        other = HostName(words[1])
        self._agent(words[0]).do(lambda grantor, now: grantor.found_failed(other, now))
        return []

    def fence(self, words: list[str]) -> list[str]:
        """`fence HOST LIFE confirms|times-out told HOST`: what the fence device says, and which agent spreads it."""
        host, life = HostName(words[0]), int(words[1])
        agent = self._agent(words[4])
        if words[2] == "confirms" or "unconfirmed" in self.plant.habits:
            agent.do(lambda grantor, now: grantor.fenced(host, life, words[2], now))
        return []

    def voters(self, words: list[str]) -> list[str]:
        """`voters HOST,… [length MS] told HOST…`: the next voter set, if the first told knows that it may be made."""
        told_to = words[words.index("told") + 1 :]
        first = self._agent(told_to[0])
        profile = self.world.profile
        present = first.grantor.members.current
        if "unsealed" not in self.plant.habits and not first.grantor.may_change_voters(first.clock()):
            return [f"not made: voter set {present.version} is not sealed yet"]
        following = voter_set(tuple(HostName(host) for host in words[0].split(",")), profile, after=present)
        if "length" in words:
            length = round(float(words[words.index("length") + 1]) * MS)
            following = type(following)(
                following.version, following.members, length, present.length_max_ns, (), following.previous
            )
        for host in told_to:
            self._agent(host).do(lambda grantor, now: grantor.set_voter_set(following, now))
        return []

    # Faults.

    def kill(self, words: list[str]) -> list[str]:
        """`kill HOST`: its agent's process is killed; its kernel goes on."""
        self.world.kill(HostName(words[0]))
        return []

    def start(self, words: list[str]) -> list[str]:
        """`start HOST`: its agent begins a new life."""
        host = HostName(words[0])
        self.world.start(host)
        if "resumes" in self.plant.habits:
            for service, epoch in self._claimed.get(host, {}).items():
                self.claim([host, service, str(epoch)])
        return []

    def restart(self, words: list[str]) -> list[str]:
        """`restart HOST`."""
        return self.kill(words) + self.start(words)

    def off(self, words: list[str]) -> list[str]:
        """`off HOST`: it loses its power."""
        self.world.off(HostName(words[0]))
        if self._detecting is not None:
            self._detecting.off(HostName(words[0]))
        return []

    def on(self, words: list[str]) -> list[str]:
        """`on HOST`."""
        self.world.on(HostName(words[0]))
        return []

    def stop(self, words: list[str]) -> list[str]:
        """`stop HOST [before STEP]`: its agent's process stands still, from now or from that step on."""
        self._agent(words[0]).stop(" ".join(words[2:]) or None)
        if self._detecting is not None:
            self._detecting.stop(HostName(words[0]))
        return []

    def go(self, words: list[str]) -> list[str]:
        """`go HOST`: it goes on."""
        self._agent(words[0]).go()
        if self._detecting is not None:
            self._detecting.go(HostName(words[0]))
        return []

    def freeze(self, words: list[str]) -> list[str]:
        """`freeze HOST MS`: the whole machine stands still, its clock and its timers too (A4 does not hold)."""
        place, length = self.world.hosts[HostName(words[0])], round(float(words[1]) * MS)
        left = [max(0, end - self.world.true_ns) for end in place.kernel.ends]
        place.kernel.delete_keys(self.world.true_ns)
        agent = self._agent(words[0])
        agent.stop()
        self.world.run(length)
        place.clock.offset_ns -= length
        for key, remaining in enumerate(left):
            if remaining:
                place.kernel.arm(key, remaining, self.world.true_ns)
        agent.go()
        return []

    def wall(self, words: list[str]) -> list[str]:
        """`wall HOST MS`: its wall clock is set."""
        self.world.hosts[HostName(words[0])].wall_ns += round(float(words[1]) * MS)
        return []

    def side(self, words: list[str]) -> list[str]:
        """`side MS`: how long it takes another thread of an agent to get its turn (a right agent has none)."""
        self.side_ns = round(float(words[0]) * MS)
        return []

    # Messages.

    def cut(self, words: list[str]) -> list[str]:
        """`cut HOST [OTHER]`: no message between them, or between the one and all others."""
        if len(words) == 1:
            self.world.cut_off(HostName(words[0]))
        else:
            one, other = HostName(words[0]), HostName(words[1])
            self.world.cut |= {(one, other), (other, one)}
        return []

    def lose(self, words: list[str]) -> list[str]:
        """`lose HOST OTHER`: what the first sends to the other is lost."""
        self.world.cut.add((HostName(words[0]), HostName(words[1])))
        return []

    def join(self, words: list[str]) -> list[str]:
        """`join HOST OTHER`: they hear each other again."""
        one, other = HostName(words[0]), HostName(words[1])
        self.world.cut -= {(one, other), (other, one)}
        return []

    def heal(self, _words: list[str]) -> list[str]:
        """`heal`: everybody hears everybody."""
        self.world.heal()
        return []

    def hold(self, words: list[str]) -> list[str]:
        """`hold HOST OTHER`: messages from the one to the other wait."""
        self.world.held[HostName(words[0]), HostName(words[1])] = deque()
        return []

    def deliver(self, words: list[str]) -> list[str]:
        """`deliver HOST OTHER`: those that wait arrive now, and later ones do not wait any more."""
        for letter in self.world.held.pop((HostName(words[0]), HostName(words[1]))):
            self.world.deliver(letter)
        return []

    def again(self, words: list[str]) -> list[str]:
        """`again HOST OTHER KIND`: the latest message of that kind, sent or lost, arrives (once more)."""
        letters = self.world.sent[HostName(words[0]), HostName(words[1])]
        found = [letter for letter in letters if type(letter[2].message).__name__ == words[2]]
        assert found, f"no {words[2]} was sent from {words[0]} to {words[1]}"
        self.world.at(self.world.true_ns + DELAY_NS, lambda: self.world.deliver(found[-1]))
        return []

    # Looking.

    def state(self, _words: list[str]) -> list[str]:
        """`state`: who answers for what, and until when if nothing more is done."""
        lines = []
        true = self.world.true_ns
        for host in self.world.hosts.values():
            answered = [f"{name} epoch {epoch}" for name, epoch in host.kernel.owned.items()]
            if answered and true < host.kernel.until_ns():
                until = (host.kernel.until_ns() - self._zero_ns) / MS
                lines.append(f"        {host.name} answers for {', '.join(answered)} until {until:.1f}")
        return lines or ["        nobody answers for anything"]


COMMANDS: dict[str, Callable[[Story, list[str]], list[str]]] = {
    "world": Story.make,
    "run": Story.run,
    "claim": Story.claim,
    "release": Story.release,
    "seal": Story.seal,
    "order": Story.order,
    "failed": Story.failed,
    "fence": Story.fence,
    "voters": Story.voters,
    "kill": Story.kill,
    "start": Story.start,
    "restart": Story.restart,
    "off": Story.off,
    "on": Story.on,
    "stop": Story.stop,
    "go": Story.go,
    "freeze": Story.freeze,
    "wall": Story.wall,
    "side": Story.side,
    "cut": Story.cut,
    "lose": Story.lose,
    "join": Story.join,
    "heal": Story.heal,
    "hold": Story.hold,
    "deliver": Story.deliver,
    "again": Story.again,
    "state": Story.state,
}
