"""Files that commands write: looked at before the work begins whose results they are to hold."""

import os
from pathlib import Path

from holdfast.errors import UserError


def check_writable(file: Path | None) -> None:
    """Errors: UserError unless it can be written, or none was asked for."""
    if file is not None and not (file.parent.is_dir() and os.access(file.parent, os.W_OK) and not file.is_dir()):
        raise UserError(f"{file} cannot be written", "give a file in a folder that is there and yours")
