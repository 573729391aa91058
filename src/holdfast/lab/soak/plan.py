"""What happens in the episodes of a soak.

In:   a seed, the number of an episode. Out: its faults, as `lab/drawn.py` draws them for both worlds.
Always: each episode is drawn by itself, so that it can be repeated without those before it.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import UserError
from holdfast.lab.drawn import PlannedFault, draw_faults
from holdfast.lab.scenario import LAYOUTS
from holdfast.lab.sim.draw import Plan
from holdfast.model.layout import Layout
from holdfast.model.names import HostName

LAYOUT = LAYOUTS / "soak.yaml"
CONTROL = (HostName("h1"), HostName("h2"), HostName("h3"))
"""The hosts with a member of etcd and a candidate for the managers' leadership."""
NUMBERS = (1, 1, 2, 2, 3, 3, 4)
"""How many faults in an episode; each is as likely as it is often here."""
RECOVER_LIMIT_S = 30.0
"""Once its faults are over, everything is as declared within this time."""


@dataclass(frozen=True)
class SoakPlan:
    seed: int
    seconds: float
    """No episode begins later than this after the start."""
    out: Path
    """Folder of this soak."""
    first: int = 1
    last: int | None = None
    """Number of the last episode, if it is not the time that ends it."""


def draw_episode(seed: int, number: int, layout: Layout) -> tuple[PlannedFault, ...]:
    chance = random.Random(f"soak {seed} {number}")
    return draw_faults(chance, tuple(layout.hosts), tuple(layout.vnfs), NUMBERS)


def simulated(seed: int, number: int, layout: Layout) -> Plan:
    """The same faults in the same layout, as a run of the simulated world."""
    faults = draw_episode(seed, number, layout)
    return Plan(seed, LAYOUT.read_text(), tuple(layout.hosts), tuple(layout.vnfs), faults)


def parse_episodes(text: str) -> tuple[int, int]:
    """`A..B`. Errors: UserError."""
    found = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--episodes is {text!r}", "expected the first and the last one, counted from 1, such as 3..3")
    return int(found[1]), int(found[2])
