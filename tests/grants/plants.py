"""The known mistakes, each as a change of a Grantor, of the agent around it, or of the manager's habits.

The right thing is never to be found here. Stories show each of them going wrong; random runs find most by chance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holdfast.core.grant_claims import Entry
from holdfast.core.grant_members import Members
from holdfast.core.grant_rounds import Rounds
from holdfast.core.grant_seats import AgentLife, Claim, Record, Seat
from holdfast.core.grant_voter import Voter
from holdfast.core.grants import Grantor
from holdfast.model.granting import Ack, Arm, Close, Heard, Nak, Output, Own, Persist, VoterSet
from holdfast.model.names import HostName, ServiceName
from tests.grants.agent import Agent, Steps
from tests.grants.kernel import A, B


@dataclass(frozen=True)
class Plant:
    says: str
    grantor: type[Grantor] = Grantor
    agent: type[Agent] = Agent
    habits: frozenset[str] = field(default_factory=frozenset)


def _with_voter(voter: type[Voter]) -> type[Grantor]:
    return type("Planted", (Grantor,), {"voter_type": voter})


def _with_rounds(rounds: type[Rounds]) -> type[Grantor]:
    return type("Planted", (Grantor,), {"rounds_type": rounds})


# 1, 26: what a restart forgets.


class ForgetfulVoter(Voter):
    def silence_ns(self) -> int:
        return 0


class ShortSilence(Voter):
    def silence_ns(self) -> int:
        return self.voter_set.length_ns


class AsksNobody(Voter):
    def __init__(self, host: HostName, voter_set: VoterSet, now: int, epochs_wait_ns: int = 0) -> None:
        super().__init__(host, voter_set, now)


class AsksTooEarly(Grantor):
    def _remember(self, now: int) -> None:
        if now < self.voter.quarantine_end_ns and now >= self._recall_ns:
            self._recall_ns = now + self.profile.heartbeat_ns
            for host, question in self.voter.recall.questions():
                self._send(host, question, now)
        super()._remember(now)


class NoFloors(Agent):
    def floors(self) -> dict[ServiceName, int]:
        return {}


# 2, 3, 8, 7, 14: the order of things in the kernel.


class OneTimer(Agent):
    def arm(self, output: Arm) -> Steps:
        yield "read A"
        length = self.length_ns(output.until_ns - self.clock())
        if length < 2 * self.profile.tick_ns:
            yield from self.give_up("too little is left of the grant")
            return
        yield "arm A"
        self.kernel.arm(A, length, self.world.true_ns)
        self.kernel.arm(B, length, self.world.true_ns)
        yield "armed"
        self.grantor.armed(output.until_ns, self.clock())


class OneTimerChecked(Agent):
    def arm(self, output: Arm) -> Steps:
        yield "read A"
        began = self.clock()
        length = self.length_ns(output.until_ns - began)
        if length < 2 * self.profile.tick_ns:
            yield from self.give_up("too little is left of the grant")
            return
        yield "arm A"
        self.kernel.arm(A, length, self.world.true_ns)
        self.kernel.arm(B, length, self.world.true_ns)
        yield "check A"
        if self.is_late(began):
            yield from self.give_up("setting a key took too long")
            return
        yield "armed"
        self.grantor.armed(output.until_ns, self.clock())


class ReleasesFirst(Agent):
    def _carry_out(self) -> Steps:
        closing: list[ServiceName] = []
        todo = list(self.grantor.take())
        while todo:
            output = todo.pop(0)
            self.world.saw(self.host.name, output)
            if isinstance(output, Close):
                closing.append(output.service)
                self.grantor.closed(output.service, self.clock())
            else:
                yield from self.carry_out(output)
            todo.extend(self.grantor.take())
        for service in closing:
            yield "close"
            self.kernel.disown(service, self.world.true_ns)


class ArmsOnTheSide(Agent):
    """Owning and arming are done by another thread, and taken for done."""

    def carry_out(self, output: Output) -> Steps:
        if isinstance(output, Own):
            yield "own"
            own = output
            self._later(lambda: self.kernel.own(own.service, own.epoch, self.world.true_ns))
        elif isinstance(output, Arm):
            yield "read A"
            length = self.length_ns(output.until_ns - self.clock())
            self._later(lambda: self._set(length))
            self.grantor.armed(output.until_ns, self.clock())
        else:
            yield from super().carry_out(output)

    def _set(self, length: int) -> None:
        self.kernel.arm(A, length, self.world.true_ns)
        self.kernel.arm(B, length, self.world.true_ns)

    def _later(self, act: Callable[[], None]) -> None:
        self.world.at(self.world.true_ns + self.world.step_ns(self.host.name, "side"), act)


class RoundsUp(Agent):
    def length_ns(self, left_ns: int) -> int:
        tick = self.profile.tick_ns
        return -(-(left_ns - self.profile.slack_ns) // tick) * tick


# 4, 5, 9, 10, 11, 12, 13, 20, 27: counting.


class FromTheReply(Grantor):
    def _count(self, voter: HostName, ack: Ack, now: int) -> None:
        self.rounds.note_sent(ack.seq, now)
        super()._count(voter, ack, now)


class SameNumberAgain(Rounds):
    """Every number is used four times."""

    times = 0

    def begin(self, now: int) -> int:
        self.times += 1
        if self.seq and self.times % 4:
            self.note_sent(self.seq, now)
            return self.seq
        return super().begin(now)


class AnyVoterRenews(Rounds):
    is_had = False

    def compute_end(self, ends: list[int], quorum: int) -> int:
        self.is_had = self.is_had or len(ends) >= quorum
        return max(ends, default=0) if self.is_had else 0


class MixedRounds(Rounds):
    def compute_end(self, ends: list[int], quorum: int) -> int:
        return max(ends) if len(ends) >= quorum else 0


class CountsReplies(Rounds):
    """Each reply is a voice, whoever it is from."""

    def count(self, voter: HostName, ack: Ack) -> bool:
        end = self._ends.get(ack.seq)
        if end is not None:
            self.replies = [*self.__dict__.get("replies", []), end][-8:]
        return super().count(voter, ack)

    def ends_in(self, mask: int) -> list[int]:
        return list(self.__dict__.get("replies", [])) if mask else []


class RefusalCounts(Rounds):
    def is_promised(self, entry: Entry, ack: Ack, refused: Mapping[int, str], granted: set[int]) -> bool:
        return entry.step == "take" and entry.number <= ack.covered


class NoDrift(Rounds):
    def end_of_promise_ns(self, sent_ns: int) -> int:
        return sent_ns + self.voter_set.length_ns


class WithoutClaim(Rounds):
    def is_promised(self, entry: Entry, ack: Ack, refused: Mapping[int, str], granted: set[int]) -> bool:
        return entry.step == "take" and entry.number not in refused


class FormerLife(Grantor):
    def is_for_me(self, heard: Heard) -> bool:
        return True


# 6, 15, 16, 17, 21: the voter's rules.


class AnyRelease(Voter):
    def is_released(self, seat: Seat, life: AgentLife, epoch: int) -> bool:
        return seat.holder is not None and seat.holder.life[0] == life[0]


class SameHostRelease(Voter):
    def is_released(self, seat: Seat, life: AgentLife, epoch: int) -> bool:
        return seat.holder is not None and seat.holder.life[0] == life[0] and seat.epoch == epoch


class ComparesEpochs(Voter):
    def may_promise(self, record: Record, claim: Claim, seat: Seat, now: int) -> bool:
        return claim.epoch == seat.epoch or super().may_promise(record, claim, seat, now)


class HigherWins(Voter):
    def may_promise(self, record: Record, claim: Claim, seat: Seat, now: int) -> bool:
        return claim.epoch > seat.epoch or super().may_promise(record, claim, seat, now)


class EndsAtOnce(Voter):
    """Believes that who is fenced is dead, and does not wait for the end of what it was promised."""

    def fenced(self, life: AgentLife, now: int) -> None:
        record = self._records.get(life)
        if record is not None:
            record.until_ns = min(record.until_ns, now)
        super().fenced(life, now)


class AskersClock(Voter):
    def end_of_promise_ns(self, heard: Heard, now: int) -> int:
        return heard.clock_ns + self.voter_set.length_ns


class TakesNakForAck(Grantor):
    voter_type = Voter

    def refused_by(self, voter: HostName, nak: Nak, now: int) -> None:
        number = self.claims.number
        self._count(voter, Ack(nak.seq, number, number), now)


# 18, 19: clocks.


class CachedTime(Agent):
    def stamp(self) -> int:
        return self.woken_ns


class NeverLater(Grantor):
    """Believes the time it is given."""

    def _later(self, now: int) -> int:
        return now


class Unwatched(NeverLater):
    """Does not look at its peers' clocks either: that would close the others when a clock is set forward."""

    def _watch_clock(self, heard: Heard, now: int) -> None:
        return


class WallClock(Agent):
    def clock(self) -> int:
        return self.host.clock.at(self.world.true_ns) + self.host.wall_ns

    def when(self, own_ns: int) -> int:
        return self.host.clock.when(own_ns - self.host.wall_ns)


# 23, 24, 25: the voter set.


class AnyMembers(Members):
    def propose(self, voter_set: VoterSet) -> str | None:
        if voter_set.version > self.newest.version:
            self.proposed = voter_set
        return None


class SeveralAtOnce(Grantor):
    def __init__(self, host: HostName, incarnation: int, profile: object, voter_set: VoterSet, now: int) -> None:
        super().__init__(host, incarnation, profile, voter_set, now)  # type: ignore[arg-type]
        self.members.propose = AnyMembers.propose.__get__(self.members)  # type: ignore[method-assign]


class NothingOnDisk(Agent):
    def carry_out(self, output: Output) -> Steps:
        if isinstance(output, Persist):
            yield "write"
            self.grantor.set_floors(self.floors(), self.clock())
            self.grantor.persisted(output.voter_set.version, self.clock())
        else:
            yield from super().carry_out(output)


RESUMES = frozenset({"resumes"})
PLANTS: dict[str, Plant] = {
    "1": Plant("a voter that restarts promises at once", _with_voter(ForgetfulVoter)),
    "1b": Plant("silence as long as the present promise", _with_voter(ShortSilence)),
    "2": Plant("one relative timer", agent=OneTimer),
    "3": Plant("one timer, checked after", agent=OneTimerChecked),
    "4": Plant("timed from the reply", FromTheReply),
    "5": Plant("resent under the same number", _with_rounds(SameNumberAgain)),
    "6": Plant("a release ends any promise", _with_voter(AnyRelease)),
    "7": Plant("release before the kernel is closed", agent=ReleasesFirst),
    "8": Plant("an arming goes through after the release", agent=ArmsOnTheSide),
    "9": Plant("a minority renews", _with_rounds(AnyVoterRenews)),
    "10": Plant("rounds mixed", _with_rounds(MixedRounds)),
    "11": Plant("replies counted instead of voters", _with_rounds(CountsReplies)),
    "12": Plant("a refusal counts as a promise", _with_rounds(RefusalCounts)),
    "13": Plant("no margin for clocks", _with_rounds(NoDrift)),
    "14": Plant("kernel lengths rounded up", agent=RoundsUp),
    "15": Plant("voters compare epochs, not holders", _with_voter(ComparesEpochs), habits=frozenset({"same epoch"})),
    "16": Plant("a higher epoch wins at once", _with_voter(HigherWins)),
    "17": Plant("the end is in the asker's clock", _with_voter(AskersClock)),
    "18": Plant("the loop's cached time", NeverLater, CachedTime),
    "19": Plant("the wall clock", Unwatched, WallClock),
    "20": Plant("a reply to a former life counts", FormerLife, habits=RESUMES),
    "21": Plant("an epoch resumed after a restart", _with_voter(SameHostRelease), habits=RESUMES),
    "22": Plant("fenced, unconfirmed", _with_voter(EndsAtOnce), habits=frozenset({"unconfirmed"})),
    "23": Plant("several members replaced at once", SeveralAtOnce, habits=frozenset({"several members"})),
    "24": Plant("steps not sealed", habits=frozenset({"unsealed"})),
    "25": Plant("voter set not on disk", agent=NothingOnDisk),
    "26": Plant("floors forgotten", agent=NoFloors),
    "27": Plant("renewed without a claim", _with_rounds(WithoutClaim)),
    "28": Plant("a voter that starts asks nobody for epochs", _with_voter(AsksNobody)),
    "28b": Plant("it asks for epochs while promises of its former life run", AsksTooEarly),
}
