"""The bytes of a descriptor as models: shape, words and units, each mistake with its place.

pydantic says what is wrong with each value by itself; that value is noted, taken out, and the rest is read again, so
that what the remaining values mean together can still be checked in the same run.
"""

import copy
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from holdfast.descriptor.mistakes import near, nearest, one_of
from holdfast.descriptor.notes import Notes, dotted
from holdfast.descriptor.tree import Data, Path, Tree, read_tree
from holdfast.model.descriptor import DescriptorText

_ROUNDS_MAX = 64
"""Times that what is wrong is taken out; each round takes out something, so this is about very odd files."""
_KEYS_SHOWN_MAX = 10
"""Longer lists of keys are named only where none of them is near to what was written."""


def read(raw: bytes, file: str) -> tuple[DescriptorText | None, Notes]:
    """Read a descriptor; None where nothing of it can be used."""
    tree, mistakes = read_tree(raw, file)
    if tree is None:
        return None, Notes(file, Tree(data=None, values={}, keys={}), mistakes)
    notes = Notes(file, tree, mistakes)
    if not isinstance(tree.data, dict):
        notes.wrong((), "a mapping: holdfast: 1, name: ..., vnfs: ...", found=tree.data)
        return None, notes
    data: Any = copy.deepcopy(tree.data)
    for _ in range(_ROUNDS_MAX):
        try:
            return DescriptorText.model_validate(data), notes
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=True)
            for one in found:
                _note(one, tree, notes)
            for one in found:
                data = _without(data, _place(one["loc"], tree), is_key=one["type"] == "extra_forbidden", notes=notes)
    return None, notes


def _place(loc: tuple[int | str, ...], tree: Tree) -> Path:
    """The part of pydantic's location that is written in the file; a bare value may stand for a list of one."""
    path: Path = ()
    for part in loc:
        if (*path, part) in tree.values:
            path = (*path, part)
    return path


def _note(error: Any, tree: Tree, notes: Notes) -> None:
    path = _place(error["loc"], tree)
    if error["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        meant = near(str(path[-1]), known)
        expected = "a key that is known here" if meant and len(known) > _KEYS_SHOWN_MAX else f"one of {one_of(known)}"
        notes.unknown(path, expected, f"did you mean {meant}?" if meant else "")
        if meant:
            notes.drop((*path[:-1], meant))  # it is there, only misspelled
        return
    expected, hint = _in_words(error)
    if error["loc"] and error["loc"][-1] == "[key]":
        notes.misnamed(path, expected, hint)
    else:
        notes.wrong(path, expected, hint, _value_at(tree.data, path))


def _in_words(error: Any) -> tuple[str, str]:
    """What was expected, and what to do, for one of pydantic's errors."""
    context = error.get("ctx", {})
    match error["type"]:
        case "holdfast":
            return str(context["expected"]), str(context["hint"])
        case "literal_error":
            words = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
            return one_of(words), nearest(str(error["input"]), words)
        case "model_type" | "dict_type" | "model_attributes_type":
            return "a mapping (key: value)", ""
        case "tuple_type" | "list_type":
            return "a list", ""
        case "string_type":
            return "text", ""
        case "bool_parsing" | "bool_type":
            return "yes or no", ""
        case "int_parsing" | "int_type" | "int_parsing_size" | "int_from_float":
            return "a whole number", ""
        case "greater_than_equal":
            return f"a number from {context['ge']} on", ""
        case "less_than_equal":
            return f"a number up to {context['le']}", ""
        case _:
            return str(error["msg"]).lower(), ""


def _without(data: Data, path: Path, *, is_key: bool, notes: Notes) -> Data:
    """Take the value at `path` out of the data: the key with it, if the key is what is wrong.

    An item of a list takes the whole list with it, so that the others keep their places.
    """
    while path and isinstance(path[-1], int):
        path = path[:-1]
    if not is_key:
        notes.drop(path)
    while path:
        around: Any = _value_at(data, path[:-1])
        if isinstance(around, dict) and path[-1] in around:
            if is_key:
                del around[path[-1]]
                return data
            if around[path[-1]] is not None:
                around[path[-1]] = None
                return data
        path, is_key = path[:-1], False
        notes.drop(path)
    return {}


def _value_at(data: Any, path: Path) -> Any:
    for part in path:
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            continue
        if not isinstance(data, dict) or part not in data:
            return None
        data = data[part]
    return data


def _keys_at(path: Path) -> list[str]:
    """The keys that a mapping at this place may have."""
    model: Any = DescriptorText
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            by_key = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
            model = by_key.get(str(part))
        else:
            model = typing.get_args(model)[-1] if typing.get_origin(model) is dict else _item(model)
        model = _without_none(model)
    while typing.get_origin(model) is tuple:  # where a bare mapping stands for a list of one
        model = _item(model)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items()]
    return [dotted(path)]


def _item(model: Any) -> Any:
    arguments = typing.get_args(model)
    return arguments[0] if arguments else None


def _without_none(model: Any) -> Any:
    if typing.get_origin(model) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(model) if part is not type(None))
    return model
