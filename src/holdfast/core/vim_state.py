"""What the VIM remembers: of each VM, of the repair of one that has failed, of each host.

Everything here is frozen and encodable; a VIM that starts again goes on from it.
"""

from typing import Literal

from msgspec import Struct

from holdfast.core.escalation import Counter
from holdfast.core.ledger import Ledger, Reasons
from holdfast.model.events import VmFact
from holdfast.model.granting import VoterSet
from holdfast.model.messages import HostsAre
from holdfast.model.names import HostName, IncidentId, Party, VmName
from holdfast.model.reasons import Reason

VmPhase = Literal["down", "starting", "up", "failed", "isolating", "stuck", "given-up"]
"""down: nothing of it runs, it is started as soon as it may be; failed: something of it may still run;
stuck: that could not be ended, and nothing wider can be switched off from here; given-up: left alone."""

HostPhase = Literal["unknown", "up", "away", "condemned", "fencing", "fence-failed", "starting", "locked"]
"""away: its agent's link is broken; condemned: to be switched off; starting: off, or on and not joined yet;
locked: left alone, by a person's word."""


class Repair(Struct, frozen=True):
    """The repair in hand of one VM: one fault, one repair, however many ask for it."""

    incident: IncidentId
    cause: str
    is_of_host: bool
    """The incident is about the host of the VM, which closes it."""
    why: Reasons
    allowed: Reasons = ()
    """Acknowledgements and requests since it began, or the configured policy."""
    waits: tuple[Party, ...] = ()
    """VNFMs whose acknowledgement is missing."""
    isolate_first: bool = False
    """A take-over waits for the isolation; only the restart waits for acknowledgements."""
    isolate: bool = True
    restart: bool = True
    reminded: bool = False
    """The alarm about missing acknowledgements is up."""
    held: bool = False
    """The alarm about isolation that cannot be confirmed is up."""


class VmLife(Struct, frozen=True):
    phase: VmPhase = "down"
    boot: int = 0
    announced: int = 0
    """The latest boot that the VNFMs were told about; one they do not know needs no acknowledgement."""
    why: Reasons = ()
    repair: Repair | None = None
    failures: Counter = Counter()


class HostLife(Struct, frozen=True):
    phase: HostPhase = "unknown"
    joined: bool = False
    life: int = 0
    """The newest life of it that was heard of; 0 where agents hold no grants."""
    has_joined: bool = False
    """Whether its agent has joined this manager since it started."""
    is_silent: bool = False
    """Agents of other hosts do not hear it, though the link to its own may not be broken yet."""
    why: Reasons = ()
    incident: IncidentId | None = None
    is_urgent: bool = False
    """Switch it off without acknowledgements: something of it may run that could not be ended otherwise."""
    only_away: bool = False
    """The one thing against it is that its agent is away, or nothing is any more."""
    unisolated: tuple[VmName, ...] = ()
    """VMs that could not be ended, if they are all there is against it."""
    is_alarmed: bool = False
    fence_alarmed: bool = False
    errors: Counter = Counter()
    """Different VMs of it in error."""
    seen_vms: tuple[VmFact, ...] | None = None
    """What its agent saw when it joined though the host is to be switched off, should that be called off."""
    repairs: Counter = Counter()
    """How often it was switched off because errors pointed to it."""
    fenced_life: int = 0
    """The newest life that was heard of when it was last told to be switched off."""
    off: Reason | None = None
    """Confirmed off, by its device or by a person; till its agent joins."""
    off_since: float = 0.0
    locked: Reason | None = None
    """A person has said that it is off: it is left alone until a person says otherwise."""


class VotersNow(Struct, frozen=True):
    """The newest voter set, and how far it has come."""

    current: VoterSet
    kept: dict[HostName, int] = {}
    """The newest version that each host is known to have on disk."""
    used: dict[HostName, int] = {}
    """The newest version that the voter of each host is known to go by."""
    why: Reasons = ()
    is_used: bool = False
    """All are told to go by it, and not only to have it on disk."""
    is_late: bool = False
    """Those that do not have it on disk by now are not waited for."""
    is_sealed: bool = False
    """Nobody can be promised anything by the version before any more, so that the next one may be made."""

    @property
    def version(self) -> int:
        return self.current.version


class Reported(Struct, frozen=True):
    """What a VNFM has reported under its incident and not yet cleared."""

    sender: Party
    vm: VmName
    boot: int
    """Life of the VM that it was about."""


class Unheard(Struct, frozen=True):
    """One agent's word that it does not hear a host on a network, and hears it on another one."""

    network: str
    by: HostName
    host: HostName
    seen: int
    """Number of the observation."""
    detail: str = ""


class State(Struct, frozen=True):
    ledger: Ledger
    vms: dict[VmName, VmLife] = {}
    hosts: dict[HostName, HostLife] = {}
    reports: dict[IncidentId, Reported] = {}
    timers: dict[str, float] = {}
    """`<kind>:<name>` to the time when something has to be looked at again."""
    voters: VotersNow | None = None
    """None: nobody votes here, or nothing was looked at yet."""
    told: HostsAre | None = None
    """What the HA manager was told last of who votes and who is locked; None: what the descriptor says."""
    alarmed_voters: tuple[HostName, ...] = ()
    """Hosts with an alarm about what their voter goes by."""
    unheard: tuple[Unheard, ...] = ()
    networks: dict[str, str] = {}
    """Networks that an alarm is up for, and what it says."""
    store_on: tuple[HostName, ...] = ()
    """Hosts with a member of the store."""
    store_members: int = 0
    """How many members there are, there or elsewhere."""
