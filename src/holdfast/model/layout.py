"""The resolved descriptor: everything the managers and agents need, no default left open.

`model.descriptor` (what people write) is turned into a `Layout` once; cores, agents and the store
know only this. All collections are keyed by name; all durations are seconds.
"""

from typing import Literal

from msgspec import Struct, field

from holdfast.model.granting import PROFILES, SECOND, Profile, VoterSet, voter_set
from holdfast.model.names import (
    HA,
    GroupName,
    HostName,
    Party,
    Redundancy,
    Reserve,
    ServiceName,
    StateKind,
    VmName,
    VnfcName,
    VnfmName,
    VnfName,
    vnfm_party,
)

CheckKind = Literal["process", "tcp", "http", "command", "protocol"]
RepairPolicy = Literal["negotiated", "initial", "snapshot", "standby-vm", "none"]
"""negotiated: restart after every VNFM concerned has acknowledged (or asked for) it; initial, snapshot,
standby-vm: configured repair without waiting for an acknowledgement; none: alarm only."""


class Operation(Struct, frozen=True):
    """A command with its time limit. `${name}` in the words is replaced by the agent before use."""

    command: tuple[str, ...]
    limit_s: float = 5.0


class OcfAgent(Struct, frozen=True):
    """An OCF resource agent: `ocf:<provider>:<agent>` and its parameters (OCF_RESKEY_*)."""

    provider: str
    agent: str
    parameters: dict[str, str] = {}


class Check(Struct, frozen=True):
    """One way to ask whether a VNFC is well; `misses` answers in a row must fail to make it failed."""

    kind: CheckKind
    every_s: float = 0.1
    limit_s: float = 0.1
    misses: int = 3
    port: int = 0
    path: str = "/"
    status: int = 200
    command: tuple[str, ...] = ()


class Escalation(Struct, frozen=True):
    """Failures counted from the first within `probation_s`; above `maximum` the next wider zone is told."""

    maximum: int = 3
    probation_s: float = 60.0


class Replication(Struct, frozen=True):
    """How an active VNFC passes its state to its standbys (SY-1)."""

    port: int
    mode: Literal["synchronous", "periodic"] = "synchronous"
    period_s: float = 0.1


class Component(Struct, frozen=True):
    """A component type of a VNF: how its instances (VNFCs) are started, stopped, asked and told."""

    name: str
    vnf: VnfName
    group: GroupName
    start: Operation | None = None
    stop: Operation | None = None
    cleanup: Operation | None = None
    """Runs before the process group is killed; must succeed for the VNFC to count as isolated."""
    become_active: Operation | None = None
    become_standby: Operation | None = None
    ocf: OcfAgent | None = None
    speaks: bool = False
    """Speaks the component protocol (docs/component-protocol.md) on the socket in HOLDFAST_SOCKET."""
    checks: tuple[Check, ...] = (Check(kind="process"),)
    files: dict[str, str] = {}
    """Relative path to content, written into the VNFC's own folder before each start."""
    environment: dict[str, str] = {}
    start_limit_s: float = 10.0
    role_limit_s: float = 2.0
    cleanup_limit_s: float = 1.0
    replication: Replication | None = None
    storage: str = ""
    """Folder of the whole VNF's shared storage (SY-3), empty for none."""


class Service(Struct, frozen=True):
    """What one active VNFC provides, and the interface it is reached by (IF-1)."""

    name: ServiceName
    group: GroupName
    address: str = ""
    """With prefix length, `10.77.0.100/24` or `fd00::100/64`; empty for none."""
    port: int = 0
    transport: Literal["tcp", "udp", ""] = ""
    assigned_by: Literal["ha-manager", "component"] = "ha-manager"


class Group(Struct, frozen=True):
    """The instances of one component type that protect one another (SA Forum: service group)."""

    name: GroupName
    vnf: VnfName
    component: str
    redundancy: Redundancy
    reserve: Reserve
    state: StateKind
    services: tuple[ServiceName, ...]
    vnfcs: tuple[VnfcName, ...]
    """In order of preference: first actives, then successors."""
    after: tuple[GroupName, ...] = ()
    """Groups whose services must be provided before this one is started."""
    auto_adjust_s: float | None = None
    """A service goes back to its preferred VNFC when that one has been well for so long; None: it stays."""

    @property
    def role_is_assigned(self) -> bool:
        """False where starting a VNFC means serving, so that no role assignment exists (UC5, UC7)."""
        return self.redundancy != "no-redundancy"


class Vnfc(Struct, frozen=True):
    name: VnfcName
    vnf: VnfName
    component: str
    group: GroupName
    host: HostName
    vm: VmName | None = None


class Vnf(Struct, frozen=True):
    name: VnfName
    vnfm: VnfmName
    sal: int
    report: bool
    """Whether the HA manager reports errors of this VNF to its VNFM (UC1: may)."""
    groups: tuple[GroupName, ...]
    vnfc_escalation: Escalation = Escalation()


class Vm(Struct, frozen=True):
    name: VmName
    host: HostName
    addresses: tuple[str, ...]
    repair: RepairPolicy = "negotiated"
    standby_vm: VmName | None = None
    ack_limit_s: float = 1.0
    """How long the VIM waits for acknowledgements before it raises an alarm (and goes on waiting)."""
    boot_limit_s: float = 30.0
    isolate_limit_s: float = 2.0
    escalation: Escalation = Escalation(maximum=3, probation_s=300.0)


GrantProfile = Literal["fast", "default", "wan"]


class Grants(Struct, frozen=True):
    """Exclusivity by grants among the agents (docs/grants.md): who is active is agreed by a majority of hosts."""

    profile: GrantProfile = "default"
    port: int = 7400
    """UDP port of the agents' heartbeats; the managers' link to the agents is TCP on the next one."""
    heartbeat_s: float | None = None
    """In place of the profile's."""
    grant_s: float | None = None
    """The same for the length of a grant."""

    @property
    def lengths(self) -> Profile:
        """The profile, with lengths of one's own where they are given."""
        named = PROFILES[self.profile]
        if self.heartbeat_s is None and self.grant_s is None:
            return named
        return named.with_lengths(
            named.heartbeat_ns if self.heartbeat_s is None else round(self.heartbeat_s * SECOND),
            named.length_ns if self.grant_s is None else round(self.grant_s * SECOND),
        )


class FenceDevice(Struct, frozen=True):
    """A ClusterLabs fence agent: program, and options given on its standard input."""

    agent: str
    options: dict[str, str] = {}
    limit_s: float = 20.0
    """For switching and its confirmation together."""


FenceLevels = tuple[tuple[FenceDevice, ...], ...]
"""Tried in order, until all devices of one level have confirmed."""


NETWORKS = ("first", "second")
"""What the networks between the hosts are called. The first one carries the services too, and their clients."""


class Host(Struct, frozen=True):
    name: HostName
    addresses: tuple[str, ...] = ()
    """On the bridge, which is part of the first network: one of IPv4, one of IPv6, or one of them alone."""
    second: str = ""
    """On the second network, which no VM and no client is on; empty where there is one network. With prefix length."""
    bridge: str = "hf0"
    """Bridge of the host that its VMs are attached to and that carries addresses of VNFCs without a VM."""
    fence: FenceLevels = ()
    witness: bool = False
    """Votes on grants and never holds one."""
    escalation: Escalation = Escalation(maximum=1, probation_s=300.0)
    """More than `maximum` *different* VMs in error within the probation point to the host."""

    @property
    def fence_limit_s(self) -> float:
        """How long it takes at most until every level has been tried."""
        return sum(device.limit_s for level in self.fence for device in level)

    @property
    def reached_at(self) -> tuple[str, ...]:
        """Where other hosts reach it: an address for each network, in their order, without prefix length."""
        own = (*self.addresses[:1], *((self.second,) if self.second else ()))
        return tuple(address.partition("/")[0] for address in own)


class Layout(Struct, frozen=True):
    """A whole deployment. Dictionaries keep the order of the descriptor."""

    name: str
    hosts: dict[HostName, Host] = {}
    vms: dict[VmName, Vm] = {}
    vnfs: dict[VnfName, Vnf] = {}
    components: dict[GroupName, Component] = {}
    """Keyed by the group: each component type has exactly one group."""
    groups: dict[GroupName, Group] = {}
    services: dict[ServiceName, Service] = {}
    vnfcs: dict[VnfcName, Vnfc] = {}
    sal_s: dict[int, float] = field(default_factory=lambda: {1: 6.0, 2: 15.0, 3: 25.0})
    """Longest outage by service availability level: configuration (SAL-T)."""
    grants: Grants | None = None
    """None: one machine, or one manager that everybody obeys; no protection across partitions."""


def first_voters(layout: Layout) -> VoterSet | None:
    """The voter set that a deployment begins with: all its hosts; None where nothing is agreed by grants."""
    if layout.grants is None:
        return None
    return voter_set(tuple(layout.hosts), layout.grants.lengths, witnesses=witnesses_of(layout))


def witnesses_of(layout: Layout) -> tuple[HostName, ...]:
    return tuple(name for name, host in layout.hosts.items() if host.witness)


def in_charge(layout: Layout, vnf: VnfName) -> Party:
    """Who decides about the VNFCs of this VNF: its HA manager if any of its groups has redundancy, else its VNFM."""
    groups = (layout.groups[name] for name in layout.vnfs[vnf].groups)
    if any(group.redundancy != "no-redundancy" for group in groups):
        return HA
    return vnfm_party(layout.vnfs[vnf].vnfm)


def grant_suffices(layout: Layout, group: GroupName) -> bool:
    """Whether the end of a grant is isolation enough.

    A grant's end stops what is sent, not what is written: storage that only one may use needs its host to be off.
    """
    if layout.grants is None:
        return False
    return layout.groups[group].state != "external" and not layout.components[group].storage


def vnfms_of(layout: Layout) -> tuple[Party, ...]:
    """All VNFMs of the deployment, in the order of the descriptor."""
    return tuple(dict.fromkeys(vnfm_party(vnf.vnfm) for vnf in layout.vnfs.values()))


def vnfcs_in(layout: Layout, vm: VmName) -> tuple[Vnfc, ...]:
    return tuple(vnfc for vnfc in layout.vnfcs.values() if vnfc.vm == vm)
