"""One process at a time has the window of an agent: a second writer could make both keys late.

A name in the abstract namespace of UNIX sockets belongs to the network namespace, as the window does, and to the
process that bound it until that process is dead: one that is merely stopped still has it, and may go on to write.
"""

import errno
import os
import socket

from holdfast.drivers.namespaces import inside
from holdfast.errors import WorldError


class Alone:
    """The right to write one window, as long as this object is open."""

    def __init__(self, window: str, netns_fd: int | None = None) -> None:
        def channel() -> socket.socket:
            return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)

        self._channel = inside(netns_fd, channel)
        try:
            self._channel.bind(f"\0holdfast-window-{window}")
        except OSError as error:
            self._channel.close()
            if error.errno != errno.EADDRINUSE:
                raise WorldError(f"cannot take window {window}: {os.strerror(error.errno or 0)}") from error
            raise WorldError(
                f"window {window} belongs to another process, which lives or is stopped",
                "end that process first: two that set the keys could make both of them late",
            ) from error

    def close(self) -> None:
        self._channel.close()
