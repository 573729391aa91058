"""Files and words of a component: placeholders filled in, files written into the VNFC's own folder.

In: texts from the descriptor and the values that belong to one start. Out: the same texts with `${name}` replaced,
and files on disk. Only the names in PLACEHOLDERS are replaced; every other `$` stays as it is, because
configuration files and shell commands have their own.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.errors import WorldError

PLACEHOLDERS = ("vm", "host", "vnfc", "vnf", "dir", "address", "own_address", "epoch", "storage", "python")
_PLACEHOLDER = re.compile(r"\$\{(" + "|".join(PLACEHOLDERS) + r")\}")
LOG_TAIL_BYTES = 2000


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders that `values` has."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def fill_in_words(words: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(fill_in(word, values) for word in words)


def write_files(folder: Path, files: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Write the component's files, relative to `folder`, each in one go. Other files there are left alone."""
    for name, content in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise WorldError(f"file {name!r} of the component lies outside its folder")
        try:
            wanted = fill_in(content, values)
            if _holds(path, wanted):
                continue  # A component can be started again also where the disk takes nothing.
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(path.name + ".new")
            unfinished.write_text(wanted)
            unfinished.replace(path)
        except OSError as error:
            raise WorldError(f"{path} cannot be written: {error.strerror}") from error


def _holds(path: Path, wanted: str) -> bool:
    try:
        return path.read_text() == wanted
    except (OSError, UnicodeDecodeError):
        return False


def last_line(log: Path) -> str:
    """The last line of a log that is not empty: what a program that ended too early said about it."""
    try:
        # A component may have put anything in its place: a pipe would be waited for.
        with open(os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as opened:
            opened.seek(0, os.SEEK_END)
            opened.seek(max(0, opened.tell() - LOG_TAIL_BYTES))
            lines = opened.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def output_for(log: Path) -> int:
    """A handle on the log of a process that is to be started; on nothing where the log cannot be written."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        sys.stderr.write(f"{log} cannot be written: {error.strerror}; what is said there is lost\n")
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
