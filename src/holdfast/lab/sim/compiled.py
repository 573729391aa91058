"""Where a compiled copy of these sources lies, if there is one, and how a command goes on with it.

In:   the sources that are running. Out: the folder of their compiled copy; a command line to run with it.
Always: a copy is found by what is in the sources, so that one of other sources is never used. It makes drawn runs
quicker and nothing else: each run is the same, byte for byte, with it and without (`tests/sim/test_compiled.py`).
`scripts/compile` makes it.
"""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import holdfast
from holdfast.lab.sim import timeline

SOURCES = Path(holdfast.__file__).parent
NAME_LETTERS = 16
OFF = "HOLDFAST_UNCOMPILED"
"""Set to anything: nothing compiled is used."""


def is_compiled() -> bool:
    """Whether this process runs compiled sources."""
    return not str(timeline.__file__).endswith(".py")


def mark(sources: Path = SOURCES) -> str:
    """What tells these sources, for this Python, from all others."""
    summed = hashlib.sha256(repr((sys.version, sys.prefix)).encode())
    for file in sorted(sources.rglob("*.py")):
        summed.update(f"{file.relative_to(sources)}\n".encode())
        summed.update(hashlib.sha256(file.read_bytes()).digest())
    return summed.hexdigest()[:NAME_LETTERS]


def folder(sources: Path = SOURCES) -> Path:
    """Where the compiled copy is, or would be: in `build/` beside `src/`."""
    return sources.parents[1] / "build" / "compiled" / mark(sources)


def with_it(
    arguments: Sequence[str], environment: Mapping[str, str], sources: Path = SOURCES
) -> tuple[list[str], dict[str, str]] | None:
    """The same command with the compiled copy, as words and environment; None where there is nothing to change."""
    if is_compiled() or environment.get(OFF):
        return None
    copy = folder(sources)
    if not (copy / "holdfast").is_dir():
        return None
    paths = [str(copy), *filter(None, [environment.get("PYTHONPATH")])]
    return [sys.executable, "-m", "holdfast", *arguments], {**environment, "PYTHONPATH": os.pathsep.join(paths)}
