"""A descriptor's file turned into a Layout, or into the list of everything that is wrong with it."""

from pathlib import Path
from typing import Any

from holdfast.descriptor.mistakes import Mistake, Warning_
from holdfast.descriptor.notes import Enough
from holdfast.descriptor.reading import read
from holdfast.descriptor.resolving import resolve
from holdfast.errors import UserError
from holdfast.model.descriptor import DescriptorText
from holdfast.model.layout import Layout
from holdfast.model.limits import DESCRIPTOR_BYTES_MAX

EXPLAINED = "docs/descriptor.md explains every key"
"""What to do about mistakes, beyond what is said of each."""


def load(path: Path) -> Layout:
    """Read a descriptor that must be right.

    Raises:
        UserError: the file cannot be read, or holds mistakes; the message lists all of them, one a line.
    """
    mistakes, _, layout = check(path)
    if layout is None:
        count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = "".join(f"\n  {mistake}" for mistake in mistakes)
        raise UserError(f"{path}: {count} in the descriptor{lines}", EXPLAINED)
    return layout


def check(path: Path) -> tuple[list[Mistake], list[Warning_], Layout | None]:
    """Read a descriptor and say everything that is to be said about it; the layout only if there is no mistake.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(DESCRIPTOR_BYTES_MAX + 1)
    except OSError as error:
        raise UserError(
            f"cannot read the descriptor {path}: {(error.strerror or str(error)).lower()}",
            "give the path of a YAML file",
        ) from None
    return check_text(raw, str(path))


def check_text(raw: bytes, file: str = "descriptor") -> tuple[list[Mistake], list[Warning_], Layout | None]:
    """As `check`, for a descriptor that has been read already; `file` is the name that mistakes carry."""
    layout = None
    try:
        text, notes = read(raw, file)
        layout = resolve(text, notes) if text is not None else None
    except Enough as enough:
        notes = enough.notes
    mistakes = notes.mistakes
    return mistakes, notes.warnings, None if mistakes else layout


def schema() -> dict[str, Any]:
    """The JSON Schema of descriptors, for editors; it knows shapes and words, not what they mean together."""
    made: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    made.update(DescriptorText.model_json_schema(by_alias=True))
    for name, part in made["$defs"].items():
        # A key without a value is a key not written, and some parts may be written as a word alone.
        part["type"] = ["object", "null"]
        if name in _MAY_BE_BARE:
            made["$defs"][name] = {"anyOf": [_MAY_BE_BARE[name], part]}
    return made


_LINE_OR_WORDS: dict[str, Any] = {"type": ["string", "array"], "items": {"type": "string"}}
_MAY_BE_BARE: dict[str, dict[str, Any]] = {
    "OperationText": _LINE_OR_WORDS,
    "OcfText": {"type": "string"},
    "CheckText": {"enum": ["process", "tcp", "http", "protocol"]},
}
