"""A tap on the service network: who would answer for each address, asked at every instant at which that can begin.

In:   word of each change in a kernel that can make an address answered. Out: times at which two machines answered.
Always: it asks kernels, as a question on the wire would, and knows nothing else. What ends an answer (time, closing,
power) needs no look, so nothing between two looks can be missed.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from holdfast.lab.sim.timeline import Timeline


class Overlap(NamedTuple):
    """Two answered for one address."""

    at_ns: int
    address: str
    owners: tuple[str, ...]
    """Host and MAC of each."""


class Tap:
    def __init__(
        self,
        timeline: Timeline,
        addresses: Iterable[str],
        owners: Callable[[str], list[tuple[str, str]]],
        moved: Callable[[], None],
    ) -> None:
        """
        Args:
            addresses: of all services, without prefix lengths.
            owners: host and MAC of everybody who answers for an address at this instant.
            moved: told when an address is answered by another MAC than before.
        """
        self._timeline = timeline
        self._addresses = tuple(addresses)
        self._owners = owners
        self._moved = moved
        self.overlaps: list[Overlap] = []
        self.moves: list[tuple[int, str, str]] = []
        """When an address was answered by another MAC than before: time, address, host."""
        self._last: dict[str, str] = {}

    def changed(self) -> None:
        """Something may be answered now that was not before."""
        for address in self._addresses:
            owners = self._owners(address)
            if not owners:
                continue
            if len(owners) > 1:
                names = tuple(f"{host} {mac}" for host, mac in owners)
                self.overlaps.append(Overlap(self._timeline.now_ns, address, names))
            host, mac = owners[-1]
            if self._last.get(address) != mac:
                self._last[address] = mac
                self.moves.append((self._timeline.now_ns, address, host))
                self._moved()
