"""What the HA manager knows: its VNFCs, their services, their VMs, and what is not finished.

Frozen values that msgspec can write and read again; the shell saves them before any action is let out.
Always holds: a service has one `holder` at most, and it stays the holder until it is confirmed that nothing
of it runs any more (or that it gave the service up in good order). A group that an event does not touch
stays the same object, so that only what has changed need be saved.
"""

from typing import Literal

from msgspec import Struct

from holdfast.core import ledger as book
from holdfast.core.escalation import Counter
from holdfast.core.ledger import Ledger
from holdfast.model.actions import Action, IsolateVnfc, Successor
from holdfast.model.events import Position
from holdfast.model.layout import Layout, in_charge
from holdfast.model.messages import HostsAre
from holdfast.model.names import (
    HA,
    ActionId,
    GroupName,
    HostName,
    IncidentId,
    Role,
    ServiceName,
    VmName,
    VnfcName,
)
from holdfast.model.reasons import Reason

Phase = Literal["down", "starting", "ready", "stopping", "failed"]
"""down: nothing of it runs, and that is confirmed; failed: something of it may still run."""

Kind = Literal["start", "stop", "isolate", "activate", "stand-by", "quiesce"]


class Task(Struct, frozen=True):
    """What is being done about a VNFC: one thing at a time."""

    id: ActionId
    kind: Kind


class VnfcNow(Struct, frozen=True):
    run: int = 0
    boot: int = 0
    """The life of its VM in which this run was started."""
    epoch: int = 0
    """Reserved for this run: what it uses should it become active."""
    phase: Phase = "down"
    role: Role = "none"
    follows: int = 0
    """Epoch of the active that it was last told to follow as a standby."""
    position: Position | None = None
    doing: Task | None = None
    stuck: bool = False
    """Its isolation has failed or hangs."""
    zone_asked: bool = False
    """The isolation of its VM was asked for."""
    incident: IncidentId | None = None
    ready: Reason | None = None
    failure: Reason | None = None
    proof: Reason | None = None
    """Why nothing of it can run any more."""
    failures: Counter = Counter()
    """Counted here where no VM holds it."""


class Move(Struct, frozen=True):
    """A switchover that an operator asked for."""

    to: VnfcName | None
    reason: Reason
    first: VnfcName | None = None
    """Who is to be the first successor before the holder lets go."""
    until: float = 0.0
    """When that has to be known to all whom it concerns."""


class Adjusting(Struct, frozen=True):
    """How a service that is not where it is preferred gets back there by itself (`auto-adjust`)."""

    run: int = 0
    """The run of the preferred VNFC that is waited for to have been well for long enough; 0: none is."""
    until: float | None = None
    """When that will be; None: it has been, or nothing is waited for."""
    last: float | None = None
    """When the service was last given back by itself, until the next wait begins."""
    doubled: int = 0
    """How often the wait was doubled, because what was given back did not stay there for long."""
    by_hand: bool = False
    """A person has moved it away: it stays."""


class OrderNow(Struct, frozen=True):
    """The standing order that was given last."""

    holder: VnfcName | None = None
    epoch: int = 0
    successors: tuple[Successor, ...] = ()
    number: int = 0


class Unconfirmed(Struct, frozen=True):
    """The loss of a standby that could not be recorded so far; its active waits for that."""

    active: VnfcName
    run: int
    standby: VnfcName
    again_at: float


class ServiceNow(Struct, frozen=True):
    state: Literal["waiting", "provided", "interrupted", "held"] = "waiting"
    """waiting: has never been provided so far."""
    holder: VnfcName | None = None
    last: VnfcName | None = None
    """Who was made active last: holds all acknowledged state, as do those in sync with it."""
    epoch: int = 0
    in_sync: tuple[VnfcName, ...] = ()
    tried: int = 0
    """Promotions tried for this interruption."""
    unfit: tuple[VnfcName, ...] = ()
    """Who could not become active in this interruption: others are tried before they are again."""
    interruption: int = 0
    """Number of the observation that interrupted it: the longest outage is served first."""
    lost: Reason | None = None
    back: Reason | None = None
    loss_accepted: Reason | None = None
    recorded: int = 0
    """The highest number that a majority of the voters is known to have recorded."""
    sealed: int = 0
    """Numbers up to this one can succeed no more (ConfirmLoss)."""
    ordered: OrderNow = OrderNow()
    heirs: tuple[Successor, ...] = ()
    """All that may still follow, or have followed, an order unheard: till their hosts know a newer one."""
    move: Move | None = None
    behind: bool = False
    """Its holder is not the one that we remember, so what we remember of it is too old (ha_memory)."""
    unconfirmed: tuple[Unconfirmed, ...] = ()
    adjusting: Adjusting = Adjusting()


class IncidentNow(Struct, frozen=True):
    about: VnfcName
    service: ServiceName | None
    reported: bool = False
    """Something was reported under it that is not cleared yet."""


class GroupNow(Struct, frozen=True):
    vnfcs: dict[VnfcName, VnfcNow]
    services: dict[ServiceName, ServiceNow]
    epoch: int = 0
    """The last number given out."""
    incidents: dict[IncidentId, IncidentNow] = {}
    unrepaired: dict[IncidentId, VnfcName] = {}
    """Incidents closed because a VM was given up: what was reported under them is cleared when it is back."""
    refused: dict[str, tuple[Reason, ...]] = {}
    """What is being refused now, so that each refusal is said once and not in every step."""
    alarms: tuple[str, ...] = ()


class VmNow(Struct, frozen=True):
    boot: int = 0
    up: bool = False
    news: Reason | None = None
    """What the last change of `up` rests on."""
    told: bool = True
    """The NFVI level knows of its failure: it told us, or was told."""
    given_up: Reason | None = None
    condemned: Reason | None = None
    """Its components have failed too often: no more restarts before it is repaired."""
    failures: Counter = Counter()


class Fresh(Struct, frozen=True):
    """An epoch that was recorded while some host had not answered what it was told before."""

    epoch: int
    number: int
    """Counts them, in the order in which they were recorded."""


class State(Struct, frozen=True):
    ledger: Ledger
    groups: dict[GroupName, GroupNow]
    vms: dict[VmName, VmNow]
    agents: dict[HostName, bool] = {}
    """Whether the agent's link is up; agents never heard of are missing."""
    lives: dict[HostName, int] = {}
    """The life of each host whose agent joined last; 0 where agents hold no grants."""
    met: tuple[HostName, ...] = ()
    """Hosts whose agents have joined this manager since it started."""
    hosts: HostsAre | None = None
    """Who votes and who is locked, as the VIM told last; None: what the descriptor says."""
    late: dict[ActionId, IsolateVnfc] = {}
    """Isolations that took longer than they may: still outstanding, and welcome if they succeed."""
    wakes: dict[str, float] = {}
    """Names of VMs and VNFCs to be looked at again at a time; and of services (`<service>@due`): the loss of a
    standby is to be recorded then, or a time of waiting is over."""
    failed_hosts: dict[HostName, Reason] = {}
    """Hosts that the agents of others do not hear any more."""
    fresh: dict[ServiceName, Fresh] = {}
    """Epochs recorded of late, as long as somebody may have to be told of them."""
    telling: dict[HostName, int] = {}
    """Hosts that are being told which epochs are recorded: up to which number of those."""
    recovering: dict[VnfcName, None] = {}
    """VNFCs that are being made active."""
    waiting: dict[VnfcName, None] = {}
    """VNFCs whose repair waits until others are recovered, or repaired (ha_pace)."""


def initial(layout: Layout) -> State:
    """Nothing is known to run, nothing was ever given out."""
    groups: dict[GroupName, GroupNow] = {}
    vms: dict[VmName, VmNow] = {}
    for name, group in layout.groups.items():
        if in_charge(layout, group.vnf) != HA:
            continue
        groups[name] = GroupNow(
            vnfcs={vnfc: VnfcNow() for vnfc in group.vnfcs},
            services={service: ServiceNow() for service in group.services},
        )
        for vnfc in group.vnfcs:
            vm = layout.vnfcs[vnfc].vm
            if vm is not None:
                vms[vm] = VmNow()
    return State(ledger=Ledger(HA), groups=groups, vms=vms)


def deadline(state: State) -> float | None:
    """When the core wants to be stepped with DeadlinePassed."""
    times = [*state.wakes.values()]
    due = book.next_due(state.ledger)
    if due is not None:
        times.append(due)
    return min(times, default=None)


def outstanding(state: State) -> tuple[Action, ...]:
    """Actions that were let out and whose end was not heard of, in the order of their numbers."""
    return (*state.late.values(), *book.outstanding(state.ledger))
