"""The window by an absolute end that the kernel compares with its clock at each frame (eBPF at tc).

A late write is harmless, nothing is rounded to ticks, and one write arms. It covers the interfaces that are guarded,
and needs CAP_BPF, so it does not work inside a user namespace: there `KeyedWindow` does.
The program reads CLOCK_BOOTTIME, which also goes on while the host is suspended.
"""

import os
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from holdfast.drivers import classifier
from holdfast.drivers.bpf import MAP_ARRAY, MAP_HASH, Map, load_classifier
from holdfast.drivers.classifier import Side
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.service_rules import Address, identifier, listed, set_of
from holdfast.drivers.window import raw_clock_ns
from holdfast.drivers.window_alone import Alone
from holdfast.drivers.window_order import Outcome
from holdfast.drivers.window_program import (
    DECLARED,
    KEY_SIZE,
    OWNED,
    VALUE_SIZE,
    address_of,
    asks_for,
    key_of,
    speaks_for,
)
from holdfast.errors import WorldError

SERVICES_MAX = 4096
BENT_PARTS = 1000
"""The program's clock may be bent against the raw one (by NTP) by one part in so many: that much is armed less."""
FIRST = struct.pack("=I", 0)


def boot_clock_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class StampedWindow:
    """The contract of `Window`, by an absolute end."""

    gate_is_timed = False

    def __init__(
        self,
        services: Iterable[str],
        table: str = "holdfast",
        netns_fd: int | None = None,
        *,
        longest_ns: int,
        clock: Callable[[], int] = raw_clock_ns,
        step: Callable[[str], None] | None = None,
    ) -> None:
        """Begin closed, with nothing owned and nothing guarded.

        Programs of a former process stay where they are, with the end that it wrote last, until `guard` and
        `guard_port` replace them.

        Args:
            services: every declared service address (prefix length allowed and ignored; empty ones are skipped).
            table: one name per deployment and host.
            netns_fd: the host's namespace; None for this process's own.
            longest_ns: the kernel never answers longer than this without being armed again (K).
            clock: CLOCK_MONOTONIC_RAW in nanoseconds.
            step: called between every two steps, with the name of the last one; for tests that stop there.

        Raises:
            MachineLacks: the kernel cannot do it, or this process may not.
            WorldError: another process has the window.
        """
        self._name = identifier(table, "window")
        self._longest_ns = longest_ns
        self._clock = clock
        self._step = step
        self._end_boot_ns = 0
        self.until_ns = 0
        self._guarded: set[tuple[str, Side]] = set()
        with ExitStack() as opened:
            opened.callback(Alone(self._name, netns_fd).close)
            self._services = Map(MAP_HASH, KEY_SIZE, VALUE_SIZE, SERVICES_MAX, "hf_services")
            opened.callback(self._services.close)
            self._end = Map(MAP_ARRAY, 4, 8, 1, "hf_end")
            opened.callback(self._end.close)
            self._speaks = load_classifier(speaks_for(self._services.fd, self._end.fd), "hf_speaks_for")
            opened.callback(os.close, self._speaks)
            self._asks = load_classifier(asks_for(self._services.fd, self._end.fd), "hf_asks_for")
            opened.callback(os.close, self._asks)
            self._netlink = opened.enter_context(Netlink.open(netns_fd))
            self._opened = opened.pop_all()
        self.declare(services)

    def guard(self, interface: str) -> None:
        self._attach(interface, "ingress", self._asks)
        self._attach(interface, "egress", self._speaks)

    def guard_port(self, port: str) -> None:
        self._attach(port, "ingress", self._speaks)
        self._attach(port, "egress", self._asks)

    def declare(self, services: Iterable[str]) -> None:
        wanted = {key_of(address) for address in set_of(services)}
        present = set(self._services.keys())
        for key in wanted - present:
            self._services.put(key, DECLARED)
        for key in present - wanted:
            self._services.drop(key)

    def arm(self, until_ns: int) -> Outcome:
        # In this order: a pause between the two clocks makes the end early, one after them makes nothing.
        boot = boot_clock_ns()
        self._stopping("clock of the program read")
        left = min(until_ns - self._clock(), self._longest_ns)
        self._stopping("clock of the grant read")
        left -= left // BENT_PARTS
        if left <= 0:
            self.close()
            return Outcome.SHORT
        self.until_ns = max(self.until_ns, until_ns)
        self._write(boot + left)
        self.until_ns = until_ns
        self._stopping("end written")
        return Outcome.ARMED

    def own(self, addresses: Iterable[str], until_ns: int | None = None) -> None:
        wanted = self._known(addresses)
        if until_ns is not None and self.until_ns > until_ns:
            self.arm(until_ns)
        for address in wanted:
            self._services.put(key_of(address), OWNED)
        missing = [address for address in wanted if self._services.get(key_of(address)) != OWNED]
        if missing:
            raise WorldError(f"{listed(missing)} was added to what is owned, but is not there when read back")

    def disown(self, addresses: Iterable[str]) -> None:
        unwanted = self._known(addresses)
        for address in unwanted:
            self._services.put(key_of(address), DECLARED)
        left = [address for address in unwanted if self._services.get(key_of(address)) == OWNED]
        if left:
            raise WorldError(f"{listed(left)} was taken out of what is owned, but is there when read back")

    def owned(self) -> frozenset[str]:
        keys = self._services.keys()
        return frozenset(str(address_of(key)) for key in keys if self._services.get(key) == OWNED)

    def close(self) -> None:
        self._stopping("about to close")
        self._write(0)
        if self._end.get(FIRST) != bytes(8):
            raise WorldError("the end of the window was taken away, but is there when read back")
        self.until_ns = 0
        self._stopping("closed")

    def remaining_ns(self) -> int:
        return max(0, self._end_boot_ns - boot_clock_ns())

    def remove(self) -> None:
        for interface, side in self._guarded:
            classifier.detach(self._netlink, interface, side, self._name)
        self._guarded.clear()

    def detach(self) -> None:
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _attach(self, interface: str, side: Side, program: int) -> None:
        classifier.attach(self._netlink, interface, side, program, self._name)
        self._guarded.add((interface, side))

    def _write(self, end_boot_ns: int) -> None:
        self._end.put(FIRST, struct.pack("=Q", end_boot_ns))
        self._end_boot_ns = end_boot_ns

    def _known(self, addresses: Iterable[str]) -> frozenset[Address]:
        wanted = set_of(addresses)
        unknown = [address for address in wanted if self._services.get(key_of(address)) is None]
        if unknown:
            raise WorldError(f"{listed(unknown)} is no declared service address, so no window keeps it")
        return wanted

    def _stopping(self, done: str) -> None:
        if self._step is not None:
            self._step(done)
