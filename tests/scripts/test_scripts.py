"""Golden stories: each file of `stories/` is played, and must be decided as it stands there.

A file begins with a comment that tells the story, goes on with blocks: commands, `----`, what is decided;
blocks are separated by empty lines. `pytest tests/scripts --rewrite` writes the decisions anew.
"""

from pathlib import Path

import pytest

from tests.scripts.harness import Story

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=[path.stem for path in STORIES])
def test_the_story_is_decided_as_it_is_told(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    played = play(text)
    if request.config.getoption("--rewrite", default=False) and played != text:
        path.write_text(played)
        return
    assert played == text


def play(text: str) -> str:
    """The story with the decisions that are made now."""
    story = Story()
    blocks: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        commands, _, _ = block.partition("\n----")
        spoken = "\n".join(line for line in commands.splitlines() if not line.startswith("#"))
        if not spoken:
            blocks.append(block)
            continue
        blocks.append(f"{commands}\n----\n{story.play(spoken)}")
    return "\n\n".join(blocks) + "\n"


def test_there_are_stories() -> None:
    assert STORIES
