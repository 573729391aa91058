"""The judge of moves for nothing: what `auto-adjust` asks for is none, what comes too soon or elsewhere is one."""

import pytest

from holdfast.lab.judges.whole import moved_for_nothing
from holdfast.lab.judges.words import Struck
from tests.scripts.layouts import LAYOUTS

ADDRESS = "10.77.0.100"
OFF = Struck("host-off", "host1", 9.9, 10.5)
TAKEN = [(0.0, ADDRESS, "host1"), (10.0, ADDRESS, "host2")]


@pytest.mark.parametrize(
    ("layout", "move", "is_wrong"),
    [
        ("registry-adjusting-granted", (80.0, ADDRESS, "host1"), False),
        ("registry-adjusting-granted", (69.0, ADDRESS, "host1"), True),
        ("registry-adjusting-granted", (80.0, ADDRESS, "host3"), True),
        ("registry-granted-three", (80.0, ADDRESS, "host1"), True),
    ],
    ids=["given back", "too soon", "to another", "not asked for"],
)
def test_a_move_without_a_fault_is_to_where_the_service_is_preferred(
    layout: str, move: tuple[float, str, str], is_wrong: bool
) -> None:
    found = moved_for_nothing(LAYOUTS[layout](), [*TAKEN, move], [OFF])
    assert bool(found) == is_wrong
