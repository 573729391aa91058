"""The words of grants: profiles, voter sets, successions, what agents say to one another, what a `Grantor` wants done.

All instants are integer nanoseconds of CLOCK_MONOTONIC_RAW of the host that uses them; no instant of one host is ever
compared with one of another, but for watching the clocks themselves. docs/grants.md says what the words mean.
"""

from typing import Literal

from msgspec import Struct, structs

from holdfast.model.names import HostName, ServiceName, VnfcName

US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
PPM = 1_000_000

CHANGES_BYTES_MAX = 1100
"""Bytes of changes of the claim set in one ASK: with head and MAC it stays below what an Ethernet frame carries."""
EPOCHS_BYTES_MAX = 1100
"""Bytes of epochs in one answer to a voter that has started; it asks for the rest."""
REFUSALS_MAX = 32
"""Refused claims named in one ACK; what cannot be named is not covered by it."""
NUMBERS_MAX = 240
"""Granted, and free, waiting claims named in one ACK; the others are named when these have been dealt with."""
RELEASES_MAX = 16
"""Services named in one RELEASE."""
CLAIMS_MAX = 1024
"""Services that one agent may ever have claimed in its life."""
LIVES_MAX = 4
"""Incarnations of one agent whose promises a voter keeps at the same time."""
AGENTS_MAX = 64
"""Agents a voter knows."""
SEATS_MAX = 4096
"""Services whose epochs a voter remembers."""
SENT_MAX = 512
"""Sent ASKs whose answers still count."""
VOTERS_MAX = 15
IN_DOUBT = "grants-in-doubt"
"""Name of the mark with which an agent notes what its grants cannot be sure of."""
OLDER_MAY_COME_BACK = "an older epoch may come back"
"""How such a mark ends when a voter has forgotten epochs, and votes though too few others have told it of them."""
EPOCHS_WAIT_NS = 3 * SECOND
"""A voter that has started waits so long at most, from its start, to hear which epochs are over."""
RECALL_WAIT_NS = SECOND
"""And so long at least after its silence, where promises are long."""
ROUNDS_APART_NS = 200 * US
"""Rounds outside the heartbeat are begun no closer, so that a burst of claims makes few of them."""


def usable_ns(length_ns: int, rho_ppm: int) -> int:
    """U: what a holder may use of a promise of that length, if each clock is wrong by up to rho."""
    return length_ns * (PPM - rho_ppm) // (PPM + rho_ppm) - 1


def surely_ns(length_ns: int, rho_ppm: int) -> int:
    """How long to wait on the own clock until a length measured by any other clock has surely passed."""
    return -(-length_ns * (PPM + rho_ppm) // (PPM - rho_ppm)) + 1


PATIENCE_BEATS = 2
"""A holder that lapsed may come back for so many heartbeats, unless it is found failed."""


class Profile(Struct, frozen=True):
    """Lengths that belong together. `implied` says what they mean for an outage."""

    name: str
    heartbeat_ns: int
    length_ns: int
    """L: for how long a voter promises, on its own clock."""
    patience_ns: int
    """A successor claims so long after a majority says that the promise has run out, unless the holder has failed."""
    turn_ns: int
    """Each further successor gives those before it so much time."""
    rho_ppm: int = 1000
    window_ns: int = 0
    """K: the kernel is never armed for longer; 0 means as long as the promise may be used."""
    slack_ns: int = MS
    lag_ns: int = 4 * MS
    tick_ns: int = 4 * MS

    def with_lengths(self, heartbeat_ns: int, length_ns: int) -> "Profile":
        """Lengths of one's own, with the patience that belongs to them."""
        of = structs.replace(self, heartbeat_ns=heartbeat_ns, length_ns=length_ns)
        return structs.replace(of, patience_ns=PATIENCE_BEATS * heartbeat_ns, turn_ns=PATIENCE_BEATS * heartbeat_ns)

    @property
    def shortest_ns(self) -> int:
        """Less is never armed: two ticks, and what is taken off before."""
        return 2 * self.tick_ns + self.slack_ns + self.lag_ns

    @property
    def margin_ns(self) -> int:
        """A service whose promises are not renewed holds the others back until so long before its end."""
        return max(2 * self.heartbeat_ns, self.shortest_ns)

    @property
    def rest_ns(self) -> int:
        """A datagram that is younger than any before it by more than this shows that this machine stood still."""
        return max(self.heartbeat_ns, 10 * MS)


FAST = Profile("fast", 10 * MS, 50 * MS, patience_ns=20 * MS, turn_ns=20 * MS)
DEFAULT = Profile("default", 50 * MS, 250 * MS, patience_ns=100 * MS, turn_ns=100 * MS)
WAN = Profile("wan", 300 * MS, 2000 * MS, patience_ns=600 * MS, turn_ns=600 * MS)
PROFILES = {profile.name: profile for profile in (FAST, DEFAULT, WAN)}


def quorum(members: tuple[HostName, ...]) -> int:
    """How many of them are a majority."""
    return len(members) // 2 + 1


class VoterSet(Struct, frozen=True):
    """Who votes, and how long promises are. Each version differs from the one before by one member at most."""

    version: int
    members: tuple[HostName, ...]
    length_ns: int
    length_max_ns: int
    """The longest promise that any version allowed: so long a voter is silent after its start. Never goes down."""
    witnesses: tuple[HostName, ...] = ()
    """Members that never hold anything."""
    previous: tuple[HostName, ...] = ()
    """Members of the version before: most of them have to acknowledge this one before there is a next."""

    @property
    def quorum(self) -> int:
        return quorum(self.members)


class Successor(Struct, frozen=True):
    """Who takes over, with an epoch that belongs to this life of its agent alone."""

    vnfc: VnfcName
    host: HostName
    incarnation: int
    epoch: int


class Succession(Struct, frozen=True):
    """A standing order: who takes a service over, in turn, without asking anybody but the voters."""

    service: ServiceName
    revision: int
    """Of the store; an older order is refused."""
    holder: HostName | None
    epoch: int
    """Under which the holder holds it; every reserved epoch is higher."""
    successors: tuple[Successor, ...]


How = Literal["take", "wait", "watch"]
"""take: seals lower epochs and is promised as soon as nobody else is. wait: is promised when the holder releases.
watch: is promised nothing, and only told when nobody holds the service."""
Step = Literal["take", "wait", "watch", "drop", "release"]
"""drop: no longer wanted. release: held, given up, and closed in the kernel."""
RefusalReason = Literal["busy", "older-epoch"]
NakReason = Literal["quarantine", "older-voter-set", "newer-voter-set", "doubt", "no-voter", "fenced", "full"]


class Change(Struct, frozen=True, array_like=True, gc=False):
    """One change of an agent's claim set; each has a number of its own, in the order of the changes."""

    number: int
    service: ServiceName
    epoch: int
    step: Step


class Ask(Struct, frozen=True, array_like=True, tag=1):
    """Renew me. A voter that has recorded the set up to `base` (or further) has it up to `upto` with these changes."""

    seq: int
    base: int
    upto: int
    changes: tuple[Change, ...] = ()


class Refusal(Struct, frozen=True, array_like=True, gc=False):
    """A claim (named by its number) that is not promised here. `left_ns`: how long another promise still runs."""

    number: int
    reason: RefusalReason
    left_ns: int = 0


class Ack(Struct, frozen=True, array_like=True, tag=2):
    """Promised since the ASK was received: each `take` up to number `covered` that is not refused, and `granted`."""

    seq: int
    number: int
    """How far this voter has recorded the asker's claim set."""
    covered: int
    refused: tuple[Refusal, ...] = ()
    granted: tuple[int, ...] = ()
    """Waiting claims that are promised, because the holder has released the service."""
    free: tuple[int, ...] = ()
    """Waiting claims of services that nobody is promised at this voter."""


class Nak(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Nothing is promised, and nothing recorded."""

    seq: int
    reason: NakReason
    detail: int = 0
    """quarantine: nanoseconds left. older-voter-set, newer-voter-set: the voter's version."""


class Release(Struct, frozen=True, array_like=True, tag=4):
    """The sender no longer answers for these: its kernel has confirmed it."""

    claims: tuple[tuple[ServiceName, int], ...]
    """Service and epoch."""


class Fenced(Struct, frozen=True, array_like=True, tag=5):
    """That life of that host is over: confirmed by its fence device, or by a person."""

    host: HostName
    incarnation: int
    record: str
    """What the store holds about it."""


class VoterSetIs(Struct, frozen=True, array_like=True, tag=6):
    """A newer voter set, for one that does not know it yet."""

    voter_set: VoterSet


Memory = Literal["none", "whole", "anew"]
"""none: of a voter that has started, and does not vote yet. whole: what it promised, it remembers, or has asked for.
anew: the same; and when it began to vote, all had started anew, the one that asks too: nothing of before lives on."""


class AskEpochs(Struct, frozen=True, array_like=True, tag=7):
    """This voter has started and has forgotten what it promised: which epochs are over, of services after this one?"""

    after: ServiceName


class EpochsAre(Struct, frozen=True, array_like=True, tag=8):
    """Services and the numbers below which claims are refused here, in the order of their names."""

    after: ServiceName
    epochs: tuple[tuple[ServiceName, int], ...]
    memory: Memory
    more: bool = False
    """There are more services after the last one."""


GrantMessage = Ask | Ack | Nak | Release | Fenced | VoterSetIs | AskEpochs | EpochsAre


class Heard(Struct, frozen=True):
    """A message as it was received: authentic, and really sent by that life of that host at some time."""

    sender: HostName
    incarnation: int
    to_incarnation: int
    """Which life of the receiver the sender meant; 0 if any."""
    version: int
    """The sender's voter set, which it has on disk."""
    clock_ns: int
    """The sender's clock; for watching clocks only."""
    message: GrantMessage


class SendTo(Struct, frozen=True):
    """Send this now. An answer is for the life that asked; other messages are for whichever lives (0)."""

    host: HostName
    message: GrantMessage
    version: int
    clock_ns: int
    incarnation: int = 0


class CloseAll(Struct, frozen=True):
    """Delete both keys and empty the owned set, now; then say `all_closed`."""

    reason: str


class Close(Struct, frozen=True):
    """Take the service out of the kernel's owned set; then say `closed`. It is about to be released."""

    service: ServiceName
    epoch: int


class Own(Struct, frozen=True):
    """Take the service into the kernel's owned set. No key ends later than `until_ns` when this is said."""

    service: ServiceName
    epoch: int
    until_ns: int


class Disown(Struct, frozen=True):
    """Take the service out of the kernel's owned set before the keys are moved on."""

    service: ServiceName


class Arm(Struct, frozen=True):
    """Move the keys to this end, then say `armed`; or delete both and say `arm_failed`. Only if `wants` says so.

    The owned set is exactly `owned`, after all that was said before.
    """

    until_ns: int
    owned: tuple[ServiceName, ...]


class Held(Struct, frozen=True):
    """The kernel answers for the service: it may become active here."""

    service: ServiceName
    epoch: int
    until_ns: int


class Lapsed(Struct, frozen=True):
    """The kernel no longer answers: stop being active. It is asked for again, with the same epoch."""

    service: ServiceName
    epoch: int
    reason: str


class Regained(Struct, frozen=True):
    """After a lapse the kernel answers again, under the same epoch: nobody was active meanwhile."""

    service: ServiceName
    epoch: int
    dark_ns: int


class Lost(Struct, frozen=True):
    """It is, or will be, somebody else's. Nothing is asked for any more."""

    service: ServiceName
    epoch: int
    reason: str


class Released(Struct, frozen=True):
    """It is let go: the release is on its way to every voter, or a claim that few of them know is withdrawn."""

    service: ServiceName
    epoch: int


class Refused(Struct, frozen=True):
    """A command is not followed, and why."""

    service: ServiceName
    epoch: int
    reason: str


class Taking(Struct, frozen=True):
    """A standing order is being followed, and why."""

    service: ServiceName
    epoch: int
    reason: str


class Persist(Struct, frozen=True):
    """Say `set_floors` with the store's epochs, write the voter set to disk, fsync, then say `persisted`.

    It is not acknowledged before.
    """

    voter_set: VoterSet


class NeedVoterSet(Struct, frozen=True):
    """Somebody knows a newer voter set than this agent: read it from the store."""

    version: int


class Doubt(Struct, frozen=True):
    """Something that a person has to know. While the own clock is in doubt nothing is promised and nothing armed."""

    reason: str


Output = (
    SendTo
    | CloseAll
    | Close
    | Own
    | Disown
    | Arm
    | Held
    | Lapsed
    | Regained
    | Lost
    | Released
    | Refused
    | Taking
    | Persist
    | NeedVoterSet
    | Doubt
)


class Implied(Struct, frozen=True):
    """What a profile means, for people and for `validate`. Lengths in nanoseconds."""

    usable_ns: int
    kernel_end_ns: tuple[int, int]
    """The kernel ends so long after the ASK was sent: at the earliest, at the latest."""
    rounds_lost_surely: int
    """So many rounds in a row may be lost without a lapse."""
    late_ns: int
    """So late an agent may be without a lapse."""
    host_off_ns: tuple[int, int]
    """A host is off: the successor may claim so long after that, if the order stands."""
    silent_ns: int
    """A voter that restarts promises nothing for so long."""


def implied(profile: Profile, round_trip_ns: int = 300 * US) -> Implied:
    """What the profile implies on a network with that round trip to the slower voter of a majority."""
    usable = usable_ns(profile.length_ns, profile.rho_ppm)
    armed = min(usable, profile.window_ns or usable) - profile.slack_ns - profile.lag_ns
    latest = armed // profile.tick_ns * profile.tick_ns
    earliest = latest - profile.tick_ns
    return Implied(
        usable_ns=usable,
        kernel_end_ns=(earliest, latest),
        rounds_lost_surely=max(0, (earliest - round_trip_ns) // profile.heartbeat_ns - 1),
        late_ns=max(0, earliest - profile.heartbeat_ns - round_trip_ns),
        host_off_ns=(profile.length_ns - profile.heartbeat_ns, profile.length_ns + round_trip_ns),
        silent_ns=profile.length_ns,
    )


def voter_set(
    members: tuple[HostName, ...],
    profile: Profile,
    *,
    witnesses: tuple[HostName, ...] = (),
    after: VoterSet | None = None,
) -> VoterSet:
    """The first voter set, or the one that follows another."""
    longest = max(profile.length_ns, after.length_max_ns if after else 0)
    version, previous = (after.version + 1, after.members) if after else (1, ())
    return VoterSet(version, members, profile.length_ns, longest, witnesses, previous)
