"""Drawn runs: whatever is drawn, nothing is wrong with them. `make seeds` makes more of them."""

from pathlib import Path

import pytest

from tests.sim.command import drawn

AT_ONCE = 50


@pytest.mark.parametrize("first", range(1, 301, AT_ONCE))
def test_nothing_is_wrong_with_any_of_these_seeds(first: int, tmp_path: Path) -> None:
    found = drawn(tmp_path, "told", f"{first}..{first + AT_ONCE - 1}", environment={})
    assert found["failed"] == []
    assert found["run"] == AT_ONCE
