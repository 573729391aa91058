"""The journals of simulated machines, told in true time.

In:   the journals as each machine has written them, by a clock of its own that began anew with each start.
Out:  the same records, by the one clock that nobody in the world can see: so they can be compared, as those of one real
machine can.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

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
        self._clock = host.monotonic

    def read(self) -> list[Record]:
        """What has been written since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole, newline, _ = text.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [self._told(_DECODER.decode(line)) for line in whole.splitlines() if line]

    def _told(self, record: Record) -> Record:
        if isinstance(record, Opened):
            true_ns = round((record.wall - self._wall_began_s) * NS)
            self._clock = next(clock for begun_ns, clock in reversed(self._host.clocks) if begun_ns <= true_ns)
        return replace(record, at=self._clock.was_at(record.at * NS) / NS)


def encoded(records: Iterable[Record]) -> bytes:
    return b"".join(_ENCODER.encode(record) + b"\n" for record in records)


def files(folder: Path) -> Iterator[Path]:
    yield from sorted((folder / "journal").glob("*.jsonl"))
