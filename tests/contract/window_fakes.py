"""Fake of the window, for tests of what uses one. It keeps the bookkeeping part of the contract (test_window_books)."""

from collections.abc import Callable, Iterable
from ipaddress import ip_interface

from holdfast.drivers.window_order import Outcome
from holdfast.errors import WorldError

SHORTEST_NS = 16_000_000
"""Less than this left of a grant is not armed: as two keys do on a kernel with ticks of 4 ms."""


class FakeWindow:
    """A window in the mind, with a clock that is given to it."""

    gate_is_timed = False

    def __init__(self, services: Iterable[str], longest_ns: int, clock: Callable[[], int]) -> None:
        self.until_ns = 0
        self.guarded: list[str] = []
        self.outcomes: list[Outcome] = []
        """What the next armings come to, instead of what they should."""
        self.arms = 0
        self._longest_ns = longest_ns
        self._clock = clock
        self._ends_ns = 0
        self._owned: set[str] = set()
        self.declare(services)

    def guard(self, interface: str) -> None:
        self.guarded.append(interface)

    def guard_port(self, port: str) -> None:
        self.guarded.append(port)

    def declare(self, services: Iterable[str]) -> None:
        self._services = {_alone(service) for service in services if service}
        self._owned = {address for address in self._owned if address in self._services}

    def arm(self, until_ns: int) -> Outcome:
        self.arms += 1
        left = min(until_ns - self._clock(), self._longest_ns)
        usual = Outcome.ARMED if left >= SHORTEST_NS else Outcome.SHORT
        outcome = self.outcomes.pop(0) if self.outcomes else usual
        if outcome is not Outcome.ARMED:
            self.close()
            return outcome
        self.until_ns, self._ends_ns = until_ns, self._clock() + left
        return outcome

    def own(self, addresses: Iterable[str], until_ns: int | None = None) -> None:
        wanted = self._known(addresses)
        if until_ns is not None and self.until_ns > until_ns:
            self.arm(until_ns)
        self._owned |= wanted

    def disown(self, addresses: Iterable[str]) -> None:
        self._owned -= self._known(addresses)

    def owned(self) -> frozenset[str]:
        return frozenset(self._owned)

    def close(self) -> None:
        self.until_ns = self._ends_ns = 0

    def remaining_ns(self) -> int:
        return max(0, self._ends_ns - self._clock())

    def answers(self, address: str) -> bool:
        """Whether the kernel would, now."""
        return _alone(address) in self._owned and self._clock() < self._ends_ns

    def remove(self) -> None:
        self.guarded.clear()

    def detach(self) -> None:
        """Nothing is held."""

    def _known(self, addresses: Iterable[str]) -> set[str]:
        wanted = {_alone(address) for address in addresses if address}
        if unknown := wanted - self._services:
            raise WorldError(f"{', '.join(sorted(unknown))} is no declared service address, so no window keeps it")
        return wanted


def _alone(address: str) -> str:
    return str(ip_interface(address).ip)
