"""Which OCF resource agents this machine has: a descriptor may be meant for another one, so this is only for hints."""

import os
import re
from pathlib import Path


def agents_here(provider: str) -> tuple[str, ...]:
    """Names of the provider's agents, empty where the provider is not installed."""
    if not re.match(r"^[A-Za-z0-9_-]+$", provider):
        return ()
    folder = Path(os.environ.get("OCF_ROOT", "/usr/lib/ocf")) / "resource.d" / provider
    try:
        return tuple(sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".")))
    except OSError:
        return ()
