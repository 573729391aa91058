"""The window of a simulated kernel: answers for what is owned until an absolute end of its raw clock.

It keeps the contract of `drivers/window.py`. The end is asked at the instant of each packet, as the program in the real
kernel does; nothing has to run for it to pass. What a former process left at an interface stays there, with the end it
wrote last, until the next one guards the interface.
"""

from collections.abc import Iterable
from typing import Protocol

from holdfast.drivers.window_order import Outcome
from holdfast.drivers.window_stamp import BENT_PARTS
from holdfast.errors import WorldError
from holdfast.lab.sim.clocks import Clock


class Kernel(Protocol):
    """What a window needs of its host's kernel."""

    programs: "dict[str, SimWindow]"
    """Which window keeps an interface."""

    def changed(self) -> None:
        """An address may be answered from now on."""


def plain(address: str) -> str:
    """Without the prefix length."""
    return address.partition("/")[0]


class SimWindow:
    """One process's, on one host."""

    gate_is_timed = False

    def __init__(self, kernel: Kernel, clock: Clock, addresses: Iterable[str], longest_ns: int) -> None:
        self._kernel = kernel
        self._clock = clock
        self._longest_ns = longest_ns
        self._declared = {plain(address) for address in addresses if address}
        self._owned: set[str] = set()
        self._ends_ns = 0
        self.until_ns = 0
        self.refuses = ""
        """Why the kernel does nothing of what it is asked, if so (a fault)."""

    def keeps(self, address: str) -> bool:
        """Whether the address is answered by the window's leave only."""
        return plain(address) in self._declared

    def lets(self, address: str) -> bool:
        """Whether the kernel lets the address answer at this instant."""
        return plain(address) in self._owned and self._clock.now_ns() < self._ends_ns

    def guard(self, interface: str) -> None:
        self._must_work()
        self._kernel.programs[interface] = self

    def guard_port(self, port: str) -> None:
        self.guard(port)

    def declare(self, services: Iterable[str]) -> None:
        self._must_work()
        self._declared = {plain(address) for address in services if address}
        self._owned &= self._declared

    def arm(self, until_ns: int) -> Outcome:
        self._must_work()
        now_ns = self._clock.now_ns()
        left_ns = min(until_ns - now_ns, self._longest_ns)
        left_ns -= left_ns // BENT_PARTS
        if left_ns <= 0:
            self.close()
            return Outcome.SHORT
        is_open = now_ns < self._ends_ns
        self._ends_ns = now_ns + left_ns
        self.until_ns = until_ns
        if not is_open:
            self._kernel.changed()
        return Outcome.ARMED

    def own(self, addresses: Iterable[str], until_ns: int | None = None) -> None:
        wanted = self._known(addresses)
        if until_ns is not None and self.until_ns > until_ns:
            self.arm(until_ns)
        self._owned |= wanted
        self._kernel.changed()

    def disown(self, addresses: Iterable[str]) -> None:
        self._owned -= self._known(addresses)

    def owned(self) -> frozenset[str]:
        return frozenset(self._owned)

    def close(self) -> None:
        self._must_work()
        self._ends_ns = self.until_ns = 0

    def remaining_ns(self) -> int:
        return max(0, self._ends_ns - self._clock.now_ns())

    def remove(self) -> None:
        programs = self._kernel.programs
        for interface in [name for name, window in programs.items() if window is self]:
            del programs[interface]

    def detach(self) -> None:
        """Nothing: what is in the kernel stays."""

    def _known(self, addresses: Iterable[str]) -> set[str]:
        self._must_work()
        wanted = {plain(address) for address in addresses if address}
        unknown = sorted(wanted - self._declared)
        if unknown:
            raise WorldError(f"{', '.join(unknown)} is no declared service address, so no window keeps it")
        return wanted

    def _must_work(self) -> None:
        if self.refuses:
            raise WorldError(self.refuses)
