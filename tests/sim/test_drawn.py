"""Drawn runs: whatever is drawn, nothing is wrong with them. `make seeds` makes more of them."""

import pytest

from holdfast.lab.sim.draw import draw
from holdfast.lab.sim.seed import run_seed

AT_ONCE = 10


@pytest.mark.parametrize("first", range(1, 101, AT_ONCE))
def test_nothing_is_wrong_with_any_of_these_seeds(first: int) -> None:
    wrong = {seed: run_seed(draw(seed)).violations[:2] for seed in range(first, first + AT_ONCE)}
    assert {seed: found for seed, found in wrong.items() if found} == {}
