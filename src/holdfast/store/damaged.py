"""A store whose file is damaged is kept aside, and its manager goes on with what is sound of it, or with an empty one.

In:   the file of a store. Out: a store that can be believed; how many damaged ones lie beside it, and where.
Always: nothing of a damaged file is lost, and nothing damaged is gone by. A manager without memory knows nothing of
what it has given out before: it begins behind the numbers that it can have given (`core/terms`), each time.
"""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from holdfast.errors import WorldError
from holdfast.store.sqlite import LogDamaged, SqliteStore, StoreDamaged

_ASIDE = "damaged-"
_BESIDE = ("", "-wal", "-shm")
"""What belongs to one file of SQLite."""


def open_sound(path: Path) -> SqliteStore:
    """The store, with what is sound of it where the file is damaged, which is then kept aside.

    Raises:
        WorldError: it cannot be opened, or not be kept aside.
    """
    try:
        return SqliteStore(path)
    except LogDamaged as damaged:
        aside = _put_aside(path, shutil.copyfile)
        _say(f"{damaged.message}; a copy is kept as {aside}, and the manager begins with what was saved before")
    except StoreDamaged as damaged:
        aside = _put_aside(path, Path.rename)
        _say(f"{damaged.message}; it is kept as {aside}, and the manager begins without memory")
    try:
        return SqliteStore(path, may_lack_the_last=True)
    except StoreDamaged as damaged:
        for suffix in _BESIDE:  # There is a copy.
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _say(f"{damaged.message}; the manager begins without memory")
        return SqliteStore(path)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def times_damaged(path: Path) -> int:
    """How often that has happened to this store, as far as the files beside it tell."""
    return max((number for number, _ in _kept_aside(path)), default=0)


def kept_aside(path: Path) -> list[Path]:
    """The damaged files beside a store."""
    return [one for _, one in sorted(_kept_aside(path))]


def _kept_aside(path: Path) -> list[tuple[int, Path]]:
    pattern = re.compile(re.escape(f"{path.name}.{_ASIDE}") + r"(\d+)")
    found = ((pattern.fullmatch(one.name), one) for one in path.parent.glob(f"{path.name}.{_ASIDE}*"))
    return [(int(match[1]), one) for match, one in found if match is not None]


def _put_aside(path: Path, put: Callable[[Path, Path], object]) -> Path:
    aside = path.with_name(f"{path.name}.{_ASIDE}{times_damaged(path) + 1}")
    try:
        # The log first: with it alone the next one would begin in the midst of the old.
        for suffix in reversed(_BESIDE):
            part = path.with_name(path.name + suffix)
            if part.exists():
                put(part, aside.with_name(aside.name + suffix))
    except OSError as error:
        raise WorldError(
            f"the store {path} is damaged, and cannot be kept aside: {error.strerror}",
            f"move it away, with {path.name}-wal: its manager then begins without memory",
        ) from error
    return aside
