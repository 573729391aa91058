"""The journal: typed records in, one line of JSON each, appended to one file a party.

A batch is one `write` straight to the operating system, so what was written survives a killed process;
nothing waits for the disk. A disk that is full or read-only costs records, never the service: they
are counted and the caller is told once, and the loss itself becomes a record as soon as there is room.
Record numbers go on after a restart where the file ends. Each line has a checksum; one that has changed on the disk
stays where it is, and whoever reads the journal is told of it and goes on behind it.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.errors import WorldError
from holdfast.model.names import Party
from holdfast.model.reading import UNREADABLE
from holdfast.model.records import Marked, Opened, Record
from holdfast.store.sums import checked, is_whole, with_sum

GAP = "journal-gap"
"""Name of the mark that stands where records were lost."""
_TAIL_BYTES = 1 << 16


class Journal:
    """Appends the records of one party.

    Args:
        path: its file; folders above it are made.
        by: the party that writes.
        gap: told once, in words, when records begin to be lost.
    """

    def __init__(self, path: Path, by: Party, gap: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._by = by
        self._gap = gap
        self._back: Callable[[], None] = lambda: None
        self._encode = msgspec.json.Encoder()
        self._file = -1
        self._torn = False
        self._is_told = False
        self.lost = 0
        self._unmarked = 0
        self._unopened: Opened | None = None
        """The first record of this process, while it could not be written."""
        self.last_n = 0
        """Highest record number known to be in use; `number()` draws the next one."""
        try:
            self.last_n, self._torn = _tail(path)
            self._open()
        except OSError as error:
            self._missed(error, 0)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def when_lost(self, gap: Callable[[str], None], back: Callable[[], None] = lambda: None) -> None:
        """From now on tell `gap` when records begin to be lost, and `back` when they are written again."""
        self._gap, self._back = gap, back

    @property
    def is_losing(self) -> bool:
        """Whether the last records could not be written."""
        return self._is_told

    def number(self) -> int:
        """The number of the next record."""
        self.last_n += 1
        return self.last_n

    def opened(self, at: float, wall: float, pid: int) -> None:
        """Write the first record of a process; without it nobody knows what the times of the others mean."""
        first = Opened(at=at, by=self._by, n=self.number(), wall=wall, pid=pid)
        self._unopened = first
        self.write([first])

    def write(self, records: Sequence[Record]) -> None:
        """Append the records, all in one write, or count them as lost."""
        if records:
            self._append(records, records[0].at)

    def catch_up(self, at: float) -> None:
        """Say what was lost, if there is room now: whoever has nothing else to write for a while calls this."""
        if self._is_told and self._unmarked:
            self._append((), at)

    def _append(self, records: Sequence[Record], at: float) -> None:
        lines = [with_sum(self._encode.encode(record)) for record in records]
        if self._unmarked:
            # A first record that could not be written comes late, but is not lost.
            first, lost = self._unopened, self._unmarked - (self._unopened is not None)
            mark = Marked(at, self._by, self.number(), GAP, detail=f"{lost} records lost")
            lines[:0] = [with_sum(self._encode.encode(one)) for one in (first, mark) if one is not None]
        block = (b"\n" if self._torn else b"") + b"\n".join(lines) + b"\n"
        try:
            if self._file < 0:
                self._open()
            written = os.write(self._file, block)
        except OSError as error:
            self._missed(error, len(records))
            return
        if written < len(block):
            self._torn = True
            self._missed(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), len(records))
            return
        self._torn = False
        self._unmarked = 0
        self._unopened = None
        if self._is_told:
            self._is_told = False
            self._back()

    def _missed(self, error: OSError, records: int) -> None:
        self.lost += records
        self._unmarked += records
        if self._is_told:
            return
        self._is_told = True
        if self._gap is not None:
            self._gap(f"the journal {self._path} cannot be written: {error.strerror or error}")

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Broken(Struct, frozen=True):
    """A line of a journal that is no record."""

    path: Path
    line: int
    """Counted from 1."""
    offset: int
    """Of its first byte in the file."""
    why: str
    is_cut: bool
    """It is the beginning of a record where a writer may have been killed, or have had no more room: that can be."""

    def __str__(self) -> str:
        why = "cut off when its writer ended" if self.is_cut else self.why
        return f"{self.path}:{self.line}: {why}; the line begins at byte {self.offset}"


def read(path: Path, tell: Callable[[Broken], None] | None = None) -> Iterator[Record]:
    """Yield the records of a journal file.

    A line cut off in the middle is passed over where that is explained: at the end of the file, before a
    new `Opened` (the process was killed while it wrote) and before a gap mark (the disk was full).

    Args:
        path: the file.
        tell: gets each line that is passed over; without it, only those are whose cut is explained.

    Raises:
        WorldError: the file cannot be read; or, without `tell`, a line is not a record, with file and line.
    """
    decode: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
    broken: Broken | None = None
    offset = 0
    for number, line in enumerate(_lines(path), 1):
        begin, offset = offset, offset + len(line)
        line = line.rstrip(b"\r\n")
        if not line.strip():
            continue
        try:
            record = decode.decode(checked(line))
        except (ValueError, *UNREADABLE) as error:
            if broken is not None:
                _pass_over(broken, tell)
            why = f"not a record of format 1: {error}"
            broken = Broken(path, number, begin, why, not is_whole(line))
            continue
        if broken is not None:
            is_explained = isinstance(record, Opened) or _is_gap(record)
            _pass_over(msgspec.structs.replace(broken, is_cut=broken.is_cut and is_explained), tell)
        broken = None
        yield record
    if broken is not None:
        _pass_over(msgspec.structs.replace(broken, is_cut=broken.is_cut and _ends_torn(path)), tell)


def _pass_over(broken: Broken, tell: Callable[[Broken], None] | None) -> None:
    if tell is not None:
        tell(broken)
    elif not broken.is_cut:
        raise WorldError(str(broken))


def _is_gap(record: Record) -> bool:
    return isinstance(record, Marked) and record.name == GAP


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise WorldError(f"the journal {path} cannot be read: {error.strerror}") from error


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


class _Numbered(msgspec.Struct):
    n: int


def _tail(path: Path) -> tuple[int, bool]:
    """Highest record number near the end of the file, and whether its last line was cut off."""
    if not path.exists() or path.stat().st_size == 0:
        return 0, False
    torn = _ends_torn(path)
    size = path.stat().st_size
    reach = _TAIL_BYTES
    while True:
        with path.open("rb") as file:
            file.seek(max(0, size - reach))
            lines = file.read().split(b"\n")
        # The first piece may begin inside a line, unless all of the file was read.
        for line in reversed(lines if reach >= size else lines[1:]):
            number = _number(line)
            if number is not None:
                return number, torn
        if reach >= size:
            return 0, torn
        reach *= 8


def _number(line: bytes) -> int | None:
    try:
        return msgspec.json.decode(line, type=_Numbered).n
    except UNREADABLE:
        return None
