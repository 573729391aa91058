"""What status tells of a service that goes back to where it is preferred by itself."""

import pytest

from holdfast.cli.status import _goes_back
from holdfast.model.names import HA, ServiceName
from holdfast.runtime.answers import goes_back
from tests.scripts.harness import HaCore, Story

REGISTRY = ServiceName("registry")


def told(commands: str) -> tuple[object, list[str]]:
    """As the manager has it, and as people are shown it."""
    story = Story()
    story.play(f"layout registry-adjusting\nstart\n{commands}")
    core = story.stage.cores[HA]
    assert isinstance(core, HaCore)
    found = goes_back(story.stage.layout, core.state, REGISTRY)
    document = {"now": story.stage.now, "vnfs": {"registry": {"services": {"registry": {"goes_back": found}}}}}
    return found, _goes_back(document)


@pytest.mark.parametrize(
    ("commands", "found", "shown"),
    [
        ("tick 1", None, []),
        (
            "fail registry-1\ntick 20",
            {"to": "registry-1", "at": 60.0, "waits": False, "stays": False},
            ["registry goes back to registry-1 in 40 s"],
        ),
        (
            "fail registry-1\nagent host1 lost",
            {"to": "registry-1", "at": None, "waits": True, "stays": False},
            ["registry goes back to registry-1 when that has been well and in step for long enough"],
        ),
        (
            "switchover registry\ntick 100",
            {"to": "registry-1", "at": None, "waits": True, "stays": True},
            [
                "registry goes back to registry-1 only by a person's switchover or a failure, "
                "since a person has moved it away"
            ],
        ),
    ],
    ids=["where it belongs", "it will", "not well", "by hand"],
)
def test_it_is_told_when_and_why_not(commands: str, found: object, shown: list[str]) -> None:
    assert told(commands) == (found, shown)
