"""A stage on which managers are killed at one point of a story, and start again from what their store has.

A process that takes an event steps, saves, and only then lets its actions out, one after the other. So it can be killed
before it has saved, before the first action is out, after each, and after the last, before any answer has come. Those
are all cuts that there are, and they are counted from the story itself.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from holdfast.core import ha_manager, vim, vnfm
from holdfast.core.escalation import Counter as Failures
from holdfast.model.actions import (
    Action,
    Activate,
    AgentAction,
    Note,
    PowerAction,
    Quiesce,
    Refuse,
    Send,
    StartHost,
    StartVm,
    StartVnfc,
    StopVnfc,
)
from holdfast.model.events import (
    ActionDone,
    AgentJoined,
    Event,
    HostFailed,
    ManagerStarted,
    Observed,
    Received,
    ServiceTaken,
    StandbyLost,
    StandbySynced,
)
from holdfast.model.layout import Layout
from holdfast.model.names import ActionId, Party
from tests.scripts.harness import EVENTS_MAX, Core, Stage
from tests.scripts.words import deed, told
from tests.scripts.world import News

BEFORE_SAVING = -1
ONCE = StartVnfc | StopVnfc | Activate | Quiesce | StartVm | StartHost
"""What must not be done once more because a manager was killed. To end what has ended, and to switch off what is off,
may be asked for again: a manager that starts does so where it cannot know whether it was heard."""


@dataclass(frozen=True)
class Cut:
    """The process ends in the step with that number, counted from the start of the story."""

    step: int
    after: int
    """So many of the step's actions have left the process; BEFORE_SAVING: the step is not in the store."""
    process: Literal["one", "own"]
    """one: the process holds all managers. own: it holds that one only."""
    back: Literal["at once", "at rest"]
    """When it starts again. at rest: when the others have come to rest without it."""

    def __str__(self) -> str:
        where = "before it is saved" if self.after == BEFORE_SAVING else f"after {self.after} of its actions"
        return f"step {self.step} cut {where}, {self.process} process, back {self.back}"


WAYS: tuple[tuple[Literal["one", "own"], Literal["at once", "at rest"]], ...] = (
    ("one", "at once"),
    ("own", "at rest"),
    ("one", "at rest"),
    ("own", "at once"),
)


@dataclass(frozen=True)
class Made:
    """A step that was made."""

    party: Party
    event: Event
    leaving: tuple[Action, ...]
    """What leaves the process."""


class Stored:
    """A manager's state as a store has it: by parts, and of a save only those that are not what they were."""

    def __init__(self, state: Any) -> None:
        self._kept: dict[str, object] = {}
        self._parts: dict[str, bytes] = {}
        self.save(state)

    def save(self, state: Any) -> None:
        for name in state.__struct_fields__:
            value = getattr(state, name)
            if name not in self._kept or self._kept[name] is not value:
                self._kept[name], self._parts[name] = value, msgspec.msgpack.encode(value)

    def load_into(self, core: Core) -> None:
        whole = msgspec.msgpack.encode({name: msgspec.Raw(part) for name, part in self._parts.items()})
        core.state = msgspec.msgpack.decode(whole, type=type(core.state))


class SeveredStage(Stage):
    cut: Cut | None = None

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.made: list[Made] = []
        self.begun = 0
        """How many steps it took to start."""
        self.was_cut = False
        self.ordered: dict[ActionId, str] = {}
        """What must be done once, by its id."""
        self.noted: Counter[str] = Counter()
        self._heard: dict[Party, set[ActionId]] = {party: set() for party in self.cores}
        self._stores = {party: Stored(core.state) for party, core in self.cores.items()}
        self._away: list[Party] = []
        self._kept: list[News] = []
        """What agents tell again to those that are away, since it is to be seen nowhere else."""

    def start(self) -> None:
        super().start()
        self.begun = len(self.made)

    def settle(self) -> None:
        for _ in range(EVENTS_MAX):
            super().settle()
            if not self._away:
                return
            self._start_again()
        raise AssertionError("managers are away for ever")

    def _step(self, party: Party, event: Event) -> None:
        if party in self._away:
            self._miss(party, event)
            return
        if isinstance(event, Received) and event.id in self._heard[party]:
            self.queue.append((event.sender, ActionDone(event.id)))
            return
        self.before_step(party)
        self.numbers[party] += 1
        core = self.cores[party]
        decisions = core.step(Observed(self.numbers[party], event), self.now)
        leaving: list[Action] = [one.action for one in decisions if not isinstance(one.action, Note)]
        joined = event if self.was_cut and isinstance(event, AgentJoined) else None
        if joined is not None:
            others = [one for one in leaving if not self._is_for(one, joined)]
            leaving = [*(one for one in core.outstanding() if self._is_for(one, joined)), *others]
        number = len(self.made)
        self.made.append(Made(party, event, tuple(leaving)))
        cut = self.cut if self.cut is not None and self.cut.step == number and not self.was_cut else None
        if cut is not None and cut.after == BEFORE_SAVING:
            self._kill(party, cut, event)
            return
        self._stores[party].save(core.state)
        if isinstance(event, Received):
            self._heard[party].add(event.id)
            self.queue.append((event.sender, ActionDone(event.id)))
        for decision in decisions:
            self.decisions.append((party, decision))
            self.lines.append(told(party, decision))
            if isinstance(decision.action, Note) and not isinstance(decision.action, Refuse):
                self.noted[f"{party}: {deed(decision.action)}"] += 1
            elif isinstance(decision.action, ONCE):
                self.ordered[decision.action.id] = f"{party}: {deed(decision.action)}"
        for action in leaving[: None if cut is None else cut.after]:
            self.let_out(party, action)
        if cut is not None:
            self._kill(party, cut, None)
        elif self.was_cut and isinstance(event, ManagerStarted):
            for waiting in core.outstanding():
                if isinstance(waiting, Send | PowerAction):
                    self.let_out(party, waiting)

    def _is_for(self, action: Action, joined: AgentJoined) -> bool:
        return isinstance(action, AgentAction) and self.world.host_of(action) == joined.host

    # A process ends, and starts again.

    def _kill(self, party: Party, cut: Cut, unsaved: Event | None) -> None:
        self.was_cut = True
        self._away = [one for one in self.cores if one not in self.held] if cut.process == "one" else [party]
        for one in self._away:
            self._stores[one].load_into(self.cores[one])
        if unsaved is not None:
            self._miss(party, unsaved)
        for to, event in tuple(self.queue):
            if to in self._away:
                self._miss(to, event)
        self.queue = type(self.queue)(one for one in self.queue if one[0] not in self._away)
        if cut.back == "at once":
            self._start_again()

    def _miss(self, party: Party, event: Event) -> None:
        """Nobody is there to hear it. Messages are said again by their senders, outcomes by agents when they are asked
        again, and what else agents have seen is among their facts."""
        if isinstance(event, StandbyLost | StandbySynced | ServiceTaken | HostFailed):
            self._kept.append((party, event))

    def _start_again(self) -> None:
        back, self._away = self._away, []
        self.queue.extend((party, ManagerStarted()) for party in back)
        for host in self.layout.hosts:
            if host not in self.world.away:
                self.queue.extend((party, self.world.facts(host)) for party in back)
        kept, self._kept = self._kept, []
        self.queue.extend(kept)
        for party in back:
            self.queue.extend(self._said_again(to=party, except_by=back))

    def _said_again(self, to: Party, except_by: list[Party]) -> Iterator[News]:
        """Whoever has said something to a manager that was away says it when the link opens."""
        for party, core in self.cores.items():
            if party not in except_by:
                for action in core.outstanding():
                    if isinstance(action, Send) and action.to == to:
                        yield to, Received(action.id, party, action.message)


def cuts(made: list[Made]) -> list[Cut]:
    """Every cut of a story whose steps were these, each in all four ways."""
    return [
        Cut(number, after, process, back)
        for number, one in enumerate(made)
        for after in range(BEFORE_SAVING, len(one.leaving) + 1)
        for process, back in WAYS
    ]


def failures_counted(stage: Stage) -> dict[str, int]:
    """What the managers have counted against each VM, host and VNFC, where that is not nothing."""
    found: dict[str, int] = {}
    for party, core in stage.cores.items():
        for about, counter in _counters(core.state):
            if counter.failures:
                found[f"{party}: {about}"] = counter.failures
    return found


def _counters(state: Any) -> Iterator[tuple[str, Failures]]:
    if isinstance(state, ha_manager.State):
        yield from ((name, vm.failures) for name, vm in state.vms.items())
        yield from ((name, now.failures) for group in state.groups.values() for name, now in group.vnfcs.items())
    elif isinstance(state, vnfm.State):
        yield from ((name, vm.failures) for name, vm in state.vms.items())
        yield from ((name, life.failures) for name, life in state.vnfcs.items())
    else:
        assert isinstance(state, vim.State)
        yield from ((name, life.failures) for name, life in state.vms.items())
        yield from ((name, host.errors) for name, host in state.hosts.items())
        yield from ((f"repairs of {name}", host.repairs) for name, host in state.hosts.items())
