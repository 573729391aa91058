"""Golden stories of grants: each must go as it is told; and with the mistake that it tells of, two hosts must answer.

A file begins with a comment that tells the story (`# mistake N` names the mistake that it shows), goes on with blocks:
commands, `----`, what is noticed. `pytest tests/grants --rewrite` writes what is noticed anew.
"""

import re
from pathlib import Path

import pytest

from tests.grants.plants import PLANTS, Plant
from tests.grants.story import RIGHT, Story

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))
MISTAKEN = {path: found for path in STORIES if (found := re.findall(r"^# mistake (\w+)", path.read_text(), re.M))}


def play(text: str, plant: Plant = RIGHT) -> tuple[str, Story]:
    """The story with what is noticed now."""
    story = Story(plant)
    blocks: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        commands, _, _ = block.partition("\n----")
        spoken = "\n".join(line for line in commands.splitlines() if not line.startswith("#"))
        blocks.append(f"{commands}\n----\n{story.play(spoken)}" if spoken else block)
    return "\n\n".join(blocks) + "\n", story


@pytest.mark.parametrize("path", STORIES, ids=[path.stem for path in STORIES])
def test_the_story_goes_as_it_is_told(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    played, story = play(text)
    assert not story.world.judge.wrong
    if request.config.getoption("--rewrite", default=False) and played != text:
        path.write_text(played)
        return
    assert played == text


@pytest.mark.parametrize(
    ("path", "mistake"),
    [(path, mistake) for path, mistakes in MISTAKEN.items() for mistake in mistakes],
    ids=[f"{mistake}-{path.stem}" for path, mistakes in MISTAKEN.items() for mistake in mistakes],
)
def test_with_the_mistake_that_it_tells_of_the_story_ends_badly(path: Path, mistake: str) -> None:
    _, story = play(path.read_text(), PLANTS[mistake])
    assert story.world.judge.wrong, f"{PLANTS[mistake].says}: nobody would notice"


def test_each_known_mistake_has_its_story() -> None:
    told = {mistake for mistakes in MISTAKEN.values() for mistake in mistakes}
    assert told == set(PLANTS)
