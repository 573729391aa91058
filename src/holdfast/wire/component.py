"""Component protocol, version 1: the lines between an agent and a component of any language.

In: bytes of either direction, in any pieces. Out: typed messages, or PeerError, and nothing else ever.
`encode` gives the bytes of one message; decoding them gives an equal message. Lines and the buffer are
bounded. Standard library only: components import this too. docs/component-protocol.md is the text of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar, assert_never, cast

from holdfast.errors import PeerError
from holdfast.model.limits import COMPONENT_LINE_BYTES_MAX

VERSION = 1
REASON_CHARACTERS_MAX = 300
"""Longer reasons are cut when they are encoded."""
NUMBER_DIGITS_MAX = 18
LISTED_NAMES_MAX = 64

ComponentRole = Literal["active", "standby", "quiescing", "none"]


class Position(NamedTuple):
    """How new a component's state is: epoch under which it was last written, then sequence number."""

    epoch: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Welcome:
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class BecomeActive:
    """Provide the service under this epoch; acknowledge no update without the standbys in `in_sync`."""

    id: int
    service: str
    epoch: int
    in_sync: tuple[str, ...] = ()
    address: str = ""
    """Address of the service with its prefix length; empty for none."""
    claim: bool = False
    """Whether the component takes the address itself, as part of becoming active (IF-1)."""


@dataclass(frozen=True, slots=True)
class BecomeStandby:
    """Follow `active`; its replication port is reached at `peer` (`10.0.0.1:7001`, `[fd00::1]:7001`)."""

    id: int
    service: str
    epoch: int
    active: str
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Quiesce:
    """Accept no more updates, pass all state on to the standbys in sync, then answer."""

    id: int
    service: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Check:
    id: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """The loss of this standby is recorded durably: updates may be acknowledged without it."""

    id: int
    standby: str


@dataclass(frozen=True, slots=True)
class Stop:
    id: int


@dataclass(frozen=True, slots=True)
class Hello:
    """First line of a component, also after it had to connect again: then with the role it has."""

    name: str
    version: int = VERSION
    position: Position | None = None
    role: ComponentRole = "none"
    service: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Ok:
    id: int
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unwell:
    """Answer to a check, or without an id: the component tells of itself that it is unwell."""

    reason: str
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The active holds its acknowledgements until the loss of this standby is Recorded."""

    standby: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Synced:
    """This standby has caught up; the active waits for it with each update from now on."""

    standby: str
    epoch: int


Request = BecomeActive | BecomeStandby | Quiesce | Check | Recorded | Stop
Answer = Ok | Failed | Unwell
FromAgent = Welcome | Request
FromComponent = Hello | Ok | Failed | Unwell | Lost | Synced
ComponentMessage = FromAgent | FromComponent
M = TypeVar("M")


def encode(message: ComponentMessage) -> bytes:
    """The line of one message, with its end. Raises PeerError when it would be too long."""
    line = _text(message).encode("utf-8", "backslashreplace") + b"\n"
    if len(line) > COMPONENT_LINE_BYTES_MAX:
        raise PeerError(f"a line of {len(line)} bytes is longer than {COMPONENT_LINE_BYTES_MAX}")
    return line


def _text(message: ComponentMessage) -> str:  # one branch a message: a table would hide the types
    match message:
        case Welcome(version):
            return _line(None, "welcome", version=str(version))
        case BecomeActive(number, service, epoch, in_sync, address, claim):
            names = ",".join(_quoted(name) for name in in_sync)
            text = _line(number, "active", service=service, epoch=str(epoch))
            text += f" in-sync={names}" if names else ""
            text += f" address={_quoted(address)}" if address else ""
            return text + (" claim=yes" if claim else " claim=no")
        case BecomeStandby(number, service, epoch, active, peer):
            return _line(number, "standby", service=service, epoch=str(epoch), active=active, peer=peer)
        case Quiesce(number, service, epoch):
            return _line(number, "quiesce", service=service, epoch=str(epoch))
        case Check(number):
            return _line(number, "check")
        case Recorded(number, standby):
            return _line(number, "recorded", standby=standby)
        case Stop(number):
            return _line(number, "stop")
        case Hello(name, version, position, role, service, epoch):
            text = _line(None, "hello", version=str(version), name=name, position=_position(position))
            return text if role == "none" else text + _keys(role=role, service=service, epoch=str(epoch))
        case Ok(number, position):
            return _line(number, "ok", position=_position(position))
        case Failed(number, reason):
            return _line(number, "failed", reason=reason[:REASON_CHARACTERS_MAX])
        case Unwell(reason, maybe_number):
            return _line(maybe_number, "unwell", reason=reason[:REASON_CHARACTERS_MAX])
        case Lost(standby, epoch):
            return _line(None, "lost", standby=standby, epoch=str(epoch))
        case Synced(standby, epoch):
            return _line(None, "synced", standby=standby, epoch=str(epoch))
        case _:
            assert_never(message)


def _line(number: int | None, word: str, **values: str) -> str:
    return (word if number is None else f"@{number} {word}") + _keys(**values)


def _keys(**values: str) -> str:
    return "".join(f" {key}={_quoted(value)}" for key, value in values.items() if value)


def _position(position: Position | None) -> str:
    return "" if position is None else f"{position.epoch}:{position.sequence}"


_QUOTED = {number: f"%{number:02X}" for number in [*range(0x21), ord("%"), ord(","), 0x7F]}


def _quoted(value: str) -> str:
    return value.translate(_QUOTED)


class Decoder(Generic[M]):
    """Turns the bytes of one direction into messages. Made by `from_agent()` or `from_component()`.

    After a PeerError the connection is to be closed: every further `feed` raises again.
    """

    def __init__(self, readers: Mapping[str, Callable[[_Line], M]]) -> None:
        self._readers = readers
        self._rest = b""
        self._broken: PeerError | None = None

    def feed(self, data: bytes) -> list[M]:
        """The messages that are complete with `data`. Raises PeerError for the first line that breaks the protocol."""
        if self._broken is not None:
            raise self._broken
        try:
            lines = (self._rest + data).split(b"\n")
            messages = [self._message(line) for line in lines[:-1]]
            self._rest = lines[-1]
            if len(self._rest) >= COMPONENT_LINE_BYTES_MAX:
                raise PeerError(f"a line is longer than {COMPONENT_LINE_BYTES_MAX} bytes")
        except PeerError as error:
            self._broken, self._rest = error, b""
            raise
        return messages

    def _message(self, data: bytes) -> M:
        line = _Line(data)
        reader = self._readers.get(line.word)
        if reader is None:
            raise PeerError(
                f"unknown word {line.word[:40]!r} in the component protocol",
                f"expected one of {', '.join(self._readers)}",
            )
        message = reader(line)
        if line.number is not None and not line.number_wanted:
            raise PeerError(f"{line.word!r} carries a number but is not an answer")
        return message


def from_agent() -> Decoder[FromAgent]:
    """Decoder for what agents say (used in components)."""
    return Decoder[FromAgent](_FROM_AGENT)


def from_component() -> Decoder[FromComponent]:
    """Decoder for what components say (used in agents)."""
    return Decoder[FromComponent](_FROM_COMPONENT)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class _Line:
    """One line, split into number, word and values; the readers below ask it for what they need."""

    def __init__(self, data: bytes) -> None:
        if len(data) >= COMPONENT_LINE_BYTES_MAX:
            raise PeerError(f"a line is longer than {COMPONENT_LINE_BYTES_MAX} bytes")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise PeerError(f"a line is not UTF-8: {data[:40]!r}") from None
        if _CONTROL.search(text) is not None:
            raise PeerError(f"a line holds a control character: {text[:40]!r}")
        words = text.split(" ")
        self.number: int | None = None
        self.number_wanted = False
        if words[0].startswith("@"):
            self.number = _number(words.pop(0)[1:], "the number behind '@'")
        if not all(words) or not words:
            raise PeerError(f"words must be separated by one space: {text[:40]!r}")
        self.word = words[0]
        self._values: dict[str, str] = {}
        for word in words[1:]:
            key, sign, value = word.partition("=")
            if not sign or not key or key in self._values:
                raise PeerError(f"expected key=value with each key once, found {word[:40]!r} in {self.word!r}")
            self._values[key] = value

    def id(self) -> int:
        number = self.maybe_id()
        if number is None:
            raise PeerError(f"{self.word!r} lacks its number", f"expected '@<n> {self.word} …'")
        return number

    def maybe_id(self) -> int | None:
        self.number_wanted = True
        return self.number

    def text(self, key: str) -> str:
        value = self.maybe_text(key)
        if not value:
            raise PeerError(f"{self.word!r} lacks {key}=")
        return value

    def maybe_text(self, key: str) -> str:
        return _unquoted(self._values.get(key, ""))

    def names(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key, "")
        names = tuple(_unquoted(name) for name in value.split(",")) if value else ()
        if not all(names) or len(names) > LISTED_NAMES_MAX:
            raise PeerError(f"{key}= of {self.word!r} is not a list of at most {LISTED_NAMES_MAX} names")
        return names

    def integer(self, key: str) -> int:
        return _number(self.text(key), f"{key}= of {self.word!r}")

    def yes(self, key: str) -> bool:
        value = self.maybe_text(key) or "no"
        if value not in ("yes", "no"):
            raise PeerError(f"{key}= of {self.word!r} is {value[:40]!r}, expected yes or no")
        return value == "yes"

    def position(self) -> Position | None:
        value = self.maybe_text("position")
        if not value:
            return None
        epoch, _, sequence = value.partition(":")
        what = f"position= of {self.word!r} (<epoch>:<sequence>)"
        return Position(_number(epoch, what), _number(sequence, what))


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX):
        raise PeerError(f"{what} is {text[:40]!r}, expected a number of at most {NUMBER_DIGITS_MAX} digits")
    return int(text)


_HEX = frozenset("0123456789abcdefABCDEF")


def _unquoted(value: str) -> str:
    if "%" not in value:
        return value
    head, *parts = value.split("%")
    data = bytearray(head.encode())
    for part in parts:
        if len(part) < 2 or not _HEX.issuperset(part[:2]):
            raise PeerError(f"'%' is not followed by two hexadecimal digits in {value[:40]!r}")
        data.append(int(part[:2], 16))
        data += part[2:].encode()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise PeerError(f"the value {value[:40]!r} is not UTF-8") from None


def _hello(line: _Line) -> Hello:
    role = line.maybe_text("role") or "none"
    if role not in ("active", "standby", "quiescing", "none"):
        raise PeerError(f"role= of 'hello' is {role[:40]!r}, expected active, standby, quiescing or none")
    known = cast(ComponentRole, role)
    if known == "none":
        return Hello(line.text("name"), line.integer("version"), line.position())
    return Hello(
        line.text("name"),
        line.integer("version"),
        line.position(),
        known,
        line.maybe_text("service"),
        line.integer("epoch"),
    )


_FROM_AGENT: dict[str, Callable[[_Line], FromAgent]] = {
    "welcome": lambda line: Welcome(line.integer("version")),
    "active": lambda line: BecomeActive(
        line.id(),
        line.text("service"),
        line.integer("epoch"),
        line.names("in-sync"),
        line.maybe_text("address"),
        line.yes("claim"),
    ),
    "standby": lambda line: BecomeStandby(
        line.id(), line.text("service"), line.integer("epoch"), line.text("active"), line.maybe_text("peer")
    ),
    "quiesce": lambda line: Quiesce(line.id(), line.text("service"), line.integer("epoch")),
    "check": lambda line: Check(line.id()),
    "recorded": lambda line: Recorded(line.id(), line.text("standby")),
    "stop": lambda line: Stop(line.id()),
}

_FROM_COMPONENT: dict[str, Callable[[_Line], FromComponent]] = {
    "hello": _hello,
    "ok": lambda line: Ok(line.id(), line.position()),
    "failed": lambda line: Failed(line.id(), line.maybe_text("reason") or "no reason given"),
    "unwell": lambda line: Unwell(line.maybe_text("reason") or "no reason given", line.maybe_id()),
    "lost": lambda line: Lost(line.text("standby"), line.integer("epoch")),
    "synced": lambda line: Synced(line.text("standby"), line.integer("epoch")),
}
