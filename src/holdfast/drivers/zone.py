"""Zones: an interface in a network namespace, and sockets that live there.

A process has one network namespace and the agent never changes its own. A socket, though, belongs for ever
to the namespace in which it was made: a short-lived thread enters the namespace, makes the sockets, and ends.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

Result = TypeVar("Result")


def inside(netns_fd: int | None, work: Callable[[], Result]) -> Result:
    """Run `work` in the namespace (None: this process's own) and return its result, or raise its error."""
    raise NotImplementedError


def new_namespace() -> int:
    """Make an empty network namespace; it lives as long as the returned file descriptor or anything in it."""
    raise NotImplementedError


class Zone:
    """Where a VNFC's address lives: `interface` in a namespace (a VM's `eth0`, or the host's bridge)."""

    interface: str

    @classmethod
    def open(cls, netns_fd: int | None, interface: str) -> "Zone":
        """Open the sockets in the namespace (None: the agent's own). The descriptor may be closed afterwards.

        The interface need not be there yet. `os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)` gives a descriptor.
        """
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError
