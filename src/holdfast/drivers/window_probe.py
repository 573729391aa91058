"""What this kernel can do for a window, found out by trying it at start, in a table that is gone afterwards."""

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass

from holdfast.drivers import classifier
from holdfast.drivers.bpf import MAP_ARRAY, MAP_HASH, Map, load_classifier
from holdfast.drivers.namespaces import new_namespace
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.nfnetlink import Batch, NfTables, Place
from holdfast.drivers.nft import Nft
from holdfast.drivers.window_program import KEY_SIZE, VALUE_SIZE, asks_for, speaks_for
from holdfast.drivers.window_rules import ZERO
from holdfast.errors import MachineLacks, WorldError

CLOCK_MONOTONIC_COARSE = 6
"""Its resolution is the length of a tick, to the nanosecond (linux/time.h; Python has no name for it)."""
LONG_MS, SHORT_MS = 3_600_000, 60_000
TRIED_TICKS = 2500


@dataclass(frozen=True)
class Capabilities:
    """What `probe_kernel` found."""

    tick_ns: int
    extends: bool
    """Adding an element that is there, with what is left of its time, sets its end anew."""
    no_stamp: str
    """Why an absolute end is not possible here; empty if it is."""


def probe_kernel(netns_fd: int | None = None) -> Capabilities:
    """Try timed elements in the namespace (None: this process's own).

    Raises:
        MachineLacks: nftables, or the right to use it, is missing, or its time-outs are not what they should be.
    """
    no_stamp = _why_no_stamp()
    tick_ns = round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1e9)
    table = f"holdfast_probe_{os.getpid()}"
    place = Place("inet", table, "tried")
    with Nft(netns_fd) as nft, NfTables.open(netns_fd) as tables:
        nft.run(f"add table inet {table}\nadd set inet {table} tried {{ typeof meta mark; flags timeout; }}")
        try:
            _see_rounding(tables, place, tick_ns)
            return Capabilities(tick_ns, _extends(tables, place), no_stamp)
        finally:
            nft.run(f"delete table inet {table}")


def _see_rounding(tables: NfTables, place: Place, tick_ns: int) -> None:
    """See that time-outs are kept in ticks of this length, rounded down: all arithmetic of the window rests on it."""
    whole_ms = -(-TRIED_TICKS * tick_ns // 1_000_000)
    for asked_ms, ticks in ((whole_ms, TRIED_TICKS), (whole_ms - 1, TRIED_TICKS - 1)):
        tables.commit(Batch().add(place, [ZERO], asked_ms).end(), "try a timed element")
        kept = tables.elements(place)[ZERO].timeout_ms
        tables.commit(Batch().empty(place).end(), "take the tried element away")
        if kept is None or abs(kept * 1_000_000 - ticks * tick_ns) >= 1_000_000:
            raise MachineLacks(
                f"nftables keeps a time-out of {asked_ms} ms as {kept} ms; with ticks of {tick_ns} ns, "
                f"{ticks * tick_ns / 1e6} ms was expected",
                "the end of a grant cannot be computed on this kernel: please report its version and CONFIG_HZ",
            )


def _extends(tables: NfTables, place: Place) -> bool:
    for left_ms in (LONG_MS, SHORT_MS):
        batch = Batch().add_for(place, ZERO, LONG_MS).end()
        batch.fill(left_ms)
        tables.commit(batch, "try to extend an element")
    left = tables.elements(place)[ZERO].expires_ms
    return left is not None and left <= SHORT_MS


def _why_no_stamp() -> str:
    """Load both programs and attach one, in a namespace of its own that is gone afterwards."""
    with ExitStack() as stack:
        try:
            services = Map(MAP_HASH, KEY_SIZE, VALUE_SIZE, 1, "hf_probe")
            stack.callback(services.close)
            end = Map(MAP_ARRAY, 4, 8, 1, "hf_probe_end")
            stack.callback(end.close)
            programs = [load_classifier(make(services.fd, end.fd), "hf_probe") for make in (speaks_for, asks_for)]
            for program in programs:
                stack.callback(os.close, program)
            namespace = new_namespace()
            stack.callback(os.close, namespace)
            netlink = stack.enter_context(Netlink.open(namespace))
            classifier.attach(netlink, "lo", "ingress", programs[0], "holdfast_probe")
            classifier.attach(netlink, "lo", "egress", programs[1], "holdfast_probe")
        except (MachineLacks, WorldError) as lacking:
            return lacking.message
    return ""
