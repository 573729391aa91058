"""The harness of the golden stories: the three managers' cores together, on simulated hosts, in simulated time.

In: commands, a line each. Out: what was decided meanwhile, a line each. Messages and news are handed over in
the order in which they arise; a party that is held gets its own later. Commands are in COMMANDS, each
with a function whose docstring says what it does.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.core import ha_manager, vim, vnfm
from holdfast.core.terms import under_term
from holdfast.model.actions import Action, AgentAction, Decision, PowerAction, Send
from holdfast.model.events import (
    ActionDone,
    DeadlinePassed,
    Event,
    HostLocked,
    HostReturned,
    HostUnlocked,
    LossAccepted,
    ManagerStarted,
    Observed,
    Received,
    StandbyLost,
    SwitchoverAsked,
)
from holdfast.model.layout import Layout, vnfms_of
from holdfast.model.names import HA, VIM, HostName, Party, ServiceName, VmName, VnfcName, VnfName
from tests.scripts.layouts import LAYOUTS
from tests.scripts.layouts_repair import REPAIR_LAYOUTS
from tests.scripts.words import ha_lines, told
from tests.scripts.world import News, World

EVENTS_MAX = 5000
"""More events in one command mean that the managers do not come to rest."""


class HaCore:
    """The HA manager's core with its present state."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.state = ha_manager.initial(layout)

    def step(self, observed: Observed, now: float) -> tuple[Decision, ...]:
        self.state, decisions = ha_manager.step(self.layout, self.state, observed, now)
        return decisions

    def deadline(self) -> float | None:
        return ha_manager.deadline(self.state)

    def outstanding(self) -> tuple[Action, ...]:
        return ha_manager.outstanding(self.state)

    def restore(self, state: Any, term: int) -> None:
        assert isinstance(state, ha_manager.State)
        self.state = under_term(self.layout, state, term)

    def save_and_load(self) -> None:
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=ha_manager.State)


class VnfmCore:
    def __init__(self, layout: Layout, party: Party) -> None:
        self.layout = layout
        self.state = vnfm.initial(layout, party)

    def step(self, observed: Observed, now: float) -> tuple[Decision, ...]:
        self.state, decisions = vnfm.step(self.layout, self.state, observed, now)
        return decisions

    def deadline(self) -> float | None:
        return vnfm.deadline(self.state)

    def outstanding(self) -> tuple[Action, ...]:
        return vnfm.outstanding(self.state)

    def restore(self, state: Any, term: int) -> None:
        assert isinstance(state, vnfm.State)
        self.state = under_term(self.layout, state, term)

    def save_and_load(self) -> None:
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=vnfm.State)


class VimCore:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.state = vim.initial(layout)

    def step(self, observed: Observed, now: float) -> tuple[Decision, ...]:
        self.state, decisions = vim.step(self.layout, self.state, observed, now)
        return decisions

    def deadline(self) -> float | None:
        return vim.deadline(self.state)

    def outstanding(self) -> tuple[Action, ...]:
        return vim.outstanding(self.state)

    def restore(self, state: Any, term: int) -> None:
        assert isinstance(state, vim.State)
        self.state = under_term(self.layout, state, term)

    def save_and_load(self) -> None:
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=vim.State)


Core = HaCore | VnfmCore | VimCore


class Stage:
    """A deployment with its managers, in simulated time."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.world = World(layout)
        self.now = 0.0
        self.cores: dict[Party, Core] = {HA: HaCore(layout)}
        for party in vnfms_of(layout):
            self.cores[party] = VnfmCore(layout, party)
        self.cores[VIM] = VimCore(layout)
        self.numbers = dict.fromkeys(self.cores, 0)
        self.queue: deque[News] = deque()
        self.held: dict[Party, list[News]] = {}
        self.lines: list[str] = []
        self.decisions: list[tuple[Party, Decision]] = []
        self.before_step: Callable[[Party], None] = lambda party: None
        """Called before each step; the property tests cut managers off here."""

    def settle(self) -> None:
        """Hand over what is on its way until nothing is."""
        for _ in range(EVENTS_MAX):
            if not self.queue:
                return
            party, event = self.queue.popleft()
            if party in self.held:
                self.held[party].append((party, event))
            else:
                self._step(party, event)
        raise AssertionError(f"the managers do not come to rest; last: {self.lines[-5:]}")

    def _step(self, party: Party, event: Event) -> None:
        self.before_step(party)
        self.numbers[party] += 1
        decisions = self.cores[party].step(Observed(self.numbers[party], event), self.now)
        if isinstance(event, Received):
            self.queue.append((event.sender, ActionDone(event.id)))
        for decision in decisions:
            self.decisions.append((party, decision))
            self.lines.append(told(party, decision))
        for decision in decisions:
            self.let_out(party, decision.action)

    def let_out(self, party: Party, action: Action) -> None:
        if isinstance(action, Send):
            self.queue.append((action.to, Received(action.id, party, action.message)))
        elif isinstance(action, AgentAction | PowerAction):
            self.queue.extend(self.world.perform(party, action))

    def start(self) -> None:
        self.queue.extend((party, ManagerStarted()) for party in self.cores)
        for host in self.layout.hosts:
            self.queue.extend(self.world.join(host))
        self.settle()

    def restart(self, party: Party, is_behind: bool = False) -> None:
        """The manager's process ends and starts again: it has its saved state, and hears how things are now."""
        core = self.cores[party]
        core.save_and_load()
        if party in self.held:
            # News of agents that nobody took are gone; messages are repeated until they are taken.
            self.held[party] = [(to, event) for to, event in self.held[party] if isinstance(event, Received)]
        self.queue.append((party, ManagerStarted(is_behind=is_behind)))
        for host in self.layout.hosts:
            if host not in self.world.away:
                self.queue.append((party, self.world.facts(host)))
        for action in core.outstanding():
            self.let_out(party, action)

    def restore(self, snapshot: dict[Party, Any], term: int) -> None:
        """The managers start with the state of then, and agents know better."""
        for party, core in self.cores.items():
            core.restore(snapshot[party], term)
            self.restart(party)

    def tick(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(EVENTS_MAX):
            dues = {party: core.deadline() for party, core in self.cores.items() if party not in self.held}
            first = min(((due, party) for party, due in dues.items() if due is not None and due <= end), default=None)
            if first is None:
                self.now = end
                return
            self.now = max(self.now, first[0])
            self.queue.append((first[1], DeadlinePassed()))
            self.settle()
        raise AssertionError("deadlines follow one another without end")


class Story:
    """Plays the commands of one script."""

    stage_type = Stage

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._snapshot: dict[Party, Any] = {}
        self._forgotten: Counter[str] = Counter()
        self.commands = 0

    @property
    def stage(self) -> Stage:
        assert self._stage is not None, "a story begins with `layout NAME`"
        return self._stage

    def play(self, commands: str) -> str:
        """Run the commands of one block; what was decided meanwhile."""
        before = len(self._stage.lines) if self._stage else 0
        said: list[str] = []
        for line in commands.splitlines():
            words = line.split()
            handler = COMMANDS.get(words[0])
            assert handler is not None, f"no such command: {line!r}; known are {', '.join(COMMANDS)}"
            said += handler(self, words[1:])
            if self._stage is not None:
                self.stage.settle()
        lines = [*self.stage.lines[before:], *said]
        assert not self.stage.world.two_owners, self.stage.world.two_owners
        return "\n".join(lines) or "(nothing)"

    def layout(self, words: list[str]) -> list[str]:
        """`layout NAME`: choose the deployment."""
        self._stage = self.stage_type((LAYOUTS | REPAIR_LAYOUTS)[words[0]]())
        return []

    def start(self, words: list[str]) -> list[str]:
        """`start [quietly]`: agents and managers start; quietly shows the outcome instead of the decisions."""
        self.stage.start()
        if words == ["quietly"]:
            self.stage.lines.clear()
            return self.state([])
        return []

    def fail(self, words: list[str]) -> list[str]:
        """`fail VNFC [check | isolated]`: its process is killed, or hangs; or its agent has isolated it at once."""
        if words[1:] == ["check"]:
            news = self.stage.world.fail(VnfcName(words[0]), "check", "3 answers missed")
        else:
            news = self.stage.world.fail(VnfcName(words[0]), "killed", "signal 9")
        if words[1:] == ["isolated"]:
            news += self.stage.world.isolated_unasked(VnfcName(words[0]))
        self.stage.queue.extend(news)
        return []

    def kill_vm(self, words: list[str]) -> list[str]:
        """`kill-vm VM [unseen-by-vim | unseen-by-agent]`."""
        name, flags = VmName(words[0]), words[1:]
        to_vim, to_vnf = "unseen-by-vim" not in flags, "unseen-by-agent" not in flags
        self.stage.queue.extend(self.stage.world.end_vm(name, "a fault", to_vim=to_vim, to_vnf=to_vnf))
        return []

    def kill_host(self, words: list[str]) -> list[str]:
        """`kill-host HOST`: it loses its power; its agent falls silent."""
        self.stage.queue.extend(self.stage.world.power_off(HostName(words[0])))
        return []

    def manner(self, words: list[str]) -> list[str]:
        """`from-now KIND of ENTITY fails|hangs|lies|works|by-second-level [TIMES]`."""
        kind, _, entity, manner, *times = words
        world = self.stage.world
        world.manners.pop((kind, entity), None)
        world.times.pop((kind, entity), None)
        if manner != "works":
            world.manners[kind, entity] = manner
        if times:
            world.times[kind, entity] = int(times[0])
        return []

    def finish(self, words: list[str]) -> list[str]:
        """`finish ENTITY [badly]`: what hangs about it comes to its end, well or badly."""
        world = self.stage.world
        manner = "fails" if words[1:] == ["badly"] else None
        for number, action in list(world.hanging.items()):
            if any(getattr(action, key, None) == words[0] for key in ("vnfc", "vm", "host")):
                del world.hanging[number]
                party = Party(number.rpartition("/")[0])
                self.stage.queue.extend(world.carry_out(party, action, manner))
        return []

    def tick(self, words: list[str]) -> list[str]:
        """`tick SECONDS`: time passes, deadlines with it."""
        self.stage.tick(float(words[0].rstrip("s")))
        return []

    def hold(self, words: list[str]) -> list[str]:
        """`hold PARTY`: the manager's process is stopped; what it would hear waits."""
        self.stage.held[Party(words[0])] = []
        return []

    def release(self, words: list[str]) -> list[str]:
        """`release PARTY`."""
        self.stage.queue.extend(self.stage.held.pop(Party(words[0])))
        return []

    def restart(self, words: list[str]) -> list[str]:
        """`restart PARTY`: the manager's process is killed and started again."""
        self.stage.restart(Party(words[0]))
        return []

    def forget(self, words: list[str]) -> list[str]:
        """`forget PARTY`: likewise, and its store was damaged: it begins without memory, as often as that happens."""
        self._forgotten[words[0]] += 1
        core = self.stage.cores[Party(words[0])]
        core.restore(Stage(self.stage.layout).cores[Party(words[0])].state, self._forgotten[words[0]])
        self.stage.restart(Party(words[0]), is_behind=True)
        return []

    def take_snapshot(self, words: list[str]) -> list[str]:
        """`snapshot`: of the store that the managers share."""
        self._snapshot = {party: core.state for party, core in self.stage.cores.items()}
        return []

    def restore(self, words: list[str]) -> list[str]:
        """`restore TERM`: the store is as it was at the snapshot; the managers lead anew, under this term."""
        self.stage.restore(self._snapshot, int(words[0]))
        return []

    def agent(self, words: list[str]) -> list[str]:
        """`agent HOST lost|joins`."""
        host = HostName(words[0])
        if words[1] == "lost":
            self.stage.queue.extend(self.stage.world.lose_agent(host))
            return []
        self.stage.queue.extend(self.stage.world.join(host))
        for party, core in self.stage.cores.items():
            for action in core.outstanding():
                if isinstance(action, AgentAction) and self.stage.world.host_of(action) == host:
                    self.stage.let_out(party, action)
        return []

    def host_silent(self, words: list[str]) -> list[str]:
        """`host-silent HOST`: it is off, and the agents of others say so."""
        host = HostName(words[0])
        self.stage.queue.extend(self.stage.world.silence(host, self._another_than(host)))
        return []

    def host_cut(self, words: list[str]) -> list[str]:
        """`host-cut HOST`: it runs on, but no other host and no manager hears it; `agent HOST joins` ends that."""
        host = HostName(words[0])
        self.stage.queue.extend(self.stage.world.cut(host, self._another_than(host)))
        return []

    def host_silent_once(self, words: list[str]) -> list[str]:
        """`host-was-silent HOST LIFE`: that this life of it is over is told now, however long ago it was."""
        host = HostName(words[0])
        self.stage.queue.extend(self.stage.world.found_silent(host, self._another_than(host), int(words[1])))
        return []

    def host_returns(self, words: list[str]) -> list[str]:
        """`host-returns HOST`: the agents of others hear it again."""
        host = HostName(words[0])
        returned = HostReturned(host, self._another_than(host))
        self.stage.queue.extend((party, returned) for party in self.stage.cores)
        return []

    def _another_than(self, host: HostName) -> HostName:
        return next(name for name in self.stage.layout.hosts if name != host)

    def write(self, words: list[str]) -> list[str]:
        """`write GROUP UPDATES`: the active acknowledges updates."""
        self.stage.world.write(words[0], int(words[1]))
        return []

    def standby_lost(self, words: list[str]) -> list[str]:
        """`standby-lost ACTIVE STANDBY`: the active asks to go on without this standby."""
        active, standby = VnfcName(words[0]), VnfcName(words[1])
        vnfc = self.stage.world.vnfcs[active]
        self.stage.world.vnfcs[standby].synced = False
        self.stage.queue.append((HA, StandbyLost(active, vnfc.run, vnfc.epoch, standby)))
        return []

    def synchronise(self, words: list[str]) -> list[str]:
        """`synchronise ACTIVE STANDBY`: the standby has caught up."""
        self.stage.queue.extend(self.stage.world.synchronise(VnfcName(words[0]), VnfcName(words[1])))
        return []

    def switchover(self, words: list[str]) -> list[str]:
        """`switchover VNF [to VNFC] [of SERVICE]`."""
        options = dict(zip(words[1::2], words[2::2], strict=True))
        to = VnfcName(options["to"]) if "to" in options else None
        service = ServiceName(options["of"]) if "of" in options else None
        self.stage.queue.append((HA, SwitchoverAsked(VnfName(words[0]), service, to)))
        return []

    def accept_loss(self, words: list[str]) -> list[str]:
        """`accept-loss VNF`."""
        self.stage.queue.append((HA, LossAccepted(VnfName(words[0]))))
        return []

    def lock(self, words: list[str]) -> list[str]:
        """`lock HOST`: a person says that it is off."""
        self.stage.queue.append((VIM, HostLocked(HostName(words[0]))))
        return []

    def unlock(self, words: list[str]) -> list[str]:
        """`unlock HOST`: a person wants it back."""
        self.stage.queue.append((VIM, HostUnlocked(HostName(words[0]))))
        return []

    def state(self, words: list[str]) -> list[str]:
        """`state`: what the HA manager believes, VMs as they are, and who answers for each service."""
        self.stage.settle()
        core = self.stage.cores[HA]
        lines = ha_lines(core.state) if isinstance(core, HaCore) else []
        by = self.stage.cores[VIM].state
        if isinstance(by, vim.State) and by.voters is not None:
            lines.append(f"voters {by.voters.version}: {' '.join(by.voters.current.members)}")
        for vm, life in self.stage.world.vms.items():
            lines.append(f"VM {vm}: {'up' if life.is_up else 'absent'}, boot {life.boot}")
        for service in self.stage.layout.services:
            owners = self.stage.world.owners(service)
            lines.append(f"answering for {service}: {' '.join(owners) or 'nobody'}")
        return lines


COMMANDS: dict[str, Callable[[Story, list[str]], list[str]]] = {
    "layout": Story.layout,
    "start": Story.start,
    "fail": Story.fail,
    "kill-vm": Story.kill_vm,
    "kill-host": Story.kill_host,
    "host-silent": Story.host_silent,
    "host-cut": Story.host_cut,
    "host-was-silent": Story.host_silent_once,
    "host-returns": Story.host_returns,
    "from-now": Story.manner,
    "finish": Story.finish,
    "tick": Story.tick,
    "hold": Story.hold,
    "release": Story.release,
    "restart": Story.restart,
    "forget": Story.forget,
    "snapshot": Story.take_snapshot,
    "restore": Story.restore,
    "agent": Story.agent,
    "write": Story.write,
    "standby-lost": Story.standby_lost,
    "synchronise": Story.synchronise,
    "switchover": Story.switchover,
    "accept-loss": Story.accept_loss,
    "lock": Story.lock,
    "unlock": Story.unlock,
    "state": Story.state,
}
