"""The voter of one host: promises for a stated time to let nobody else have a service.

In:   ASK, RELEASE, FENCED with the clock read after they were received; time.
Out:  the answer to each ASK; answers to those who wait, when a promise ends (`pushed`).
Always: at most one unexpired promise per service; a running promise is never shortened but by its own holder, or by
its confirmed death; claims below the floor are not promised; and nothing is promised after a start for as long as a
promise of the former life may run.
One end for all that an agent is promised; only a promise whose epoch somebody has sealed has an end of its own.
"""

from collections.abc import Iterable, Mapping

from holdfast.core.grant_recall import Recall, page
from holdfast.core.grant_seats import AgentLife, Claim, Record, Seat, refusal
from holdfast.model.granting import (
    AGENTS_MAX,
    LIVES_MAX,
    NUMBERS_MAX,
    RECALL_WAIT_NS,
    REFUSALS_MAX,
    SEATS_MAX,
    Ack,
    Ask,
    AskEpochs,
    Change,
    EpochsAre,
    Heard,
    Nak,
    NakReason,
    Refusal,
    Step,
    VoterSet,
)
from holdfast.model.names import HostName, ServiceName

FAR_NS = 1 << 62


class Voter:
    """All instants are of this host's clock."""

    def __init__(self, host: HostName, voter_set: VoterSet, now: int, epochs_wait_ns: int = 0) -> None:
        self.host = host
        self.voter_set = voter_set
        self.quarantine_end_ns = now + self.silence_ns()
        self._epochs_by_ns = now
        """Until then it is worth waiting for those who know which epochs are over."""
        if epochs_wait_ns:
            self._epochs_by_ns = max(now + epochs_wait_ns, self.quarantine_end_ns + RECALL_WAIT_NS)
        self.recall = Recall(host, voter_set, is_needed=bool(epochs_wait_ns))
        self.knows_floors = False
        self.is_doubting = False
        """The clock cannot be relied on."""
        self.pushed: list[tuple[AgentLife, Ack]] = []
        self.naks = 0
        self._records: dict[AgentLife, Record] = {}
        self._seats: dict[ServiceName, Seat] = {}
        self._frozen: dict[ServiceName, Seat] = {}
        self._touched: dict[AgentLife, Record] = {}

    @property
    def silent_until_ns(self) -> int:
        return self.quarantine_end_ns if self._knows_enough else max(self.quarantine_end_ns, self._epochs_by_ns)

    @property
    def _knows_enough(self) -> bool:
        recall = self.recall
        return recall.is_over or recall.is_sure or (self.knows_floors and recall.is_complete)

    def silence_ns(self) -> int:
        """How long this voter is silent after its start: memory of what it promised before is gone."""
        return self.voter_set.length_max_ns

    def adopt(self, voter_set: VoterSet, now: int, *, knows_floors: bool) -> None:
        """Go by another voter set, which is on disk."""
        is_new = self.host not in self.voter_set.members and self.host in voter_set.members
        self.voter_set = voter_set
        self.recall.adopt(voter_set)
        if is_new and not knows_floors:
            # It has never promised anything; but it does not know yet which epochs are sealed.
            self.quarantine_end_ns = max(self.quarantine_end_ns, now + voter_set.length_max_ns)

    def set_floors(self, floors: Mapping[ServiceName, int], now: int) -> None:
        """The epochs that the store knows. Before the first promise, so that no older epoch comes back."""
        self.knows_floors = True
        for service, epoch in floors.items():
            self._raise_floor(service, self._seat(service), epoch, None)
        self._answer_touched(now, None)

    def recalls(self, heard: Heard, answer: EpochsAre, now: int) -> AskEpochs | None:
        """What another voter remembers, before the first promise here; what to ask it next."""
        if self.recall.is_over:
            return None
        for service, epoch in answer.epochs:
            if service in self._seats or len(self._seats) < SEATS_MAX:
                self._raise_floor(service, self._seat(service), epoch, None)
        self._answer_touched(now, None)
        return self.recall.heard(heard.sender, heard.incarnation, answer)

    def remembers(self, heard: Heard, asked: AskEpochs) -> EpochsAre:
        """For a voter that has started."""
        floors = {service: seat.floor for service, seat in self._seats.items() if seat.floor}
        return page(floors, asked, self.recall.memory_for(heard.sender, heard.incarnation))

    def floors(self, services: Iterable[ServiceName]) -> dict[ServiceName, int]:
        """Below which number claims are refused here, of each that was ever heard of."""
        return {service: seat.floor for service in services if (seat := self._seats.get(service)) is not None}

    def promised(self, service: ServiceName) -> tuple[AgentLife, int] | None:
        """To whom it was promised last, and under which epoch, whether or not that still runs."""
        seat = self._seats.get(service)
        return (seat.holder.life, seat.epoch) if seat is not None and seat.holder is not None else None

    # What arrives.

    def ask(self, heard: Heard, ask: Ask, now: int) -> Ack | Nak:
        """Answer an ASK: record what it brings, and renew what the asker is promised."""
        reason, detail = self._unable(heard.version, now)
        if reason is not None:
            if reason == "quarantine":
                self._learn(ask.changes)
            self.naks += 1
            return Nak(ask.seq, reason, detail)
        self.expire(now)
        # A claim that could not be remembered must not look like one that is promised.
        record = self._record((heard.sender, heard.incarnation), now) if self._has_room(ask) else None
        if record is None or record.is_fenced:
            self.naks += 1
            return Nak(ask.seq, "full" if record is None else "fenced")
        record.until_ns = max(record.until_ns, self.end_of_promise_ns(heard, now))
        record.is_run_out = False
        record.seq = max(record.seq, ask.seq)
        if record.number >= ask.base:
            for change in ask.changes:
                if change.number > record.number:
                    self._apply(record, change, now)
            record.number = max(record.number, ask.upto)
        self._answer_touched(now, record)
        return self._ack(record, ask.seq, now)

    def end_of_promise_ns(self, heard: Heard, now: int) -> int:
        return now + self.voter_set.length_ns

    def _unable(self, version: int, now: int) -> tuple[NakReason | None, int]:
        """Why this voter can promise nothing to an asker who goes by that voter set."""
        mine = self.voter_set.version
        if self.is_doubting:
            return "doubt", 0
        if version < mine:
            return "older-voter-set", mine
        if version > mine:
            return "newer-voter-set", mine
        if self.host not in self.voter_set.members:
            return "no-voter", 0
        if now < self.silent_until_ns:
            return "quarantine", self.silent_until_ns - now
        return None, 0

    def _learn(self, changes: Iterable[Change]) -> None:
        """A silent voter can still learn what is sealed; nothing is promised yet, so nobody is harmed."""
        for change in changes:
            if change.step == "take" and len(self._seats) < SEATS_MAX:
                seat = self._seat(change.service)
                seat.floor = max(seat.floor, change.epoch)

    def release(self, life: AgentLife, claims: Iterable[tuple[ServiceName, int]], now: int) -> None:
        """That life of that agent no longer answers for these services under these epochs."""
        self.expire(now)
        for service, epoch in claims:
            self._ended(service, life, epoch, now)
            record = self._records.get(life)
            claim = record.claims.get(service) if record is not None else None
            if record is not None and claim is not None and claim.epoch <= epoch:
                record.judge(claim, "older-epoch")
        self._answer_touched(now, None)

    def fenced(self, life: AgentLife, now: int) -> None:
        """That life of that agent is said to be over: it is promised nothing more, and who waits has its services.

        What it is promised runs on to its end. That costs less than fencing takes, and a fence device that lies
        would cost more.
        """
        record = self._records.get(life)
        if record is None:
            return
        record.is_fenced = True
        for service in list(record.claims):
            self._seats[service].waiting.pop(life, None)
            record.forget(service)
        for service, seat in self._seats.items():
            if seat.holder is record:
                self._raise_floor(service, seat, seat.epoch + 1, None)
        self.expire(now)

    # Time.

    def next_expiry_ns(self) -> int:
        """When a promise ends next: those who wait for it are to be answered then."""
        first = FAR_NS
        for record in self._records.values():
            if not record.is_run_out and record.until_ns < first:
                first = record.until_ns
        for seat in self._frozen.values():
            if seat.frozen_ns is not None and seat.frozen_ns < first:
                first = seat.frozen_ns
        return first

    def expire(self, now: int) -> None:
        """Notice promises that have run out; who has asked to take is answered, who waits is told."""
        for record in self._records.values():
            if not record.is_run_out and record.until_ns <= now:
                record.is_run_out = True
                for claim in record.claims.values():
                    if claim.verdict == "promised":
                        self._run_out(claim.service, self._seats[claim.service], now)
        if self._frozen:
            for service, seat in list(self._frozen.items()):
                if seat.frozen_ns is None or seat.frozen_ns <= now:
                    del self._frozen[service]
                    if seat.frozen_ns is not None:
                        self._run_out(service, seat, now)
        self._answer_touched(now, None)

    def _run_out(self, service: ServiceName, seat: Seat, now: int) -> None:
        is_over = seat.holder is not None and seat.holder.is_fenced
        best = self._best(service, seat, ("take", "wait") if is_over else ("take",), now)
        if best is not None:
            self._touch(best)
            self._promise(seat, best, best.claims[service])
        for record in seat.waiting.values():
            record.check_ns = 0
            self._touch(record)

    # Deciding.

    def _apply(self, record: Record, change: Change, now: int) -> None:
        service = change.service
        former = record.claims.get(service)
        if former is None and change.step in ("drop", "release") and service not in self._seats:
            return
        seat = self._seat(service)
        record.forget(service)
        seat.waiting.pop(record.life, None)
        if change.step == "release":
            self._ended(service, record.life, change.epoch, now)
        elif change.step == "drop":
            if seat.holder is record and seat.epoch <= change.epoch:
                self._leave(service, seat)
                self._serve(service, seat, now)
        else:
            claim = record.claims[service] = Claim(service, change.epoch, change.number, change.step)
            self._decide(record, claim, seat, now)

    def _decide(self, record: Record, claim: Claim, seat: Seat, now: int) -> None:
        """Promise a claim, or refuse it, or let it wait."""
        service = claim.service
        if claim.epoch < seat.floor:
            record.judge(claim, "older-epoch")
        elif claim.step == "take":
            self._raise_floor(service, seat, claim.epoch, record)
            if self.may_promise(record, claim, seat, now):
                self._promise(seat, record, claim)
            else:
                record.judge(claim, "busy")
                seat.waiting[record.life] = record
        elif seat.holder is record and seat.epoch == claim.epoch and seat.frozen_ns is None:
            record.judge(claim, "promised")
        else:
            record.judge(claim, "open")
            seat.waiting[record.life] = record
        if seat.holder is record and claim.verdict != "promised" and seat.frozen_ns is None:
            # It has let go of what it was promised in a way that the rules do not know: keep the promise to its end.
            seat.frozen_ns = record.until_ns
            self._frozen[service] = seat

    def may_promise(self, record: Record, claim: Claim, seat: Seat, now: int) -> bool:
        """True if nobody else can still rely on this service."""
        holder = seat.holder
        if holder is None or holder is record or seat.until_ns() <= now:
            return True
        # Another life of the same host: one kernel, whose keys its agent deletes before it says anything.
        return holder.life[0] == record.life[0] and claim.epoch > seat.epoch

    def _promise(self, seat: Seat, record: Record, claim: Claim) -> None:
        former = seat.holder
        if former is not None and former is not record:
            if former.life[0] == record.life[0]:
                record.until_ns = max(record.until_ns, seat.until_ns())
            theirs = former.claims.get(claim.service)
            if theirs is not None and theirs.verdict == "promised":
                former.judge(theirs, "older-epoch" if theirs.epoch < claim.epoch else "busy")
        self._raise_floor(claim.service, seat, claim.epoch, record)
        seat.holder, seat.epoch, seat.frozen_ns = record, claim.epoch, None
        self._frozen.pop(claim.service, None)
        seat.waiting.pop(record.life, None)
        record.judge(claim, "promised")
        for other in seat.waiting.values():
            # Or it would take what it was told is free, and is no longer.
            other.check_ns = 0
            self._touch(other)

    def _raise_floor(self, service: ServiceName, seat: Seat, epoch: int, by: Record | None) -> None:
        """Seal all lower epochs: they are not renewed any more. A running promise runs on to its end."""
        if epoch <= seat.floor:
            return
        seat.floor = epoch
        holder = seat.holder
        if holder is not None and holder is not by and seat.epoch < epoch and seat.frozen_ns is None:
            seat.frozen_ns = holder.until_ns
            self._frozen[service] = seat
            claim = holder.claims.get(service)
            if claim is not None and claim.epoch < epoch:
                holder.judge(claim, "older-epoch")
        for life, record in list(seat.waiting.items()):
            claim = record.claims[service]
            if claim.epoch < epoch and record is not by:
                del seat.waiting[life]
                record.judge(claim, "older-epoch")
                self._touch(record)

    def _ended(self, service: ServiceName, life: AgentLife, epoch: int, now: int) -> None:
        """That holder has given up that epoch, or cannot use it any more."""
        if service not in self._seats and len(self._seats) >= SEATS_MAX:
            return
        seat = self._seat(service)
        is_exact = self.is_released(seat, life, epoch)
        if is_exact:
            self._leave(service, seat)
        self._raise_floor(service, seat, epoch + 1, None)
        if is_exact:
            self._serve(service, seat, now)

    def is_released(self, seat: Seat, life: AgentLife, epoch: int) -> bool:
        """True if this ends the promise that runs, and is not about an older one.

        A life that has given up an epoch uses no lower one: this voter may not have heard of the last one it claimed.
        """
        return seat.holder is not None and seat.holder.life == life and seat.epoch <= epoch

    def _leave(self, service: ServiceName, seat: Seat) -> None:
        seat.empty()
        self._frozen.pop(service, None)

    def _serve(self, service: ServiceName, seat: Seat, now: int) -> None:
        """A holder has let go: whoever waits with the highest epoch has it at once."""
        best = self._best(service, seat, ("take", "wait"), now)
        if best is not None:
            self._touch(best)
            self._promise(seat, best, best.claims[service])
        for record in seat.waiting.values():
            record.check_ns = 0
            self._touch(record)

    def _best(self, service: ServiceName, seat: Seat, steps: tuple[Step, ...], now: int) -> Record | None:
        """Of those who wait and were heard so lately that a promise would still be of use: who takes, before who waits.

        Who takes was told by a majority that it may. Somebody who only waits, under a higher epoch, would be promised
        here what it may be told nowhere else; and the one that has the service would have one voter less for good.
        """
        best, highest = None, (False, -1)
        for record in seat.waiting.values():
            claim = record.claims[service]
            rank = (claim.step == "take", claim.epoch)
            if record.until_ns > now and claim.step in steps and claim.epoch >= seat.floor and rank > highest:
                best, highest = record, rank
        return best

    # Answers.

    def _ack(self, record: Record, seq: int, now: int) -> Ack:
        covered = record.number
        refused: tuple[Refusal, ...] = ()
        granted: tuple[int, ...] = ()
        if record.refused:
            numbers = sorted(record.refused)
            if len(numbers) > REFUSALS_MAX:
                # A refusal that is not told must not be taken for a promise.
                covered = numbers[REFUSALS_MAX] - 1
                numbers = numbers[:REFUSALS_MAX]
            claims = (record.refused[number] for number in numbers)
            refused = tuple(refusal(claim, self._seats[claim.service], now) for claim in claims)
        if record.granted:
            granted = tuple(record.granted)[:NUMBERS_MAX]
        free = self._free(record, now) if record.open and now >= record.check_ns else ()
        return Ack(seq, record.number, covered, refused, granted, free)

    def _free(self, record: Record, now: int) -> tuple[int, ...]:
        """Numbers of open claims whose service nobody is promised here."""
        soonest, found = FAR_NS, []
        for service, claim in record.open.items():
            until = self._seats[service].until_ns()
            if until <= now:
                found.append(claim.number)
            elif until < soonest:
                soonest = until
        # Ends only move away, but where something happens, and that sets this back.
        record.check_ns = now if found else soonest
        return tuple(found[:NUMBERS_MAX])

    def _touch(self, record: Record) -> None:
        self._touched[record.life] = record

    def _answer_touched(self, now: int, asker: Record | None) -> None:
        """Tell those whose standing has changed at once, as if their latest ASK had come just now."""
        if not self._touched:
            return
        for record in self._touched.values():
            if record is not asker and record.until_ns > now:
                self.pushed.append((record.life, self._ack(record, record.seq, now)))
        self._touched.clear()

    # Memory.

    def _has_room(self, ask: Ask) -> bool:
        return len(self._seats) + len(ask.changes) <= SEATS_MAX or all(
            change.service in self._seats for change in ask.changes
        )

    def _seat(self, service: ServiceName) -> Seat:
        seat = self._seats.get(service)
        if seat is None:
            seat = self._seats[service] = Seat()
        return seat

    def _record(self, life: AgentLife, now: int) -> Record | None:
        record = self._records.get(life)
        if record is not None:
            return record
        lives = [other for other in self._records if other[0] == life[0]]
        if len(lives) >= LIVES_MAX or len(self._records) >= AGENTS_MAX:
            self._tidy(now)
            lives = [other for other in self._records if other[0] == life[0]]
            if len(lives) >= LIVES_MAX or len(self._records) >= AGENTS_MAX:
                return None
        record = self._records[life] = Record(life)
        return record

    def _tidy(self, now: int) -> None:
        """Forget agents that are promised nothing any more."""
        for life, record in list(self._records.items()):
            seats = [self._seats[service] for service in record.claims]
            holding = [seat for seat in self._seats.values() if seat.holder is record]
            if record.until_ns > now or any(seat.until_ns() > now for seat in holding):
                continue
            for seat in seats:
                seat.waiting.pop(life, None)
            for seat in holding:
                seat.empty()
            del self._records[life]
