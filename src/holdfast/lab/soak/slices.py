"""Files that grow as long as the deployment lives, taken in slices: what each has grown by since the last time.

In:   folders of files that are appended to. Out: copies of the new lines, in a folder of the same name.
Always: each whole line is in one slice; what has been copied is given back to the file system, but for the end of it
that its writer may read again. So a file takes hardly more room than a slice of it.
"""

import ctypes
import os
from pathlib import Path

KEPT_BYTES = 1 << 18
"""A journal is continued from its last 64 KiB (store/journal.py)."""
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


class Slices:
    def __init__(self, root: Path, folders: tuple[str, ...]) -> None:
        self._root, self._folders = root, folders
        self._taken: dict[Path, int] = {}

    def take(self, to: Path) -> list[str]:
        """Copy what is new below `to`; returns the names of the files there."""
        names = []
        for folder in self._folders:
            (to / folder).mkdir(parents=True, exist_ok=True)
            for path in sorted((self._root / folder).glob("*")):
                if path.is_file() and (text := self._new(path)):
                    name = f"{folder}/{path.name}"
                    with (to / name).open("ab") as file:
                        file.write(text)
                    names.append(name)
        return names

    def _new(self, path: Path) -> bytes:
        since = self._taken.get(path, 0)
        with path.open("rb") as file:
            file.seek(since)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self._taken[path] = since + len(text)
        return text

    def give_back(self) -> None:
        """Of what has been taken; nobody reads it any more."""
        for path, taken in self._taken.items():
            if taken > KEPT_BYTES:
                _punch(path, taken - KEPT_BYTES)


def _punch(path: Path, size: int) -> None:
    """Where the file system cannot, the file keeps its room."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        offset, length = ctypes.c_int64(0), ctypes.c_int64(size)
        _libc.fallocate(handle, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length)
    finally:
        os.close(handle)
