"""The journals of simulated machines, told in true time.

In:   the journals as each machine has written them, by a clock of its own that began anew with each start.
Out:  the same records, by the one clock that nobody in the world can see: so they can be compared, as those of one real
machine can.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from holdfast.lab.sim.clocks import Clock
from holdfast.lab.sim.host import SimHost
from holdfast.model.records import Opened, Record

NS = 1_000_000_000
_DECODER: "msgspec.json.Decoder[Record]" = msgspec.json.Decoder(Record)
_ENCODER = msgspec.json.Encoder()


class JournalReader:
    """One file as it grows."""

    def __init__(self, path: Path, host: SimHost, wall_began_s: float) -> None:
        self._path = path
        self._host = host
        self._wall_began_s = wall_began_s
        self._offset = 0
        self._opened_at = 0.0
        self._opened_true_ns = 0
        self._clock: Clock | None = None
        """Of the process that writes; None before its first record."""

    def read(self) -> list[Record]:
        """What has been written since the last call."""
        if os.stat(self._path).st_size == self._offset:  # asked for each file at each look
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole, newline, _ = text.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [self._told(_DECODER.decode(line)) for line in whole.splitlines() if line]

    def _told(self, record: Record) -> Record:
        if isinstance(record, Opened):
            # A manager goes on counting where an earlier leader was; so only what has passed since is the clock's.
            self._opened_at = record.at
            self._opened_true_ns = round((record.wall - self._wall_began_s) * NS)
            clocks = reversed(self._host.clocks)
            self._clock = next(clock for begun_ns, clock in clocks if begun_ns <= self._opened_true_ns)
        if self._clock is None:
            return record
        return replace(record, at=self._clock.told_s(self._opened_true_ns, record.at - self._opened_at))


def encoded(records: Iterable[Record]) -> bytes:
    return b"".join(_ENCODER.encode(record) + b"\n" for record in records)


def files(folder: Path) -> Iterator[Path]:
    yield from sorted((folder / "journal").glob("*.jsonl"))
