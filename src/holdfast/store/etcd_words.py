"""The words of etcd's API v3 as its JSON gateway speaks them, as far as Holdfast uses them.

In:   keys, values and conditions.
Out:  requests to be encoded; answers decoded into values.
Always: pure. The gateway writes 64-bit numbers as strings and leaves out what is zero; bytes are base64.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

Answer = TypeVar("Answer")


class KeyValue(Struct, frozen=True, omit_defaults=True):
    key: bytes = b""
    value: bytes = b""
    mod_revision: int = 0
    version: int = 0
    """How often the key has been written since it was made; 0 if it does not exist."""


class Header(Struct, frozen=True, omit_defaults=True):
    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0


class Found(Struct, frozen=True, omit_defaults=True):
    """Answer to a range."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()

    def first(self) -> KeyValue:
        return self.kvs[0] if self.kvs else KeyValue()


class OpDone(Struct, frozen=True, omit_defaults=True):
    response_range: Found = Found()


class TxnDone(Struct, frozen=True, omit_defaults=True):
    header: Header = Header()
    succeeded: bool = False
    responses: tuple[OpDone, ...] = ()


class Authenticated(Struct, frozen=True, omit_defaults=True):
    header: Header = Header()
    token: str = ""


class Status(Struct, frozen=True, omit_defaults=True):
    """One member's answer for itself."""

    header: Header = Header()
    version: str = ""
    leader: int = 0
    raftIndex: int = 0  # noqa: N815  # the gateway's spelling

    @property
    def is_leader(self) -> bool:
        return self.leader != 0 and self.leader == self.header.member_id


class Change(Struct, frozen=True, omit_defaults=True):
    """One change of one key, as a watch tells it."""

    kv: KeyValue = KeyValue()
    type: Literal["PUT", "DELETE"] = "PUT"


class Watched(Struct, frozen=True, omit_defaults=True):
    header: Header = Header()
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    events: tuple[Change, ...] = ()


class WatchFailed(Struct, frozen=True, omit_defaults=True):
    message: str = ""


class WatchLine(Struct, frozen=True, omit_defaults=True):
    result: Watched | None = None
    error: WatchFailed | str | None = None


class Failed(Struct, frozen=True, omit_defaults=True):
    """What the gateway says of an error; `code` is gRPC's."""

    error: str = ""
    code: int = 0


class Put(Struct, frozen=True):
    key: bytes
    value: bytes


class Range(Struct, frozen=True, omit_defaults=True):
    """Keys from `key` up to `range_end`, or the one key if that is empty; the newest state a majority agrees on."""

    key: bytes
    range_end: bytes = b""


class Compare(Struct, frozen=True, omit_defaults=True):
    key: bytes
    target: Literal["VERSION", "MOD", "VALUE"]
    version: int = 0
    mod_revision: int = 0
    value: bytes = b""


class Op(Struct, frozen=True, omit_defaults=True):
    request_put: Put | None = None
    request_range: Range | None = None
    request_delete_range: Range | None = None


class Txn(Struct, frozen=True):
    """All of `success` if every comparison holds, else all of `failure`; nobody sees a half of it."""

    compare: tuple[Compare, ...]
    success: tuple[Op, ...]
    failure: tuple[Op, ...] = ()


def put(key: bytes, value: bytes) -> Op:
    return Op(request_put=Put(key, value))


def get(key: bytes) -> Op:
    return Op(request_range=Range(key))


def delete(key: bytes) -> Op:
    return Op(request_delete_range=Range(key))


def under(folder: bytes) -> Range:
    """Every key that begins with `folder`."""
    return Range(folder, folder[:-1] + bytes([folder[-1] + 1]))


def is_version(key: bytes, version: int) -> Compare:
    return Compare(key, "VERSION", version=version)


def is_revision(key: bytes, revision: int) -> Compare:
    """`revision` 0: the key does not exist."""
    return Compare(key, "MOD", mod_revision=revision)


def is_value(key: bytes, value: bytes) -> Compare:
    return Compare(key, "VALUE", value=value)


def encode(request: Struct | Mapping[str, object]) -> bytes:
    return msgspec.json.encode(request)


def decode(body: bytes, kind: type[Answer]) -> Answer:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=kind, strict=False)
