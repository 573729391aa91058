"""The gate of a VM's port, on the host's side: which service addresses may be heard from the VM and reach it.

A guarded port lets no declared service address pass unless it was opened for that port. A VM's own
addresses are never touched. Gates are rules in the kernel (nftables, family netdev): they stay as they are when the
agent ends, and each change is read back.
"""

from collections.abc import Iterable


class Gate:
    """The gates of all ports of one agent."""

    def __init__(self, services: Iterable[str], table: str = "holdfast", netns_fd: int | None = None) -> None:
        """Make the table, or adopt the one that is there with what is open in it.

        Args:
            services: every declared service address (prefix length allowed and ignored).
            table: one name per deployment and host, so that two on one machine do not clash.
            netns_fd: namespace of the host's bridge; None for this process's own.

        Raises:
            MachineLacks: libnftables or the kernel's netdev hooks are missing, or the privilege to use them.
        """
        raise NotImplementedError

    def guard(self, port: str) -> None:
        """Put a closed gate on the port, whose interface must exist. A gate there already is closed."""
        raise NotImplementedError

    def unguard(self, port: str) -> None:
        """Take the gate away, also when the interface is gone already; absent is fine."""
        raise NotImplementedError

    def open(self, port: str, address: str) -> None:
        """Let the service address pass at this port; confirmed by reading back. Repeating is harmless."""
        raise NotImplementedError

    def shut(self, port: str, address: str) -> None:
        """Let the service address pass no more; confirmed by reading back. Repeating is harmless.

        A port without a gate (its VM is gone) counts as shut.
        """
        raise NotImplementedError

    def opened(self, port: str) -> frozenset[str]:
        """The service addresses open at the port now (without prefix length), as the kernel says."""
        raise NotImplementedError

    def guarded(self) -> frozenset[str]:
        """The ports that have a gate now, as the kernel says."""
        raise NotImplementedError

    def close_table(self) -> None:
        """Remove the table with all gates. Only when the deployment ends: every port is open after it."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of libnftables; the gates stay as they are in the kernel."""
        raise NotImplementedError
