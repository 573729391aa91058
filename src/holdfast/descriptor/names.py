"""Names that a descriptor gives: spelled so that files, parties and messages can carry them, and each given once."""

import re

from holdfast.descriptor.notes import Notes
from holdfast.descriptor.tree import Path
from holdfast.model.descriptor import DescriptorText
from holdfast.model.limits import NAME_LENGTH_MAX

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", re.ASCII)
_SPELLING = f"a name of a-z, 0-9 and - inside, at most {NAME_LENGTH_MAX} long"
_TAKEN = {"ha", "vim", "vnfm", "operator", "lab", "none"}
"""Words that Holdfast itself uses where names stand."""


def check_names(text: DescriptorText, notes: Notes) -> None:
    """Note every name that is misspelled, or means two things."""
    if text.name and not _is_well_spelled(text.name):
        notes.wrong(("name",), _SPELLING, found=text.name)
    given: dict[str, tuple[str, Path]] = {}
    for kind, key, names in (("host", "hosts", text.hosts), ("VM", "vms", text.vms), ("VNF", "vnfs", text.vnfs)):
        for name in names:
            _give(name, kind, (key, name), given, notes)
    for vnf, body in text.vnfs.items():
        if not _is_well_spelled(body.vnfm):
            notes.wrong(("vnfs", vnf, "vnfm"), _SPELLING, found=body.vnfm)
        for component in body.components:
            if not _is_well_spelled(component):
                notes.misnamed(("vnfs", vnf, "components", component), _SPELLING)


def check_vnfc_names(text: DescriptorText, vnfcs: dict[str, Path], notes: Notes) -> None:
    """Note every VNFC that would be called like something else."""
    for name, path in vnfcs.items():
        for kind, key, names in (("host", "hosts", text.hosts), ("VM", "vms", text.vms), ("VNF", "vnfs", text.vnfs)):
            if name in names:
                expected = f"another name: a VNFC of {path[1]} is called {name}"
                notes.misnamed((key, name), expected, f"rename this {kind}")


def _give(name: str, kind: str, path: Path, given: dict[str, tuple[str, Path]], notes: Notes) -> None:
    if not _is_well_spelled(name):
        lower = name.lower().replace("_", "-")
        hint = f"write {lower}" if _NAME.match(lower) and len(lower) <= NAME_LENGTH_MAX else ""
        notes.misnamed(path, _SPELLING, hint)
    elif name in _TAKEN:
        notes.misnamed(path, f"another name: {name} has a meaning of its own in Holdfast")
    if name in given:
        other, where = given[name]
        notes.misnamed(path, f"a name of its own: a {other} is called so (line {notes.line(where)})")
    else:
        given[name] = (kind, path)


def _is_well_spelled(name: str) -> bool:
    return len(name) <= NAME_LENGTH_MAX and _NAME.match(name) is not None
