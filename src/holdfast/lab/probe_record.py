"""The probe's memory: preallocated arrays, filled while the load runs, without an allocation per request worth naming.

In: what was sent and heard, with times. Out: a `ProbeRun`. Also knows whether the service is up at this moment.
"""

from array import array

from holdfast.lab.judges.probed import GET, NEITHER, NEVER, NOBODY, PUT, ProbeRun
from holdfast.lab.probe_words import Heard

REQUESTS_MAX = 1_800_000
"""Half an hour at one request each millisecond; then the probe stops sending."""
EXTRAS_MAX = 10_000
PAUSES_MAX = 10_000
DOWN_AFTER_S = 0.020
"""Without a good answer for this long, the service counts as down in the status lines."""


class Recorder:
    def __init__(self, requests_max: int = REQUESTS_MAX) -> None:
        self.sent_at = array("d", bytes(8 * requests_max))
        self.answered_at = array("d", [NEVER]) * requests_max
        self.owner = array("h", [NOBODY]) * requests_max
        self.epoch = array("q", [NOBODY]) * requests_max
        self.kinds = bytearray(requests_max)
        self.requests_max = requests_max
        self.sent = 0
        self.owners: dict[str, int] = {}
        self.extras: list[tuple[int, float, str, int]] = []
        self.pauses: list[tuple[float, float]] = []
        self.last_answer_at = NEVER
        self.is_up = False

    @property
    def is_full(self) -> bool:
        return self.sent >= self.requests_max

    def note_sent(self, at: float, kind: int = NEITHER) -> None:
        self.sent_at[self.sent] = at
        self.kinds[self.sent] = kind
        self.sent += 1

    def note_answer(self, heard: Heard, at: float) -> bool:
        """Take a good answer in; False if it is of no use (not good, or to something never asked)."""
        n = heard.n
        if not heard.good or not 0 <= n < self.sent:
            return False
        if self.answered_at[n] >= 0:
            if len(self.extras) < EXTRAS_MAX:
                self.extras.append((n, at, heard.owner, heard.epoch))
            return False
        self.answered_at[n] = at
        self.epoch[n] = heard.epoch
        if heard.owner:
            self.owner[n] = self.owners.setdefault(heard.owner, len(self.owners))
        self.last_answer_at = at
        return True

    def note_pause(self, at: float, late_s: float) -> None:
        if len(self.pauses) < PAUSES_MAX:
            self.pauses.append((at, late_s))

    def change(self, now: float) -> str | None:
        """A status line if the service has come up or gone down since the last call.

        `up` names the time of the first answer, `down` that of the last one before the silence.
        """
        answered = self.last_answer_at >= 0 and now - self.last_answer_at <= DOWN_AFTER_S
        if answered == self.is_up:
            return None
        self.is_up = answered
        return f"{'up' if answered else 'down'} {self.last_answer_at:.6f}"

    def result(self, run: ProbeRun) -> ProbeRun:
        """Fill `run` with what was recorded."""
        run.sent_at = self.sent_at[: self.sent]
        run.answered_at = self.answered_at[: self.sent]
        run.owner = self.owner[: self.sent]
        run.epoch = self.epoch[: self.sent]
        run.kinds = self.kinds[: self.sent]
        run.owners = list(self.owners)
        run.extras = self.extras
        run.pauses = self.pauses
        return run


class Updates:
    """Which updates were acknowledged, and which of them turned out to be lost (registry only).

    Every update has a key of its own, so that a later one cannot hide the loss of an earlier one.
    """

    def __init__(self, prefix: str, label: str = "") -> None:
        """
        Args:
            label: begin of all values, so that keys can be used again: an old value is not taken for a new one.
        """
        self.prefix, self.label = prefix, label
        self.acknowledged: list[int] = []
        self.missing: set[int] = set()
        self._reads: dict[int, int] = {}
        """Number of a read under way, and of the update it must find."""

    def key(self, update: int) -> str:
        return f"{self.prefix}{update}"

    def value(self, update: int) -> str:
        return f"{self.label}{update}"

    def kind(self, n: int) -> int:
        return GET if n % 2 else PUT

    def choose_read(self, n: int) -> int | None:
        """An acknowledged update for request `n` to read: the newest one and older ones in turn."""
        if not self.acknowledged:
            return None
        at = -1 if n % 4 == 1 else (n * 7919) % len(self.acknowledged)
        self._reads[n] = self.acknowledged[at]
        return self._reads[n]

    def note_answer(self, heard: Heard, kind: int) -> None:
        """A read must find what was acknowledged before it was sent."""
        if kind == PUT:
            self.acknowledged.append(heard.n)
            return
        update = self._reads.pop(heard.n, None)
        if update is not None and heard.value != self.value(update):
            self.missing.add(update)
