"""UNIX sockets by path, however long the path is.

The kernel takes at most 107 bytes for a socket's path; a longer one is reached through a descriptor of
its folder. A listening socket is made for its owner alone; one left over from an earlier process is
replaced.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATH_BYTES_MAX = 100
_WAITING_MAX = 64


@contextmanager
def _address(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connected(path: Path, limit_s: float | None = None) -> socket.socket:
    """A socket connected to the listener at `path`: not blocking, or with a time limit on every call."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        link.settimeout(limit_s or 0.0)
        with _address(path) as address:
            link.connect(address)
    except OSError:
        link.close()
        raise
    return link


def listening(path: Path) -> socket.socket:
    """A socket that listens at `path`, readable and writable for its owner only."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setblocking(False)
        path.unlink(missing_ok=True)
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(_WAITING_MAX)
    except OSError:
        listener.close()
        raise
    return listener
