"""The window by two timed keys in nftables: works wherever nftables does, also in a user namespace.

Packets and frames that concern a service address pass only while the address is owned (a plain set) and both keys
exist (sets with a time-out, set by `window_order`). The tables are those of `window_rules`; VM ports need a gate made
with `timed=True`. What it costs to arm does not depend on how many addresses are owned.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from holdfast.drivers import window_rules
from holdfast.drivers.netlink import KernelRefused
from holdfast.drivers.nfnetlink import Batch, NfTables, Place
from holdfast.drivers.nft import Nft
from holdfast.drivers.service_rules import Address, declared, element, identifier, listed, set_of
from holdfast.drivers.window import raw_clock_ns
from holdfast.drivers.window_alone import Alone
from holdfast.drivers.window_order import LAG_TICKS, TRIES, Outcome, TwoKeys
from holdfast.drivers.window_probe import Capabilities, probe_kernel
from holdfast.drivers.window_rules import FAMILIES, KEYS, ZERO
from holdfast.errors import WorldError

EXTENDED_MS = 3_600_000
"""Time-out of keys that are extended; what is left of it is set each time."""
LOOKED_UP_SINGLY = 8
"""Beyond so many addresses it is cheaper to list the set than to look each of them up."""


class NfKeys:
    """The two keys of one agent, each in the tables of all families, each set in one transaction."""

    def __init__(self, tables: NfTables, name: str, capabilities: Capabilities) -> None:
        self._tables = tables
        self._tick_ns = capabilities.tick_ns
        self._places = tuple(tuple(Place(family, name, key) for family in FAMILIES) for key in KEYS)
        self._arming = tuple(_arming(places, capabilities.extends) for places in self._places)
        self._deletion = Batch()
        for place in self._places[0] + self._places[1]:
            self._deletion.empty(place)
        self._deletion.end()

    def arm(self, which: int, ticks: int) -> None:
        batch = self._arming[which]
        # Whole milliseconds, upwards: the kernel rounds them down to ticks again, and not to one tick less.
        batch.fill(-(-ticks * self._tick_ns // 1_000_000))
        try:
            self._tables.commit(batch, "set a key of the window")
        except KernelRefused as refused:
            raise _gone(refused) from refused

    def delete(self) -> None:
        try:
            self._tables.commit(self._deletion, "take the keys of the window away")
        except KernelRefused as refused:
            raise _gone(refused) from refused
        left = [place for place in self._places[0] + self._places[1] if self._tables.elements(place)]
        if left:
            raise WorldError(f"the keys of the window were deleted but are there when read back: {left}")


def _arming(places: Iterable[Place], extends: bool) -> Batch:
    """The transaction that sets one key in all tables, whether it is there, has just ended, or never was."""
    batch = Batch()
    for place in places:
        if extends:
            batch.add_for(place, ZERO, EXTENDED_MS)
        else:
            # An element cannot be extended, and one that has just ended cannot be deleted.
            batch.add(place, [ZERO]).delete(place, [ZERO]).add_for(place, ZERO)
    return batch.end()


class KeyedWindow:
    """The contract of `Window`, by two timed keys."""

    gate_is_timed = True

    def __init__(
        self,
        services: Iterable[str],
        table: str = "holdfast",
        netns_fd: int | None = None,
        *,
        longest_ns: int,
        capabilities: Capabilities | None = None,
        clock: Callable[[], int] = raw_clock_ns,
        tries: int = TRIES,
        lag_ticks: int = LAG_TICKS,
        step: Callable[[str], None] | None = None,
        order: type[TwoKeys] = TwoKeys,
    ) -> None:
        """Make the tables closed, with nothing owned; what a former process left there is closed and disowned.

        Args:
            services: every declared service address (prefix length allowed and ignored; empty ones are skipped).
            table: one name per deployment and host; that of its gate.
            netns_fd: the host's namespace; None for this process's own.
            longest_ns: the kernel never answers longer than this without being armed again (K).
            capabilities: what `probe_kernel` found; probed if not given.
            clock: CLOCK_MONOTONIC_RAW in nanoseconds.
            tries: how often a key is set before both are given up.
            lag_ticks: by how many ticks the kernel's tick count may lag behind.
            step: see `TwoKeys`.
            order: the order in which the keys are set; tests plant mistakes here.

        Raises:
            MachineLacks: the kernel cannot do it, or this process may not.
            WorldError: another process has the window.
        """
        self._name = identifier(table, "window")
        self._services = set_of(services)
        self._alone = Alone(self._name, netns_fd)
        with ExitStack() as opened:
            opened.callback(self._alone.close)
            found = capabilities or probe_kernel(netns_fd)
            self._nft = opened.enter_context(Nft(netns_fd))
            self._nft.run("\n".join(window_rules.tables(self._name, self._services)))
            self._tables = opened.enter_context(NfTables.open(netns_fd))
            self._opened = opened.pop_all()
        keys = NfKeys(self._tables, self._name, found)
        self._order = order(keys, found.tick_ns, longest_ns, clock, tries=tries, lag_ticks=lag_ticks, step=step)

    def guard(self, interface: str) -> None:
        self._nft.run("\n".join(window_rules.at_interface(self._name, identifier(interface, "interface"))))

    def guard_port(self, port: str) -> None:
        """Nothing: the gate's own rules at the port ask for the keys (`Gate(..., timed=True)`)."""

    def declare(self, services: Iterable[str]) -> None:
        wanted = set_of(services)
        commands = []
        for table in (f"{family} {self._name}" for family in FAMILIES):
            for address in self._services - wanted:
                what = f"element {table} owned{address.version} {{ {element(address)} }}"
                commands += [f"add {what}", f"delete {what}"]
            commands += declared(table, wanted)
        self._nft.run("\n".join(commands))
        self._services = wanted

    def arm(self, until_ns: int) -> Outcome:
        return self._order.arm(until_ns)

    def own(self, addresses: Iterable[str], until_ns: int | None = None) -> None:
        wanted = self._known(addresses)
        if until_ns is not None and self._order.until_ns > until_ns:
            # Armed or closed, after this the keys stand no longer than the claim of the new addresses.
            self._order.arm(until_ns)
        batch = Batch()
        for place, keys in self._elements(wanted):
            batch.add(place, keys)
        self._commit(batch, wanted, "own")
        if not all(self._tables.holds(place, keys) for place, keys in self._elements(wanted)):
            raise WorldError(f"{listed(wanted)} was added to what is owned, but not all is there when read back")

    def disown(self, addresses: Iterable[str]) -> None:
        unwanted = self._known(addresses)
        batch = Batch()
        for place, keys in self._elements(unwanted):
            batch.add(place, keys).delete(place, keys)  # What is absent cannot be deleted.
        self._commit(batch, unwanted, "disown")
        if any(self._holds_any(place, keys) for place, keys in self._elements(unwanted)):
            raise WorldError(f"{listed(unwanted)} was taken out of what is owned, but is there when read back")

    def owned(self) -> frozenset[str]:
        kept = [self._tables.elements(Place("inet", self._name, f"owned{version}")) for version in (4, 6)]
        return frozenset(str(ip_address(key)) for keys in kept for key in keys)

    def close(self) -> None:
        self._order.close()

    def remaining_ns(self) -> int:
        return self._order.remaining_ns()

    @property
    def until_ns(self) -> int:
        return self._order.until_ns

    @property
    def late_tries(self) -> int:
        """How often setting a key took too long, since the start."""
        return self._order.late_tries

    def remove(self) -> None:
        self._nft.run("\n".join(window_rules.removed(self._name)))

    def detach(self) -> None:
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _known(self, addresses: Iterable[str]) -> frozenset[Address]:
        wanted = set_of(addresses)
        unknown = wanted - self._services
        if unknown:
            raise WorldError(f"{listed(unknown)} is no declared service address, so no window keeps it")
        return wanted

    def _elements(self, addresses: frozenset[Address]) -> Iterator[tuple[Place, list[bytes]]]:
        """The sets of owned addresses that these belong to, with their keys there."""
        for version in (4, 6):
            keys = [address.packed for address in addresses if address.version == version]
            if keys:
                for family in FAMILIES:
                    yield Place(family, self._name, f"owned{version}"), keys

    def _holds_any(self, place: Place, keys: list[bytes]) -> bool:
        if len(keys) > LOOKED_UP_SINGLY:
            kept = self._tables.elements(place)
            return any(key in kept for key in keys)
        return any(self._tables.holds(place, [key]) for key in keys)

    def _commit(self, batch: Batch, addresses: frozenset[Address], verb: str) -> None:
        if not addresses:
            return
        try:
            self._tables.commit(batch.end(), f"{verb} service addresses")
        except KernelRefused as refused:
            raise _gone(refused) from refused


def _gone(refused: KernelRefused) -> KernelRefused | WorldError:
    """Rules that somebody took away keep nothing: that must not look like a passing trouble."""
    if refused.errno != errno.ENOENT:
        return refused
    return WorldError(
        f"{refused.message}: the tables of the window are gone, so nothing keeps the service addresses",
        "somebody flushed the ruleset (nft flush ruleset, a firewall's restart): take the addresses away, start again",
    )
