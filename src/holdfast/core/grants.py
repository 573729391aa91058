"""Grants: one agent's part in deciding who may be active, and until when. Sans-IO; docs/grants.md is the protocol.

In:   `receive`, `tick`, commands of the agent, confirmations of its kernel and disk, readings of clocks.
Out:  `take` (what is to be sent, done in the kernel, written, and known), `deadline` (when to `tick` at the latest).
Always (I1): at no instant do the kernels of two hosts answer for one service. It rests on what the other files of this
name state in their first lines, and on the caller:
- `now` is CLOCK_MONOTONIC_RAW in nanoseconds, read after the message was received, and never kept from before;
- outputs are carried out in order; nothing of the kernel is confirmed before the kernel has confirmed it; an Arm is
  carried out only if it is wanted (`wants`), and a failure of anything else is said (`kernel_failed`);
- two keys, or an absolute end, see to it that a late Arm does not make the kernel answer longer (docs/grants.md).
"""

from collections.abc import Mapping
from typing import Literal

from holdfast.core.grant_candidate import Candidate
from holdfast.core.grant_claims import Claims
from holdfast.core.grant_clock import ClockWatch
from holdfast.core.grant_holder import Holder
from holdfast.core.grant_instructions import Instructions
from holdfast.core.grant_members import Members, ill_made
from holdfast.core.grant_releases import Releases
from holdfast.core.grant_rounds import Rounds
from holdfast.core.grant_voter import FAR_NS, Voter
from holdfast.core.suspicion_words import PeerChanged
from holdfast.errors import UserError
from holdfast.model.granting import (
    OLDER_MAY_COME_BACK,
    ROUNDS_APART_NS,
    Ack,
    Arm,
    Ask,
    AskEpochs,
    Doubt,
    EpochsAre,
    Fenced,
    GrantMessage,
    Heard,
    Nak,
    NeedVoterSet,
    Output,
    Persist,
    Profile,
    Release,
    SendTo,
    Succession,
    Taking,
    VoterSet,
    VoterSetIs,
)
from holdfast.model.names import HostName, ServiceName


class Grantor:
    """Voter, holder and successor of one host, for one life of its agent."""

    voter_type = Voter
    rounds_type = Rounds
    holder_type = Holder
    candidate_type = Candidate

    def __init__(
        self,
        host: HostName,
        incarnation: int,
        profile: Profile,
        voter_set: VoterSet,
        now: int,
        epochs_wait_ns: int = 0,
    ) -> None:
        """Begin a life: silent as a voter, and with a kernel that must be closed first (`CloseAll`).

        Args:
            host: the own name.
            incarnation: random, not 0, new for each start of the agent.
            profile: lengths; that of the promises stands in the voter set.
            voter_set: as it is on this host's disk.
            now: the clock.
            epochs_wait_ns: for how long the voter waits to be told the epochs (`set_floors`, and by other voters).
        """
        wrong = ill_made(voter_set)
        if wrong is not None:
            raise UserError(f"voter set {voter_set.version} cannot be used: {wrong}")
        self.host = host
        self.incarnation = incarnation
        self.profile = profile
        self._now = now
        self._out: list[Output] = []
        self._own_post: list[SendTo] = []
        self.members = Members(host, voter_set, profile.rho_ppm)
        self.voter = self.voter_type(host, voter_set, now, epochs_wait_ns)
        self.claims = Claims()
        self.rounds = self.rounds_type(self.claims, voter_set, profile.rho_ppm)
        self.holder = self.holder_type(profile, self.claims, self.rounds, self._out)
        self.candidate = self.candidate_type(host, incarnation, profile, self.claims, self.rounds)
        self.clock_watch = ClockWatch(profile.rho_ppm, profile.rest_ns)
        self._instructions = Instructions(
            self.members, self.claims, self.rounds, self.holder, self.candidate, self._out
        )
        self._releases = Releases(self.members, self.rounds, self.candidate)
        self._recall_ns = now
        self._next_round_ns = now
        self._round_ns = now - ROUNDS_APART_NS
        self._needed_version = 0
        self._doubt: str | None = None
        self._peers_off: tuple[HostName, ...] = ()
        self._needs_floors = True
        self.is_fenced = False
        self._is_started = False
        self.strangers = 0
        """Answers meant for a former life."""
        self.holder.shut("the agent starts", now)

    # Time and messages.

    def deadline(self) -> int | None:
        """When to call `tick` at the latest."""
        return min(
            self._urgent_round_ns() if self._instructions.wants_round else self._next_round_ns,
            self.holder.deadline_ns(),
            self.candidate.deadline_ns(),
            self.voter.next_expiry_ns(),
            self._recall_deadline_ns(),
        )

    def tick(self, now: int) -> None:
        """Time has come so far."""
        now = self._later(now)
        if now >= self._next_round_ns:
            # Late rounds are not made up for.
            heartbeat = self.profile.heartbeat_ns
            self._next_round_ns = max(self._next_round_ns + heartbeat, now + heartbeat // 2)
            self._round(now)
        self._remember(now)
        self._say_floors(now)
        self._finish(now)

    def beat(self, now: int) -> None:
        """Begin a round now: for a caller that sends heartbeats on a schedule of its own."""
        now = self._later(now)
        self._next_round_ns = now + self.profile.heartbeat_ns * 3 // 2
        self._round(now)
        self._finish(now)

    def receive(self, heard: Heard, now: int) -> None:
        """A message has arrived; `now` was read after that."""
        now = self._later(now)
        self._watch_clock(heard, now)
        self.members.heard(heard.sender, heard.version, now)
        self._dispatch(heard, now)
        self._finish(now)

    def _dispatch(self, heard: Heard, now: int) -> None:
        message = heard.message
        life = (heard.sender, heard.incarnation)
        if isinstance(message, Ack | Nak):
            if not self.is_for_me(heard):
                self.strangers += 1
            elif isinstance(message, Ack):
                self._count(heard.sender, message, now)
            else:
                self.refused_by(heard.sender, message, now)
        elif isinstance(message, Ask):
            answer = self.voter.ask(heard, message, now)
            self._send(heard.sender, answer, now, heard.incarnation)
            if isinstance(answer, Nak):
                self._teach(heard, answer, now)
        elif isinstance(message, Release):
            self.voter.release(life, message.claims, now)
            for service, epoch in message.claims:
                self.candidate.released(service, epoch, now)
        elif isinstance(message, Fenced):
            self.voter.fenced((message.host, message.incarnation), now)
        elif isinstance(message, AskEpochs):
            self._send(heard.sender, self.voter.remembers(heard, message), now, heard.incarnation)
        elif isinstance(message, EpochsAre):
            following = self.voter.recalls(heard, message, now) if self.is_for_me(heard) else None
            if following is not None:
                self._send(heard.sender, following, now)
        else:
            self._adopt(message.voter_set)

    def is_for_me(self, heard: Heard) -> bool:
        """An answer counts only in the life that asked."""
        return heard.to_incarnation == self.incarnation

    def _count(self, voter: HostName, ack: Ack, now: int) -> None:
        known = self.rounds.known(voter)
        if not self.rounds.count(voter, ack):
            return
        self.holder.is_stale = True
        if self.rounds.is_marked:
            self.rounds.is_marked = False
            self.holder.is_unequal = True
            self.candidate.is_stale = True
        if known < ack.number < self.claims.number:
            # It lacks more than fitted into one message, and gets it as fast as it takes it.
            self._ask(voter, self.rounds.begin(now), now)

    def refused_by(self, voter: HostName, nak: Nak, now: int) -> None:
        """A NAK is no promise of anything."""
        if nak.reason == "older-voter-set":
            self._need(nak.detail)
        elif nak.reason == "newer-voter-set":
            self._send(voter, VoterSetIs(self.members.current), now)
        elif nak.reason == "fenced" and not self.is_fenced:
            self.is_fenced = True
            self._out.append(
                Doubt(f"{voter} holds this life of the agent for fenced: it gets nothing, and must start again")
            )

    def _teach(self, heard: Heard, nak: Nak, now: int) -> None:
        if nak.reason == "older-voter-set":
            self._send(heard.sender, VoterSetIs(self.members.current), now)
        elif nak.reason == "newer-voter-set":
            self._need(heard.version)

    def _need(self, version: int) -> None:
        if version > max(self.members.newest.version, self._needed_version):
            self._needed_version = version
            self._out.append(NeedVoterSet(version))

    # Commands of the agent.

    def claim(self, service: ServiceName, epoch: int, how: Literal["take", "wait"], now: int) -> None:
        """Follow an instruction to hold a service, or to wait for it, under an epoch that is this life's alone."""
        self._instructions.claim(service, epoch, how)
        self._finish(self._later(now))

    def seal(self, service: ServiceName, epoch: int, now: int) -> None:
        """Hold it under a higher epoch from now on, without a moment in between: lower ones can succeed no more."""
        self._instructions.seal(service, epoch)
        self._finish(self._later(now))

    def release(self, service: ServiceName, now: int) -> None:
        """Give a service up, or wait for it no longer. The kernel closes first; say `closed` then."""
        self._instructions.release(service)
        self._finish(self._later(now))

    def order(self, succession: Succession, now: int) -> None:
        """Follow a standing order: wait for the service in the turn that it gives to this life of this agent."""
        self._instructions.order(succession)
        self._finish(self._later(now))

    def is_claiming(self, service: ServiceName) -> bool:
        """Whether it is being claimed for this host, and may yet be held."""
        entry = self.claims.get(service)
        return entry is not None and entry.step == "take" and entry.condition in ("asking", "joining")

    def noticed(self, change: PeerChanged, now: int) -> None:
        """What suspicion makes of another agent. Only `failed` counts: a suspicion that nobody shares may be wrong."""
        if change.after == "failed":
            self.found_failed(change.peer, now)
        else:
            self.trust(change.peer)

    def found_failed(self, host: HostName, now: int) -> None:
        """That host has failed, as far as can be known from here. It gives no right; it ends a successor's patience."""
        self.candidate.failed.add(host)
        self.candidate.is_stale = True
        self._finish(self._later(now))

    def trust(self, host: HostName) -> None:
        self.candidate.failed.discard(host)

    def fenced(self, host: HostName, incarnation: int, record: str, now: int) -> None:
        """A fence device (or a person) has confirmed that this life of the host is over. Timed out is not confirmed."""
        now = self._later(now)
        for member in self.members.current.members:
            if member != host:
                self._send(member, Fenced(host, incarnation, record), now)
        self._finish(now)

    def set_voter_set(self, voter_set: VoterSet, now: int) -> None:
        """The store has a newer one. It is used when it is on disk (`Persist`, `persisted`)."""
        self._adopt(voter_set)
        self._finish(self._later(now))

    def _adopt(self, voter_set: VoterSet) -> None:
        before = self.members.proposed
        refusal = self.members.propose(voter_set)
        if refusal is not None:
            self._out.append(Doubt(f"voter set {voter_set.version} is refused: {refusal}"))
        elif self.members.proposed is not None and self.members.proposed != before:
            self._needs_floors = True
            self._out.append(Persist(self.members.proposed))

    def persisted(self, version: int, now: int) -> None:
        """That voter set is on disk, fsynced; before that, `set_floors` was said with what the store knows now."""
        now = self._later(now)
        if self.members.persisted(version):
            self.voter.adopt(self.members.current, now, knows_floors=not self._needs_floors)
            self.rounds.adopt(self.members.current)
            self.holder.is_unequal = self.holder.is_stale = self.candidate.is_stale = True
            self._instructions.wants_round = True
        self._finish(now)

    def set_floors(self, floors: Mapping[ServiceName, int], now: int) -> None:
        """The epochs in the store: after a start, while the voter is silent, and again before each `persisted`.

        What a voter knows of epochs goes with it when it goes; so those that stay must know what the store does.
        """
        now = self._later(now)
        self.voter.set_floors(floors, now)
        self._needs_floors = False
        self._finish(now)

    def may_change_voters(self, now: int) -> bool:
        """True once the present voter set is sealed, so that the next one may be made."""
        return self.members.may_change(self._later(now))

    # Confirmations of the kernel.

    def armed(self, until_ns: int, now: int) -> None:
        """Both keys are set and end then, checked in time."""
        now = self._later(now)
        self.holder.armed(until_ns, now)
        self._finish(now)

    def arm_failed(self, reason: str, now: int) -> None:
        """The Arm was not carried out in time; both keys are deleted, confirmed; what is owned is as it was said."""
        now = self._later(now)
        self.holder.arm_failed(reason, now)
        self._finish(now)

    def wants(self, arm: Arm) -> bool:
        """Ask before each Arm: False if it was overtaken by something that failed; then it must not be carried out."""
        return self.holder.pending is arm

    def kernel_failed(self, reason: str, now: int, own: ServiceName | None = None) -> None:
        """Own (of that service), Disown, Close or CloseAll was not carried out, or is not confirmed.

        All is closed (again) first. A service that the kernel does not take in twice in a row is given up.
        """
        now = self._later(now)
        self.holder.kernel_failed(reason, now, own)
        self._finish(now)

    def closed(self, service: ServiceName, now: int) -> None:
        """The kernel no longer answers for the service."""
        now = self._later(now)
        self.holder.closed(service)
        self._finish(now)

    def all_closed(self, now: int) -> None:
        """Both keys are gone and the owned set is empty."""
        now = self._later(now)
        self.holder.all_closed()
        if not self.holder.is_shut:
            self._is_started = True
            self._instructions.wants_round = True
        self._finish(now)

    # Clocks.

    def clocks(self, raw_ns: int, monotonic_ns: int, now: int) -> None:
        """A reading of CLOCK_MONOTONIC_RAW beside CLOCK_MONOTONIC; once a second."""
        self.clock_watch.own(raw_ns, monotonic_ns)
        now = self._later(now)
        self._look_at_clock(now)
        self._finish(now)

    def _watch_clock(self, heard: Heard, now: int) -> None:
        if heard.sender == self.host:
            return
        if self.clock_watch.peer(heard.sender, heard.incarnation, heard.clock_ns, now):
            self.stood_still(now)
        self._look_at_clock(now)

    def _look_at_clock(self, now: int) -> None:
        doubt = self.clock_watch.doubt()
        if (doubt is None) != (self._doubt is None):
            self._out.append(Doubt(f"{doubt}; nothing is promised or held meanwhile" if doubt else "clock: well again"))
            if doubt is not None:
                self.holder.shut("the clock is in doubt", now)
                self.rounds.forget()
        off = self.clock_watch.peers_off()
        if off != self._peers_off and doubt is None:
            self._out.append(
                Doubt(f"clocks of other agents run apart from this one: {', '.join(off) or 'none any more'}")
            )
        self._doubt, self._peers_off = doubt, off
        self.voter.is_doubting = self.holder.is_barred = doubt is not None

    def stood_still(self, now: int) -> None:
        """The whole machine stood still, its timers too: what was counted before is worth nothing now."""
        self.clock_watch.forget()
        self.holder.shut("this machine stood still", now)
        self.rounds.forget()
        self._out.append(Doubt("this machine stood still: its services were closed, and are asked for anew"))

    # What follows from anything.

    def take(self) -> list[Output]:
        """What is to be done, in this order."""
        out = self._out[:]
        self._out.clear()
        return out

    def _later(self, now: int) -> int:
        """A clock that is read late is late; one that goes back was kept from before."""
        self._now = max(self._now, now)
        return self._now

    def _finish(self, now: int) -> None:
        """Whatever has happened: answer those who wait, take what is due, send releases, move the keys."""
        self._remember(now)
        while True:
            self.voter.expire(now)
            if self.voter.pushed:
                pushed, self.voter.pushed = self.voter.pushed, []
                for (host, incarnation), ack in pushed:
                    self._send(host, ack, now, incarnation)
            self.holder.tick(now)
            for entry, reason in self.candidate.due(now):
                self._out.append(Taking(entry.service, entry.epoch, reason))
                self._instructions.take(entry.service, entry.epoch)
            self._instructions.wait_no_longer()
            self.holder.settle(now)
            if self.holder.to_release:
                self._release(now)
            if self._instructions.wants_round and now >= self._urgent_round_ns():
                self._round(now)
            if not self._own_post:
                return
            post, self._own_post = self._own_post, []
            for letter in post:
                self._dispatch(self._heard_from_myself(letter), now)

    def _heard_from_myself(self, letter: SendTo) -> Heard:
        meant_for = letter.incarnation or self.incarnation
        return Heard(self.host, self.incarnation, meant_for, letter.version, letter.clock_ns, letter.message)

    def _send(self, host: HostName, message: GrantMessage, now: int, incarnation: int = 0) -> None:
        letter = SendTo(host, message, self.members.current.version, now, incarnation)
        if host == self.host:
            self._own_post.append(letter)
        else:
            self._out.append(letter)

    def _urgent_round_ns(self) -> int:
        return self._round_ns + ROUNDS_APART_NS

    def _round(self, now: int) -> None:
        """Ask every voter to renew all that is claimed; the clock was read before anything of it is built."""
        self._instructions.wants_round = False
        self._round_ns = now
        if not self._is_started or self._doubt is not None:
            return
        seq = self.rounds.begin(now)
        for member in self.members.current.members:
            self._ask(member, seq, now)
        for host, release in self._releases.repeat(now):
            self._send(host, release, now)

    def _ask(self, voter: HostName, seq: int, now: int) -> None:
        base = min(self.rounds.known(voter), self.claims.number)
        changes, upto = self.claims.since(base)
        self._send(voter, Ask(seq, base, upto, changes), now)

    def _release(self, now: int) -> None:
        """Tell everybody what is closed, at once."""
        closed, self.holder.to_release = self.holder.to_release, []
        ended = [self.holder.released(entry) for entry in closed]
        for host, release in self._releases.begin((entry for entry in ended if entry.step == "release"), now):
            self._send(host, release, now)
        for entry in closed:
            self._instructions.follow_on(entry.service)
        self._instructions.wants_round = True

    def _remember(self, now: int) -> None:
        """After a start: ask the others which epochs are over, and vote when enough have told, or time is up."""
        voter = self.voter
        if voter.recall.is_over or now < voter.quarantine_end_ns:
            return
        if now < voter.silent_until_ns:
            if now >= self._recall_ns:
                self._recall_ns = now + self.profile.heartbeat_ns
                for host, question in voter.recall.questions():
                    self._send(host, question, now)
            return
        if voter.recall.is_sure:
            self._needs_floors = False
        doubt = voter.recall.end()
        if doubt is not None:
            self._out.append(Doubt(doubt))

    def _recall_deadline_ns(self) -> int:
        voter = self.voter
        if voter.recall.is_over:
            return FAR_NS
        return min(max(voter.quarantine_end_ns, self._recall_ns), voter.silent_until_ns)

    def _say_floors(self, now: int) -> None:
        if self._needs_floors and now >= self.voter.silent_until_ns and self.members.proposed is None:
            self._needs_floors = False
            self._out.append(Doubt(f"votes without knowing the epochs of the store: {OLDER_MAY_COME_BACK}"))
