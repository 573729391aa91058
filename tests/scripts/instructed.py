"""A stage on which one instruction goes otherwise: it reaches its agent late, or overdue, or twice.

What a manager tells the agent of a host, or the power switch of one, goes over a link of its own that keeps its order:
what the same manager tells the same host after a late instruction is late with it. A host that is cut off or loses its
power gets nothing more of what was on its way; once its agent joins, each manager tells it again what is outstanding.
"""

from dataclasses import dataclass
from typing import Literal

from holdfast.model.actions import (
    Action,
    Activate,
    AgentAction,
    IsolateVnfc,
    PowerAction,
    Quiesce,
    StandBy,
    StartVnfc,
    StopVnfc,
)
from holdfast.model.events import AgentJoined, Event
from holdfast.model.layout import Layout
from holdfast.model.names import HostName, Party, VnfcName
from tests.scripts.disturbed import overdue
from tests.scripts.harness import Stage

Link = tuple[Party, HostName, Literal["agent", "power"]]


@dataclass(frozen=True)
class Detour:
    """Of the instruction with that number, counted from the start of the story."""

    number: int
    how: Literal["late", "overdue", "twice", "anew"]
    """late: it arrives before things come to rest. overdue: time passes before. twice: it comes again. anew: the agent
    carries it out, ends, starts again without knowing of it, and is told again what is outstanding."""
    past: int = 0
    """So many steps of managers pass before it arrives, or comes again."""
    rests: int = 0
    """So often things come to rest, and time goes on, before that."""

    def __str__(self) -> str:
        return f"instruction {self.number} {self.how}, past {self.past} steps and {self.rests} rests"


@dataclass(frozen=True)
class Given:
    """An instruction that was given."""

    by: Party
    action: Action
    step: int
    rest: int
    away: frozenset[HostName]
    """Hosts that nobody reached then."""


class InstructedStage(Stage):
    detour: Detour | None = None

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.given: list[Given] = []
        self.steps_at_rest: list[int] = []
        """How many steps were made until things came to rest for the first time, the second, …"""
        self.ended: list[str] = []
        """Those that served well when a manager ended them, or took their role away."""
        self.steps = 0
        self.was_disturbed = False
        self._kept: list[tuple[Party, AgentAction | PowerAction]] = []
        self._link: Link | None = None
        self._left = 0
        self._rests_left = 0

    # What managers tell.

    def let_out(self, party: Party, action: Action) -> None:
        if not isinstance(action, AgentAction | PowerAction):
            super().let_out(party, action)
            return
        link = self._link_of(party, action)
        self._lose_if_cut()
        if self._link == link:
            self._kept.append((party, action))
            return
        number = len(self.given)
        self.given.append(Given(party, action, self.steps, len(self.steps_at_rest), frozenset(self.world.away)))
        detour = self.detour
        if detour is None or detour.number != number or self.was_disturbed:
            self._arrives(party, action)
            return
        self.was_disturbed = True
        if detour.how == "anew":
            self._agent_starts_again(party, action)
            return
        self._kept, self._left, self._rests_left = [(party, action)], detour.past, detour.rests
        if detour.how in ("late", "overdue"):
            self._link = link
        else:
            self._arrives(party, action)
        if not (self._left or self._rests_left):
            self.let_through()

    def _agent_starts_again(self, party: Party, action: AgentAction | PowerAction) -> None:
        """It has carried the instruction out, and nobody hears of that: its link ends, and it remembers nothing."""
        host = self.world.host_of(action)
        assert host is not None
        self.world.perform(party, action)
        self.world.outcomes.pop(action.id, None)
        self.queue.extend([*self.world.lose_agent(host), *self.world.join(host)])

    def _link_of(self, party: Party, action: AgentAction | PowerAction) -> Link:
        host = self.world.host_of(action)
        if host is not None:
            return party, host, "agent"
        assert isinstance(action, PowerAction)
        return party, action.host, "power"

    def _arrives(self, party: Party, action: AgentAction | PowerAction) -> None:
        serving = self._served_by(action)
        super().let_out(party, action)
        self.ended += [f"{name}, by {action}" for name in serving if not self.world.vnfcs[name].services]

    def _served_by(self, action: AgentAction | PowerAction) -> list[VnfcName]:
        """Whom it could take a service from that it provides well."""
        if not isinstance(action, StartVnfc | StopVnfc | IsolateVnfc | StandBy | Quiesce | Activate):
            return []
        vnfc = self.world.vnfcs[action.vnfc]
        return [action.vnfc] if vnfc.services and vnfc.condition == "ready" else []

    # What is on its way.

    def let_through(self) -> None:
        """What was kept arrives, in its order."""
        self._lose_if_cut()
        kept, self._kept, self._link = self._kept, [], None
        self._left = self._rests_left = 0
        for party, action in kept:
            self._arrives(party, action)

    def _lose_if_cut(self) -> None:
        if self._kept and self.world.host_of(self._kept[0][1]) in self.world.away:
            self._kept, self._link = [], None

    def _step(self, party: Party, event: Event) -> None:
        self._lose_if_cut()
        super()._step(party, event)
        if isinstance(event, AgentJoined) and self.was_disturbed:
            for action in self.cores[party].outstanding():
                if isinstance(action, AgentAction) and self.world.host_of(action) == event.host:
                    self.let_out(party, action)
        self.steps += 1
        if self._kept and self._left and not self._rests_left:
            self._left -= 1
            if not self._left:
                self.let_through()

    def settle(self) -> None:
        super().settle()
        if self._kept and not self._rests_left:
            self.let_through()
            super().settle()
        self._rests_left -= self._rests_left > 0
        self.steps_at_rest.append(self.steps)


def detours(stage: InstructedStage) -> list[Detour]:
    """Each instruction late, by as many steps as were made until things came to rest; overdue, by the next times at
    which they did, and for ever; and twice, at once, at last, and by the same times."""
    found = []
    for number, one in enumerate(stage.given):
        until_rest = stage.steps_at_rest[one.rest] - one.step
        times = overdue(one.rest, len(stage.steps_at_rest))
        found += [Detour(number, "late", past) for past in range(1, until_rest + 1)]
        found += [Detour(number, "overdue", rests=rests) for rests in times]
        found += [Detour(number, "twice"), Detour(number, "twice", until_rest)]
        found += [Detour(number, "twice", rests=rests) for rests in times]
        if isinstance(one.action, AgentAction) and stage.world.host_of(one.action) not in one.away:
            found.append(Detour(number, "anew"))
    return found
