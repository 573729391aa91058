"""Which of several managers decides: a record in the store, renewed by its holder, judged by everybody's own clock.

In:   what the store holds and answers, each with the time at which it was asked for or heard of.
Out:  what to try next (`wish`), and whether this candidate may decide now (`holds`).
Always: pure. A holder counts its time from before it asked for the renewal that the store confirmed, and stops a
margin earlier; another candidate counts the full length from when it heard of the last renewal, which is later,
and then claims by compare-and-swap on exactly that renewal. So no clock is compared with another one, a view that
is behind does no harm, and an election of the store's own leader neither lengthens nor doubles a leadership. A
claim raises the term, and writes carry the term: whoever was stopped between looking and writing is refused.

A lease of etcd would not do: it is two seconds at least with etcd's usual timing, and is given its full length
again whenever etcd itself changes its leader, so the loss of a host with both leaders would cost four seconds.
"""

from msgspec import Struct

from holdfast.errors import Bug
from holdfast.model.limits import LEADER_ASK_S, LEADER_LENGTH_S, LEADER_MARGIN, LEADER_RENEW_S

BEATS_KEPT = 64
"""Renewals that may be confirmed late; of older ones it does not matter."""


class LeaderRecord(Struct, frozen=True):
    """What stands in the store."""

    term: int
    """Grows by at least one with each change of the holder; agents follow the newest they have heard of."""
    manager: str
    """Who holds, for people."""
    incarnation: str
    """Random, one a start of a process: a manager that starts again is another candidate."""
    beat: int
    """Counts the renewals of this incarnation."""
    length_s: float
    is_resigned: bool = False
    unreached: tuple[str, ...] = ()
    """Hosts that it has resigned for: it did not reach their agents. Who follows does not resign for them again."""


class Sighting(Struct, frozen=True):
    record: LeaderRecord | None
    """None: nobody has ever led."""
    revision: int
    """Of the record's key; 0 if there is none."""
    at: float
    """When this revision was first heard of."""


class Attempt(Struct, frozen=True):
    """Put `record`, provided that the key is still at `revision`."""

    record: LeaderRecord
    revision: int
    sent_at: float
    is_claim: bool
    """The term changes, and is to be written in the same transaction."""


class Rest(Struct, frozen=True):
    """Nothing to do before `until`; None: before news."""

    until: float | None


class Ask(Struct, frozen=True):
    """Renewals are overdue: ask the store for the record, of whichever member answers, and go on meanwhile.

    If the leader is gone, the claim will then not have to find out first which members went with it.
    """


Wish = Attempt | Ask | Rest


class Leadership:
    """One candidate's view.

    Args:
        manager: its name, for people.
        incarnation: random; another one each start.
        length_s: how long it wants to hold without renewal.
        renew_s: pause between its renewals.
    """

    def __init__(
        self,
        manager: str,
        incarnation: str,
        length_s: float = LEADER_LENGTH_S,
        renew_s: float = LEADER_RENEW_S,
    ) -> None:
        if renew_s * 3 > length_s:
            raise Bug(f"a leadership of {length_s} s is renewed every {renew_s} s")
        self._manager = manager
        self._incarnation = incarnation
        self._length_s = length_s
        self._renew_s = renew_s
        self._seen: Sighting | None = None
        self._sent: dict[int, float] = {}
        """When each beat that may yet be confirmed was sent."""
        self._beat = 0
        self._confirmed_at: float | None = None
        """When the newest confirmed claim or renewal was sent; None: not ours."""
        self._next_try = 0.0
        self._asked_at_revision = 0
        """Of the sighting after which the store was asked."""
        self._least_term = 1
        self._is_resigning = False
        self._unreached: tuple[str, ...] = ()
        self._stands_aside_until = 0.0
        self.left_over: tuple[str, ...] = ()
        """What the last one to resign did not reach."""

    @property
    def term(self) -> int:
        """The term we hold, lapsed or not; 0 if we do not."""
        return self._seen.record.term if self._seen and self._seen.record and self._confirmed_at is not None else 0

    @property
    def seen(self) -> Sighting | None:
        return self._seen

    @property
    def ends_at(self) -> float | None:
        """Until when we may decide; None if we do not hold."""
        if self._confirmed_at is None or self._is_resigning:
            return None
        return self._confirmed_at + self._length_s * (1 - LEADER_MARGIN)

    def holds(self, now: float) -> bool:
        """Whether this candidate may decide and send now."""
        ends_at = self.ends_at
        return ends_at is not None and now < ends_at

    def raise_term(self, at_least: int) -> None:
        """The next claim has at least this term; for when agents have heard of newer ones (a restored store)."""
        self._least_term = max(self._least_term, at_least)

    def resign(self, unreached: tuple[str, ...] = ()) -> None:
        """Stop deciding now; `wish` gives the record to write, once."""
        self._unreached = unreached
        self._is_resigning = self._confirmed_at is not None
        self._next_try = 0.0

    def heard(self, record: LeaderRecord | None, revision: int, at: float) -> None:
        """The store holds, or held a moment ago, this; heard of at `at`. What is older than the newest is no news."""
        if self._seen is None or revision > self._seen.revision:
            self._look_at(record, revision, at)

    def refused(self, attempt: Attempt, record: LeaderRecord | None, revision: int, at: float) -> None:
        """The key was not at the revision of the attempt, but at this."""
        if self._seen is not None and attempt.revision == self._seen.revision:
            # Also if it is older than what we have seen: then a backup was restored.
            self._look_at(record, revision, at)
        else:
            self.heard(record, revision, at)

    def done(self, attempt: Attempt, revision: int, at: float) -> None:
        """The store has carried the attempt out."""
        self.heard(attempt.record, revision, at)

    def failed(self, attempt: Attempt, at: float) -> None:
        """Unknown whether it was carried out; try again soon."""
        self._next_try = min(self._next_try, at + self._renew_s / 2)

    def _look_at(self, record: LeaderRecord | None, revision: int, at: float) -> None:
        before, self._seen = self._seen, Sighting(record, revision, at)
        if record is not None and record.is_resigned:
            self.left_over = record.unreached
        if record is not None:
            # Never lower again, even if the store forgets.
            self._least_term = max(self._least_term, record.term + 1)
        is_ours = record is not None and record.incarnation == self._incarnation
        if record is not None and is_ours and not record.is_resigned:
            if record.beat in self._sent:
                self._confirm(record.beat)
            return
        if is_ours or (record is None and before is not None and before.record is not None):
            # We have just given up, so somebody else shall have the chance; or somebody took the record away by
            # hand, while its holder does not know it yet.
            self._stands_aside_until = at + self._length_s
        self._confirmed_at = None
        self._is_resigning = False
        self._next_try = 0.0

    def _confirm(self, beat: int) -> None:
        self._confirmed_at = max(self._confirmed_at or 0.0, self._sent[beat])
        self._sent = {other: sent_at for other, sent_at in self._sent.items() if other > beat}

    def wish(self, now: float) -> Wish:
        """What to try, or how long there is nothing to try. An attempt counts as sent, a question as asked."""
        if self._seen is None:
            return Rest(None)
        due = max(self._due(self._seen), self._next_try)
        if now >= due:
            return self._attempt(self._seen, now)
        ask_at = self._ask_at(self._seen)
        if ask_at is None or ask_at >= due:
            return Rest(due)
        if now < ask_at:
            return Rest(ask_at)
        self._asked_at_revision = self._seen.revision
        return Ask()

    def _ask_at(self, seen: Sighting) -> float | None:
        """When the renewal that follows this one has been overdue for long enough; None: nothing to ask, or asked."""
        is_renewed = self._confirmed_at is None and seen.record is not None and not seen.record.is_resigned
        return seen.at + LEADER_ASK_S if is_renewed and seen.revision != self._asked_at_revision else None

    def _due(self, seen: Sighting) -> float:
        if self._confirmed_at is not None:
            return 0.0
        if seen.record is None:
            return self._stands_aside_until
        if seen.record.is_resigned:
            return self._stands_aside_until if seen.record.incarnation == self._incarnation else 0.0
        return seen.at + seen.record.length_s

    def _attempt(self, seen: Sighting, now: float) -> Attempt:
        self._beat += 1
        self._next_try = now + self._renew_s
        is_claim = self._confirmed_at is None
        held = seen.record.term if seen.record else 0
        term = max(held + 1, self._least_term) if is_claim else held
        record = LeaderRecord(
            term,
            self._manager,
            self._incarnation,
            self._beat,
            self._length_s,
            self._is_resigning,
            self._unreached if self._is_resigning else (),
        )
        self._sent[self._beat] = now
        self._sent.pop(self._beat - BEATS_KEPT, None)
        return Attempt(record, seen.revision, now, is_claim)
