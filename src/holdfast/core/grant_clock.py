"""Whether the clock that grants are counted by can be relied on, as far as it can be known from within.

In:   readings of CLOCK_MONOTONIC_RAW beside CLOCK_MONOTONIC of this host; the clocks that peers put in their messages.
Out:  why the own clock is in doubt, if it is; which peer's clock is; that this machine has just stood still.
Always: a delay can only make a peer's clock look older, so the smallest difference of a window is the one to trust.
Who is right cannot be known: where more than half of the peers disagree with this clock, or the only one does, it is
this clock that is doubted.
"""

from holdfast.model.granting import MS, PPM
from holdfast.model.names import HostName

DRIFT_WINDOW_NS = 4_000 * MS
"""Long enough that the drift that is looked for is more than the jitter of the fastest datagrams."""
REST_WINDOW_NS = 500 * MS
"""Short, so that drift is nothing beside a machine that stood still."""
SAMPLES_MIN = 8
JITTER_NS = MS
OWN_WINDOW_NS = 1_000 * MS


class Smallest:
    """The smallest difference (own clock less the peer's) of this window and of the one before."""

    __slots__ = ("before", "before_ns", "count", "least", "since_ns", "window_ns")

    def __init__(self, window_ns: int, now: int) -> None:
        self.window_ns = window_ns
        self.since_ns = now
        self.count = 0
        self.least = 0
        self.before: int | None = None
        self.before_ns = now

    def add(self, difference: int, now: int) -> int | None:
        """Note one; at the end of a window, by how much the smallest has moved since the window before."""
        moved = None
        if now - self.since_ns >= self.window_ns:
            enough = self.count >= SAMPLES_MIN
            if enough and self.before is not None:
                moved = self.least - self.before
            self.before, self.before_ns = (self.least if enough else None), self.since_ns
            self.since_ns, self.count = now, 0
        if self.count == 0 or difference < self.least:
            self.least = difference
        self.count += 1
        return moved


class PeerClock:
    __slots__ = ("drift", "incarnation", "is_off", "rest")

    def __init__(self, incarnation: int, now: int) -> None:
        self.incarnation = incarnation
        self.drift = Smallest(DRIFT_WINDOW_NS, now)
        self.rest = Smallest(REST_WINDOW_NS, now)
        self.is_off = False


class ClockWatch:
    """Watches one host's clock."""

    def __init__(self, rho_ppm: int, rest_ns: int) -> None:
        self._rho_ppm = rho_ppm
        self._rest_ns = rest_ns
        self._peers: dict[HostName, PeerClock] = {}
        self._off: tuple[HostName, ...] = ()
        """Those of them that are off; looked at with each message, and changed once in a window."""
        self._reading: tuple[int, int] | None = None
        self._bent_ppm = 0

    def own(self, raw_ns: int, monotonic_ns: int) -> None:
        """A reading of both clocks, taken together; once a second is enough."""
        if self._reading is None:
            self._reading = (raw_ns, monotonic_ns)
            return
        passed = raw_ns - self._reading[0]
        if passed >= OWN_WINDOW_NS:
            apart = abs(monotonic_ns - self._reading[1] - passed)
            self._bent_ppm = max(0, apart - MS // 100) * PPM // passed
            self._reading = (raw_ns, monotonic_ns)

    def peer(self, host: HostName, incarnation: int, theirs_ns: int, now: int) -> bool:
        """A peer's clock as a message brought it; True if this machine has stood still for a while."""
        watch = self._peers.get(host)
        if watch is None or watch.incarnation != incarnation:
            watch = self._peers[host] = PeerClock(incarnation, now)
            self._look()
        difference = now - theirs_ns
        moved = watch.drift.add(difference, now)
        if moved is not None:
            allowed = 2 * self._rho_ppm * (now - watch.drift.before_ns) // PPM + JITTER_NS
            watch.is_off = abs(moved) > allowed
            self._look()
        watch.rest.add(difference, now)
        # Compared with the window before: what came in together after a pause must not become its own measure.
        lowest = watch.rest.before
        drifted = 2 * self._rho_ppm * (now - watch.rest.before_ns) // PPM
        return lowest is not None and difference < lowest - drifted - self._rest_ns

    def forget(self) -> None:
        """Begin anew with all peers: this machine stood still, and what was known is no longer so."""
        self._peers.clear()
        self._look()
        self._reading = None

    def doubt(self) -> str | None:
        """Why the own clock cannot be relied on; None if it can, as far as is known."""
        if self._bent_ppm > self._rho_ppm:
            return f"CLOCK_MONOTONIC runs apart from CLOCK_MONOTONIC_RAW by {self._bent_ppm} ppm"
        off = self._off
        if off and 2 * len(off) > len(self._peers):
            return f"this clock runs apart from those of {', '.join(off)}"
        return None

    def peers_off(self) -> tuple[HostName, ...]:
        """Peers whose clocks run apart from this one by more than two honest clocks can."""
        return self._off

    def _look(self) -> None:
        self._off = tuple(host for host, watch in self._peers.items() if watch.is_off)
