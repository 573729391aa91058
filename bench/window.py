"""What a window costs to arm, and how exactly the kernel ends it.

Run as root: `.venv/bin/python -m bench.window [repeats]`. Everything happens in namespaces made for it; the client's
questions there are real datagrams. Prints microseconds for costs and milliseconds for ends.
"""

import gc
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from tests.contract.network import V4, namespace
from tests.contract.window_net import MS, SERVICES, Asker, Kind, Scene

from holdfast.drivers.gate import Gate
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.nfnetlink import Batch, NfTables, Place
from holdfast.drivers.window import Window, raw_clock_ns
from holdfast.drivers.window_keys import EXTENDED_MS, KeyedWindow
from holdfast.drivers.window_order import Outcome
from holdfast.drivers.window_probe import CLOCK_MONOTONIC_COARSE, Capabilities, probe_kernel
from holdfast.drivers.window_rules import FAMILIES, ZERO
from holdfast.drivers.window_stamp import StampedWindow

MANY = [f"10.9.0.{n}" for n in range(1, 201)]
GRANT = 50 * MS
TRIES = 40
LAG_NS = 10_000 * MS


def times_us(act: Callable[[], object], repeats: int) -> list[float]:
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        act()
        taken.append((time.perf_counter() - begun) * 1e6)
    return taken


def show(what: str, taken: list[float]) -> None:
    ordered = sorted(taken)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    print(f"| {what:48} | {statistics.median(ordered):8.2f} | {p95:8.2f} | {ordered[0]:8.2f} | {ordered[-1]:8.2f} |")


def head(what: str) -> None:
    print(f"\n| {what:48} | {'median':>8} | {'p95':>8} | {'min':>8} | {'max':>8} |\n|---|---|---|---|---|")


def costs(window: Window, kind: str, repeats: int) -> None:
    def arm() -> None:
        window.arm(raw_clock_ns() + GRANT)

    window.own(MANY[:1])
    show(f"{kind}: armed, 1 owned", times_us(arm, repeats))
    window.own(MANY)
    show(f"{kind}: armed, 200 owned", times_us(arm, repeats))
    show(f"{kind}: one owned, confirmed", times_us(lambda: window.own(MANY[:1]), repeats // 4))
    show(f"{kind}: one disowned, confirmed", times_us(lambda: window.disown(MANY[:1]), repeats // 4))
    show(f"{kind}: 200 owned, confirmed", times_us(lambda: window.own(MANY), repeats // 40))
    show(f"{kind}: 200 disowned, confirmed", times_us(lambda: window.disown(MANY), repeats // 40))
    show(f"{kind}: closed, confirmed", times_us(window.close, repeats // 4))


def costs_of_each_kind(found: Capabilities, repeats: int) -> None:
    head("cost, µs")
    with ExitStack() as stack:
        host = namespace(stack)
        for extends in {found.extends, False}:
            how = replace(found, extends=extends)
            with KeyedWindow(MANY, netns_fd=host, longest_ns=GRANT, capabilities=how) as keyed:
                costs(keyed, "two keys" if extends else "two keys, each set anew", repeats)
                if extends:
                    costs_by_tables(host, repeats)
        if not found.no_stamp:
            with StampedWindow(MANY, netns_fd=host, longest_ns=GRANT) as stamped:
                costs(stamped, "absolute end", repeats)


def costs_by_tables(host: int, repeats: int) -> None:
    """One key, in the tables of one, two or three families at once."""
    with NfTables.open(host) as tables:
        for many in (1, 2, 3):
            batch = Batch()
            for family in FAMILIES[:many]:
                batch.add_for(Place(family, "holdfast", "key_a"), ZERO, EXTENDED_MS)
            batch.end().fill(GRANT // MS)
            taken = times_us(lambda batch=batch: tables.commit(batch, "set a key"), repeats)  # type: ignore[misc]
            show(f"one key, tables of {many} families", taken)


def costs_beside_a_gate(found: Capabilities, repeats: int) -> None:
    """Another process makes and removes a gate all the time: each is a transaction of the same kernel lock."""
    head("armed while another process makes and removes gates")
    with ExitStack() as stack:
        host = namespace(stack)
        with Netlink.open(host) as netlink:
            netlink.veth("hf-one", "hf-two")
        child = os.fork()
        if child == 0:
            try:
                gate = Gate(MANY, netns_fd=host, timed=True)
                while True:
                    gate.guard("hf-one")
                    gate.unguard("hf-one")
            finally:
                os._exit(1)
        try:
            windows: list[tuple[str, Window]] = [
                ("two keys", KeyedWindow(MANY, netns_fd=host, longest_ns=GRANT, capabilities=found))
            ]
            if not found.no_stamp:
                windows.append(("absolute end", StampedWindow(MANY, "holdfast-two", host, longest_ns=GRANT)))
            for name, window in windows:
                show(name, times_us(lambda w=window: w.arm(raw_clock_ns() + GRANT), repeats))  # type: ignore[misc]
                window.detach()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def ends(found: Capabilities) -> None:
    """How long before the end of the grant the last question was put that was still answered."""
    head(f"early by, ms ({TRIES} grants of {GRANT // MS} ms)")
    kinds: list[Kind] = ["keys", "keys set anew", *(() if found.no_stamp else ("stamp",))]
    for kind in kinds:
        for place in ("host", "vm"):
            with ExitStack() as stack:
                scene = Scene(kind, place, stack)
                asker = Asker(scene)
                window = stack.enter_context(scene.window())
                window.own(SERVICES[:1])
                early = []
                for _ in range(TRIES):
                    first, until = len(asker.asked), raw_clock_ns() + GRANT
                    if window.arm(until) is Outcome.ARMED:
                        asker.go_on(until + 5 * MS)
                        early.append((until - asker.last_answered(first)) / MS)
                    asker.is_answered()
                show(f"{kind}, address on the {place}", early)


def lag() -> None:
    """How old the time is that the kernel noted at its last tick: up to two ticks, if nothing holds them up."""
    ages = []
    end = time.monotonic_ns() + LAG_NS
    before = 0
    while before < end:
        before = time.monotonic_ns()
        noted = time.clock_gettime_ns(CLOCK_MONOTONIC_COARSE)
        if time.monotonic_ns() - before < MS // 20:  # Else this thread was interrupted just here.
            ages.append((before - noted) / MS)
    head("age of the time noted at the last tick, ms")
    show(f"{len(ages) // 1000} thousand readings", ages)


def main(repeats: int) -> None:
    found = probe_kernel()
    print(
        f"tick {found.tick_ns / MS} ms; an element can be extended: {found.extends}; absolute end: "
        f"{found.no_stamp or 'works'}; example {V4.vip}"
    )
    gc.disable()
    costs_of_each_kind(found, repeats)
    costs_beside_a_gate(found, repeats)
    ends(found)
    lag()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
