"""Links, addresses and routes of one network namespace, by rtnetlink messages written here.

No process is started and nothing is waited for: the kernel answers a netlink message within the call that sends it.
"""

from types import TracebackType
from typing import Self

from holdfast.errors import WorldError


class KernelRefused(WorldError):
    """The kernel refused a netlink request; `errno` is its reply."""

    errno: int


class Netlink:
    """A NETLINK_ROUTE socket in one namespace. Every method is synchronous and confirmed by the kernel."""

    @classmethod
    def open(cls, netns_fd: int | None = None) -> "Netlink":
        """Open in the namespace (None: this process's own); the descriptor may be closed afterwards."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def exists(self, name: str) -> bool:
        raise NotImplementedError

    def veth(
        self,
        name: str,
        peer: str,
        *,
        peer_netns_fd: int | None = None,
        mac: bytes | None = None,
        peer_mac: bytes | None = None,
    ) -> None:
        """Make a veth pair; `peer` is made directly in the other namespace if one is given."""
        raise NotImplementedError

    def bridge(self, name: str, mac: bytes | None = None) -> None:
        """Make a bridge that forwards at once (no spanning tree, no forward delay, no multicast snooping)."""
        raise NotImplementedError

    def to_namespace(self, name: str, netns_fd: int, new_name: str | None = None) -> None:
        """Move the interface into another namespace (it arrives down and without addresses)."""
        raise NotImplementedError

    def enslave(self, name: str, bridge: str) -> None:
        """Attach the interface to the bridge, both in this namespace."""
        raise NotImplementedError

    def up(self, name: str) -> None:
        raise NotImplementedError

    def down(self, name: str) -> None:
        raise NotImplementedError

    def delete(self, name: str) -> None:
        """Delete the interface (a veth with its other end); absent is fine."""
        raise NotImplementedError

    def add_address(self, name: str, address: str) -> None:
        """Add an address of the machine's own (with prefix length); usable at once; there already is fine."""
        raise NotImplementedError

    def default_route(self, gateway: str) -> None:
        """Send what is for elsewhere to the gateway; replaces an earlier default route of that family."""
        raise NotImplementedError
