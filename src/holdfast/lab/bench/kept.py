"""The file in which a measurement keeps what it has: read when it goes on, and never half written.

In:   a path, and how its JSON is understood. Out: what is in it. Always: the file is the former one or the new one.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from holdfast.errors import UserError

Results = TypeVar("Results")


def read(path: Path, document_format: int, understand: Callable[[dict[str, Any]], Results]) -> Results:
    """What is in the file.

    Raises:
        UserError: the file holds something else, or results of another format.
    """
    try:
        found = json.loads(path.read_text())
        if found["format"] != document_format:
            raise ValueError(f"its format is {found['format']}, expected {document_format}")
        return understand(found)
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise UserError(f"{path} holds no results of this measurement: {error}", "name another file") from error


def write(path: Path, document: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(document, indent=1) + "\n")
    part.rename(path)
