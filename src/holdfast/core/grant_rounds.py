"""What a holder may conclude from the answers of voters: until when each of its claims is surely nobody else's.

In:   when each ASK was sent (the clock read before it was built), and the ACKs.
Out:  `end_of(entry)`: until then no other host can be promised this.
Always: counted from the sending, never from the answer; per voter the latest ACK counts, and for the claims only that
the voter had recorded and did not refuse when it answered; a majority of the voter set of different voters; one step,
also across rounds: the q-th largest of the voters' ends.
"""

from collections.abc import Mapping

from holdfast.core.grant_claims import Claims, Entry
from holdfast.model.granting import SENT_MAX, Ack, VoterSet, usable_ns
from holdfast.model.names import HostName

MIXED = -1


class Answered:
    """The latest ACK of one voter."""

    __slots__ = ("ack", "end_ns", "number")

    def __init__(self, ack: Ack, end_ns: int, number: int) -> None:
        self.ack = ack
        self.end_ns = end_ns
        self.number = number
        """Of the own claim set when the masks were made from it."""


class Rounds:
    def __init__(self, claims: Claims, voter_set: VoterSet, rho_ppm: int) -> None:
        self._claims = claims
        self._rho_ppm = rho_ppm
        self._ends: dict[int, int] = {}
        self._bits: dict[HostName, int] = {}
        self._answered: dict[HostName, Answered] = {}
        self._end_of_mask: dict[int, int] = {}
        self.seq = 0
        self.is_marked = False
        """What voters say of some claim has changed; whoever has looked sets it back."""
        self.stale = 0
        """Answers that came too late, twice, or to nothing that was asked."""
        self.adopt(voter_set)

    def adopt(self, voter_set: VoterSet) -> None:
        """Count by this voter set from now on. What is proven stays so: neighbouring majorities meet."""
        self.prove_all()
        self.voter_set = voter_set
        self.usable_ns = usable_ns(voter_set.length_ns, self._rho_ppm)
        for member in voter_set.members:
            self.bit(member)
        self._members_mask = sum(self._bits[member] for member in voter_set.members)
        self._end_of_mask.clear()

    def bit(self, voter: HostName) -> int:
        return self._bits.setdefault(voter, 1 << len(self._bits))

    def begin(self, now: int) -> int:
        """Number of the ASK that is built now: each sending has its own, and so its own time."""
        self.seq += 1
        self.note_sent(self.seq, now)
        if len(self._ends) > SENT_MAX:
            del self._ends[next(iter(self._ends))]
        return self.seq

    def note_sent(self, seq: int, now: int) -> None:
        self._ends[seq] = self.end_of_promise_ns(now)

    def end_of_promise_ns(self, sent_ns: int) -> int:
        return sent_ns + self.usable_ns

    def known(self, voter: HostName) -> int:
        """How far that voter has recorded the claim set, as far as is known."""
        answered = self._answered.get(voter)
        return answered.ack.number if answered is not None else 0

    def count(self, voter: HostName, ack: Ack) -> bool:
        """Take an ACK into account; False if it says nothing new."""
        end_ns = self._ends.get(ack.seq)
        before = self._answered.get(voter)
        if end_ns is None or (before is not None and ack.seq < before.ack.seq):
            self.stale += 1
            return False
        is_again = before is not None and ack.seq == before.ack.seq
        if not self._says_the_same(before, ack):
            # First what was counted by the former answer, then the answer: or its end would count for a claim that it
            # does not promise.
            self._mark(self.bit(voter), ack, is_again)
        elif is_again:
            return False
        # After two different answers to one ASK the masks are those of neither: the next answer makes them anew.
        self._answered[voter] = Answered(ack, end_ns, MIXED if is_again else self._claims.number)
        self._end_of_mask.clear()
        return True

    def _says_the_same(self, before: Answered | None, ack: Ack) -> bool:
        if before is None or before.number != self._claims.number:
            return False
        former = before.ack
        return (
            former.covered == ack.covered
            and former.refused == ack.refused
            and former.granted == ack.granted
            and former.free == ack.free
        )

    def _mark(self, bit: int, ack: Ack, is_again: bool) -> None:
        """Set the voter's bit on each claim that it promises, refuses or calls free.

        A second answer to the same ASK is as true as the first: what either promises counts from the same sending.
        """
        self.is_marked = True
        refused = {refusal.number: refusal.reason for refusal in ack.refused}
        granted, free = set(ack.granted), set(ack.free)
        for entry in self._claims:
            if not entry.is_live:
                continue
            promised = self.is_promised(entry, ack, refused, granted)
            was = bool(entry.mask & bit)
            if was and not promised and is_again:
                promised = True
            if promised != was:
                self.prove(entry)
                entry.mask ^= bit
            number = entry.number
            entry.older = entry.older | bit if refused.get(number) == "older-epoch" else entry.older & ~bit
            entry.free = entry.free | bit if number in free or number in granted else entry.free & ~bit
            entry.granted = entry.granted | bit if number in granted else entry.granted & ~bit

    def is_promised(self, entry: Entry, ack: Ack, refused: Mapping[int, str], granted: set[int]) -> bool:
        """True if this answer promises the claim."""
        if entry.step == "take":
            return entry.number <= ack.covered and entry.number not in refused
        return entry.number in granted

    # Ends.

    def end_of(self, entry: Entry) -> int:
        """Until then nobody else can be promised it; 0 if nothing is known."""
        return max(entry.proven_ns, self.end_of_mask(entry.mask))

    def end_of_mask(self, mask: int) -> int:
        """The q-th largest end of the voters in the mask; 0 if they are no majority."""
        end = self._end_of_mask.get(mask)
        if end is None:
            end = self._end_of_mask[mask] = self.compute_end(self.ends_in(mask), self.voter_set.quorum)
        return end

    def ends_in(self, mask: int) -> list[int]:
        answered, bits = self._answered, self._bits
        return [answered[member].end_ns for member in self.voter_set.members if mask & bits[member]]

    def compute_end(self, ends: list[int], quorum: int) -> int:
        if len(ends) < quorum:
            return 0
        ends.sort(reverse=True)
        return ends[quorum - 1]

    def prove(self, entry: Entry) -> None:
        """Keep what is proven so far: what changes now does not make it untrue."""
        entry.proven_ns = self.end_of(entry)

    def prove_all(self) -> None:
        for entry in self._claims:
            if entry.mask:
                self.prove(entry)

    def forget(self) -> None:
        """Nothing that was counted before now is worth anything (this machine stood still)."""
        self._ends.clear()
        self._end_of_mask.clear()
        self._answered.clear()
        for entry in self._claims:
            entry.mask = entry.free = entry.granted = entry.older = 0
            entry.proven_ns = 0

    # What voters say of a claim.

    def is_sealed(self, entry: Entry) -> bool:
        """True if so many voters have sealed its epoch that no majority can promise it any more."""
        older = entry.older & self._members_mask
        return len(self.voter_set.members) - older.bit_count() < self.voter_set.quorum

    def is_majority(self, mask: int) -> bool:
        return (mask & self._members_mask).bit_count() >= self.voter_set.quorum

    def is_granted(self, entry: Entry) -> bool:
        """True if a majority has granted it to the waiting one."""
        return (entry.granted & self._members_mask).bit_count() >= self.voter_set.quorum

    def is_free(self, entry: Entry, asked_since: int) -> bool:
        """True if a majority says that nobody is promised it, each in answer to an ASK that was sent since then."""
        free = 0
        latest = self.end_of_promise_ns(asked_since)
        for member in self.voter_set.members:
            answered = self._answered.get(member)
            if answered is not None and entry.free & self._bits[member] and answered.end_ns >= latest:
                free += 1
        return free >= self.voter_set.quorum
