"""Drawn runs in which grants are put to the test: many faults close together around the holder, on networks that lose.

In: a seed. Out: a `Plan`, drawn as `lab/sim/draw.py` draws, but each time something ends the holder's grant, and other
things go wrong around that.
"""

import random

from holdfast.lab.drawn import PlannedFault
from holdfast.lab.sim.draw import Plan

CORES: tuple[tuple[str, int, tuple[int, int]], ...] = (
    ("cut-host", 6, (800, 3500)),
    ("freeze-agent", 2, (300, 2500)),
    ("freeze-host", 1, (300, 2500)),
    ("host-off", 1, (1000, 2500)),
)
"""What ends the holder's grant."""
AROUND: tuple[tuple[str, int, tuple[int, int]], ...] = (
    ("starve-agent", 6, (200, 1500)),
    ("kill-hot", 5, (0, 0)),
    ("freeze-agent", 4, (20, 800)),
    ("cut-one-way", 4, (100, 2000)),
    ("cut-pair", 2, (100, 2000)),
    ("clock-bends", 3, (500, 2500)),
    ("kill-vnfc", 2, (0, 0)),
    ("kill-agent", 1, (0, 0)),
    ("messages-lost", 2, (100, 1500)),
)
"""What happens shortly before and after that."""
BEFORE_MS, AFTER_MS = 700, 600


def draw_season(seed: int) -> Plan:
    chance = random.Random(f"season {seed}")
    hosts = [f"h{number}" for number in range(1, chance.choice((3, 3, 4, 5, 5)) + 1)]
    profile = chance.choices(("default", "wan", "fast"), (45, 40, 15))[0]
    fence = "fence: {agent: fence_lab, within: 1s}" if chance.random() < 0.3 else ""
    text = _descriptor(hosts, profile, fence)
    faults: list[PlannedFault] = []
    at_ms = 1000
    for _ in range(chance.choice((1, 2, 2))):
        name, _, lasts = _one_of(chance, CORES)
        faults.append(PlannedFault(name, at_ms, "active kept1", chance.randrange(*lasts)))
        for _ in range(chance.randint(1, 4)):
            faults.append(_fault(chance, hosts, at_ms + chance.randrange(-BEFORE_MS, AFTER_MS)))
        at_ms += chance.randrange(2000, 4000)
    faults.sort(key=lambda fault: fault.at_ms)
    loss, doubling = chance.choice((0.0, 0.02, 0.08)), chance.choice((0.0, 0.2))
    return Plan(seed, text, tuple(hosts), ("kept1", "spare2"), tuple(faults), loss, doubling)


def _one_of(
    chance: random.Random, kinds: tuple[tuple[str, int, tuple[int, int]], ...]
) -> tuple[str, int, tuple[int, int]]:
    return chance.choices(kinds, [weight for _, weight, _ in kinds])[0]


def _fault(chance: random.Random, hosts: list[str], at_ms: int) -> PlannedFault:
    name, _, lasts = _one_of(chance, AROUND)
    lasts_ms = chance.randrange(*lasts) if lasts[1] else 0
    if name == "kill-vnfc":
        return PlannedFault(name, at_ms, "active kept1")
    if name == "messages-lost":
        return PlannedFault(name, at_ms, "", lasts_ms)
    if name.startswith("cut-"):
        place, other = chance.sample(hosts, 2)
        return PlannedFault(name, at_ms, place, lasts_ms, other)
    place = chance.choice((*hosts, *["active kept1"] * 2))
    return PlannedFault(name, at_ms, place, lasts_ms)


def _descriptor(hosts: list[str], profile: str, fence: str) -> str:
    kept = hosts[:3]
    lines = ["holdfast: 1", "name: drawn", f"grants: {profile}", "hosts:"]
    lines += [f"  {host}: {{{fence}}}" for host in hosts]
    lines.append("vms:")
    lines += [f"  vm-kept1-{number}: {{host: {host}}}" for number, host in enumerate(kept, 1)]
    lines += [f"  vm-spare2-{number}: {{host: {host}}}" for number, host in enumerate((hosts[1], hosts[0]), 1)]
    lines += [
        "vnfs:",
        "  kept1:",
        "    sal: 1",
        f"    place: [{', '.join(f'vm-kept1-{number}' for number in range(1, len(kept) + 1))}]",
        "    redundancy: 2N",
        "    state: internal",
        "    interface: {address: 10.77.0.100, port: 5300, transport: udp}",
        "    start: ${python} -m holdfast.lab.functions.registry",
        "    replication: {port: 7001, mode: synchronous}",
        "    speaks: yes",
        "  spare2:",
        "    sal: 1",
        "    place: [vm-spare2-1, vm-spare2-2]",
        "    redundancy: 2N",
        "    reserve: spare",
        "    interface: {address: 10.77.0.101, port: 5300, transport: udp}",
        "    start: ${python} -m holdfast.lab.functions.registry --state none",
        "    speaks: yes",
    ]
    return "\n".join(lines) + "\n"
