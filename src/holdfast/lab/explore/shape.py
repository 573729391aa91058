"""Objects as bytes: the same for two objects that will behave alike, whatever their history in memory was.

In:   any object that is made of plain values, tuples, lists, dicts, sets, structs, and objects with attributes.
Out:  bytes. What is referred to twice is written once, and by its number after that: so two that share a part and two
that have equal parts of their own are told apart.
Always: attributes that are `without` are left out; whoever names one has to know that nothing follows from it. The
order of a dict or list counts, that of a set does not.
"""

from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

PLAIN = (int, str, bytes, float, type(None))
Written = list[object]


def shape(thing: object, without: AbstractSet[str]) -> bytes:
    """Everything that the object is made of."""
    out: Written = []
    _write(thing, out, {}, without)
    return repr(out).encode()


def _write(thing: Any, out: Written, seen: dict[int, int], without: AbstractSet[str]) -> None:
    if isinstance(thing, PLAIN):
        out.append(thing)
    elif isinstance(thing, tuple):
        out.append("(")
        for item in thing:
            _write(item, out, seen, without)
        out.append(")")
    elif isinstance(thing, msgspec.Struct) and thing.__struct_config__.frozen:
        out.append(type(thing).__name__)
        for field in thing.__struct_fields__:
            _write(getattr(thing, field), out, seen, without)
    elif isinstance(thing, type):
        out.append(thing.__qualname__)
    elif isinstance(thing, set | frozenset):
        out.append(sorted(thing))
    elif id(thing) in seen:
        out.append(("again", seen[id(thing)]))
    else:
        seen[id(thing)] = len(seen)
        _write_parts(thing, out, seen, without)


def _write_parts(thing: Any, out: Written, seen: dict[int, int], without: AbstractSet[str]) -> None:
    if isinstance(thing, list):
        out.append("[")
        for item in thing:
            _write(item, out, seen, without)
        out.append("]")
        return
    if isinstance(thing, dict):
        parts = list(thing.items())
    else:
        parts = [(name, value) for name, value in attributes(thing) if name not in without]
    out.append("{" if isinstance(thing, dict) else type(thing).__name__)
    for name, value in parts:
        _write(name, out, seen, without)
        _write(value, out, seen, without)
    out.append("}")


def attributes(thing: object) -> list[tuple[str, object]]:
    """By name, those of slots and those of a dict."""
    slots = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()) if hasattr(thing, name)}
    names = slots | set(getattr(thing, "__dict__", ()))
    return [(name, getattr(thing, name)) for name in sorted(names)]
