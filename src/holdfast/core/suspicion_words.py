"""What agents tell one another in heartbeats, how patient they are, and what they notice. Values only.

All times are integer nanoseconds of the teller's own CLOCK_MONOTONIC_RAW; lengths travel between hosts, instants
never do.
"""

from typing import Literal
from zlib import crc32

from msgspec import Struct

from holdfast.model.names import HostName
from holdfast.model.reasons import Reason

Level = Literal["well", "degraded", "suspected", "failed"]
LEVELS: tuple[Level, ...] = ("well", "degraded", "suspected", "failed")
"""From good to bad; the place of a level in it is its rank."""
NetworkName = str

FORMER_LIVES_KEPT = 4
"""Incarnations of a peer's former lives that are remembered, so that a late datagram of one counts as nothing."""
FALLS_KEPT = 8
"""Falls of a network or peer that are remembered: enough for the longest damping."""


class Patience(Struct, frozen=True):
    """How long silence is borne. Each length is a multiple of the heartbeat unless it is set on purpose."""

    heartbeat_ns: int
    degraded_after_ns: int
    """Silence of a network, or of a peer on all of them, that is worth a word: two heartbeats lost."""
    suspected_after_ns: int
    failed_after_ns: int
    """With the others' word that they do not hear it either. Below the length of a grant, so that it costs no time."""
    late_from_ns: int
    """A loop that is late by this much doubts itself."""
    doubt_ns: int
    """How long the doubt outlasts the lateness."""
    stretch_max_ns: int
    """The bound: known lateness, own or the peer's, makes patience longer by no more than this."""
    late_window_ns: int
    """A loop tells of its lateness for so long, evenly less of it from the first heartbeat to the last."""
    good_beats: int = 3
    """Heartbeats in a row that bring a network back; doubled with each further fall within the flap window."""
    return_beats: int = 5
    """The same for a peer that was `failed`."""
    return_beats_max: int = 160
    flap_window_ns: int = 0
    asked_max: int = 3
    """Other agents whose word about a silent peer is looked at."""
    network_after_ns: int = 0
    """A network on which a peer is not heard steadily, for so long, while it is on another one, is told of."""

    @property
    def late_degrades_ns(self) -> int:
        """A peer that publishes such a lateness could lose two heartbeats in a row."""
        return self.degraded_after_ns - self.heartbeat_ns


def patience(heartbeat_ns: int) -> Patience:
    """The patience that belongs to a heartbeat; together with grants of five heartbeats it costs no time of its own."""
    return Patience(
        heartbeat_ns=heartbeat_ns,
        degraded_after_ns=heartbeat_ns * 5 // 2,
        suspected_after_ns=heartbeat_ns * 7 // 2,
        failed_after_ns=heartbeat_ns * 9 // 2,
        late_from_ns=heartbeat_ns // 2,
        doubt_ns=heartbeat_ns * 4,
        stretch_max_ns=heartbeat_ns * 10,
        late_window_ns=heartbeat_ns * 100,
        flap_window_ns=heartbeat_ns * 1000,
        network_after_ns=heartbeat_ns * 20,
    )


class View(Struct, frozen=True, gc=False):
    """What the sender of a heartbeat has of one other agent."""

    about: int
    """`mark_of` the host."""
    rank: int
    incarnation: int
    """Whose heartbeats it heard; 0 when it has heard none since its own start."""
    heard_ago_ns: int
    """Since the last datagram (or its own start). Small: proof that the other one lives."""
    silent_ns: int
    """The same without the time in which the sender itself stood still. Large: proof that the other one is silent."""


class Beat(Struct, frozen=True):
    """The content of one heartbeat."""

    late_ns: int
    """How much longer the sender should be borne, because of its lateness of late."""
    hears_you: bool
    """False when the receiver is silent to the sender."""
    views: tuple[View, ...] = ()


def mark_of(host: HostName) -> int:
    """A short number for a host in heartbeats; those of a deployment's hosts must differ (checked at the start)."""
    return crc32(host.encode())


class PeerChanged(Struct, frozen=True, tag=True):
    """A peer's level is another one now. `failed` is never said while the own loop's lateness could explain it."""

    at_ns: int
    peer: HostName
    incarnation: int
    before: Level
    after: Level
    reasons: tuple[Reason, ...]
    silent_ns: int = 0


class PeerRestarted(Struct, frozen=True, tag=True):
    """A peer's agent lives a new life; what was promised to the former one is promised to nobody."""

    at_ns: int
    peer: HostName
    former: int
    incarnation: int


class PeerHeard(Struct, frozen=True, tag=True):
    """Something came of a peer after a silence for which it is suspected or failed; its level changes later.

    Told at the first datagram, because what went on while nothing passed may have to be put right at once.
    """

    at_ns: int
    peer: HostName
    silent_ns: int


class NetworkChanged(Struct, frozen=True, tag=True):
    """A peer is heard on another network and not on this one; or that is over (also when it is heard on none)."""

    at_ns: int
    peer: HostName
    network: NetworkName
    is_lost: bool
    silent_ns: int
    """Since anything came on it. Short where heartbeats come, but not steadily."""


class OwnLate(Struct, frozen=True, tag=True):
    """The own loop was late: nobody is blamed for that time, and patience is longer until `until_ns`."""

    at_ns: int
    by_ns: int
    until_ns: int


class OwnOnTime(Struct, frozen=True, tag=True):
    """The own loop has been on time long enough: the usual patience applies again."""

    at_ns: int


class OutnumberedChanged(Struct, frozen=True, tag=True):
    """Whether this agent hears (with itself) no more than half of all: then it blames nobody."""

    at_ns: int
    is_outnumbered: bool
    heard: int
    members: int


Noticed = PeerChanged | PeerRestarted | PeerHeard | NetworkChanged | OwnLate | OwnOnTime | OutnumberedChanged


class PeerState(Struct, frozen=True):
    """One peer as it stands, for `status`."""

    level: Level
    incarnation: int
    silent_ns: dict[NetworkName, int]
    late_ns: int
    falls: int
    """Within the flap window, over all networks."""
    reasons: tuple[Reason, ...] = ()
    lost: tuple[NetworkName, ...] = ()
    """Networks on which it is not heard, though it is on another one."""


def in_ms(length_ns: int) -> str:
    """A length for people: `45 ms`, `0.3 ms`."""
    return f"{length_ns / 1e6:.3g} ms" if length_ns < 1e9 else f"{length_ns / 1e9:.3g} s"
