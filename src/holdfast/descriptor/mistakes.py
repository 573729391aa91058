"""What is said about a descriptor: mistakes (it cannot be used), warnings (it can, but look), all with their place."""

import difflib
import itertools
from collections.abc import Iterable

from msgspec import Struct

_SHOWN_MAX = 60
_NEAR_AMONG_MAX = 500
"""Words that are compared with one that is not known: comparing is slow."""


class Mistake(Struct, frozen=True, order=True):
    """One thing that is wrong: where, what was found, what was expected, what to do."""

    file: str
    line: int
    column: int
    where: str
    """The keys that lead there, `vnfs.registry.place[1]`; empty where the YAML itself is at fault."""
    found: str
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {where}found {self.found}, expected {self.expected}{hint}"


class Warning_(Struct, frozen=True, order=True):  # noqa: N801  (Warning is Python's own)
    """One thing that is allowed, but probably not meant."""

    file: str
    line: int
    column: int
    where: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.where}: {self.text}{hint}"


def shown(value: object) -> str:
    """A value as a message shows it: short, on one line, and never unreadable."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    said = repr(text[:_SHOWN_MAX])
    return said if len(said) <= _SHOWN_MAX and len(text) <= _SHOWN_MAX else said[: _SHOWN_MAX - 4] + "...'"


def near(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, empty where none is near."""
    among = list(itertools.islice(known, _NEAR_AMONG_MAX))
    found = difflib.get_close_matches(word[:100], among, n=1, cutoff=0.6)
    return found[0] if found else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean …?` for the nearest of the known words, empty where none is near."""
    found = near(word, known)
    return f"did you mean {found}?" if found else ""


def one_of(words: Iterable[str]) -> str:
    """`a, b or c`."""
    several = list(words)
    return several[0] if len(several) == 1 else f"{', '.join(several[:-1])} or {several[-1]}"
