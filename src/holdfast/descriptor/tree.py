"""YAML text as plain data that remembers where each value stands.

In: the bytes of a file. Out: a `Tree`: mappings, lists and *text* (what a scalar means is asked by the model, not
guessed here, so `no` stays a word and `10:30` is no number), and the place of every key and value by its path.
Everything that is wrong with the YAML itself becomes a Mistake; nothing is raised. Nesting and aliases are bounded
before anything recurses over them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from holdfast.descriptor.mistakes import Mistake, shown
from holdfast.model.limits import (
    DESCRIPTOR_BYTES_MAX,
    DESCRIPTOR_DEPTH_MAX,
    DESCRIPTOR_MISTAKES_MAX,
    DESCRIPTOR_NODES_MAX,
)

Path = tuple[str | int, ...]
Data = dict[str, "Data"] | list["Data"] | str | None

# libyaml where there is one: the parser in Python takes a minute for the largest file that is read.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ANCHOR_SHOWN_MAX = 40
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the file, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class _Node:
    """A YAML node: exactly one of text (None for null), items, entries is meant, by `kind`."""

    kind: str
    spot: Spot
    text: str | None = None
    items: list["_Node"] = field(default_factory=list)
    entries: dict[str, tuple[Spot, "_Node"]] = field(default_factory=dict)
    merged: list["_Node"] = field(default_factory=list)
    is_open: bool = True


@dataclass(slots=True)
class Tree:
    """The data of one file and where everything stands in it."""

    data: Data
    values: dict[Path, Spot]
    keys: dict[Path, Spot]

    def spot(self, path: Path, at_key: bool = False) -> Spot:
        """Where the value (or the key) is written, or else the nearest thing around it that is."""
        if at_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Spot(1, 1))


class _Wrong(Exception):
    """Reading cannot go on; carries the mistake."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.expected)
        self.mistake = mistake


def read_tree(raw: bytes, file: str) -> tuple[Tree | None, list[Mistake]]:
    """Turn a file into a Tree; None where its YAML cannot be understood at all."""
    mistakes: list[Mistake] = []
    try:
        root = _Composer(_decoded(raw, file), file, mistakes).document()
        tree = Tree(data=None, values={}, keys={})
        tree.data = _plain(root, (), tree, _Budget(file, DESCRIPTOR_NODES_MAX))
    except _Wrong as wrong:
        return None, [*mistakes, wrong.mistake]
    return tree, mistakes


def _decoded(raw: bytes, file: str) -> str:
    if len(raw) > DESCRIPTOR_BYTES_MAX:
        raise _wrong(file, Spot(1, 1), "a larger file", f"at most {DESCRIPTOR_BYTES_MAX} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start
        spot = Spot(raw.count(b"\n", 0, at) + 1, at - raw.rfind(b"\n", 0, at))
        raise _wrong(file, spot, f"byte 0x{raw[at]:02x}", "text in UTF-8", "save the file as UTF-8") from None
    if not text.strip():
        raise _wrong(file, Spot(1, 1), "an empty file", "a descriptor", "begin with: holdfast: 1, name: ..., vnfs: ...")
    return text


class _Composer:
    """Builds nodes from the parser's events with a stack of its own, so that no nesting exhausts Python's."""

    def __init__(self, text: str, file: str, mistakes: list[Mistake]) -> None:
        self.text = text
        self.file = file
        self.mistakes = mistakes
        self.anchors: dict[str, _Node] = {}
        self.open: list[_Node] = []
        self.pending_keys: list[tuple[str, Spot] | None] = []
        self.root: _Node | None = None

    def document(self) -> _Node:
        documents = 0
        for event in self._events():
            spot = _spot(event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._wrong(spot, "a second document (---)", "one document in a file")
            elif isinstance(event, yaml.AliasEvent):
                self._place(self._anchored(str(event.anchor), spot))
            elif isinstance(event, yaml.NodeEvent):
                self._begin(event, spot)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                self.open.pop().is_open = False
                self.pending_keys.pop()
        if self.root is None:
            raise self._wrong(Spot(1, 1), "an empty document", "a descriptor")
        return self.root

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self.text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            spot = _spot(mark) if mark else Spot(1, 1)
            said = " ".join(part for part in (error.context, error.problem) if part)
            raise self._wrong(spot, said, "well-formed YAML", "look at indentation, colons, brackets, quotes") from None
        except yaml.YAMLError as error:
            position = getattr(error, "position", 0) or 0
            before = self.text[: max(int(position), 0)]
            spot = Spot(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
            raise self._wrong(spot, " ".join(str(error).split()), "well-formed YAML") from None

    def _begin(self, event: Any, spot: Spot) -> None:
        if event.tag is not None and event.tag != "!":
            raise self._wrong(spot, f"the tag {shown(event.tag)}", "no tag: Holdfast knows itself what a value is")
        if isinstance(event, yaml.ScalarEvent):
            node = _Node("text", spot, text=self._scalar(event, spot), is_open=False)
        else:
            node = _Node("list" if isinstance(event, yaml.SequenceStartEvent) else "mapping", spot)
        self._place(node)
        if event.anchor is not None:
            self.anchors[str(event.anchor)] = node
        if node.is_open:
            if len(self.open) >= DESCRIPTOR_DEPTH_MAX:
                raise self._wrong(spot, "too many levels of nesting", f"at most {DESCRIPTOR_DEPTH_MAX} levels")
            self.open.append(node)
            self.pending_keys.append(None)

    def _scalar(self, event: Any, spot: Spot) -> str | None:
        text = str(event.value)
        if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
            raise self._wrong(spot, shown(text), "text without NUL and half characters")
        return None if not event.style and text in _NULLS else text

    def _anchored(self, anchor: str, spot: Spot) -> _Node:
        node = self.anchors.get(anchor)
        name = anchor if len(anchor) <= _ANCHOR_SHOWN_MAX else f"{anchor[:_ANCHOR_SHOWN_MAX]}..."
        if node is None:
            raise self._wrong(spot, f"*{name}", f"an anchor &{name} further up")
        if node.is_open:
            raise self._wrong(spot, f"*{name}", "an alias that does not stand inside its own anchor")
        return node

    def _place(self, node: _Node) -> None:
        """Put the node where the parser is: root, next item, key, or value of the pending key."""
        if not self.open:
            self.root = node
            return
        around = self.open[-1]
        if around.kind == "list":
            around.items.append(node)
            return
        key = self.pending_keys[-1]
        if key is None:
            if node.kind != "text" or node.text is None:
                found = "nothing" if node.kind == "text" else f"a {node.kind}"
                raise self._wrong(node.spot, f"{found} as a key", "a word as a key")
            self.pending_keys[-1] = (node.text, node.spot)
            return
        self.pending_keys[-1] = None
        self._enter(around, key[0], key[1], node)

    def _enter(self, around: _Node, key: str, spot: Spot, node: _Node) -> None:
        if key == "<<":
            around.merged.append(node)
        elif key in around.entries:
            if len(self.mistakes) >= DESCRIPTOR_MISTAKES_MAX:
                raise self._wrong(
                    spot, "too many mistakes", f"fewer than {DESCRIPTOR_MISTAKES_MAX}", "mend these first"
                )
            first = around.entries[key][0]
            self.mistakes.append(
                Mistake(
                    self.file,
                    spot.line,
                    spot.column,
                    key,
                    f"the key {shown(key)} a second time",
                    f"each key once (it is in line {first.line} already)",
                )
            )
        else:
            around.entries[key] = (spot, node)

    def _wrong(self, spot: Spot, found: str, expected: str, hint: str = "") -> _Wrong:
        return _wrong(self.file, spot, found, expected, hint)


@dataclass(slots=True)
class _Budget:
    """How many nodes may still be unfolded: a few aliases of aliases would fill all memory."""

    file: str
    left: int

    def spend(self, spot: Spot, text: str = "") -> None:
        self.left -= 1 + len(text) // 64
        if self.left < 0:
            expected = f"at most {DESCRIPTOR_NODES_MAX} values"
            raise _wrong(self.file, spot, "too many values (aliases unfolded)", expected)


def _plain(node: _Node, path: Path, tree: Tree, budget: _Budget) -> Data:
    """Unfold aliases and merges into plain data."""
    budget.spend(node.spot, node.text or "")
    if len(path) > DESCRIPTOR_DEPTH_MAX:
        raise _wrong(budget.file, node.spot, "too many levels of nesting", f"at most {DESCRIPTOR_DEPTH_MAX} levels")
    tree.values[path] = node.spot
    if node.kind == "text":
        return node.text
    if node.kind == "list":
        return [_plain(item, (*path, number), tree, budget) for number, item in enumerate(node.items)]
    data: dict[str, Data] = {}
    for key, (spot, value) in _entries(node, budget).items():
        tree.keys[(*path, key)] = spot
        data[key] = _plain(value, (*path, key), tree, budget)
    return data


def _entries(node: _Node, budget: _Budget, depth: int = 0) -> dict[str, tuple[Spot, _Node]]:
    """The node's own entries, and behind them those it merges in (`<<`)."""
    entries = dict(node.entries)
    merged = [one for other in node.merged for one in (other.items if other.kind == "list" else [other])]
    for other in merged:
        budget.spend(other.spot)
        if other.kind != "mapping":
            raise _wrong(
                budget.file, other.spot, "something else behind <<", "an alias of a mapping, or a list of them"
            )
        if depth > DESCRIPTOR_DEPTH_MAX:
            raise _wrong(budget.file, other.spot, "merges (<<) inside merges", f"at most {DESCRIPTOR_DEPTH_MAX} levels")
        for key, entry in _entries(other, budget, depth + 1).items():
            entries.setdefault(key, entry)
    return entries


def _wrong(file: str, spot: Spot, found: str, expected: str, hint: str = "") -> _Wrong:
    return _Wrong(Mistake(file, spot.line, spot.column, "", found, expected, hint))


def _spot(mark: Any) -> Spot:
    return Spot(int(mark.line) + 1, int(mark.column) + 1)
