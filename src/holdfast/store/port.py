"""What a manager needs from a store: its state in named parts, changed in one transaction a step.

A party has one version that grows by one with each save. A save names the version it builds on, so a
second manager that holds the same party by mistake is refused instead of overwriting. Whoever returns
from `save` without an error has its change kept even if the process is killed in the next instant.
Every implementation passes tests/contract/test_store.py.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from holdfast.errors import HoldfastError
from holdfast.model.names import Party


class Saved(Struct, frozen=True):
    """What the store holds of a party; version 0 and no parts if it never saved."""

    version: int
    parts: dict[str, bytes]


class Waiting(Struct, frozen=True):
    """What a store that writes behind has taken, and does not have on disk yet."""

    changes: int = 0
    size_bytes: int = 0
    since: float | None = None
    """When the oldest of it was taken, on the monotonic clock."""
    problem: str = ""
    """Why it waits, if an attempt has failed."""


class StoreBroken(HoldfastError):
    """The store could not keep the change (disk full, read-only, gone); the old content still stands."""


class Superseded(HoldfastError):
    """Somebody else saves for this party: whoever gets this must stop deciding for it."""


class Store(Protocol):
    @property
    def pieces(self) -> int:
        """Into how many parts a big mapping may be split, so that a change of all there is can be one save."""
        ...

    def load(self, party: Party) -> Saved: ...

    def save(self, party: Party, changes: Mapping[str, bytes | None], expected: int) -> int:
        """Set (or, with None, remove) these parts; answer the new version.

        Raises:
            Superseded: the party's version is not `expected`.
            StoreBroken: the change could not be kept.
        """
        ...

    def is_kept(self, party: Party, version: int) -> bool:
        """Whether the save that answered this version is durable; false only where a store writes behind."""
        ...

    @property
    def waiting(self) -> Waiting: ...

    def tidy(self) -> None:
        """Do the housekeeping that would cost time on the way of a failure; to be called when idle."""
        ...

    def close(self) -> None: ...
