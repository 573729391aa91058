"""What the outside client measured: the file a probe leaves behind, and the figures read from it.

In: the file written by `holdfast.lab.probe`. Out: `ProbeRun` with answers, outage, losses. All times are seconds on the
machine's monotonic clock, so they compare with the journals'. An answer counts as service only if it was a good one.
"""

from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

NEVER = -1.0
"""In `answered_at`: no good answer came."""
NOBODY = -1
"""In `owner` and `epoch`: not known."""
NEITHER, GET, PUT = 0, 1, 2
"""In `kinds`: a request without state, a read, an update."""
FORMAT = 1


class Answer(NamedTuple):
    """One good answer."""

    n: int
    sent_at: float
    at: float
    owner: str
    epoch: int


class Gap(NamedTuple):
    """A time without answers, as the client saw it; `ended` says whether an answer came at its end."""

    begin: float
    end: float
    ended: bool

    @property
    def length_s(self) -> float:
        return self.end - self.begin


class _File(msgspec.Struct):
    """The file: arrays as raw bytes of this machine's own number format."""

    format: int
    kind: str
    address: str
    port: int
    rate_s: float
    began_at: float
    stopped_at: float
    sent_at: bytes
    answered_at: bytes
    owner: bytes
    epoch: bytes
    kinds: bytes
    owners: list[str]
    extras: list[tuple[int, float, str, int]]
    lost_updates: list[int]
    verified: bool | None
    pauses: list[tuple[float, float]]
    realtime: bool


@dataclass
class ProbeRun:
    """Everything one probe saw. Index `n` of each array is the number of the request."""

    kind: str
    address: str
    port: int
    rate_s: float
    began_at: float = 0.0
    stopped_at: float = 0.0
    """When the last request was sent (or could have been)."""
    sent_at: "array[float]" = field(default_factory=lambda: array("d"))
    answered_at: "array[float]" = field(default_factory=lambda: array("d"))
    owner: "array[int]" = field(default_factory=lambda: array("h"))
    epoch: "array[int]" = field(default_factory=lambda: array("q"))
    kinds: bytearray = field(default_factory=bytearray)
    owners: list[str] = field(default_factory=list)
    extras: list[tuple[int, float, str, int]] = field(default_factory=list)
    """Further answers to a request that had one already: number, time, owner, epoch."""
    lost_updates: list[int] = field(default_factory=list)
    """Numbers of updates that were acknowledged and not found afterwards."""
    verified: bool | None = None
    """Whether every acknowledged update was read back; None where the function keeps no state."""
    pauses: list[tuple[float, float]] = field(default_factory=list)
    """The probe's own pauses: when it went on, and by how many seconds it was late."""
    realtime: bool = False

    @property
    def sent(self) -> int:
        return len(self.sent_at)

    @property
    def lost(self) -> int:
        """Requests that were sent and never answered well."""
        return sum(1 for at in self.answered_at if at < 0)

    def lost_since(self, begin: float) -> int:
        """The same of those that were sent since then."""
        return sum(sent >= begin and at < 0 for sent, at in zip(self.sent_at, self.answered_at, strict=True))

    @property
    def updates_lost(self) -> int:
        return len(self.lost_updates)

    @property
    def noise_s(self) -> float:
        """The longest pause of the probe itself: no figure is finer than this."""
        return max((late for _, late in self.pauses), default=0.0)

    def answers(self) -> list[Answer]:
        """All good answers in the order in which they came."""
        found = [
            Answer(n, self.sent_at[n], at, self.owners[self.owner[n]] if self.owner[n] >= 0 else "", self.epoch[n])
            for n, at in enumerate(self.answered_at)
            if at >= 0
        ]
        found.sort(key=lambda answer: answer.at)
        return found

    def last_answer_s(self, before_s: float) -> float:
        """When the last good answer came up to then; 0 where none had come."""
        return max((at for at in self.answered_at if 0 <= at <= before_s), default=0.0)

    def gaps(self, since: float, until: float | None = None) -> list[Gap]:
        """The times without answer that end after `since` and begin before `until`."""
        times = sorted(at for at in self.answered_at if at >= 0)
        points = [self.began_at, *times] if times and times[0] > since else times
        found = [Gap(a, b, True) for a, b in pairwise(points) if b > since]
        last = points[-1] if points else self.began_at
        if self.stopped_at > last:
            found.append(Gap(last, self.stopped_at, False))
        return [gap for gap in found if gap.end > since and (until is None or gap.begin < until)]

    def outage(self, since: float, until: float | None = None) -> Gap | None:
        """The longest gap between two answers that ends after `since`; one that never ended counts to the end."""
        return max(self.gaps(since, until), key=lambda gap: gap.length_s, default=None)

    def answered_well_at_the_end(self, window_s: float = 0.2, missing_max: float = 0.05) -> bool:
        """Whether (nearly) every request of the last `window_s` got its answer.

        A few may be missing: the last ones can still be under way when the probe stops.
        """
        asked = [n for n, at in enumerate(self.sent_at) if at >= self.stopped_at - window_s]
        missed = sum(1 for n in asked if self.answered_at[n] < 0)
        return bool(asked) and missed <= max(2, missing_max * len(asked))


def save_probe(run: ProbeRun, path: Path) -> None:
    file = _File(
        FORMAT, run.kind, run.address, run.port, run.rate_s, run.began_at, run.stopped_at,
        run.sent_at.tobytes(), run.answered_at.tobytes(), run.owner.tobytes(), run.epoch.tobytes(), bytes(run.kinds),
        run.owners, run.extras, run.lost_updates, run.verified, run.pauses, run.realtime,
    )  # fmt: skip
    # Whole or not at all: a reader must never take half a file for a short run.
    part = path.with_name(path.name + ".part")
    part.write_bytes(msgspec.msgpack.encode(file))
    part.rename(path)


def load_probe(path: Path) -> ProbeRun:
    file = msgspec.msgpack.decode(path.read_bytes(), type=_File)
    if file.format != FORMAT:
        raise ValueError(f"{path} has format {file.format}, expected {FORMAT}")
    run = ProbeRun(
        file.kind, file.address, file.port, file.rate_s, file.began_at, file.stopped_at,
        kinds=bytearray(file.kinds), owners=file.owners, extras=file.extras, lost_updates=file.lost_updates,
        verified=file.verified, pauses=file.pauses, realtime=file.realtime,
    )  # fmt: skip
    run.sent_at.frombytes(file.sent_at)
    run.answered_at.frombytes(file.answered_at)
    run.owner.frombytes(file.owner)
    run.epoch.frombytes(file.epoch)
    return run
