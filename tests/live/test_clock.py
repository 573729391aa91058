"""For real: the clock on the wall jumps by an hour whenever somebody looks at it."""

import os
from pathlib import Path

import pytest

from tests.live.test_up_down import (
    DNS,
    holdfast,
    in_nest,
    kill_active,
    listed,
    nothing_is_left,
    question,
    service,
    until,
)

pytestmark = pytest.mark.namespaces

JUMPS = """
import itertools, time
_right, _jumps = time.time, itertools.cycle((3600.0, -3600.0, 0.0))
time.time = lambda: _right() + next(_jumps)
time.time_ns = lambda: int(time.time() * 1e9)
"""


def test_a_clock_on_the_wall_that_jumps_moves_nothing_and_hinders_nothing(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(JUMPS)
        os.environ["PYTHONPATH"] = str(folder)  # Of this process, which ends with the story.
        (folder / "dns.yaml").write_text(DNS)
        holdfast("up", str(folder / "dns.yaml"))
        owner, epoch = question(), service()["epoch"]
        for name, pid in listed().items():
            if "supervisor" not in name:
                os.kill(pid, 9)
        until(lambda: service()["state"] == "provided", "managers and agent are back")
        assert (question(), service()["epoch"]) == (owner, epoch), "nothing moved"
        for _ in range(2):
            before = question()
            kill_active()
            until(lambda before=before: question() not in {"", before}, "the other one answers")  # type: ignore[misc]
            until(lambda: not service()["open"], "the failed one is repaired")
        assert holdfast("why").count("failed (killed by SIGKILL)") >= 1
        holdfast("down")
        nothing_is_left()

    in_nest(story, tmp_path)
