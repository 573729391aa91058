"""Zones: an interface in a network namespace, and the sockets by which its addresses are changed and announced."""

import errno
import socket
import struct
from contextlib import ExitStack
from ipaddress import IPv6Address
from types import TracebackType
from typing import Self

from holdfast.drivers.namespaces import inside
from holdfast.drivers.netlink import Netlink
from holdfast.errors import MachineLacks, WorldError

SOLICITED_NODE = IPv6Address("ff02::1:ff00:0").packed[:13]


class Zone:
    """Where a VNFC's address lives: `interface` in a namespace (a VM's `eth0`, or the host's bridge).

    An open zone keeps its namespace alive even when all processes of the VM are gone: close it with the VM.
    """

    def __init__(
        self, interface: str, netlink: Netlink, packets: socket.socket, groups: socket.socket | None = None
    ) -> None:
        self.interface = interface
        self.netlink = netlink
        self.packets = packets
        """An AF_PACKET socket that sends whole frames and receives nothing."""
        self._groups = groups

    @classmethod
    def open(cls, netns_fd: int | None, interface: str) -> "Zone":
        """Open the sockets in the namespace (None: the agent's own). The descriptor may be closed afterwards.

        The interface need not be there yet. `os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)` gives a descriptor.
        """

        def sockets() -> tuple[Netlink, socket.socket, socket.socket | None]:
            with ExitStack() as opened:
                netlink = opened.enter_context(Netlink.open())
                # Protocol 0: the kernel hands no received frame to this socket.
                packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
                groups = _ipv6_socket()
                opened.pop_all()
            return netlink, packets, groups

        try:
            netlink, packets, groups = inside(netns_fd, sockets)
        except PermissionError as error:
            raise MachineLacks(
                f"no leave to send frames on interface {interface}: {error.strerror}",
                "this needs root, or CAP_NET_RAW in the namespace",
            ) from error
        return cls(interface, netlink, packets, groups)

    def close(self) -> None:
        self.netlink.close()
        self.packets.close()
        if self._groups is not None:
            self._groups.close()

    def listen_for_solicitations(self, address: IPv6Address) -> None:
        """Join the address's solicited-node group (RFC 4291, 2.7.1) now.

        The kernel does it too, but from a work queue, some milliseconds later on a busy machine; a client that asks
        in between gets no answer and asks again a second later.
        """
        self._membership(socket.IPV6_JOIN_GROUP, address)

    def stop_listening(self, address: IPv6Address) -> None:
        self._membership(socket.IPV6_LEAVE_GROUP, address)

    def _membership(self, change: int, address: IPv6Address) -> None:
        if self._groups is None:
            return
        group = SOLICITED_NODE + address.packed[13:]
        request = struct.pack("=16sI", group, self.netlink.index(self.interface))
        try:
            self._groups.setsockopt(socket.IPPROTO_IPV6, change, request)
        except OSError as error:
            # Joined already, or never: both are as wanted.
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise WorldError(f"solicitations for {address} on {self.interface}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ipv6_socket() -> socket.socket | None:
    try:
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    except OSError:
        return None  # a kernel without IPv6
