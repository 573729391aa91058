"""Service addresses (VIPs) in a zone: assigned, announced, withdrawn; each effect read back from the kernel.

All functions are synchronous and take well below a millisecond; the agent may call them in its event loop.
Errors are WorldError and name the interface, the address and the kernel's reply.
"""

from holdfast.drivers.zone import Zone

ANNOUNCE_AGAIN_AFTER_S = (0.01, 0.05, 0.25, 1.0)
"""When the caller should call `announce` again, counted from `assign` (which announces once by itself)."""


def assign(zone: Zone, address: str) -> None:
    """Add `10.77.0.100/24` or `fd00::100/64` to the zone's interface, read it back, announce it once.

    Doing it again is harmless, and announces again. The zone's own address stays the preferred source.
    """
    raise NotImplementedError


def withdraw(zone: Zone, address: str) -> None:
    """Take the address away and confirm that it is gone, whatever its prefix length. Absent already is fine."""
    raise NotImplementedError


def announce(zone: Zone, address: str) -> None:
    """Tell the neighbours where the address is now (gratuitous ARP, unsolicited neighbour advertisement)."""
    raise NotImplementedError


def held(zone: Zone) -> frozenset[str]:
    """All addresses on the zone's interface, with prefix length, link-local ones left out."""
    raise NotImplementedError


def holds(zone: Zone, address: str) -> bool:
    """Whether the address (prefix length ignored) is on the zone's interface and usable at this moment."""
    raise NotImplementedError
