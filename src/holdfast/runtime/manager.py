"""The pump of the managers: carries events to the seats of this process and lets their actions out.

In:   news and outcomes of agents, messages of other managers, questions of operators, deadlines.
Out:  actions to agents, messages to managers, power to fence devices, answers.
Always: an event is answered without waiting for anything; events that are there together are taken in the order
in which they arose; what is outstanding is sent again when a link opens; nobody is told "taken" before the
store has it. How the words travel is in `runtime/reach.py`.
"""

import asyncio
import heapq
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

from holdfast.errors import HoldfastError
from holdfast.model.actions import (
    Action,
    Activate,
    ConfirmLoss,
    Decision,
    FenceHost,
    HostAction,
    IsolateVm,
    Note,
    Send,
    SetVoters,
    StandingOrder,
    StartHost,
    StartVm,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    DeadlinePassed,
    Event,
    HostFailed,
    HostReturned,
    ManagerStarted,
    Received,
)
from holdfast.model.layout import FenceLevels, Layout, grant_suffices
from holdfast.model.limits import BUG_PAUSE_S, MESSAGE_REPEAT_MAX_S, MESSAGE_REPEAT_S, STORE_TIDY_S
from holdfast.model.names import HA, ActionId, HostName, Party
from holdfast.runtime.seat import Seat
from holdfast.store.port import StoreBroken, Superseded

REPORT_PAUSE_S = 0.003
"""How long what the HA manager tells a VNFM beside it waits: no take-over rests on it, and one is over by then."""
HELD_BACK_PAUSE_S = 0.02
"""How soon it is looked again whether a deadline counts."""
Answered = Callable[[tuple[Decision, ...]], None]
SetPower = Callable[[FenceLevels, Literal["on", "off"]], Awaitable[str]]
"""Answers who has confirmed it."""


class Reach(NamedTuple):
    """How actions leave this process; each answers whether they were sent."""

    agent: Callable[[Seat, HostName, Action], bool]
    manager: Callable[[Seat, Send], bool]
    power: SetPower


class _Due(NamedTuple):
    at: float
    turn: int
    seat: Seat
    event: Event
    answered: Answered | None
    heard: tuple[Party, ActionId] | None
    before: Callable[[], None] | None


class Pump:
    """Events in, actions out, for the seats of one process."""

    def __init__(
        self,
        layout: Layout,
        seats: Sequence[Seat],
        reach: Reach,
        tidy: Callable[[], None],
        may_decide: Callable[[], bool] = lambda: True,
        began: ManagerStarted | None = None,
    ) -> None:
        self._layout = layout
        self.seats = {seat.party: seat for seat in seats}
        self._reach = reach
        self._tidy = tidy
        self._may_decide = may_decide
        """Asked before each decision; what comes while it says no waits for `go_on`."""
        self._began = began if began is not None else ManagerStarted()
        self._loop = asyncio.get_running_loop()
        self._queue: list[_Due] = []
        self._turns = itertools.count()
        self._drain_soon: asyncio.Handle | None = None
        self._alarm_clocks: dict[Party, tuple[float, asyncio.TimerHandle]] = {}
        self._owed: dict[Party, list[tuple[int, Callable[[], None]]]] = defaultdict(list)
        """What may be said only when the store has the state it follows from, with that state's version."""
        self._held_back: Counter[Party] = Counter()
        """How many actions are among it."""
        self._sent: dict[ActionId, tuple[float, float]] = {}
        """Messages on their way: when sent last, and when to send again."""
        self._powering: dict[ActionId, tuple[HostName, asyncio.Task[None]]] = {}
        self._repeat: asyncio.TimerHandle | None = None
        self._tidied_at = self._loop.time()
        self._events_tidied = 0
        self._is_closed = False
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Has an error when this process must not go on."""

    def start(self) -> None:
        """Let every core know that it begins (again), and take up what it had outstanding."""
        for seat in self.seats.values():
            self.push(seat, self._began, self._loop.time(), lambda _, seat=seat: self._resume(seat))  # type: ignore[misc]
        self._drain()
        self._on_repeat()

    def _resume(self, seat: Seat) -> None:
        for action in seat.outstanding():
            if isinstance(action, Send | FenceHost | StartHost):
                self._let_out(seat, action)

    def push(
        self,
        seat: Seat,
        event: Event,
        at: float,
        answered: Answered | None = None,
        heard: tuple[Party, ActionId] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Queue an event.

        Args:
            seat: whom it is for.
            event: what was observed.
            at: when it arose.
            answered: called with the decisions when the store has the state that follows from the event.
            heard: sender and id, if the event is a message; a repetition is not taken, but counts as answered.
            before: called when the event's turn has come.
        """
        if self._is_closed:
            return  # Links that we close ourselves are no news, and the stores are about to be closed.
        if isinstance(event, HostReturned):
            self._overtake(seat, event)
        heapq.heappush(self._queue, _Due(at, next(self._turns), seat, event, answered, heard, before))
        if self._drain_soon is None:
            self._drain_soon = self._loop.call_soon(self._drain)

    def _overtake(self, seat: Seat, returned: HostReturned) -> None:
        """What this agent told waits to be taken, and is over: nothing may follow from it any more."""

        def is_over(due: _Due) -> bool:
            told = due.event
            if not isinstance(told, HostFailed) or due.seat is not seat:
                return False
            return (told.host, told.by) == (returned.host, returned.by)

        self._queue = [due for due in self._queue if not is_over(due)]
        heapq.heapify(self._queue)

    def _drain(self) -> None:
        if self._drain_soon is not None:
            self._drain_soon.cancel()
            self._drain_soon = None
        while self._queue and self._may_decide():
            due = heapq.heappop(self._queue)
            try:
                self._answer(due)
            except Superseded as error:
                if not self.ended.done():
                    self.ended.set_exception(error)
                return
            self._set_clock(due.seat)

    def _answer(self, due: _Due) -> None:
        seat = due.seat
        if due.before is not None:
            due.before()
        decisions: tuple[Decision, ...] | None = ()
        if due.heard is None or not seat.has_heard(*due.heard):
            decisions = seat.take(due.event, due.heard)
        if decisions is None:  # The core failed: the event counts as not taken.
            if isinstance(due.event, DeadlinePassed):
                self._pause_clock(seat)
            return
        joined = due.event.host if isinstance(due.event, AgentJoined) else None
        if joined is not None:
            self.send_outstanding(seat, joined)
        for decision in decisions:
            if joined is None or self.host_of(decision.action) != joined:
                self._let_out(seat, decision.action)
        if due.answered is not None:
            answered, answer = due.answered, decisions
            self._owed[seat.party].append((seat.version, lambda: answered(answer)))
        self._pay(seat)

    def _pay(self, seat: Seat) -> None:
        owed = self._owed[seat.party]
        while owed and seat.is_kept(owed[0][0]):
            owed.pop(0)[1]()

    def go_on(self) -> None:
        """Decisions may be made again: take up what has come meanwhile."""
        self._drain()

    def kept(self, party: Party) -> None:
        """The store has caught up with what this party decided."""
        self._pay(self.seats[party])

    def host_of(self, action: Action) -> HostName | None:
        """The host whose agent carries the action out; None for what no agent does."""
        if isinstance(action, Send | FenceHost | StartHost | Note):
            return None
        if isinstance(action, IsolateVm | StartVm):
            return self._layout.vms[action.vm].host
        if isinstance(action, HostAction):
            return action.host
        return self._layout.vnfcs[action.vnfc].host

    def send_outstanding(self, seat: Seat, host: HostName) -> None:
        """Send everything outstanding to the agent that has just joined."""
        for action in seat.outstanding():
            if self.host_of(action) == host:
                self._let_out(seat, action)

    def send_messages(self, seat: Seat, to: Party) -> None:
        """Send all outstanding messages to a manager whose link has just opened."""
        for action in seat.outstanding():
            if isinstance(action, Send) and action.to == to:
                self._let_out(seat, action)

    def _let_out(self, seat: Seat, action: Action) -> None:
        if isinstance(action, Send):
            self._send(seat, action)
        elif isinstance(action, FenceHost | StartHost):
            self._switch(seat, action)
        elif (host := self.host_of(action)) is not None:
            if self._is_for_the_store_first(action) and not seat.is_kept(seat.version):
                self._held_back[seat.party] += 1
                self._owed[seat.party].append((seat.version, partial(self._to_agent, seat, host, action)))
                return
            self._reach.agent(seat, host, action)

    def _is_for_the_store_first(self, action: Action) -> bool:
        """The active would acknowledge alone although the store does not know it (SY-1); and whoever leads next has to
        know who may take over, who votes, and who may write to storage that only one may use.
        """
        if isinstance(action, Activate):
            if len(self._layout.hosts) == 1:
                return False  # Its one agent knows who was told to be active, and says so to whoever leads next.
            return not grant_suffices(self._layout, self._layout.vnfcs[action.vnfc].group)
        return isinstance(action, ConfirmLoss | StandingOrder | SetVoters)

    def _to_agent(self, seat: Seat, host: HostName, action: Action) -> None:
        self._held_back[seat.party] -= 1
        if isinstance(action, Activate) and action not in seat.outstanding():
            return  # While it waited for the store things have come otherwise.
        self._reach.agent(seat, host, action)

    def _send(self, seat: Seat, action: Send) -> None:
        now = self._loop.time()
        _, pause = self._sent.get(action.id, (0.0, MESSAGE_REPEAT_S / 2))
        self._sent[action.id] = (now, min(pause * 2, MESSAGE_REPEAT_MAX_S))
        receiver = self.seats.get(action.to)
        if receiver is None:
            self._reach.manager(seat, action)
            return
        event = Received(action.id, seat.party, action.message)

        def hand_over() -> None:
            taken_by = self._loop.time()
            self.push(receiver, event, taken_by, lambda _: self.message_taken(seat, action.id), (seat.party, action.id))

        if seat.party == HA:
            self._loop.call_later(REPORT_PAUSE_S, hand_over)
        else:
            hand_over()

    def message_taken(self, seat: Seat, message: ActionId) -> None:
        """The receiver's store has the message."""
        if self._sent.pop(message, None) is not None:
            self.push(seat, ActionDone(message), self._loop.time())

    def _switch(self, seat: Seat, action: FenceHost | StartHost) -> None:
        if action.id in self._powering:
            return
        task = self._loop.create_task(self._switched(seat, action), name=f"power {action.id}")
        self._powering[action.id] = action.host, task
        task.add_done_callback(lambda _: self._powering.pop(action.id, None))

    async def _switched(self, seat: Seat, action: FenceHost | StartHost) -> None:
        levels = self._layout.hosts[action.host].fence
        await self._no_other_switching(action.host)
        seat.begun(action)
        try:
            if not levels:
                raise HoldfastError(f"host {action.host} has no fence device")
            detail = await self._reach.power(levels, "off" if isinstance(action, FenceHost) else "on")
        except HoldfastError as error:
            seat.ended(action, False, error.message)
            self.push(seat, ActionFailed(action.id, error.message), self._loop.time())
        else:
            seat.ended(action, True, detail)
            self.push(seat, ActionDone(action.id, detail), self._loop.time())

    async def _no_other_switching(self, host: HostName) -> None:
        """An earlier order may still be under way at a device that is slow, and must not undo the later one."""
        own = asyncio.current_task()
        others = [task for of, task in self._powering.values() if of == host and task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _set_clock(self, seat: Seat, not_before: float = 0.0) -> None:
        due = seat.deadline
        armed = self._alarm_clocks.get(seat.party)
        if armed is not None and armed[0] == due and not armed[1].cancelled():
            return
        if armed is not None:
            armed[1].cancel()
            del self._alarm_clocks[seat.party]
        if due is not None:
            handle = self._loop.call_at(max(due, not_before), self._on_clock, seat, due)
            self._alarm_clocks[seat.party] = (due, handle)

    def _on_clock(self, seat: Seat, due: float) -> None:
        if seat.deadline != due:
            return
        if self._held_back[seat.party] or not self._may_decide():
            # Nobody has been asked yet for what waits for the store; and an answer may be there that waits for us.
            self._pause_clock(seat, HELD_BACK_PAUSE_S)
            return
        self.push(seat, DeadlinePassed(), due, lambda _: self._after_deadline(seat, due))

    def _after_deadline(self, seat: Seat, due: float) -> None:
        """A core that leaves its deadline where it was must not keep the process spinning."""
        if self._alarm_clocks.get(seat.party, (None,))[0] == due:
            del self._alarm_clocks[seat.party]
        if seat.deadline == due:
            self._pause_clock(seat)

    def _pause_clock(self, seat: Seat, pause_s: float = BUG_PAUSE_S) -> None:
        self._alarm_clocks.pop(seat.party, None)
        self._set_clock(seat, self._loop.time() + pause_s)

    def _on_repeat(self) -> None:
        self._repeat = self._loop.call_later(MESSAGE_REPEAT_S, self._on_repeat)
        if not self._may_decide():
            return
        now = self._loop.time()
        for seat in self.seats.values():
            seat.keep_time()
            was_taken = seat.is_taken
            seat.catch_up()
            if not was_taken:
                self._pay(seat)
            waiting = {action.id: action for action in seat.outstanding() if isinstance(action, Send)}
            for action in waiting.values():
                sent_at, pause = self._sent.get(action.id, (0.0, 0.0))
                if now >= sent_at + pause:
                    self._send(seat, action)
        self._tidy_when_idle(now)

    def _tidy_when_idle(self, now: float) -> None:
        events = sum(seat.events for seat in self.seats.values())
        if now < self._tidied_at + STORE_TIDY_S or self._queue:
            return
        self._tidied_at = now
        if events != self._events_tidied:
            self._events_tidied = events
            try:
                self._tidy()
            except StoreBroken as error:  # What is saved stands; the next save says whether more can be.
                sys.stderr.write(f"{error.message}\n")

    def end(self) -> None:
        """Let whoever waits for `ended` go on."""
        if not self.ended.done():
            self.ended.set_result(None)

    async def close(self) -> None:
        """Stop; what is outstanding is taken up by the next process."""
        self._is_closed = True
        for handle in (self._repeat, self._drain_soon, *(handle for _, handle in self._alarm_clocks.values())):
            if handle is not None:
                handle.cancel()
        tasks = [task for _, task in self._powering.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
