"""What the probe says and hears, as bytes: the registry's lines, DNS packets, HTTP heads. Nothing here uses a socket.

A function names its owner (the VNFC that answered) and the epoch of its role in every answer.
"""

import re
import struct
from typing import NamedTuple

DNS_NAME = "owner.holdfast.test"
_TXT, _IN = 16, 1
_DNS_HEADER = struct.Struct("!HHHHHH")


class Heard(NamedTuple):
    """An answer: `good` if it counts as service; `value` is what a read returned, None for nothing."""

    n: int
    good: bool
    owner: str
    epoch: int
    value: str | None = None


def registry_get(n: int, key: str) -> bytes:
    return f"{n} get {key}".encode()


def registry_put(n: int, key: str, value: str) -> bytes:
    return f"{n} put {key} {value}".encode()


def registry_answer(data: bytes) -> Heard | None:
    """`<id> ok <owner> <epoch> [<value>]`, `<id> none <owner> <epoch>`, `<id> refused <owner> <epoch> <reason>`."""
    words = data.decode("ascii", "replace").split()
    if len(words) < 4 or not words[0].isdigit() or not words[3].isdigit():
        return None
    kind = words[1]
    if kind not in ("ok", "none", "refused"):
        return None
    value = words[4] if kind == "ok" and len(words) > 4 else None
    return Heard(int(words[0]), kind != "refused", words[2], int(words[3]), value)


def dns_query(n: int, name: str = DNS_NAME) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return _DNS_HEADER.pack(n & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", _TXT, _IN)


def _skip_name(data: bytes, at: int) -> int:
    while True:
        length = data[at]
        if length & 0xC0:
            return at + 2
        at += 1 + length
        if not length:
            return at


def dns_answer(data: bytes, newest: int) -> Heard | None:
    """The answer to the newest request with this 16-bit id that is not after `newest`."""
    try:
        number, flags, questions, answers, _, _ = _DNS_HEADER.unpack_from(data)
        if not flags & 0x8000:
            return None
        n = newest - ((newest - number) & 0xFFFF)
        at = _DNS_HEADER.size
        for _ in range(questions):
            at = _skip_name(data, at) + 4
        text = b""
        for _ in range(answers):
            at = _skip_name(data, at)
            kind, _class, _ttl, length = struct.unpack_from("!HHIH", data, at)
            at += 10
            if kind == _TXT:
                text += _strings(data[at : at + length])
            at += length
    except (struct.error, IndexError):
        return None
    if n < 0:
        return None
    owner, epoch = named(text.decode("ascii", "replace"))
    return Heard(n, flags & 0xF == 0 and bool(owner), owner, epoch)


def _strings(rdata: bytes) -> bytes:
    at, parts = 0, []
    while at < len(rdata):
        parts.append(rdata[at + 1 : at + 1 + rdata[at]])
        at += 1 + rdata[at]
    return b" ".join(parts) + b" "


def named(text: str) -> tuple[str, int]:
    """Owner and epoch in `owner=<vnfc> epoch=<n>`; an epoch that is not told is -1."""
    owner = re.search(r"\bowner=(\S+)", text)
    epoch = re.search(r"\bepoch=(\d+)", text)
    return owner.group(1) if owner else "", int(epoch.group(1)) if epoch else -1


def http_request(address: str, path: str) -> bytes:
    host = f"[{address}]" if ":" in address else address
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: holdfast-probe\r\n\r\n".encode()


_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_OWNER = re.compile(rb"\r\nX-Holdfast-Owner: *([^\r\n ]+)", re.IGNORECASE)
_EPOCH = re.compile(rb"\r\nX-Holdfast-Epoch: *(\d+)", re.IGNORECASE)


def http_answer(n: int, head: bytes) -> Heard | None:
    """The answer once its head is complete; None while more is to come."""
    if b"\r\n\r\n" not in head:
        return None
    status, owner, epoch = _STATUS.match(head), _OWNER.search(head), _EPOCH.search(head)
    return Heard(
        n,
        status is not None and status.group(1) == b"200",
        owner.group(1).decode("ascii", "replace") if owner else "",
        int(epoch.group(1)) if epoch else -1,
    )
