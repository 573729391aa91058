"""What is explored: how many hosts, whom is told what, how many faults of each kind, how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.lab.explore.member import Tell
from holdfast.model.granting import MS, US, Profile, VoterSet, voter_set
from holdfast.model.names import HostName

STEP_NS = 10 * MS
HOSTS = (HostName("h1"), HostName("h2"), HostName("h3"))
RHO_PPM = 30_000
TIGHT = Profile(
    "tight",
    heartbeat_ns=19_400 * US,
    length_ns=60 * MS,
    patience_ns=0,
    turn_ns=0,
    rho_ppm=RHO_PPM,
    slack_ns=100 * US,
    lag_ns=0,
    tick_ns=100 * US,
)
"""Clocks are wrong by up to 3 %: a promise of six steps that is counted without a margin ends a step too late. A
heartbeat is two steps of the slowest clock."""
SLOW_FIRST = (-RHO_PPM, RHO_PPM, RHO_PPM)
"""The holder's clock is as slow as may be, those of the voters as fast: its promises end soonest."""
ALL = (True, True, True)


@dataclass(frozen=True)
class Scope:
    name: str
    says: str
    steps: int
    commands: tuple[tuple[Tell, ...], ...] = ((), (Tell("take", 2),), ())
    """For each host, in this order, each at any time, or never."""
    prologue: Mapping[int, tuple[tuple[int, Tell], ...]] = field(default_factory=lambda: {4: ((0, Tell("take", 1)),)})
    """What has been told, to which host and at which step, and done, before it begins."""
    begins: tuple[int, ...] = (0, 1, 1)
    """The step of the prologue at which each host begins: its rounds come at each second step after that."""
    late: int = 0
    """So many messages may be on their way when time goes on."""
    lost: int = 0
    twice: int = 0
    pause: int = 0
    crash: int = 0
    restart: int = 0
    cut: int = 0
    heal: int = 0
    may_cut: tuple[int, ...] = (0, 1, 2)
    told_until: int = 2
    """Commands are told at this step at the latest: rounds come again each second step, and so do their chances."""
    amid: int = 0
    """Commands are told, and hosts cut off, stopped, started and heard again, while no more messages are on their way
    than so many. (A process may also be stopped or killed before each of its steps.)"""
    strikes: range = range(99)
    """Steps at which a host may be cut off, or a process stopped or killed."""
    recall_ns: int = 0
    """A voter that starts again waits so long at most for what others remember of epochs; 0: it asks nobody."""
    may_pause: tuple[bool, ...] = ALL
    may_crash: tuple[bool, ...] = ALL
    ppm: tuple[int, ...] = SLOW_FIRST
    profile: Profile = TIGHT
    voter_sets: tuple[VoterSet, ...] = (voter_set(HOSTS, TIGHT),)
    hosts: int = 3

    @property
    def quorum(self) -> int:
        return min(each.quorum for each in self.voter_sets)
