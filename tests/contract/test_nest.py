"""The lab's nest and world: what goes wrong inside of them is told outside, and leaves nothing behind."""

from pathlib import Path

import pytest

from holdfast import descriptor
from holdfast.errors import UserError
from holdfast.lab.nest import run_in_nest
from holdfast.lab.world import LiveWorld

EXAMPLE = Path(__file__).parents[2] / "examples" / "dns.yaml"


@pytest.mark.namespaces
def test_an_error_inside_is_told_with_its_hint_and_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    def trip() -> int:
        raise UserError("the layout is no layout", "write one")

    assert run_in_nest(trip) == 2
    assert capfd.readouterr().err == "holdfast: the layout is no layout\nhint: write one\n"


@pytest.mark.namespaces
def test_a_bug_inside_is_not_silent(capfd: pytest.CaptureFixture[str]) -> None:
    def trip() -> int:
        raise ZeroDivisionError("on purpose")

    assert run_in_nest(trip) == 1
    assert "ZeroDivisionError: on purpose" in capfd.readouterr().err


@pytest.mark.namespaces
def test_a_world_that_never_opened_can_be_closed(tmp_path: Path) -> None:
    def story() -> int:
        world = LiveWorld(descriptor.load(EXAMPLE), tmp_path, "one", ())
        assert world.close() == []
        return 0

    assert run_in_nest(story) == 0
