"""What agents and managers of a simulated world hold, counted: objects by class, and what lies in their containers.

Only what the product itself has made is counted (`holdfast.runtime`, `core`, `store`, ...): not the world around it.
The words of etcd are left out, as the simulated etcd keeps its history in them.
"""

import asyncio
import gc
from collections import Counter, deque
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

PRODUCT = ("runtime", "store", "wire", "core", "detect", "drivers", "model")
DEPTH_MAX = 6


def _is_ours(one: object) -> bool:
    words = str(type(one).__module__).split(".")
    return words[0] == "holdfast" and len(words) > 1 and words[1] in PRODUCT and words[-1] != "etcd_words"


def _attributes(one: object) -> Iterator[tuple[str, Any]]:
    if isinstance(one, msgspec.Struct):
        yield from ((name, getattr(one, name)) for name in one.__struct_fields__)
        return
    yield from getattr(one, "__dict__", {}).items()
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(one, name) and not name.startswith("__"):
                yield name, getattr(one, name)


def _size(value: Any, depth: int) -> int:
    """How many things lie in it, and in what lies in it."""
    if depth == 0:
        return 0
    if isinstance(value, dict):
        return len(value) + sum(_size(one, depth - 1) for one in value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return len(value) + sum(_size(one, depth - 1) for one in value)
    if isinstance(value, msgspec.Struct):
        return sum(_size(one, depth - 1) for _, one in _attributes(value))
    return len(value) // 64 if isinstance(value, Collection) and isinstance(value, str | bytes | bytearray) else 0


def held() -> Counter[str]:
    """By class, how many there are; by class and attribute, how much lies in it; and how many tasks wait."""
    gc.collect()
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        if isinstance(one, asyncio.Task) and not one.done():
            found["tasks"] += 1
        elif _is_ours(one) and not isinstance(one, type):
            name = type(one).__qualname__
            found[name] += 1
            if isinstance(one, msgspec.Struct):
                continue
            for attribute, value in _attributes(one):
                size = _size(value, DEPTH_MAX)
                if size:
                    found[f"{name}.{attribute}"] += size
    return found
