"""Sockets of the links: UNIX sockets by path, however long the path is, and TCP between hosts.

The kernel takes at most 107 bytes for a socket's path; a longer one is reached through a descriptor of
its folder. A listening socket is made for its owner alone; one left over from an earlier process is
replaced.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_PATH_BYTES_MAX = 100
_PEER_SILENT_S = 2
"""A host that is switched off does not say so: after this time without an acknowledgement its links are broken."""
_WAITING_MAX = 64
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
"""linux/in.h, linux/in6.h; Python has no names for them."""


class Endpoint(NamedTuple):
    """Where a party listens on a network."""

    address: str
    port: int


Place = Path | Endpoint


@contextmanager
def short(path: Path) -> Iterator[str]:
    """The path as a socket's address, which has little room; a long one through a descriptor of its folder."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connected(path: Path, limit_s: float | None = None, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket connected to the listener at `path`: not blocking, or with a time limit on every call."""
    link = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        link.settimeout(limit_s or 0.0)
        with short(path) as address:
            link.connect(address)
    except OSError:
        link.close()
        raise
    return link


def listening(place: Place) -> socket.socket:
    """A socket that listens there; one at a path is readable and writable for its owner only."""
    listener = socket.socket(_family(place), socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setblocking(False)
        if isinstance(place, Endpoint):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            notice_silence(listener)  # accepted links inherit it
            bind_before_it_is_there(listener, *place)
        else:
            place.unlink(missing_ok=True)
            with short(place) as address:
                listener.bind(address)
            place.chmod(0o600)
        listener.listen(_WAITING_MAX)
    except OSError:
        listener.close()
        raise
    return listener


def bind_before_it_is_there(link: socket.socket, address: str, port: int) -> None:
    """Bind to an address that this host need not have yet: its network is down, or comes up later."""
    if link.family == socket.AF_INET6:
        link.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        link.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    link.bind((address, port))


def _family(place: Place) -> socket.AddressFamily:
    if isinstance(place, Endpoint):
        return socket.AF_INET6 if ":" in place.address else socket.AF_INET
    return socket.AF_UNIX


def notice_silence(link: socket.socket) -> None:
    """Find out about a peer that is gone without a word."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PEER_SILENT_S)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _PEER_SILENT_S)
