"""What the members of a simulated etcd share: the way to each other, elections, and what they have agreed on.

In:   members that run; posts from one to another; a candidate that has not heard of a leader for long.
Out:  posts at the other end; who leads; the agreed log and the keys it makes.
Always: an election is decided in one instant by whoever can hear the candidate, by the rules of Raft: a majority that
has heard of no leader for a while, and of it the one with the newest log, under a term that all of them remember. With
that, and because nothing counts as agreed before a majority has it on disk, no agreed entry is ever lost; `agree`
checks it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from holdfast.errors import Bug
from holdfast.lab.sim.etcd_disk import Disk, Entry
from holdfast.lab.sim.etcd_keys import Keys, Result
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.timeline import Timeline

if TYPE_CHECKING:
    from holdfast.lab.sim.etcd_member import Member


class Timing(NamedTuple):
    """How fast members doubt their leader; from and to where chance decides. In seconds."""

    beat_s: float = 0.1
    doubt: tuple[float, float] = (1.35, 1.56)
    """Since the last beat: gives the 1.25 to 1.56 s without writes of a real etcd with timing of its own."""
    start: tuple[float, float] = (0.1, 0.2)
    """Instead of it, for a member that has just started."""
    loyal_s: float = 1.0
    """A member that has heard of its leader so lately elects no other; a leader that has not heard of a majority for
    so long leads no more."""
    stream_s: float = 3.0
    """A member without a leader for so long ends its watches."""


OWN = Timing()
"""What etcd does if it is told nothing: heartbeat 100 ms, election 1000 ms."""
ADVISED = Timing(beat_s=0.05, doubt=(0.55, 1.0), loyal_s=0.5, stream_s=1.5)
"""As docs/etcd.md sets it up: heartbeat 50 ms, election 500 ms."""


class Group:
    """A cluster, from the day it was made or restored."""

    def __init__(
        self,
        timeline: Timeline,
        net: Net,
        disks: Mapping[str, Disk],
        timing: Timing,
        keys: Keys,
    ) -> None:
        """
        Args:
            timeline: of the world.
            net: by which members reach each other.
            disks: of all members, by name.
            timing: how fast they doubt.
            keys: with what it begins.
        """
        self.timeline = timeline
        self.net = net
        self.disks = disks
        self.timing = timing
        self.keys = keys
        self.cluster_id = timeline.chance.getrandbits(62) | 1
        self.member_ids = {name: timeline.chance.getrandbits(62) | 1 for name in disks}
        self.majority = len(disks) // 2 + 1
        self.running: dict[str, Member] = {}
        self.agreed: list[Entry] = []
        self.results: list[Result | None] = []
        self.revisions = [keys.revision]
        """After so many agreed entries."""
        self._numbers = 0

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def post(self, sender: "Member", to: str, call: "Callable[[Member], None]") -> None:
        """Let the member `to` do this when it arrives; at most once, or never."""
        receiver = self.running.get(to)
        if receiver is None:
            return
        has_come = False

        def arrived() -> None:
            nonlocal has_come
            there = self.running.get(to)
            if there is not None and not has_come:
                has_come = True
                there.loop.call_soon(call, there)

        self.net.send(sender.host, receiver.host, arrived)

    def elect(self, candidate: "Member") -> None:
        """Make one of those who hear the candidate the leader, if they are enough."""
        voters = [one for one in self.running.values() if one is candidate or self._votes(one, candidate)]
        if len(voters) < self.majority:
            return
        self._appoint(max(voters, key=lambda one: (one.disk.newness, one is candidate)), voters)

    def move(self, to: "Member") -> bool:
        """Let that one lead, as `etcdctl move-leader` does; whether it could: it must have all that is agreed."""
        net = self.net
        hear = [one for one in self.running.values() if net.passes(one.host, to.host) and net.passes(to.host, one.host)]
        if len(hear) < self.majority or to.disk.newness < max(one.disk.newness for one in hear):
            return False
        self._appoint(to, hear)
        return True

    def _appoint(self, chosen: "Member", voters: "list[Member]") -> None:
        term = max(one.disk.term for one in voters) + 1
        for one in voters:
            one.voted(term)
        chosen.loop.call_soon(chosen.lead, term)

    def _votes(self, voter: "Member", candidate: "Member") -> bool:
        if voter.process.is_stopped or voter.is_loyal:
            return False
        net = self.net
        return net.passes(voter.host, candidate.host) and net.passes(candidate.host, voter.host)

    def agree(self, log: list[Entry], upto: int) -> None:
        """A majority has the first `upto` entries of this log on disk."""
        known = len(self.agreed)
        both = min(known, upto)
        if both and log[both - 1] is not self.agreed[both - 1]:
            raise Bug(f"etcd has agreed on two entries {both}: {self.agreed[both - 1]} and {log[both - 1]}")
        for entry in log[known:upto]:
            self.agreed.append(entry)
            self.results.append(None if entry.txn is None else self.keys.apply(entry.txn))
            self.revisions.append(self.keys.revision)
