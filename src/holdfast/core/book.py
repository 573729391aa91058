"""A dictionary of a state that knows in what it differs from the one before, so that only that need be looked at.

In: the dictionary of the state before. Out: a copy that is changed while a step is made, and frozen like the rest of
the state from then on. Always holds: it is equal to a plain dictionary with the same content, and is encoded like one.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Book(dict[K, V]):
    """Changed by item only: other ways to change a dictionary are not noticed."""

    __slots__ = ("base", "changed")

    def __init__(self, before: Mapping[K, V]) -> None:
        super().__init__(before)
        self.base: Mapping[K, V] | None = before
        """The one that it began as; None once there is a later one, so that those before can be forgotten."""
        self.changed: dict[K, None] = {}
        """Keys that were set or taken away since."""
        if isinstance(before, Book):
            before.base = None

    def __setitem__(self, key: K, value: V) -> None:
        self.changed[key] = None
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self.changed[key] = None
        super().__delitem__(key)

    def pop(self, key: K, *default: Any) -> Any:
        self.changed[key] = None
        return super().pop(key, *default)


def kept(before: T, now: T) -> T:
    """What was before, if nothing has changed: the same object, so that it is seen at a glance."""
    return before if before == now else now


def differences(earlier: Mapping[K, V], later: Mapping[K, V]) -> list[K]:
    """Keys with another value, or a value on one side only; values that are the same object have not changed."""
    if earlier is later:
        return []
    if isinstance(later, Book) and later.base is earlier:
        return [key for key in later.changed if _at(earlier, key) is not _at(later, key)]
    changed = [key for key, value in later.items() if _at(earlier, key) is not value]
    return changed + [key for key in earlier if key not in later]


_NOTHING = object()


def _at(book: Mapping[K, V], key: K) -> object:
    return book.get(key, _NOTHING)
