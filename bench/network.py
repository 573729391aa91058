"""How long the network drivers take for what lies on the path of a take-over.

Run as root: `.venv/bin/python bench/network.py [repeats]`. Everything happens in namespaces made for it, and each
figure includes reading the effect back (and, for assign, the announcement). Prints milliseconds.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from holdfast.drivers import addresses, ports
from holdfast.drivers.gate import Gate
from holdfast.drivers.namespaces import new_namespace
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.zone import Zone

VIPS = {"IPv4": "10.77.0.100/24", "IPv6": "fd00::100/64"}
OTHER_PORTS = 8


def took_ms(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1000


def show(what: str, times: list[float]) -> None:
    ordered = sorted(times)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    print(f"| {what:24} | {statistics.median(ordered):8.3f} | {p95:8.3f} | {ordered[-1]:8.3f} |")


def namespace(stack: ExitStack) -> int:
    descriptor = new_namespace()
    stack.callback(os.close, descriptor)
    return descriptor


def measure(repeats: int) -> None:
    with ExitStack() as stack:
        host, vm = namespace(stack), namespace(stack)
        netlink = stack.enter_context(Netlink.open(host))
        ports.make_bridge(netlink, "hf0", ["10.77.0.1/24", "fd00::1/64"])
        gate = Gate(VIPS.values(), netns_fd=host)
        stack.callback(gate.close)
        for n in range(OTHER_PORTS):
            ports.make_port(netlink, "hf0", f"hf-other-{n}", namespace(stack), guard=gate.guard)
        own = ["10.77.0.11/24", "fd00::11/64"]
        boot = partial(ports.make_port, netlink, "hf0", "hf-vm", vm, addresses=own, guard=gate.guard)
        made, cut, removed = [], [], []
        for _ in range(max(1, repeats // 10)):
            made.append(took_ms(boot))
            cut.append(took_ms(partial(ports.cut_port, netlink, "hf-vm")))
            removed.append(took_ms(partial(ports.remove_port, netlink, "hf-vm")))
        boot()
        zone = stack.enter_context(Zone.open(vm, "eth0"))
        print(f"| {'what':24} | {'median':>8} | {'p95':>8} | {'max':>8} |\n|---|---|---|---|")
        for version, vip in VIPS.items():
            acts: dict[str, Callable[[], object]] = {
                "gate opened": partial(gate.open, "hf-vm", vip),
                "address assigned": partial(addresses.assign, zone, vip),
                "announced again": partial(addresses.announce, zone, vip),
                "address withdrawn": partial(addresses.withdraw, zone, vip),
                "gate shut": partial(gate.shut, "hf-vm", vip),
            }
            times: dict[str, list[float]] = {name: [] for name in acts}
            for _ in range(repeats):
                for name, act in acts.items():
                    times[name].append(took_ms(act))
            for name, measured in times.items():
                show(f"{name}, {version}", measured)
        show("port made, with gate", made)
        show("port cut", cut)
        show("port removed", removed)


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
