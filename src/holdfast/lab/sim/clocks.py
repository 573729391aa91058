"""Clocks of simulated machines: none agrees with another, each runs a little too fast or too slow.

In: true time. Out: what this machine reads. `raw` is what promises are counted by; `monotonic` is what a time daemon
bends, and what the kernel's timers follow. Both are wrong by less than the protocol assumes, unless a fault says more.
"""

from holdfast.lab.sim.timeline import Timeline

PPM = 1_000_000
NS = 1_000_000_000


class Clock:
    """A reading that grows by (1 + `ppm` / 1e6) of true time."""

    def __init__(self, timeline: Timeline, start_ns: int, ppm: int = 0) -> None:
        self._timeline = timeline
        self._from_true_ns = timeline.now_ns
        self._from_ns = start_ns
        self.ppm = ppm
        self._stretches = [(self._from_true_ns, self._from_ns, ppm)]
        """Since when it has run at which rate, and what it read then."""

    def now_ns(self) -> int:
        passed = self._timeline.now_ns - self._from_true_ns
        return self._from_ns + passed + passed * self.ppm // PPM

    def bend(self, ppm: int) -> None:
        """Run at another rate from now on, without a jump."""
        self._from_ns, self._from_true_ns = self.now_ns(), self._timeline.now_ns
        self.ppm = ppm
        self._stretches.append((self._from_true_ns, self._from_ns, ppm))

    def told_s(self, since_true_ns: int, grown_s: float) -> float:
        """The true instant, in seconds, at which it had grown by so much since that one."""
        true_ns, read_ns, ppm = next(one for one in reversed(self._stretches) if one[0] <= since_true_ns)
        reading = read_ns + (since_true_ns - true_ns) * (PPM + ppm) / PPM + grown_s * NS
        later = (one for one in reversed(self._stretches) if one[1] <= reading)
        true_ns, read_ns, ppm = next(later, self._stretches[0])
        return (true_ns + (reading - read_ns) * PPM / (PPM + ppm)) / NS

    def true_ns(self, at_ns: int) -> int:
        """The true instant at which this clock will read `at_ns`; now, if it has passed."""
        left = at_ns - self.now_ns()
        return self._timeline.now_ns + max(0, -(-left * PPM // (PPM + self.ppm)))
