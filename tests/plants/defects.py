"""All planted mistakes, by name."""

from tests.plants.known import KNOWN
from tests.plants.own_managers import MANAGERS
from tests.plants.own_runtime import RUNTIME
from tests.plants.planting import Defect

OWN: tuple[Defect, ...] = (*MANAGERS, *RUNTIME)
ALL: dict[str, Defect] = {defect.name: defect for defect in (*OWN, *KNOWN)}


def chosen(words: str) -> list[Defect]:
    """`all`, `own`, `known`, or names with commas between them.

    Raises:
        ValueError: there is no such defect.
    """
    sets = {"all": tuple(ALL.values()), "own": OWN, "known": KNOWN}
    found: list[Defect] = []
    for word in words.split(","):
        if word not in sets and word not in ALL:
            raise ValueError(f"no defect is called {word!r}; expected all, own, known, or of {', '.join(ALL)}")
        found += sets[word] if word in sets else (ALL[word],)
    return list(dict.fromkeys(found))
