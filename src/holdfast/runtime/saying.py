"""What a process says on standard error, which is a file in its run folder: a full disk must not end who reports it."""

import io
import os
import sys

from holdfast.errors import HoldfastError, words_of


class Enduring(io.TextIOBase):
    """Standard error of a process that goes on whether it is heard or not."""

    def __init__(self, file: int = 2) -> None:
        self._file = file
        self.lost = 0
        """Pieces of text that could not be written."""

    def fileno(self) -> int:
        return self._file

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        try:
            os.write(self._file, text.encode(errors="backslashreplace"))
        except OSError:
            self.lost += 1
        return len(text)


def refused(error: HoldfastError | OSError) -> int:
    """Say why the process cannot go on, without a traceback; answers its exit status."""
    if isinstance(error, HoldfastError):
        sys.stderr.write(f"holdfast: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_status
    about = f"{error.filename}: " if error.filename else ""
    sys.stderr.write(f"holdfast: {about}{words_of(error).lower()}\n")
    return HoldfastError.exit_status


def endure() -> None:
    """From now on."""
    sys.stderr = Enduring()
