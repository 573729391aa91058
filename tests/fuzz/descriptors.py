"""Malformed descriptors, as many as wanted, each made from an example by a number: the same number, the same file.

Four ways to go wrong: in the text (tokens lost, doubled, swapped), in the values (wrong types, absurd numbers, wrong
references), in the YAML (anchors, bombs, tags, documents, nesting), in the bytes (NUL, half characters, not UTF-8).
"""

import copy
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from holdfast.model import descriptor as written

ROOT = Path(__file__).parents[2]
_TOKEN = re.compile(r"\s+|[\w.$/-]+|[^\w\s]")
_ODD = [
    *("", "~", "yes", "no", "0", "-1", "99999999999999999999", "1e400", ".nan", "-.inf", "0x10", "1_000", "5s", "5"),
    *("-5s", "1e9h", "9" * 400, "vm1", "nowhere", "this", "ha", "10.77.0.1", "10.77.0.0/24", "999.1.1.1", "::"),
    *("fe80::1%x", "10.77.0.5/99", "2N", "n+m", "N+M", "../../etc/passwd", "/", "a" * 5000, "${vm}", "${nothing}"),
    *("${", "ü", "\u202eevil", "\u0301", "\U0001f480", "\ufeff", "İ", "＊", "A B", "-", "--help", "`id`", "$(id)"),
    *("%s", "{}", "[]", "''"),
]
_ESCAPES = ("\\x00", "\\ud800", "\\U00110000", "\\q", "\\u12", "\\N\\L\\P")
# libyaml where there is one, as the reader itself does it.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_SIGNS = "[]{}:,&*!|>%@`'\"\t#-?=<~"


@cache
def sources() -> tuple[str, ...]:
    """Every descriptor of the repository: examples, the lab's own, the golden cases."""
    found = [*ROOT.glob("examples/*.yaml"), *ROOT.glob("src/holdfast/lab/layouts/*.yaml")]
    cases = [path.read_text().partition("----\n")[0] for path in sorted(ROOT.glob("tests/descriptors/*.case"))]
    return (*(path.read_text() for path in sorted(found)), *cases)


@cache
def keys() -> tuple[str, ...]:
    """Every key that some part of a descriptor knows."""
    models = [one for one in vars(written).values() if isinstance(one, type) and issubclass(one, written.Written)]
    return tuple(sorted({field.alias or name for one in models for name, field in one.model_fields.items()}))


def malformed(number: int) -> bytes:
    """The descriptor of this number; a few of them may be right after all."""
    chance = random.Random(number)
    source = chance.choice(sources())
    way = chance.choices((_in_the_text, _in_the_values, _in_the_yaml, _in_the_bytes), (4, 4, 2, 1))[0]
    return way(source, chance)


def _in_the_text(source: str, chance: random.Random) -> bytes:
    tokens = _TOKEN.findall(source) or [""]
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(tokens))
        match chance.randrange(7):
            case 0:
                tokens[at] = ""
            case 1:
                tokens[at] *= 2
            case 2:
                other = chance.randrange(len(tokens))
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 3:
                tokens[at] = chance.choice(_ODD)
            case 4:
                tokens[at] += chance.choice(_SIGNS)
            case 5:
                tokens[at] = chance.choice(keys())
            case _:
                begin = chance.randrange(len(tokens))
                tokens[at:at] = tokens[begin : begin + chance.randrange(40)]
    return "".join(tokens).encode(errors="surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of the data with each key or index of it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _in_the_values(source: str, chance: random.Random) -> bytes:
    data = copy.deepcopy(_data_of(source))
    if data is None:
        return _in_the_text(source, chance)
    for _ in range(chance.randint(1, 5)):
        places = list(_places(data))
        if not places:
            break
        around, key = chance.choice(places)
        _change(around, key, places, chance)
    text: str = yaml.dump(data, Dumper=_DUMPER, allow_unicode=True, sort_keys=False)
    return text.encode(errors="surrogatepass")


@cache
def _data_of(source: str) -> dict[str, Any] | None:
    """None where nothing can be changed in it; an alias may lead back to where it stands."""
    try:
        data = yaml.safe_load(source)
    except yaml.YAMLError:
        return None
    return data if isinstance(data, dict) and "&" not in source else None


def _change(around: Any, key: Any, places: list[tuple[Any, Any]], chance: random.Random) -> None:
    match chance.randrange(8):
        case 0:
            del around[key]
        case 1:
            around[key] = chance.choice(_ODD)
        case 2:
            around[key] = chance.choice([None, True, -1, 10**30, 1.5, [], {}, [[]], {"": None}, [None] * 50])
        case 3:
            other, of_other = chance.choice(places)
            around[key] = copy.deepcopy(other[of_other])
        case 4:
            around[key] = [copy.deepcopy(around[key])] * chance.randrange(4)
        case 5:
            around[key] = {chance.choice(keys()): copy.deepcopy(around[key])}
        case 6 if isinstance(around, dict):
            around[chance.choice(keys())] = around.pop(key)
        case 6:
            around.insert(key, chance.choice(_ODD))
        case _ if isinstance(around, dict):
            around[chance.choice((*keys(), *_ODD))] = chance.choice(_ODD)
        case _:
            around += around[:20]


def _bomb(kind: str, levels: int, width: int) -> str:
    opening, closing = ("[", "]") if kind == "list" else ("{<<: [", "]}")
    first = "a0: &a0 [x, x]\n" if kind == "list" else "a0: &a0 {x: y}\n"
    aliases = (", ".join([f"*a{level - 1}"] * width) for level in range(1, levels))
    return first + "".join(f"a{n}: &a{n} {opening}{line}{closing}\n" for n, line in enumerate(aliases, start=1))


def _in_the_yaml(source: str, chance: random.Random) -> bytes:
    lines = source.splitlines() or [""]
    at = chance.randrange(len(lines))
    indent = " " * (len(lines[at]) - len(lines[at].lstrip()))
    made: list[Callable[[], str]] = [
        lambda: _bomb("list", chance.randint(2, 12), chance.randint(2, 12)),
        lambda: _bomb("merge", chance.randint(2, 12), chance.randint(2, 12)),
        lambda: f"{indent}vnfs: &all {{a: *all}}",
        lambda: f"{indent}<<: {chance.choice(['*none', 'word', '[1, 2]', '{x: y}', '&m {<<: *m}'])}",
        lambda: f"{indent}x: {chance.choice('[{') * chance.choice([3, 30, 3000])}",
        lambda: indent + "- " * chance.choice([3, 30, 3000]) + "x",
        lambda: f"{indent}x: !!python/object/apply:os.system ['true']",
        lambda: f"{indent}x: !{chance.choice(['', '!int', '!binary', 'own', '!!', '<tag:x>'])} 1",
        lambda: chance.choice(["---", "...", "%YAML 9.9", "%TAG ! x", "--- !x", "? [a, b]\n: 1", "? {a: b}", ": x"]),
        lambda: f"{indent}x: {chance.choice('|>')}{chance.choice(['', '9', '+-', '-1', 'x'])}\n{indent}y",
        lambda: f'{indent}x: "{chance.choice(_ESCAPES)}"',
        lambda: lines[at],
        lambda: f"{indent}{chance.choice(keys())}: {chance.choice(_ODD)}",
        lambda: "\n".join(f"f{n}: {{after: [f{(n + 1) % 50}]}}" for n in range(50)),
        lambda: f"{indent}x: '{'y' * chance.choice([10, 70_000])}",
    ]
    lines.insert(at, chance.choice(made)())
    return "\n".join(lines).encode(errors="surrogatepass")


_BYTES = (
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\x1b[2J",
    b"\x85",
    b"\xe2\x80\xa8",
    b"\r",
    b"\t",
    b"\x7f",
    b"\xf4\x90",
)


def _in_the_bytes(source: str, chance: random.Random) -> bytes:
    raw = bytearray(source.encode())
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(4):
            case 0:
                raw[at:at] = chance.choice(_BYTES)
            case 1:
                raw[at : at + 1] = bytes([chance.randrange(256)])
            case 2:
                del raw[at : at + chance.randrange(200)]
            case _:
                raw[at:at] = raw[: chance.randrange(400)]
    return bytes(raw) if chance.randrange(8) else source.encode(chance.choice(["utf-16", "utf-32", "utf-7"]))
