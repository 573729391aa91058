"""The explorer on models so small that everything about them can be counted by hand."""

from collections.abc import Callable, Iterator

import pytest

from holdfast.errors import Bug
from holdfast.lab.explore.explorer import Explored, explore
from holdfast.lab.explore.shape import shape

Jugs = tuple[int, int]


class TwoJugs:
    """Of three and five litres: is there ever `wanted` in the big one?"""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted

    def start(self) -> Jugs:
        return (0, 0)

    def moves(self, state: Jugs) -> Iterator[tuple[str, Jugs]]:
        small, big = state
        yield "fill small", (3, big)
        yield "fill big", (small, 5)
        yield "empty small", (0, big)
        yield "empty big", (small, 0)
        poured = min(small, 5 - big)
        yield "small to big", (small - poured, big + poured)
        poured = min(big, 3 - small)
        yield "big to small", (small + poured, big - poured)

    def judge(self, state: Jugs) -> str | None:
        return f"{self.wanted} litres" if state[1] == self.wanted else None

    def key(self, state: Jugs) -> bytes:
        return bytes(state)


def test_all_states_are_visited_once() -> None:
    explored = explore(TwoJugs(wanted=6))
    # Either jug is empty or full in every one of them: (0..3, 0), (0..3, 5), (0, 1..4), (3, 1..4).
    assert explored == Explored(states=16, transitions=16 * 6, depth=7)
    assert explored.is_whole


def test_what_is_wrong_is_found_by_a_shortest_path() -> None:
    explored = explore(TwoJugs(wanted=4))
    assert explored.wrong == "4 litres"
    assert not explored.is_whole
    assert explored.path == (
        "fill big",
        "big to small",
        "empty small",
        "big to small",
        "fill big",
        "big to small",
    )
    assert explored.depth == len(explored.path)


def test_a_start_that_is_wrong_needs_no_path() -> None:
    explored = explore(TwoJugs(wanted=0))
    assert (explored.wrong, explored.path) == ("0 litres", ())


def test_the_bound_is_kept_and_said() -> None:
    explored = explore(TwoJugs(wanted=6), states_max=7)
    assert explored.states == 7
    assert explored.stopped == "more than 7 states"


class Interrupted(TwoJugs):
    def __init__(self, after: int) -> None:
        super().__init__(wanted=6)
        self.left = after

    def moves(self, state: Jugs) -> Iterator[tuple[str, Jugs]]:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        yield from super().moves(state)


def test_whoever_interrupts_is_told_how_far_it_came() -> None:
    explored = explore(Interrupted(after=4))
    assert explored.stopped == "interrupted"
    assert 4 <= explored.states < 16


class Forgetful(TwoJugs):
    """Has other moves when it is asked again."""

    def moves(self, state: Jugs) -> Iterator[tuple[str, Jugs]]:
        if self.wanted == 4:
            for name, after in super().moves(state):
                self.wanted = 4 if after[1] != 4 else -1
                yield name, after if after[1] != 4 else (0, 4)

    def judge(self, state: Jugs) -> str | None:
        return "4 litres" if state[1] == 4 else None


def test_a_model_that_is_not_pure_is_found_out() -> None:
    with pytest.raises(Bug, match="not pure"):
        explore(Forgetful(wanted=4))


class Box:
    def __init__(self, content: object, note: str = "") -> None:
        self.content = content
        self.note = note


@pytest.mark.parametrize(
    ("make", "is_same"),
    [
        (lambda: (Box({3, 1, 2}), Box({2, 3, 1})), True),
        (lambda: (Box([1, 2]), Box([2, 1])), False),
        (lambda: (Box({"a": 1, "b": 2}), Box({"b": 2, "a": 1})), False),
        (lambda: (Box(1, "seen at noon"), Box(1, "seen at night")), True),
        (lambda: (Box((1, "2")), Box((1, 2))), False),
        (lambda: (Box([part := [1], part]), Box([[1], [1]])), False),
    ],
    ids=["a set has no order", "a list has", "a dict has", "what is left out", "kinds of values", "a part in common"],
)
def test_two_objects_have_the_same_shape_when_they_will_behave_alike(
    make: Callable[[], tuple[Box, Box]], is_same: bool
) -> None:
    one, other = make()
    assert (shape(one, {"note"}) == shape(other, {"note"})) is is_same
