"""The judge of moves for nothing: what `auto-adjust` asks for is none, what comes too soon or elsewhere is one."""

import pytest

from holdfast.lab.judges.whole import Move, moved_for_nothing
from holdfast.lab.judges.words import Struck
from tests.scripts.layouts import LAYOUTS

ADDRESS = "10.77.0.100"
OFF = Struck("host-off", "host1", 9.9, 10.5)
TAKEN = [Move(0.0, 0.0, ADDRESS, "host1"), Move(10.0, 9.9, ADDRESS, "host2")]


@pytest.mark.parametrize(
    ("layout", "at_s", "host", "is_wrong"),
    [
        ("registry-adjusting-granted", 80.0, "host1", False),
        ("registry-adjusting-granted", 69.0, "host1", True),
        ("registry-adjusting-granted", 80.0, "host3", True),
        ("registry-granted-three", 80.0, "host1", True),
    ],
    ids=["given back", "too soon", "to another", "not asked for"],
)
def test_a_move_without_a_fault_is_to_where_the_service_is_preferred(
    layout: str, at_s: float, host: str, is_wrong: bool
) -> None:
    found = moved_for_nothing(LAYOUTS[layout](), [*TAKEN, Move(at_s, at_s, ADDRESS, host)], [OFF])
    assert bool(found) == is_wrong


def test_a_move_that_ends_a_silence_is_the_doing_of_what_began_it() -> None:
    layout = LAYOUTS["registry-granted-three"]()
    assert moved_for_nothing(layout, [TAKEN[0], Move(80.0, 10.4, ADDRESS, "host2")], [OFF]) == []
    assert moved_for_nothing(layout, [TAKEN[0], Move(80.0, 79.9, ADDRESS, "host2")], [OFF]) != []
