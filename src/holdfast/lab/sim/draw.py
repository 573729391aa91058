"""What happens in the run of one seed: which deployment, on which hosts, and which faults when.

In:   a seed. Out: a `Plan`: the descriptor's text and faults with the times of their beginning and end.
Always: the same seed draws the same plan; nothing of the run is looked at, except that `active` and `standby` of a
service are looked up when their time has come.
"""

import random
from typing import Literal

import msgspec
from msgspec import Struct

from holdfast.lab.drawn import PlannedFault, draw_faults, draw_rare

Profile = Literal["default", "fast", "wan"]
MS = 1_000_000
PORT = 5300
RARE_EVERY = 4
"""Every fourth seed has one of the rare faults, too."""
ADJUSTED_OF = (5, 3)
"""Of so many seeds this one has services that go back where they are preferred (`auto-adjust`)."""
REGISTRY = "${python} -m holdfast.lab.functions.registry"


class Plan(Struct, frozen=True):
    seed: int
    descriptor: str
    hosts: tuple[str, ...]
    services: tuple[str, ...]
    faults: tuple[PlannedFault, ...]
    loss: float = 0.0
    """Share of datagrams that the networks lose all the time."""
    doubling: float = 0.0


def draw(seed: int) -> Plan:
    chance = random.Random(f"plan {seed}")
    hosts, witness = _hosts(chance)
    holders = [host for host in hosts if host != witness]
    profile = chance.choices(("default", "wan", "fast"), (65, 20, 15))[0]
    vnfs = _vnfs(chance, holders)
    if seed % ADJUSTED_OF[0] == ADJUSTED_OF[1]:
        _adjust(random.Random(f"adjust {seed}"), vnfs)
    text = _descriptor(chance, hosts, witness, profile, vnfs)
    services = tuple(vnf["name"] for vnf in vnfs)
    faults = draw_faults(chance, hosts, services)
    quiet = chance.random() < 0.7
    if seed % RARE_EVERY == 0:
        rare = draw_rare(random.Random(f"rare {seed}"), hosts, services, faults)
        faults = tuple(sorted((*faults, rare), key=lambda one: one.at_ms))
    return Plan(
        seed,
        text,
        tuple(hosts),
        services,
        faults,
        0.0 if quiet else chance.choice((0.001, 0.01, 0.03)),
        0.0 if quiet else chance.choice((0.0, 0.01)),
    )


def _hosts(chance: random.Random) -> tuple[list[str], str]:
    kind = chance.choices(("witness", 3, 4, 5, 6, 7), (15, 52, 12, 13, 4, 4))[0]
    if kind == "witness":
        return ["h1", "h2", "w"], "w"
    return [f"h{number}" for number in range(1, int(kind) + 1)], ""


def _vnfs(chance: random.Random, holders: list[str]) -> list[dict[str, str]]:
    """At least two; the first holds state."""
    kinds = [
        "kept",
        *chance.choices(("spare", "pool", "single", "vault", "kept"), (3, 3, 3, 2, 2), k=chance.choice((1, 1, 2))),
    ]
    found = []
    for number, kind in enumerate(kinds, 1):
        needed = {"kept": chance.choice((2, 2, 3)), "spare": 2, "pool": 3, "single": 1, "vault": 2}[kind]
        places = chance.sample(holders, min(needed, len(holders)))
        while len(places) < needed:
            places.append(chance.choice(holders))
        found.append({"name": f"{kind}{number}", "kind": kind, "places": " ".join(places)})
    return found


def _adjust(chance: random.Random, vnfs: list[dict[str, str]]) -> None:
    for vnf in vnfs:
        if vnf["kind"] != "single" and chance.random() < 0.7:
            vnf["adjust"] = chance.choice(("100ms", "300ms", "1s"))


def _descriptor(chance: random.Random, hosts: list[str], witness: str, profile: str, vnfs: list[dict[str, str]]) -> str:
    fenced = chance.random() < 0.5 or any(vnf["kind"] == "vault" for vnf in vnfs)
    fence = "fence: {agent: fence_lab, within: 1s}"
    lines = ["holdfast: 1", "name: drawn", f"grants: {profile}", "hosts:"]
    for host in hosts:
        lines.append(f"  {host}: {{{'witness: yes' if host == witness else fence if fenced else ''}}}")
    vms, bodies = [], []
    address = 100
    for vnf in vnfs:
        places = vnf["places"].split()
        names = [f"vm-{vnf['name']}-{number}" for number in range(1, len(places) + 1)]
        vms += [f"  {name}: {{host: {host}}}" for name, host in zip(names, places, strict=True)]
        body, address = _vnf(vnf["kind"], vnf["name"], names, address)
        bodies += [*body, *([f"    auto-adjust: {vnf['adjust']}"] if "adjust" in vnf else [])]
    return "\n".join([*lines, "vms:", *vms, "vnfs:", *bodies]) + "\n"


def _vnf(kind: str, name: str, vms: list[str], address: int) -> tuple[list[str], int]:
    place = f"    place: [{', '.join(vms)}]"
    one = f"    interface: {{address: 10.77.0.{address}, port: {PORT}, transport: udp}}"
    two = f"    interface: {{addresses: [10.77.0.{address}, 10.77.0.{address + 1}], port: {PORT}, transport: udp}}"
    start = f"    start: {REGISTRY}"
    speaks = "    speaks: yes"
    table: dict[str, list[str]] = {
        "kept": [
            "    redundancy: 2N",
            "    state: internal",
            one,
            start,
            "    replication: {port: 7001, mode: synchronous}",
        ],
        "spare": ["    redundancy: 2N", "    reserve: spare", one, f"{start} --state none"],
        "pool": ["    redundancy: N+M", "    actives: 2", "    reserve: spare", two, f"{start} --state none"],
        "single": ["    redundancy: no-redundancy", one, f"{start} --state none --start serving"],
        "vault": [
            "    redundancy: 2N",
            "    reserve: spare",
            "    state: external",
            "    storage: yes",
            one,
            f"{start} --state checkpoint --start waiting --checkpoint-every each",
        ],
    }
    return [f"  {name}:", "    sal: 1", place, *table[kind], speaks], address + (2 if kind == "pool" else 1)


def encoded(plan: Plan) -> bytes:
    return msgspec.json.encode(plan)
