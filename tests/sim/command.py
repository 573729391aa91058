"""`holdfast lab sim` in a process of its own, as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def drawn(folder: Path, name: str, seeds: str, *words: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the command tells of these seeds, without how fast this machine is."""
    told = folder / f"{name}.json"
    command = ["lab", "sim", "--seeds", seeds, "--json", str(told), "--keep", str(folder / "kept"), *words]
    ended = subprocess.run(
        [sys.executable, "-m", "holdfast", *command], env=os.environ | environment, capture_output=True, check=False
    )
    assert told.exists(), ended.stderr
    found: dict[str, Any] = json.loads(told.read_text())
    del found["seeds_a_minute_and_core"]
    return found
