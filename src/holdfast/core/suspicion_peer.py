"""What is known of one peer: when it was last heard on each network, in which life, and how steadily.

Times ending in `_b` are of the *blame clock*: the own clock without the time in which the own loop stood still.
"""

from collections import deque

from holdfast.core.suspicion_words import (
    FALLS_KEPT,
    FORMER_LIVES_KEPT,
    Beat,
    Level,
    Patience,
    View,
    mark_of,
)
from holdfast.model.names import HostName
from holdfast.model.reasons import Reason


class Hearing:
    """One network's way from a peer to here."""

    __slots__ = ("_counted_b", "_falls_b", "changed_b", "good", "heard_b", "is_lost", "is_up", "unsent_b")

    def __init__(self, now_b: int) -> None:
        self.heard_b = now_b
        self.is_up = False
        self.changed_b = now_b
        """Since when it is up, or down."""
        self.is_lost = False
        """Down, while the peer is heard on another network, for so long that it was told."""
        self.good = 0
        """Heartbeats in a row, none of them later than the patience allows."""
        self.unsent_b = now_b - (1 << 62)
        """When the own kernel last did not take a datagram to the peer."""
        self._counted_b = now_b - (1 << 62)
        self._falls_b: deque[int] = deque(maxlen=FALLS_KEPT)

    def heard(self, now_b: int, patience: Patience) -> None:
        """Something authentic arrived. What comes in one burst counts as one heartbeat."""
        if now_b - self.heard_b >= patience.degraded_after_ns:
            self.good = 0
        self.heard_b = now_b
        if now_b - self._counted_b >= patience.heartbeat_ns // 2:
            self._counted_b = now_b
            self.good += 1

    def judge(self, now_b: int, stretch_ns: int, patience: Patience) -> None:
        """Down when silent, up after good heartbeats in a row."""
        if self.is_up:
            if now_b - self.heard_b >= patience.degraded_after_ns + stretch_ns:
                self.is_up = False
                self.good = 0
                self.changed_b = now_b
                self._falls_b.append(now_b)
        elif self.good >= self.needed(now_b, patience):
            self.is_up = True
            self.changed_b = now_b

    def falls(self, now_b: int, patience: Patience) -> int:
        return sum(now_b - fall < patience.flap_window_ns for fall in self._falls_b)

    def needed(self, now_b: int, patience: Patience) -> int:
        """Good heartbeats needed to come back."""
        return damped(patience.good_beats, self.falls(now_b, patience), patience)


class Peer:
    """One peer. `failed_b` is when it was last found failed, None while it is not."""

    __slots__ = (
        "beat",
        "beat_ns",
        "failed_b",
        "fails_b",
        "former",
        "heard_ns",
        "hearings",
        "incarnation",
        "late_ns",
        "level",
        "mark",
        "name",
        "reasons",
    )

    def __init__(self, name: HostName, networks: int, now_ns: int, now_b: int) -> None:
        self.name = name
        self.mark = mark_of(name)
        self.incarnation = 0
        self.former: deque[int] = deque(maxlen=FORMER_LIVES_KEPT)
        self.hearings = tuple(Hearing(now_b) for _ in range(networks))
        self.heard_ns = now_ns
        self.beat = Beat(0, True)
        self.beat_ns = now_ns
        self.late_ns = 0
        self.level: Level = "degraded"
        self.reasons: tuple[Reason, ...] = (Reason("peer-never-heard", name),)
        self.failed_b: int | None = None
        self.fails_b: deque[int] = deque(maxlen=FALLS_KEPT)

    def silent_ns(self, now_b: int) -> int:
        """Silence on all networks together."""
        if len(self.hearings) == 1:
            return now_b - self.hearings[0].heard_b
        return now_b - max(hearing.heard_b for hearing in self.hearings)

    def could_be_told(self, now_b: int, patience: Patience) -> bool:
        """Whether the own kernel takes what is sent to the peer, on one network at least."""
        return any(now_b - hearing.unsent_b >= patience.degraded_after_ns for hearing in self.hearings)

    def up_since_b(self) -> int | None:
        """Since when it is heard steadily on some network; None while it is on none."""
        return min((hearing.changed_b for hearing in self.hearings if hearing.is_up), default=None)

    def lost_at_b(self, hearing: Hearing, patience: Patience) -> int | None:
        """When this network counts (or counted) as lost, if nothing changes; None while there is no reason for it."""
        up_b = self.up_since_b()
        if hearing.is_up or up_b is None:
            return None
        return max(hearing.changed_b, up_b) + patience.network_after_ns

    def view(self, about: int) -> View | None:
        """What this peer told last of another agent."""
        for view in self.beat.views:
            if view.about == about:
                return view
        return None

    def lives_anew(self, incarnation: int) -> int:
        """Forget what belonged to its former life; answers that life's incarnation (0: none known)."""
        former = self.incarnation
        if former:
            self.former.append(former)
        self.incarnation = incarnation
        self.beat = Beat(0, True)
        self.late_ns = 0
        return former

    def needed_to_return(self, now_b: int, patience: Patience) -> int:
        fails = sum(now_b - fail < patience.flap_window_ns for fail in self.fails_b)
        return damped(patience.return_beats, fails, patience)

    def good(self) -> int:
        """Good heartbeats in a row on its steadiest network."""
        return max(hearing.good for hearing in self.hearings)


def damped(beats: int, falls: int, patience: Patience) -> int:
    """The number for the first fall, doubled with each further one, up to the maximum."""
    return min(beats << max(0, falls - 1), patience.return_beats_max)
