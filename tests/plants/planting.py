"""Changes of the real modules for the time of a run, all taken back afterwards.

In:   what is to be changed, and what to. Out: the modules changed inside `planted`, and as they were outside.
Always: nothing in the product knows of it; a name that other modules have imported is changed there too.
"""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Thing = TypeVar("Thing")


class Ground:
    """The product's modules, as a mistake changes them."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any, bool]] = []

    def change(self, owner: Any, name: str, value: Any) -> None:
        """Another value for an attribute of a module or class."""
        is_own = name in vars(owner)
        self._before.append((owner, name, vars(owner).get(name), is_own))
        setattr(owner, name, value)

    def everywhere(self, old: Thing, new: Any) -> Thing:
        """Another function or class, wherever the product's modules have it by name; answers the right one."""
        found = False
        for module_name, module in tuple(sys.modules.items()):
            if module_name.split(".")[0] == "holdfast":
                for name, value in tuple(vars(module).items()):
                    if value is old:
                        self.change(module, name, new)
                        found = True
        if not found:
            raise LookupError(f"{old!r} is nowhere any more: the mistake cannot be planted, and must be written anew")
        return old

    def around(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Another value for an attribute, made from the right one."""
        self.change(owner, name, make(getattr(owner, name)))

    def put_back(self) -> None:
        for owner, name, value, is_own in reversed(self._before):
            if is_own:
                setattr(owner, name, value)
            else:
                delattr(owner, name)
        self._before.clear()


@dataclass(frozen=True)
class Guard:
    """Something right that stands behind a mistake, so that it does no harm alone."""

    says: str
    where: str
    plant: Callable[[Ground], None]
    """Takes it out."""


@dataclass(frozen=True)
class Defect:
    """A mistake, and how it is made."""

    name: str
    says: str
    where: str
    """The module that is wrong then."""
    plant: Callable[[Ground], None]
    judges: tuple[str, ...]
    """Of which at least one has to see it."""
    script: str = ""
    """A written run in `scripts/` that shows it."""
    is_rare: bool = False
    """Drawn runs show it too rarely, so its figure is that of the script."""
    by_season: bool = False
    """Drawn in the grants' season (`season.py`)."""
    guards: tuple[Guard, ...] = ()
    """Taken out by the same plant."""
    first: int = 40
    """A drawn run is wrong within so many seeds (asked by the test where there is no script)."""


Part = Literal["mistake", "guards"]
BOTH: tuple[Part, ...] = ("mistake", "guards")


@contextmanager
def planted(defect: Defect, parts: Collection[Part] = BOTH) -> Iterator[None]:
    """The mistake is in the product meanwhile, and what stands behind it is not; or one of the two alone."""
    ground = Ground()
    try:
        if "mistake" in parts:
            defect.plant(ground)
        for guard in defect.guards if "guards" in parts else ():
            guard.plant(ground)
        yield
    finally:
        ground.put_back()
