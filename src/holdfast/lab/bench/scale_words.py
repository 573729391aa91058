"""The descriptor of a deployment of any size, as a person (or a person's script) would write it.

In: how many VNFs, on how many hosts. Out: YAML. Each VNF has an active and a standby with synchronous state, each in a
VM of its own; they are spread so that the loss of a host moves few services to each of the others.
"""

from ipaddress import IPv4Address
from zlib import crc32

IN_ONE_MAX = 2000
"""VNFs in one descriptor, which may have 4096 VMs."""
LIMIT = "2m"
"""All simulated hosts share a machine, which may be busy: that an answer is late is no failure here."""
HOSTS_MIN = 3
HOSTS_MAX = 200
VNFS_MAX = 20_000
SUBNET = "10.64.0.0/10"
_FIRST_SERVICE = IPv4Address("10.96.0.1")
"""Far above the addresses that hosts and VMs are given."""
RACKS = 2
SALS = (1, 2, 3)
FENCE_AGENT = "fence_ipmilan"
"""Only named: whoever measures puts a simulated device in its place."""


def vnf_name(number: int) -> str:
    return f"f{number:05d}"


def host_name(number: int) -> str:
    return f"h{number:03d}"


def sal_of(number: int) -> int:
    """In no order that has to do with the hosts."""
    return SALS[crc32(b"%d" % number) % len(SALS)]


def places(number: int, hosts: int) -> tuple[int, int]:
    """Hosts of the active and of the standby: of another rack each, and partners spread over all of that rack."""
    active = number % hosts
    return active, (active + 1 + RACKS * (number // hosts % (hosts // RACKS))) % hosts


def rack(number: int, hosts: int) -> list[int]:
    """The other hosts of this host's rack, as far as an even number of hosts has racks; itself last."""
    return [(number + RACKS * step) % hosts for step in range(1, hosts // RACKS + 1)]


def descriptor(vnfs: int, hosts: int, first: int = 0) -> str:
    """So many VNFs, from this number on."""
    numbers = range(first, first + vnfs)
    lines = [
        "holdfast: 1",
        "name: scale",
        f"network: {{subnet: {SUBNET}, subnet6: none}}",
        "grants: default",
        "hosts:",
        *(_host(host_name(number)) for number in range(hosts)),
        "vms:",
    ]
    for number in numbers:
        active, standby = places(number, hosts)
        lines.append(f"  {vnf_name(number)}-a: {{host: {host_name(active)}}}")
        lines.append(f"  {vnf_name(number)}-b: {{host: {host_name(standby)}}}")
    lines.append("vnfs:")
    for number in numbers:
        lines += _vnf(number, is_first=number == first)
    return "\n".join(lines) + "\n"


def _host(name: str) -> str:
    return f"  {name}: {{fence: {{agent: {FENCE_AGENT}, options: {{host: {name}}}}}}}"


def _vnf(number: int, is_first: bool) -> list[str]:
    name = vnf_name(number)
    address = _FIRST_SERVICE + number
    if not is_first:
        return [
            f"  {name}:",
            "    <<: *function",
            f"    sal: {sal_of(number)}",
            f"    place: [{name}-a, {name}-b]",
            f"    interface: {{address: {address}, port: 5300}}",
        ]
    return [
        f"  {name}: &function",
        f"    sal: {sal_of(number)}",
        f"    place: [{name}-a, {name}-b]",
        f"    interface: {{address: {address}, port: 5300}}",
        "    state: internal",
        "    replication: {port: 5301}",
        f"    limits: {{role: {LIMIT}, cleanup: {LIMIT}}}",
        "    start: registry",
    ]
