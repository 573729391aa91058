"""Faults that are drawn: which kinds there are, how often and where each strikes, and when.

In:   chance, hosts, services. Out: `PlannedFault`s by the time at which they begin.
Always: the same chance draws the same faults. Both worlds carry out what is drawn here, each in its own way.
"""

import random
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

LOAD_MS = 3000
"""Faults begin within this time after the services are provided."""
NUMBERS = (2, 2, 3, 3, 4, 5)
"""How many at once; each is as likely as it is often here."""


class PlannedFault(Struct, frozen=True):
    """One thing that goes wrong, and comes right again after a while."""

    kind: str
    at_ms: int
    """After the services are provided."""
    place: str
    """A host, `active SERVICE` or `standby SERVICE`, or nothing."""
    lasts_ms: int = 0
    """0: there is nothing to take back."""
    other: str = ""


class FaultKind(Struct, frozen=True):
    """How a kind of fault is drawn."""

    name: str
    weight: int
    where: Literal["service", "host", "pair", "nowhere"]
    lasts_ms: tuple[int, int] = (0, 0)


KINDS: tuple[FaultKind, ...] = (
    FaultKind("kill-vnfc", 10, "service"),
    FaultKind("freeze-vnfc", 4, "service"),
    FaultKind("kill-vm", 6, "service"),
    FaultKind("freeze-vm", 3, "service", (50, 1500)),
    FaultKind("host-off", 8, "host", (300, 2000)),
    FaultKind("freeze-host", 4, "host", (50, 1500)),
    FaultKind("cut-host", 8, "host", (50, 2000)),
    FaultKind("cut-pair", 4, "pair", (50, 2000)),
    FaultKind("cut-one-way", 4, "pair", (50, 2000)),
    FaultKind("kill-agent", 5, "host"),
    FaultKind("freeze-agent", 4, "host", (50, 1500)),
    FaultKind("starve-agent", 4, "host", (100, 1500)),
    FaultKind("kill-hot", 3, "host"),
    FaultKind("kill-manager", 5, "nowhere"),
    FaultKind("freeze-manager", 3, "nowhere", (100, 2000)),
    FaultKind("kill-store", 4, "host", (200, 2000)),
    FaultKind("freeze-store", 3, "host", (100, 2000)),
    FaultKind("store-away", 2, "nowhere", (300, 2500)),
    FaultKind("cleanup-hangs", 3, "service"),
    FaultKind("fence-hangs", 2, "host", (300, 2500)),
    FaultKind("fence-lies", 1, "host", (300, 2500)),
    FaultKind("clock-bends", 3, "host", (300, 2500)),
    FaultKind("messages-lost", 3, "nowhere", (100, 1500)),
    FaultKind("messages-doubled", 2, "nowhere", (100, 1500)),
)
RARE: tuple[FaultKind, ...] = (
    FaultKind("end-agent", 3, "host"),
    FaultKind("switch-over", 3, "service"),
    FaultKind("lose-host", 4, "host", (900, 2500)),
    FaultKind("restore-store", 2, "nowhere", (300, 1800)),
    FaultKind("slow-machine", 2, "host", (300, 2500)),
    # Not drawn, for scripts alone: what begins meanwhile fails until it is given up, and waits for a person then.
    FaultKind("disk-read-only", 0, "host", (100, 1500)),
    # For scripts as well: they say between which hosts, and when it ends, or go to the very limit of what is assumed.
    FaultKind("lock-host", 0, "host", (300, 2500)),
    FaultKind("messages-late", 0, "host", (100, 3000)),
    FaultKind("messages-again", 0, "host", (100, 3000)),
    FaultKind("clock-slow", 0, "host", (300, 2500)),
    FaultKind("clock-fast", 0, "host", (300, 2500)),
)
"""Of the simulated world alone: what a person does (or has done) meanwhile, and what a lab host cannot suffer."""
BY_NAME = {kind.name: kind for kind in (*KINDS, *RARE)}


def draw_faults(
    chance: random.Random, hosts: Sequence[str], services: Sequence[str], numbers: Sequence[int] = NUMBERS
) -> tuple[PlannedFault, ...]:
    """Alone, close to each other (overlapping, during a recovery), or the same again and again; seldom none at all."""
    if chance.random() < 0.04:
        return ()  # Nothing at all: nothing must move.
    number = chance.choice(numbers)
    shape = chance.choice(("spread", "burst", "repeat"))
    kinds = chance.choices(KINDS, [kind.weight for kind in KINDS], k=number)
    if shape == "repeat":
        kinds = [kinds[0]] * number
    begin = chance.randrange(100, LOAD_MS // 2)
    times = [
        begin + round(chance.expovariate(1 / 60)) if shape == "burst" else chance.randrange(100, LOAD_MS)
        for _ in range(number)
    ]
    return tuple(
        sorted(
            (_fault(chance, kind, at, hosts, services) for kind, at in zip(kinds, times, strict=True)),
            key=lambda one: one.at_ms,
        )
    )


def draw_rare(
    chance: random.Random, hosts: Sequence[str], services: Sequence[str], near: Sequence[PlannedFault]
) -> PlannedFault:
    """One of the rare kinds; often shortly after something else, so that it falls into its recovery."""
    kind = chance.choices(RARE, [kind.weight for kind in RARE])[0]
    at = chance.randrange(100, LOAD_MS)
    if near and chance.random() < 0.6:
        at = chance.choice(near).at_ms + round(chance.expovariate(1 / 80))
    return _fault(chance, kind, at, hosts, services)


def _fault(
    chance: random.Random, kind: FaultKind, at_ms: int, hosts: Sequence[str], services: Sequence[str]
) -> PlannedFault:
    lasts = chance.randrange(*kind.lasts_ms) if kind.lasts_ms[1] else 0
    other = ""
    place = ""
    if kind.where == "service":
        place = f"{chance.choice(('active', 'active', 'standby'))} {chance.choice(services)}"
    elif kind.where == "host":
        place = chance.choice((*hosts, f"active {services[0]}", f"active {services[0]}"))
    elif kind.where == "pair":
        place, other = chance.sample(hosts, 2)
    return PlannedFault(kind.name, at_ms, place, lasts, other)


def words_of(fault: PlannedFault) -> str:
    """As one line: `MILLISECONDS KIND [PLACE] [and OTHER] [for MILLISECONDS]`."""
    words = [str(fault.at_ms), fault.kind]
    words += [fault.place] if fault.place else []
    words += ["and", fault.other] if fault.other else []
    words += ["for", str(fault.lasts_ms)] if fault.lasts_ms else []
    return " ".join(words)
