"""The `${...}` names that an agent replaces in commands, files, environment and OCF parameters.

Other `${...}` and `$...` belong to shells and configuration languages and are left alone; one that is nearly a name of
ours is probably a slip.
"""

import difflib
import re
from collections.abc import Iterable

PLACEHOLDERS: dict[str, str] = {
    "vm": "name of the VM",
    "host": "name of the host",
    "vnfc": "name of the VNFC, `registry-1`",
    "vnf": "name of the VNF",
    "dir": "the VNFC's own folder (its working directory)",
    "address": "address of the service (VIP), without prefix length",
    "own_address": "address of the VM (or host)",
    "epoch": "epoch that this start of the VNFC has been given",
    "storage": "folder of the VNF's shared storage",
    "python": "the Python that Holdfast itself runs with",
}
_NEAR = 0.75
_PATTERN = re.compile(r"\$\{([A-Za-z][A-Za-z0-9_-]{0,40})\}")


def used(texts: Iterable[str]) -> set[str]:
    """All names written as `${name}`."""
    return {name for text in texts for name in _PATTERN.findall(text)}


def meant(name: str) -> str | None:
    """The placeholder that a name nearly is; None for one of ours and for what is not ours."""
    if name in PLACEHOLDERS or not name.islower():
        return None
    near = difflib.get_close_matches(name.replace("-", "_"), PLACEHOLDERS, n=1, cutoff=_NEAR)
    return near[0] if near else None
