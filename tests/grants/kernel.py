"""A host's kernel, as far as it matters here: an owned set and two keys that end by themselves.

A service is answered while it is owned and both keys exist. What it answers is told to the judge at each change; in
between it can only become less.
"""

from holdfast.model.granting import PPM
from holdfast.model.names import HostName, ServiceName
from tests.grants.judge import Judge

A, B = 0, 1


class Kernel:
    def __init__(self, host: HostName, judge: Judge, ppm: int, tick_ns: int) -> None:
        self.host = host
        self.owned: dict[ServiceName, int] = {}
        """With the epoch under which it is owned."""
        self.ends = [0, 0]
        self.lag_ns = 0
        """How much later a key ends than it should."""
        self._ppm = ppm
        self._tick_ns = tick_ns
        self._judge = judge

    def until_ns(self) -> int:
        """True time at which it stops answering."""
        return min(self.ends)

    def answers(self, service: ServiceName, true_ns: int) -> bool:
        return service in self.owned and true_ns < self.until_ns()

    def arm(self, key: int, length_ns: int, true_ns: int) -> None:
        """Let one key exist for so long from now on, by the kernel's own clock; but for one tick at least."""
        length_ns = max(length_ns, self._tick_ns)
        self.ends[key] = true_ns + length_ns * PPM // (PPM + self._ppm) + self.lag_ns
        self._look(true_ns)

    def delete_keys(self, true_ns: int) -> None:
        self.ends = [0, 0]
        self._look(true_ns)

    def own(self, service: ServiceName, epoch: int, true_ns: int) -> None:
        self.owned[service] = epoch
        self._look(true_ns)

    def note(self, service: ServiceName, epoch: int, true_ns: int) -> None:
        """The agent holds it under a higher epoch from now on."""
        if service in self.owned:
            self.owned[service] = epoch
            self._look(true_ns)

    def disown(self, service: ServiceName, true_ns: int) -> None:
        self.owned.pop(service, None)
        self._look(true_ns)

    def power_off(self, true_ns: int) -> None:
        self.owned.clear()
        self.delete_keys(true_ns)

    def _look(self, true_ns: int) -> None:
        answered = dict(self.owned) if true_ns < self.until_ns() else {}
        self._judge.see(self.host, answered, self.until_ns(), true_ns)
