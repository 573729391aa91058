"""What a manager's core has given out and not heard back about: numbers, outstanding actions, messages taken.

In: a `Ledger` out of the state. Out: the next one, and the decisions made meanwhile, in order. Always holds:
an action or incident number is given once in the life of a deployment; an action stays in the ledger
until its end is heard of, or until something wider made it meaningless; a message counts once.
VNFM and VIM share this; it knows nothing of either.
"""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from holdfast.core.book import Book
from holdfast.model.actions import (
    Action,
    AgentAction,
    CloseIncident,
    Decision,
    FenceHost,
    IsolateVm,
    Note,
    OpenIncident,
    PowerAction,
    RememberEpochs,
    Send,
    SetVoters,
    StandingOrder,
    StartHost,
    StartVm,
)
from holdfast.model.events import Received
from holdfast.model.limits import MESSAGES_REMEMBERED
from holdfast.model.messages import Message
from holdfast.model.names import ActionId, IncidentId, Party, ServiceName
from holdfast.model.reasons import Reason

Awaited = AgentAction | PowerAction | Send
Reasons = tuple[Reason, ...]

UNANSWERED_S = 0.5
"""An action that is not answered this long after its own limit hangs: its agent no longer does its work."""


class Pending(Struct, frozen=True):
    """An outstanding action, and until when its answer is waited for."""

    action: Awaited
    limit_s: float | None = None
    due: float | None = None
    incident: IncidentId | None = None


class Ledger(Struct, frozen=True):
    party: Party
    actions: int = 0
    incidents: int = 0
    pending: dict[ActionId, Pending] = {}
    taken: dict[Party, tuple[ActionId, ...]] = {}
    """Messages received of late, by sender: a repetition is recognised by its id."""
    first_due: tuple[float | None, int] | None = None
    """When the first of the outstanding begin to hang (None: never), and how many do then; None: not counted."""


class Desk:
    """The ledger while a step is being made."""

    def __init__(self, ledger: Ledger, now: float) -> None:
        self.now = now
        self.party = ledger.party
        self.decisions: list[Decision] = []
        self._actions = ledger.actions
        self._incidents = ledger.incidents
        self._before = ledger
        self._pending = ledger.pending
        self._taken = ledger.taken
        self._subjects = _taken_index(ledger.pending)

    def ledger(self) -> Ledger:
        before = self._before
        _keep_index(self._pending, self._subjects)
        same = self._pending is before.pending and self._taken is before.taken
        if same and (self._actions, self._incidents) == (before.actions, before.incidents):
            return before
        return Ledger(self.party, self._actions, self._incidents, self._pending, self._taken, self._first_due())

    def _first_due(self) -> tuple[float | None, int]:
        """Counted on from before: to look at all that is outstanding after each event would be too much in a storm."""
        if self._before.first_due is None or not isinstance(self._pending, Book):
            return self._before.first_due or _counted(self._pending)
        due, count = self._before.first_due
        for number in self._pending.changed if self._pending is not self._before.pending else ():
            was, now = self._before.pending.get(number), self._pending.get(number)
            if was is not None and due is not None and was.due == due:
                count -= 1
            if now is not None and now.due is not None and (due is None or now.due <= due):
                due, count = now.due, count + 1 if now.due == due else 1
        return (due, count) if count or due is None else _counted(self._pending)

    def _changing(self) -> dict[ActionId, Pending]:
        """In a storm much is outstanding: copied only by a step that changes some of it."""
        if self._pending is self._before.pending:
            self._pending = Book(self._pending)
        return self._pending

    def number(self) -> ActionId:
        self._actions += 1
        return ActionId(f"{self.party}/{self._actions}")

    def order(
        self, action: Awaited, reasons: Reasons, incident: IncidentId | None = None, limit_s: float | None = None
    ) -> None:
        """Decide an action that will be answered; without an answer within `limit_s` it hangs."""
        due = None if limit_s is None else self.now + limit_s
        self._changing()[action.id] = Pending(action, limit_s, due, incident)
        _add(self._subjects, action)
        self._decide(action, reasons, incident)

    def send(self, to: Party, message: Message, reasons: Reasons, incident: IncidentId | None = None) -> None:
        self.order(Send(self.number(), to, message), reasons, incident)

    def note(self, action: Note, reasons: Reasons, incident: IncidentId | None = None) -> None:
        self._decide(action, reasons, incident)

    def open_incident(self, about: str, service: ServiceName | None, cause: str, reasons: Reasons) -> IncidentId:
        self._incidents += 1
        incident = IncidentId(f"{self.party}#{self._incidents}")
        self.note(OpenIncident(incident, about, service, cause), reasons, incident)
        return incident

    def close_incident(self, incident: IncidentId, reasons: Reasons, repaired: bool = True) -> None:
        self.note(CloseIncident(incident, "repaired" if repaired else "not-repaired"), reasons, incident)

    def _decide(self, action: Action, reasons: Reasons, incident: IncidentId | None) -> None:
        self.decisions.append(Decision(action, reasons, incident))

    def settle(self, action: ActionId) -> Pending | None:
        """Take the action off the ledger; None if it is not (or no longer) waited for."""
        if action not in self._pending:
            return None
        settled = self._changing().pop(action)
        _remove(self._subjects, settled.action)
        return settled

    def drop(self, about: str, meaningless: Callable[[Awaited], bool]) -> None:
        """Stop waiting for actions about this entity that something wider has overtaken."""
        for action in self.awaited(about):
            if meaningless(action):
                self.settle(action.id)

    def awaited(self, about: str) -> tuple[Awaited, ...]:
        """What is outstanding about this VNFC, VM, host or service, in the order in which it was decided."""
        numbers = self._subjects.get(about, ())
        return tuple(self._pending[number].action for number in numbers)

    def awaited_messages(self) -> tuple[Send, ...]:
        return tuple(one.action for one in self._pending.values() if isinstance(one.action, Send))

    def hanging(self) -> tuple[Pending, ...]:
        return tuple(one for one in self._pending.values() if one.due is not None and one.due <= self.now)

    def give_time(self, concerned: Callable[[Awaited], bool]) -> None:
        """Begin the limits of these actions anew: they are sent again now, or could not be answered so far."""
        for number in [number for number, one in self._pending.items() if concerned(one.action)]:
            self.begin_anew(number)

    def begin_anew(self, action: ActionId) -> None:
        one = self._pending[action]
        if one.limit_s is not None:
            self._changing()[action] = msgspec.structs.replace(one, due=self.now + one.limit_s)

    def wait_on(self, action: ActionId) -> None:
        """It hangs, and its answer is still welcome whenever it comes."""
        self._changing()[action] = msgspec.structs.replace(self._pending[action], due=None)

    def is_news(self, received: Received) -> bool:
        """False for a message taken before; remembers this one."""
        before = self._taken.get(received.sender, ())
        if received.id in before:
            return False
        kept = (*before, received.id)[-MESSAGES_REMEMBERED:]
        self._taken = Book(self._taken) if self._taken is self._before.taken else self._taken
        self._taken[received.sender] = kept
        return True


def next_due(ledger: Ledger) -> float | None:
    """When the first outstanding action begins to hang."""
    due, _ = ledger.first_due or _counted(ledger.pending)
    return due


def _counted(pending: Mapping[ActionId, Pending]) -> tuple[float | None, int]:
    dues = [one.due for one in pending.values() if one.due is not None]
    return (min(dues), dues.count(min(dues))) if dues else (None, 0)


Index = dict[str, dict[ActionId, None]]
"""What is outstanding about whom."""
INDEXES_KEPT = 8
_INDEXES: list[tuple[Mapping[ActionId, Pending], Index]] = []
"""Of the last states that were decided: the next step of each goes on with it. It says nothing that those do not."""


def _taken_index(pending: Mapping[ActionId, Pending]) -> Index:
    """The index of what is outstanding, for whoever changes both from now on."""
    for place, (known, found) in enumerate(_INDEXES):
        if known is pending:
            del _INDEXES[place]
            return found
    index: Index = {}
    for one in pending.values():
        _add(index, one.action)
    return index


def _keep_index(pending: Mapping[ActionId, Pending], index: Index) -> None:
    _INDEXES.append((pending, index))
    del _INDEXES[:-INDEXES_KEPT]


def _add(index: Index, action: Awaited) -> None:
    for subject in _subjects_of(action):
        index.setdefault(subject, {})[action.id] = None


def _remove(index: Index, action: Awaited) -> None:
    for subject in _subjects_of(action):
        numbers = index[subject]
        del numbers[action.id]
        if not numbers:
            del index[subject]


def _subjects_of(action: Awaited) -> tuple[str, ...]:
    match action:
        case Send(_, _, message):
            vm = getattr(message, "vm", None)
            return (vm,) if vm else ()
        case StandingOrder(_, host, service):
            return (host, service)
        case RememberEpochs() | SetVoters() | FenceHost() | StartHost():
            return (action.host,)
        case IsolateVm() | StartVm():
            return (action.vm,)
        case _:
            return (action.vnfc,)


def outstanding(ledger: Ledger) -> tuple[Awaited, ...]:
    """In the order in which they were decided."""
    return tuple(one.action for one in ledger.pending.values())
