"""The tables of keys in docs/descriptor.md, made from the models.

`python -m holdfast.descriptor.reference docs/descriptor.md` writes them anew; a test fails when they are stale.
"""

import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from holdfast.descriptor import placeholders
from holdfast.model import descriptor as written

BEGIN, END = "<!-- keys -->\n", "<!-- end of keys -->\n"

_TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Top", written.DescriptorText),
    ("`network`", written.NetworkText),
    ("`hosts.<name>`", written.HostText),
    ("`grants`", written.GrantsText),
    ("`hosts.<name>.fence`", written.FenceText),
    ("`vms.<name>`", written.VmText),
    ("`vnfs.<name>`", written.VnfText),
    ("`vnfs.<name>` or `vnfs.<name>.components.<name>`", written.ComponentText),
    ("`interface`", written.InterfaceText),
    ("`start`, `stop`, `cleanup`, `become-active`, `become-standby`", written.OperationText),
    ("`ocf`", written.OcfText),
    ("`checks[]`", written.CheckText),
    ("`replication`", written.ReplicationText),
    ("`limits`", written.LimitsText),
    ("`escalation`", written.EscalationText),
)


def tables() -> str:
    """All tables, in Markdown."""
    parts: list[str] = []
    for title, model in _TABLES:
        said = " ".join((model.__doc__ or "").split())
        parts.append(f"### {title}\n\n{said}\n\n| key | value | what it is for (default) |\n|---|---|---|\n")
        inherited = written.ComponentText.model_fields if model is written.VnfText else {}
        parts.extend(_row(name, field) for name, field in model.model_fields.items() if name not in inherited)
        parts.append("\n")
    parts.append("### Placeholders\n\n| name | replaced by |\n|---|---|\n")
    parts.extend(f"| `${{{name}}}` | {meaning} |\n" for name, meaning in placeholders.PLACEHOLDERS.items())
    return "".join(parts)


def renewed(page: str) -> str:
    """The page with its tables written anew."""
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def _row(name: str, field: FieldInfo) -> str:
    said = field.description or ""
    default = _default(field.default)
    if default and not re.search(r"\([^)]*\)$", said):
        said = f"{said} ({default})"
    return f"| `{field.alias or name}` | {_kind(field)} | {said} |\n"


def _default(value: Any) -> str:
    if value is None or value in ("", (), {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}s" if isinstance(value, float) else f"`{value}`" if isinstance(value, str) else str(value)


def _kind(field: FieldInfo) -> str:
    """The type of a key's value in a word or two."""
    for known, word in (
        (written.Duration, "time"),
        (written.Words, "command"),
        (written.Names, "name or list"),
        (written.Storage, "yes, no or path"),
        (written.FenceLevelsText, "keys below, or list"),
    ):
        if typing.get_args(known)[1] in field.metadata:
            return word
    return _word(field.annotation)


def _word(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _word(next(part for part in arguments if part is not type(None)))
    if origin is typing.Annotated:
        for known, word in (
            (written.Duration, "time"),
            (written.Words, "command"),
            (written.Port, "port"),
            (written.PortAsked, "port or nothing"),
        ):
            if kind == known:
                return word
        return _word(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{word}`" for word in arguments)
    if origin in (dict, tuple):
        inner = arguments[-1] if origin is dict else arguments[0]
        what = "mapping" if origin is dict else "list"
        if _is_model(inner):
            return "keys below, by name" if origin is dict else "list of keys below"
        return f"{what} of {'times' if inner == written.Duration else 'texts'}"
    if _is_model(kind):
        return "keys below" if kind is not written.OperationText else "command, or keys below"
    return {int: "number", bool: "yes or no", str: "text"}.get(kind, "text")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text()))
