"""The simulated network: which host reaches which, how long it takes, and what gets lost.

In:   packets between hosts, by network; cuts.
Out:  the same packets, later, in another order, twice, or never.
Always: what is cut is asked when a packet leaves and once more when it would arrive. A host that is off neither sends
nor receives.
"""

from collections.abc import Callable
from typing import Any

from holdfast.lab.sim.timeline import Timeline

TRAVEL_NS = (40_000, 120_000)
"""On a quiet network of one site, one way."""
STRAGGLES = 0.002
STRAGGLER_NS = 3_000_000
"""Now and then a packet takes up to this much longer."""
OUTSIDE = "outside"
"""Clients; joined with every host by the service network."""


class Net:
    """One network that joins the hosts."""

    def __init__(self, timeline: Timeline, name: str) -> None:
        self.name = name
        self.timeline = timeline
        self._random = timeline.random
        self._cut: dict[tuple[str, str], int] = {}
        self._off: set[str] = set()
        self.loss = 0.0
        """Share of packets that are lost (datagrams for good; streams send again)."""
        self.doubling = 0.0
        self.travel_ns = TRAVEL_NS
        self.packets = 0

    def cut(self, sender: str, receiver: str) -> None:
        """From now on nothing gets from one to the other (it may, the other way). Cuts of several faults add up."""
        self._cut[sender, receiver] = self._cut.get((sender, receiver), 0) + 1

    def heal(self, sender: str, receiver: str) -> None:
        left = self._cut.get((sender, receiver), 0) - 1
        if left > 0:
            self._cut[sender, receiver] = left
        else:
            self._cut.pop((sender, receiver), None)

    def heal_all(self) -> None:
        self._cut.clear()

    def switch(self, host: str, *, on: bool) -> None:
        if on:
            self._off.discard(host)
        else:
            self._off.add(host)

    def passes(self, sender: str, receiver: str) -> bool:
        if self._off and (sender in self._off or receiver in self._off):
            return False
        return not self._cut or sender == receiver or (sender, receiver) not in self._cut

    def travel(self) -> int:
        random = self._random
        low, high = self.travel_ns
        takes = low + int((high - low) * random())
        return takes if random() >= STRAGGLES else takes + int(STRAGGLER_NS * random())

    def send(self, sender: str, receiver: str, arrived: Callable[..., None], *args: Any) -> None:
        """A datagram: `arrived` is called once, twice, or never."""
        self.packets += 1
        if not self.passes(sender, receiver):
            return
        if self.loss and self._random() < self.loss:
            return
        self.timeline.after(self.travel(), self._arrive, sender, receiver, arrived, args)
        if self.doubling and self._random() < self.doubling:
            self.timeline.after(self.travel() * 2, self._arrive, sender, receiver, arrived, args)

    def _arrive(self, sender: str, receiver: str, arrived: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.passes(sender, receiver):
            arrived(*args)
