"""The tables by which the kernel answers for a service address only while it is owned and two timed keys exist.

Text for nftables, for one agent. Three tables of one name, because families share no sets:
- `inet`: what this host's own stack takes in and sends, also when it only passes an address on (NAT, load balancing);
- `arp`: what it answers and asks;
- `netdev`: frames at VM ports (the gate's chains) and at the host's own interfaces, past the IP stack.
Each has the sets `services4/6` (declared), `owned4/6`, `key_a`, `key_b`, and the chain `held`.
"""

from collections.abc import Iterable
from dataclasses import replace

from holdfast.drivers.service_rules import ASKS_FOR, SPEAKS_FOR, TYPE4, TYPE6, Address, Sign, declared

FAMILIES = ("inet", "arp", "netdev")
KEYS = ("key_a", "key_b")
CONSTANT = "meta mark & 0x0"
"""Zero for every packet in every family, so a set that holds zero matches all: a key for the table as a whole."""

ZERO = bytes(4)
BEFORE_NAT, AFTER_NAT = -300, 300


def timed_sets(table: str) -> list[str]:
    """Commands that add what the keys need to a table; what is there stays as it is."""
    commands = [f"add set {table} owned{version} {{ {kind} }}" for version, kind in ((4, TYPE4), (6, TYPE6))]
    commands += [f"add set {table} {key} {{ typeof meta mark; flags timeout; }}" for key in KEYS]
    commands += [f"add chain {table} held", f"flush chain {table} held"]
    return commands + [f"add rule {table} held {CONSTANT} != @{key} drop" for key in KEYS]


def while_held(sign: Sign) -> tuple[str, str]:
    """Rules that drop what the sign stands for, unless its address is owned and both keys exist."""
    return sign.unless("owned{v}"), f"{sign.concerns} jump held"


def tables(name: str, services: Iterable[Address]) -> list[str]:
    """Commands that make the three tables, closed: nothing owned, no key."""
    kept = tuple(services)
    commands = []
    for family in FAMILIES:
        table = f"{family} {name}"
        commands += [f"add table {table}", *declared(table, kept), *timed_sets(table)]
        commands += [f"flush set {table} {emptied}" for emptied in ("owned4", "owned6", *KEYS)]
    return commands + _inet(f"inet {name}") + _arp(f"arp {name}")


def removed(name: str) -> list[str]:
    return [f"{verb} table {family} {name}" for family in FAMILIES for verb in ("add", "delete")]


def at_interface(name: str, interface: str) -> list[str]:
    """Commands that keep frames that speak for an address from leaving by one of the host's own interfaces.

    The announcement of an address is such a frame: it is written past the IP stack.
    """
    table, chain = f"netdev {name}", f"host_{interface}"
    begun = [f"add chain {table} {chain}", f"flush chain {table} {chain}", f"delete chain {table} {chain}"]
    hook = f'{{ type filter hook egress device "{interface}" priority 0; policy accept; }}'
    rules = [rule for sign in SPEAKS_FOR for rule in while_held(sign)]
    return [*begun, f"add chain {table} {chain} {hook}", *(f"add rule {table} {chain} {rule}" for rule in rules)]


def _inet(table: str) -> list[str]:
    asks = [sign for sign in ASKS_FOR if not sign.field.startswith("arp")]
    speaks = [sign for sign in SPEAKS_FOR if not sign.field.startswith("arp")]
    # An address that is passed on (DNAT, IPVS) never comes to input, but on this host it is a local one. That of
    # another host, which this one routes or bridges, is not, and passes.
    passed_in = [
        replace(sign, condition=" fib daddr type local") for sign in asks if not sign.match.startswith("icmpv6")
    ]
    passed_out = [replace(sign, condition=" fib saddr type local") for sign in speaks if "icmpv6" not in sign.match]
    return [
        *_chain(table, "prerouting", BEFORE_NAT, passed_in),
        *_chain(table, "input", BEFORE_NAT, asks),
        *_chain(table, "output", BEFORE_NAT, speaks),
        *_chain(table, "postrouting", AFTER_NAT, passed_out),
    ]


def _arp(table: str) -> list[str]:
    return [
        *_chain(table, "input", BEFORE_NAT, [sign for sign in ASKS_FOR if sign.field.startswith("arp")]),
        *_chain(table, "output", BEFORE_NAT, [sign for sign in SPEAKS_FOR if sign.field.startswith("arp")]),
    ]


def _chain(table: str, hook: str, priority: int, signs: list[Sign]) -> list[str]:
    """Commands for a chain at a hook; one that is there gets its rules anew."""
    base = f"{{ type filter hook {hook} priority {priority}; policy accept; }}"
    rules = [rule for sign in signs for rule in while_held(sign)]
    return [
        f"add chain {table} {hook} {base}",
        f"flush chain {table} {hook}",
        *(f"add rule {table} {hook} {rule}" for rule in rules),
    ]
