"""A member of a simulated etcd while it leads.

In:   proposals, from itself and from others; what the others have on disk; whether they still hear it.
Out:  entries to the others; agreement, when a majority has an entry of this term on disk; the index up to which a read
must have been applied, when a majority still follows.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.lab.sim.etcd_disk import Entry
from holdfast.store.etcd_words import Txn

if TYPE_CHECKING:
    from holdfast.lab.sim.etcd_member import Member

BEATS_KEPT = 64
"""An answer to an older beat does not show that something has to be sent again."""


class Lead:
    def __init__(self, member: "Member", term: int) -> None:
        self._member = member
        self._group = member.group
        self._disk = member.disk
        self.term = term
        now = member.loop.time()
        self._others = [name for name in self._group.disks if name != member.name]
        self._has = dict.fromkeys(self._others, 0)
        """How much of our log each has on disk."""
        self._heard_at = dict.fromkeys(self._others, now)
        self._beat = 0
        self._lengths: dict[int, int] = {}
        """Of our log, at each beat that may yet be answered."""
        self._answered = dict.fromkeys(self._others, 0)
        """The last beat that each has answered."""
        self._reads: list[tuple[int, int, Callable[[int], None]]] = []
        """Beat that a majority must answer, index, whom to tell."""
        self._early_reads: list[Callable[[int], None]] = []
        """From before the first entry of this term was agreed on."""

    def begin(self) -> None:
        self.take(self._group.next_number(), None)
        self._beat_on()

    @property
    def _is_over(self) -> bool:
        return self._member.leading is not self

    # --- writing

    def take(self, number: int, txn: Txn | None) -> None:
        self._disk.log.append(Entry(self.term, number, txn))
        self._disk.sync(self._agree)
        for name in self._others:
            self._tell(name)

    def _tell(self, name: str) -> None:
        me, term, log, upto = self._member.name, self.term, self._disk.log, len(self._disk.log)
        commit = self._member.applied
        self._group.post(self._member, name, lambda other: other.appended(term, me, log, upto, commit))

    def has(self, name: str, term: int, length: int) -> None:
        """The other one has so much of our log on disk."""
        if self._is_over or term != self.term or length <= self._has[name]:
            return
        self._has[name] = length
        self._agree()

    def _agree(self) -> None:
        if self._is_over:
            return
        lengths = sorted([self._disk.safe, *self._has.values()], reverse=True)
        upto = lengths[self._group.majority - 1]
        log = self._disk.log
        # An entry of an older term is agreed on only together with one of ours: it may be cut off yet.
        if upto <= self._member.applied or log[upto - 1].term != self.term:
            return
        self._group.agree(log, upto)
        self._member.apply(upto)
        reads, self._early_reads = self._early_reads, []
        for answer in reads:
            self.read(answer)
        me, term = self._member.name, self.term
        for name in self._others:
            self._group.post(self._member, name, lambda other: other.committed(term, me, upto))

    # --- beats and reads

    def read(self, answer: Callable[[int], None]) -> None:
        """Answer up to which index a read that has come now must see, once it is sure that we lead."""
        applied = self._member.applied
        if not applied or self._disk.log[applied - 1].term != self.term:
            self._early_reads.append(answer)
        elif not self._others:
            answer(applied)
        else:
            self._say_beat()
            self._reads.append((self._beat, applied, answer))

    def _beat_on(self) -> None:
        if self._is_over:
            return
        now = self._member.loop.time()
        loyal = sum(at > now - self._group.timing.loyal_s for at in self._heard_at.values())
        if loyal + 1 < self._group.majority:
            self._member.follow(self.term, None)
            return
        if self._others:
            self._say_beat()
            self._member.loop.call_later(self._group.timing.beat_s, self._beat_on)

    def _say_beat(self) -> None:
        self._beat += 1
        beat, me, term = self._beat, self._member.name, self.term
        commit = self._member.applied
        self._lengths[beat] = len(self._disk.log)
        self._lengths.pop(beat - BEATS_KEPT, None)
        for name in self._others:
            self._group.post(self._member, name, lambda other: other.heard_beat(term, me, beat, commit))

    def answered(self, name: str, term: int, beat: int) -> None:
        """The other one has heard this beat."""
        if self._is_over or term != self.term:
            return
        self._heard_at[name] = self._member.loop.time()
        if self._has[name] < self._lengths.get(beat, 0):
            self._tell(name)
        if beat <= self._answered[name]:
            return
        self._answered[name] = beat
        lately = sorted([self._beat, *self._answered.values()], reverse=True)
        sure = lately[self._group.majority - 1]
        reads = [one for one in self._reads if one[0] <= sure]
        self._reads = [one for one in self._reads if one[0] > sure]
        for _, applied, answer in reads:
            answer(applied)
