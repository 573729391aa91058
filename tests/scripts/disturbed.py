"""A stage on which one message goes otherwise: it is late, past so many others, or arrives twice.

What a party hears comes over links: from another manager, from the agent of a host, from the power switch. A link keeps
its order, so what comes over the same link after a late message is late too; what comes twice may come again after
newer ones, as after a link that was made anew. Time, a person's commands and a manager's own start come over no link,
and are never disturbed.
"""

from dataclasses import dataclass
from typing import Literal

from holdfast.model.actions import Action, AgentAction, PowerAction, Send
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    Event,
    HostFailed,
    HostReturned,
    Received,
    ServiceTaken,
    StandbyLost,
    StandbySynced,
    VmBooted,
    VmDied,
    VnfcFailed,
    VnfcReady,
)
from holdfast.model.layout import Layout
from holdfast.model.names import ActionId, Party
from tests.scripts.harness import EVENTS_MAX, Stage
from tests.scripts.world import News

RESTS_MAX = 6
"""As often things come to rest, and time goes on, before what is overdue arrives at last."""
AT_LAST = 1000
"""It arrives when the story is over."""


@dataclass(frozen=True)
class Disturbance:
    """Of the message with that number, counted from the start of the story."""

    number: int
    how: Literal["late", "overdue", "twice"]
    past: int = 0
    """late: it lets so many messages from other links pass. twice: so many pass before it comes again. overdue: so
    often things come to rest, and time goes on, before it comes."""

    def __str__(self) -> str:
        return f"message {self.number} {self.how}, past {self.past}"


@dataclass(frozen=True)
class Handed:
    """A message that was handed over."""

    to: Party
    link: str
    event: Event
    rest: int
    """How often things had come to rest before."""


class DisturbedStage(Stage):
    disturbance: Disturbance | None = None

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.handed: list[Handed] = []
        self._rests = 0
        self._doers: dict[ActionId, str] = {}
        self._kept: list[News] = []
        self._kept_for: Party | None = None
        self._kept_link: tuple[Party, str] | None = None
        self._to_pass = 0
        self._rests_left = 0
        self.was_disturbed = False

    def let_out(self, party: Party, action: Action) -> None:
        if isinstance(action, Send):
            self._doers[action.id] = action.to
        elif isinstance(action, PowerAction):
            self._doers[action.id] = "power"
        elif isinstance(action, AgentAction):
            self._doers[action.id] = f"agent:{self.world.host_of(action)}"
        super().let_out(party, action)

    def link_of(self, event: Event) -> str | None:
        """Where it comes from; None if that is no link."""
        match event:
            case Received():
                return event.sender
            case ActionDone() | ActionFailed():
                return self._doers.get(event.action)
            case VnfcReady() | VnfcFailed() | StandbyLost() | StandbySynced() | ServiceTaken():
                return f"agent:{self.layout.vnfcs[event.vnfc].host}"
            case VmBooted() | VmDied():
                return f"agent:{self.layout.vms[event.vm].host}"
            case AgentJoined() | AgentLost():
                return f"agent:{event.host}"
            case HostFailed() | HostReturned():
                return f"agent:{event.by}"
        return None

    def settle(self) -> None:
        for _ in range(EVENTS_MAX):
            if not self.queue:
                if not self._kept or self._rests_left:
                    self._rests += 1
                    self._rests_left -= self._rests_left > 0
                    return
                self._hand_over_kept()
            party, event = self.queue.popleft()
            if party in self.held:
                self.held[party].append((party, event))
            else:
                self._hand_over(party, event)
        raise AssertionError(f"the managers do not come to rest; last: {self.lines[-5:]}")

    def _hand_over(self, party: Party, event: Event) -> None:
        link = self.link_of(event)
        if link is None:
            self._step(party, event)
            return
        if self._kept_link == (party, link):
            self._kept.append((party, event))
            return
        number = len(self.handed)
        self.handed.append(Handed(party, link, event, self._rests))
        disturbance = self.disturbance
        if disturbance is None or disturbance.number != number or self.was_disturbed:
            self._step(party, event)
            self._passes(party)
            return
        self.was_disturbed = True
        if disturbance.how == "twice":
            self._step(party, event)
        self._kept, self._kept_for = [(party, event)], party
        if disturbance.how == "overdue":
            self._kept_link, self._rests_left = (party, link), disturbance.past
            return
        self._to_pass = disturbance.past
        if disturbance.how == "late":
            self._kept_link = (party, link)
        elif not disturbance.past:
            self._hand_over_kept()

    def _passes(self, party: Party) -> None:
        if self._kept and party == self._kept_for and not self._rests_left:
            self._to_pass -= 1
            if not self._to_pass:
                self._hand_over_kept()

    def let_through(self) -> None:
        """What is still kept is handed over."""
        self._rests_left = 0
        self.settle()

    def _hand_over_kept(self) -> None:
        """In their order, before anything else."""
        kept, self._kept, self._kept_link = self._kept, [], None
        self.queue.extendleft(reversed(kept))


def overdue(rest: int, last: int) -> list[int]:
    """How often things are to come to rest before what was on its way at this rest of a story arrives."""
    return [*range(1, min(RESTS_MAX, last - rest) + 1), AT_LAST]


def disturbances(handed: list[Handed]) -> list[Disturbance]:
    """Each message twice, at once and at last; and late, past each later one to the same party by another link.

    Past the last one means: until everything else has come to rest.
    """
    found = []
    for number, one in enumerate(handed):
        same = [other for other in handed[number + 1 :] if other.to == one.to and other.rest == one.rest]
        later = sum(other.link != one.link for other in same)
        found += [Disturbance(number, "late", past) for past in range(1, later + 1)]
        found += [Disturbance(number, "overdue", rests) for rests in overdue(one.rest, handed[-1].rest)]
        if isinstance(one.event, AgentLost):
            continue  # A link ends once, and each manager sees that by itself.
        found.append(Disturbance(number, "twice"))
        # Facts of a host are never told again as they were, but anew.
        if same and not isinstance(one.event, AgentJoined):
            found.append(Disturbance(number, "twice", len(same)))
    return found
