"""Clients' connections to a member of a simulated etcd: the JSON gateway over HTTP/1.1, as far as Holdfast uses it.

In:   bytes of requests, one at a time on a connection.
Out:  answers; on a connection that watches, pieces without end.
"""

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Struct

from holdfast.lab.sim.etcd_keys import INVALID, why_not
from holdfast.lab.sim.etcd_member import VERSION, Member
from holdfast.store.etcd_words import Failed, Found, Range, Status, Txn, TxnDone, WatchLine, decode, encode

_NOT_FOUND = 5
_STATUS = {_NOT_FOUND: 404, INVALID: 400}
"""HTTP's for gRPC's; 503 for all others."""


class _Wanted(Range, frozen=True):
    start_revision: int = 0


class _Create(Struct, frozen=True):
    create_request: _Wanted


class _Request:
    """Waits for its answer as long as its connection is open."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    @property
    def is_open(self) -> bool:
        return self._server.serves is self

    def answer(self, answer: Found | TxnDone | Status) -> None:
        if self.is_open:
            self._server.answer(200, encode(answer))


class _Watching:
    def __init__(self, server: "Server") -> None:
        self._server = server

    @property
    def is_open(self) -> bool:
        return self._server.serves is self

    def tell(self, line: WatchLine) -> None:
        if self.is_open:
            text = encode(line)
            self._server.write(b"%x\r\n%s\n\r\n" % (len(text) + 1, text))

    def end(self) -> None:
        if self.is_open:
            self._server.write(b"0\r\n\r\n")


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.serves: _Request | _Watching | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(self.serves, _Watching):
            self._member.forget(self.serves)
        self.serves = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = _length(head)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        path = head.split(b" ", 2)[1].decode()
        act = _PATHS.get(path, _unknown)
        try:
            act(self, rest[:length])
        except msgspec.DecodeError as error:
            self.refuse(INVALID, str(error))

    def begin(self) -> _Request:
        request = self.serves = _Request(self)
        return request

    def watch(self, body: bytes) -> None:
        wanted = decode(body, _Create).create_request
        watching = self.serves = _Watching(self)
        self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._member.watch(wanted, wanted.start_revision, watching)

    def range(self, body: bytes) -> None:
        self._member.range(decode(body, Range), self.begin())

    def txn(self, body: bytes) -> None:
        txn = decode(body, Txn)
        refused = why_not(txn)
        if refused is not None:
            self.refuse(*refused)
        else:
            self._member.txn(txn, self.begin())

    def status(self, body: bytes) -> None:
        self.begin().answer(self._member.status())

    def version(self, body: bytes) -> None:
        self.answer(200, msgspec.json.encode({"etcdserver": VERSION, "etcdcluster": VERSION}))

    def refuse(self, code: int, words: str) -> None:
        self.answer(_STATUS.get(code, 503), encode(Failed(words, code)))

    def answer(self, status: int, body: bytes) -> None:
        self.serves = None
        self.write(b"HTTP/1.1 %d \r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _unknown(server: Server, body: bytes) -> None:
    server.refuse(_NOT_FOUND, "Not Found")


_PATHS: dict[str, Callable[[Server, bytes], None]] = {
    "/v3/kv/range": Server.range,
    "/v3/kv/txn": Server.txn,
    "/v3/watch": Server.watch,
    "/v3/maintenance/status": Server.status,
    "/version": Server.version,
}
