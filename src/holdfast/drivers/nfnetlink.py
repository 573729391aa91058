"""Elements of nftables sets by messages written here, for the one place where libnftables is too slow.

In: batches of messages, built once and sent again and again with other lengths of time in them. Out: the kernel's
acknowledgement of the whole batch, or a KernelRefused; a batch is one transaction over tables of all families.
Always holds: when `commit` returns, all of it is in force; when it raises, nothing is, or nobody knows (OSError).
One thread at a time; nothing is waited for, because the kernel works inside the call that sends.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from holdfast.drivers.namespaces import inside
from holdfast.drivers.netlink import (
    NETLINK_CAP_ACK,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOL_NETLINK,
    KernelRefused,
    attribute,
    attributes,
)
from holdfast.errors import MachineLacks, WorldError

NETLINK_NETFILTER = 12
SUBSYSTEM = 10
BATCH_BEGIN, BATCH_END = 16, 17
GET_SET = SUBSYSTEM << 8 | 10
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = SUBSYSTEM << 8 | 12, SUBSYSTEM << 8 | 13, SUBSYSTEM << 8 | 14

# linux/netfilter/nf_tables.h; the attributes of an element stand below those of the list of elements.
LIST_TABLE, LIST_SET, LIST_ELEMENTS, LIST_ELEMENT = 1, 2, 3, 1
ELEMENT_KEY, ELEMENT_TIMEOUT, ELEMENT_EXPIRATION, DATA_VALUE, NESTED = 1, 4, 5, 1, 0x8000

ASKED_AT_ONCE = 32
"""How many elements are looked up by one message: their replies must find room with the receiver."""
FAMILIES = {"inet": 1, "arp": 3, "netdev": 5}
HEAD = struct.Struct("=IHHII")
MILLISECONDS = struct.Struct("!Q")


@dataclass(frozen=True)
class Place:
    """A set: its table's family and name, and its own name."""

    family: str
    table: str
    name: str


@dataclass(frozen=True)
class Kept:
    """An element as the kernel says; both in milliseconds, None for an element without a time-out."""

    timeout_ms: int | None
    expires_ms: int | None


class Batch:
    """One transaction, ready to be sent. Lengths left open are filled in just before."""

    def __init__(self) -> None:
        self.messages = bytearray(_message(BATCH_BEGIN, 0, "netdev", b"", 0, SUBSYSTEM))
        self.last = 0
        self._flags_at = 0
        self._open: list[int] = []

    def add(self, place: Place, keys: Iterable[bytes], timeout_ms: int | None = None) -> Self:
        """Add elements; one that is there already is fine (and stays as it is, unless the kernel can extend)."""
        timeout = b"" if timeout_ms is None else attribute(ELEMENT_TIMEOUT, MILLISECONDS.pack(timeout_ms))
        return self._change(NEW_ELEMENT, NLM_F_CREATE, place, [_keyed(key, timeout) for key in keys])

    def add_for(self, place: Place, key: bytes, timeout_ms: int | None = None) -> Self:
        """Add an element that ends after the length `fill` is told.

        With `timeout_ms`, that is the element's time-out, and the length is what is left of it now: kernels that can
        extend elements set the end of one that is there already.
        """
        if timeout_ms is None:
            ends = attribute(ELEMENT_TIMEOUT, bytes(8))
        else:
            ends = attribute(ELEMENT_TIMEOUT, MILLISECONDS.pack(timeout_ms)) + attribute(ELEMENT_EXPIRATION, bytes(8))
        self._change(NEW_ELEMENT, NLM_F_CREATE, place, [_keyed(key, ends)])
        self._open.append(len(self.messages) - 8)
        return self

    def delete(self, place: Place, keys: Iterable[bytes]) -> Self:
        """Delete elements; one that is absent fails the whole batch."""
        return self._change(DELETE_ELEMENT, 0, place, [_keyed(key) for key in keys])

    def empty(self, place: Place) -> Self:
        """Delete all elements of the set, however many there are."""
        return self._change(DELETE_ELEMENT, 0, place, None)

    def end(self) -> Self:
        """Complete the batch: its last message asks for the acknowledgement."""
        struct.pack_into("=H", self.messages, self._flags_at, self._flags() | NLM_F_ACK)
        self.messages += _message(BATCH_END, 0, "netdev", b"", self.last + 1, SUBSYSTEM)
        return self

    def fill(self, length_ms: int) -> None:
        for at in self._open:
            MILLISECONDS.pack_into(self.messages, at, length_ms)

    def _flags(self) -> int:
        flags: int = struct.unpack_from("=H", self.messages, self._flags_at)[0]
        return flags

    def _change(self, kind: int, flags: int, place: Place, elements: list[bytes] | None) -> Self:
        self.last += 1
        self._flags_at = len(self.messages) + 6
        self.messages += _message(kind, flags, place.family, _listed(place, elements), self.last)
        return self


class NfTables:
    """A NETLINK_NETFILTER socket in one namespace."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = bytearray(1 << 16)
        self._view = memoryview(self._buffer)

    @classmethod
    def open(cls, netns_fd: int | None = None) -> "NfTables":
        """Open in the namespace (None: this process's own); the descriptor may be closed afterwards."""

        def channel() -> socket.socket:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            return socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)

        opened = inside(netns_fd, channel)
        opened.bind((0, 0))
        opened.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        return cls(opened)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def commit(self, batch: Batch, what: str) -> None:
        """Carry the batch out, all or nothing. `what` names it in the error."""
        self._channel.send(batch.messages)
        failed = 0
        while True:
            # Errors of single messages come in their order, the acknowledgement asked for comes last, and also
            # when the batch was dropped for an earlier message.
            size = self._receive(what)
            _, kind, _, number, _ = HEAD.unpack_from(self._buffer)
            if kind != NLMSG_ERROR or size < 20:
                continue
            code = -struct.unpack_from("=i", self._buffer, 16)[0]
            failed = failed or code
            if number == batch.last:
                break
        if failed:
            raise _refused(what, failed)

    def holds(self, place: Place, keys: Sequence[bytes]) -> bool:
        """Whether all these elements are in the set now. A set that is not there is a KernelRefused."""
        what = f"look into set {place.name} of table {place.family} {place.table}"
        for first in range(0, len(keys), ASKED_AT_ONCE):
            body = _listed(place, [_keyed(key) for key in keys[first : first + ASKED_AT_ONCE]])
            code = self._asked(GET_ELEMENT, place, body, what)
            if code == errno.ENOENT:
                # One of them is absent, or the set is.
                code = self._asked(GET_SET, place, _listed(place, None), what)
                if code == 0:
                    return False
            if code:
                raise _refused(what, code)
        return True

    def _asked(self, kind: int, place: Place, body: bytes, what: str) -> int:
        """Put a question and read over what answers it, up to the acknowledgement or error."""
        self._channel.send(_message(kind, NLM_F_ACK, place.family, body, 1))
        while True:
            size = self._receive(what)
            if HEAD.unpack_from(self._buffer)[1] == NLMSG_ERROR and size >= 20:
                code: int = -struct.unpack_from("=i", self._buffer, 16)[0]
                return code

    def elements(self, place: Place) -> dict[bytes, Kept]:
        """All elements of the set by their keys. A set that is not there is a KernelRefused."""
        what = f"list set {place.name} of table {place.family} {place.table}"
        self._channel.send(_message(GET_ELEMENT, NLM_F_DUMP, place.family, _listed(place, None), 1))
        found: dict[bytes, Kept] = {}
        while True:
            size = self._receive(what)
            at = 0
            while at + HEAD.size <= size:
                length, kind, _, _, _ = HEAD.unpack_from(self._buffer, at)
                if kind == NLMSG_ERROR:
                    raise _refused(what, -struct.unpack_from("=i", self._buffer, at + 16)[0])
                if kind == NLMSG_DONE:
                    return found
                found.update(_kept(bytes(self._view[at + 20 : at + length])))
                at += max(length, 16) + 3 & ~3

    def _receive(self, what: str) -> int:
        try:
            return self._channel.recv_into(self._buffer)
        except BlockingIOError as error:
            raise WorldError(f"cannot {what}: the kernel gave no reply within the call") from error


def _message(kind: int, flags: int, family: str, body: bytes, number: int, resource: int = 0) -> bytes:
    head = struct.pack("!BBH", FAMILIES[family], 0, resource)
    return HEAD.pack(20 + len(body), kind, NLM_F_REQUEST | flags, number, 0) + head + body


def _listed(place: Place, elements: Iterable[bytes] | None) -> bytes:
    head = attribute(LIST_TABLE, place.table.encode() + b"\0") + attribute(LIST_SET, place.name.encode() + b"\0")
    if elements is None:
        return head
    return head + attribute(LIST_ELEMENTS | NESTED, b"".join(attribute(LIST_ELEMENT | NESTED, one) for one in elements))


def _keyed(key: bytes, more: bytes = b"") -> bytes:
    return attribute(ELEMENT_KEY | NESTED, attribute(DATA_VALUE, key)) + more


def _kept(body: bytes) -> Iterator[tuple[bytes, Kept]]:
    """Key and times of each element in the body of a message."""
    for _, element in attributes(dict(attributes(body)).get(LIST_ELEMENTS, b"")):
        parts = dict(attributes(element))
        timeout, expires = parts.get(ELEMENT_TIMEOUT), parts.get(ELEMENT_EXPIRATION)
        key = dict(attributes(parts[ELEMENT_KEY]))[DATA_VALUE]
        yield (
            key,
            Kept(
                MILLISECONDS.unpack(timeout)[0] if timeout else None,
                MILLISECONDS.unpack(expires)[0] if expires else None,
            ),
        )


def _refused(what: str, code: int) -> KernelRefused | MachineLacks:
    if code == errno.EPERM:
        return MachineLacks(
            f"cannot {what}: the kernel replied EPERM ({os.strerror(code)})",
            "this needs root, or CAP_NET_ADMIN in the namespace",
        )
    return KernelRefused(what, code)
