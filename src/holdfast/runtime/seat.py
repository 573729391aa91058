"""A seat: one manager's core, its state, its journal and its place in the store.

In:   events, one at a time.
Out:  decisions, when the state they belong to has been kept.
Always: journal Seen, step, save (one transaction), journal Decided, in this order, without a pause; a
core that raises keeps its old state, says so, and goes on with the next event.
"""

import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from holdfast.errors import WorldError
from holdfast.model.actions import Action, Decision, PowerAction
from holdfast.model.events import Event, Observed
from holdfast.model.limits import MESSAGES_REMEMBERED, TIME_KEPT_S
from holdfast.model.names import ActionId, Party
from holdfast.model.reading import UNREADABLE
from holdfast.model.records import Begun, Decided, Ended, Marked, Seen
from holdfast.runtime.parts import Parts, named, state_from
from holdfast.runtime.view import View, fold, shown, view_from
from holdfast.store.journal import Journal
from holdfast.store.port import Store, StoreBroken, Waiting

_RESTORE = "restore the store from a backup (docs/etcd.md), or end the deployment and start it anew"
JOURNAL = "journal"
"""Kind of the alarm while records of the journal are lost."""
BUG = "bug"
"""Name of the mark that stands where a core has failed."""


class Core(Struct, frozen=True):
    """The functions of a manager's core, bound to its layout and party."""

    initial: Callable[[], Any]
    step: Callable[[Any, Observed, float], tuple[Any, tuple[Decision, ...]]]
    deadline: Callable[[Any], float | None]
    outstanding: Callable[[Any], tuple[Action, ...]]
    under_term: Callable[[Any, int], Any] = lambda state, _: state
    reports: Callable[[Any], Iterable[str]] = lambda _: ()
    """Incidents that others have reported to this manager, and not cleared."""


class ClockThen(Struct, frozen=True):
    """What the clock of the state said when it was saved."""

    machine: str
    """Whose clock: another machine, or the same after it was started again, counts from elsewhere."""
    shift: float
    at: float


class Seat:
    """One party's decisions, from the point where the store left off."""

    def __init__(
        self,
        party: Party,
        core: Core,
        store: Store,
        journal: Journal,
        clock: Callable[[], float],
        term: int = 0,
        machine: str = "",
    ) -> None:
        """Take the seat.

        Args:
            party: whose.
            core: how it decides.
            store: where it left off.
            journal: its journal on this host.
            clock: the monotonic clock of this machine.
            term: the leader's, where several managers may hold the seat; else 0.
            machine: whose clock that is (its boot id), where the state may come from another one.
        """
        self.party = party
        self._core = core
        self._store = store
        self._journal = journal
        saved = store.load(party)
        self._version = saved.version
        self._parts = Parts(store.pieces, saved.parts)
        fresh = core.initial()
        self._machine = machine
        then = _part(saved.parts, "clock", ClockThen, ClockThen(machine, 0.0, 0.0))
        self._shift = then.shift if then.machine == machine else then.at - clock()
        """The times in the state go on from where they were saved, whatever this machine's clock counts from."""
        self._clock: Callable[[], float] = lambda: clock() + self._shift
        self._kept_at = self._clock()
        self.state = core.under_term(_state_from(saved.parts, fresh) if saved.version else fresh, term)
        self.view = _view_from(saved.parts)
        self._heard: dict[Party, list[ActionId]] = _part(saved.parts, "heard", dict[Party, list[ActionId]], {})
        journal.last_n = max(journal.last_n, _part(saved.parts, "n", int, 0))
        self.is_taken = True
        """Whether the store has taken everything up to now; if not, `keep` is to be tried again."""
        self.bugs = 0
        self.events = 0

    @property
    def is_new(self) -> bool:
        return self._version == 0

    @property
    def deadline(self) -> float | None:
        """On the clock of this machine."""
        due = self._core.deadline(self.state)
        return None if due is None else due - self._shift

    @property
    def waiting(self) -> Waiting:
        """What the store has taken and does not have on disk yet, of all parties that share it."""
        return self._store.waiting

    def now(self) -> float:
        """The clock of the state, of the journal and of the view."""
        return self._clock()

    @property
    def version(self) -> int:
        """The version of the store that holds everything up to now, once it is kept."""
        return self._version if self.is_taken else self._version + 1

    def is_kept(self, version: int) -> bool:
        """Whether that version is durable. If not, nothing that relies on it may go out."""
        return version <= self._version and self._store.is_kept(self.party, version)

    def carried(self) -> tuple[str, ...]:
        """What is open: incidents, alarms, reports by others; and who provides what; as in the mark CARRIES."""
        incidents = (f"incident:{name}" for name, one in self.view.incidents.items() if one.closed_at is None)
        alarms = (f"alarm:{name}" for name in self.view.alarms)
        reports = (f"report:{name}" for name in self._core.reports(self.state))
        services = (
            f"provided:{name}={one.vnfc}" for name, one in self.view.services.items() if one.state == "provided"
        )
        return (*incidents, *alarms, *reports, *services)

    def outstanding(self) -> tuple[Action, ...]:
        return self._core.outstanding(self.state)

    def has_heard(self, sender: Party, message: ActionId) -> bool:
        return message in self._heard.get(sender, ())

    def take(self, event: Event, heard: tuple[Party, ActionId] | None = None) -> tuple[Decision, ...] | None:
        """Let the core answer the event; the decisions returned are kept and journaled.

        None if the core failed: its state is what it was, and the event counts as not taken.

        Args:
            event: what was observed.
            heard: sender and id of the message that the event is, to be remembered with the new state.

        Raises:
            Superseded: another process decides for this party.
        """
        now = self._clock()
        number = self._journal.number()
        seen = Seen(at=now, by=self.party, n=number, event=event)
        self._journal.write([seen])
        self.events += 1
        try:
            state, decisions = self._core.step(self.state, Observed(number, event), now)
        except Exception:  # noqa: BLE001  # a core that fails must not take the service with it
            self._tell_bug(type(event).__name__)
            return None
        self.state = state
        if heard is not None:
            ids = self._heard.get(heard[0], [])
            self._heard = {**self._heard, heard[0]: [*ids, heard[1]][-MESSAGES_REMEMBERED:]}
        fold(self.view, seen)
        decided_at = self._clock()
        records = [
            Decided(
                decided_at, self.party, self._journal.number(), number, choice.action, choice.reasons, choice.incident
            )
            for choice in decisions
        ]
        for record in records:
            fold(self.view, record)
        self.keep()
        self._journal.write(records)
        return decisions

    def keep(self) -> None:
        """Save what has changed since the last save that succeeded."""
        values = {**named("state", self.state), **shown(self.view), "heard": self._heard, "n": self._journal.last_n}
        if self._machine:
            values["clock"] = ClockThen(self._machine, self._shift, self._clock())
        try:
            self._version = self._store.save(self.party, self._parts.changes(values), self._version)
        except StoreBroken as error:
            if self.is_taken:
                self.alarm("store", error.message)
            self.is_taken = False
            return
        self._parts.kept(values)
        self._kept_at = self._clock()
        if not self.is_taken:
            self.is_taken = True
            self.calm("store")

    def catch_up(self) -> None:
        """What the disk did not take: it may do so now."""
        if not self.is_taken:
            self.keep()
        self._journal.catch_up(self._clock())

    def keep_time(self) -> None:
        """Now and then, though nothing happens: whoever goes on elsewhere takes the last save for now.

        Failures of long ago would be counted together with new ones.
        """
        if self._machine and self._clock() >= self._kept_at + TIME_KEPT_S:
            self.keep()

    def alarm(self, kind: str, text: str) -> None:
        """Raise an alarm of the manager itself."""
        sys.stderr.write(f"{self.party}: {text}\n")
        self.view.alarms[f"{kind}:{self.party}"] = text
        self.mark(kind, str(self.party), text)

    def tell_lost(self, text: str) -> None:
        """The journal has begun to lose records: an alarm, but no reason to stop."""
        sys.stderr.write(f"{self.party}: {text}\n")
        self.view.alarms[f"{JOURNAL}:{self.party}"] = text

    def calm(self, kind: str) -> None:
        self.view.alarms.pop(f"{kind}:{self.party}", None)

    def mark(self, name: str, about: str, detail: str = "") -> None:
        self._journal.write([Marked(self._clock(), self.party, self._journal.number(), name, about, detail)])

    def begun(self, action: PowerAction) -> None:
        """Journal that the power driver begins."""
        what = type(action).__name__
        self._journal.write([Begun(self._clock(), self.party, self._journal.number(), action.id, what, action.host)])

    def ended(self, action: PowerAction, ok: bool, detail: str) -> None:
        """Journal how the power driver fared."""
        what = type(action).__name__
        record = Ended(self._clock(), self.party, self._journal.number(), action.id, what, action.host, ok, detail)
        self._journal.write([record])

    @property
    def journal_lost(self) -> int:
        return self._journal.lost

    def _tell_bug(self, event: str) -> None:
        self.bugs += 1
        self.alarm(BUG, f"the core failed on {event} and keeps its state: {traceback.format_exc(limit=-4)}")


def _part(parts: dict[str, bytes], name: str, kind: Any, default: Any) -> Any:
    if name not in parts:
        return default
    try:
        return msgspec.msgpack.decode(parts[name], type=kind)
    except UNREADABLE as error:
        raise WorldError(f"the part {name} of the saved state cannot be read: {error}", _RESTORE) from error


def _view_from(parts: dict[str, bytes]) -> View:
    try:
        return view_from(parts)
    except (KeyError, *UNREADABLE) as error:
        raise WorldError(f"the saved view cannot be read: {error}", _RESTORE) from error


def _state_from(parts: dict[str, bytes], fresh: Any) -> Any:
    try:
        return msgspec.msgpack.decode(state_from(parts, fresh), type=type(fresh))
    except (KeyError, *UNREADABLE) as error:
        raise WorldError(f"the saved state does not fit {type(fresh).__name__}: {error}", _RESTORE) from error
