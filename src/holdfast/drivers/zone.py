"""Zones: an interface in a network namespace, and the sockets by which its addresses are changed and announced."""

import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from holdfast.drivers.namespaces import inside
from holdfast.drivers.netlink import Netlink
from holdfast.errors import MachineLacks


class Zone:
    """Where a VNFC's address lives: `interface` in a namespace (a VM's `eth0`, or the host's bridge).

    An open zone keeps its namespace alive even when all processes of the VM are gone: close it with the VM.
    """

    def __init__(self, interface: str, netlink: Netlink, packets: socket.socket) -> None:
        self.interface = interface
        self.netlink = netlink
        self.packets = packets
        """An AF_PACKET socket that sends whole frames and receives nothing."""

    @classmethod
    def open(cls, netns_fd: int | None, interface: str) -> "Zone":
        """Open the sockets in the namespace (None: the agent's own). The descriptor may be closed afterwards.

        The interface need not be there yet. `os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)` gives a descriptor.
        """

        def sockets() -> tuple[Netlink, socket.socket]:
            with ExitStack() as opened:
                netlink = opened.enter_context(Netlink.open())
                # Protocol 0: the kernel hands no received frame to this socket.
                packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
                opened.pop_all()
            return netlink, packets

        try:
            netlink, packets = inside(netns_fd, sockets)
        except PermissionError as error:
            raise MachineLacks(
                f"no leave to send frames on interface {interface}: {error.strerror}",
                "this needs root, or CAP_NET_RAW in the namespace",
            ) from error
        return cls(interface, netlink, packets)

    def close(self) -> None:
        self.netlink.close()
        self.packets.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
