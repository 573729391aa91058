"""Clocks on walls that are set while things happen: what is decided, and when, stays the same."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.model.names import HA, Party
from holdfast.model.records import Opened
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.manager_process import Running, make_seats
from holdfast.store.journal import read
from tests.scripts.layouts import registry
from tests.sim.managers_story import story
from tests.sim.managers_world import WALL_S, World

HOUR_S = 3600.0
STEPS: dict[str, Callable[[float], float]] = {
    "an hour on, in the middle": lambda now: HOUR_S if now > 2 else 0.0,
    "an hour back, in the middle": lambda now: -HOUR_S if now > 2 else 0.0,
    "an hour to and fro, each second": lambda now: HOUR_S * (int(now) % 3 - 1),
}


def told(world: World) -> dict[str, list[object]]:
    """The journals, without what the clock on the wall showed when a process began."""
    return {
        name: [{key: value for key, value in json.loads(line).items() if key not in {"wall", "crc"}} for line in lines]
        for name, lines in ((name, text.splitlines()) for name, text in world.journals().items())
    }


def walls(world: World) -> list[float]:
    found: list[float] = []
    for folder in world.folders.values():
        for path in sorted(folder.journal(HA).parent.iterdir()):
            found += [record.wall for record in read(path) if isinstance(record, Opened)]
    return found


@pytest.fixture(scope="module")
def unstepped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    world = story(7, tmp_path_factory.mktemp("unstepped"))
    world.end()
    return told(world)


@pytest.mark.parametrize("how", STEPS)
def test_managers_and_agents_decide_the_same_at_the_same_times(
    how: str, unstepped: dict[str, list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Managers, agents and members of etcd are killed, frozen and cut off meanwhile, and start again."""
    shift = STEPS[how]
    monkeypatch.setattr(World, "wall", lambda world: WALL_S + world.now + shift(world.now))
    world = story(7, tmp_path)
    world.end()
    assert told(world) == unstepped
    assert sum(len(lines) for lines in unstepped.values()) > 300
    assert len({round((wall - WALL_S) / HOUR_S) for wall in walls(world)}) > 1, "some process began after a step"


def test_a_manager_that_starts_again_an_hour_earlier_goes_on_in_its_own_time(tmp_path: Path) -> None:
    """Probations, limits and the `at` of its records go on from where they were."""
    folder, parties = RunFolder(tmp_path / "run"), (HA, Party("vnfm:core"))
    times = []
    for now, wall in ((100.0, WALL_S), (160.0, WALL_S - HOUR_S), (161.0, WALL_S + HOUR_S)):
        running = Running("this machine", lambda now=now: now, lambda wall=wall: wall)  # type: ignore[misc]
        seats, stores, journals = make_seats(registry(), folder, parties, running=running)
        times.append([seat.now() for seat in seats])
        for seat in seats:
            seat.keep()
        for store in stores:
            store.close()
        for journal in journals:
            journal.close()
    assert times == [[100.0] * 2, [160.0] * 2, [161.0] * 2]
    opened = [record for record in read(folder.journal(HA)) if isinstance(record, Opened)]
    assert [(one.at, one.wall) for one in opened] == [
        (100.0, WALL_S), (160.0, WALL_S - HOUR_S), (161.0, WALL_S + HOUR_S)
    ]  # fmt: skip
