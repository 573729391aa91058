"""What a VNFM remembers: of each VNFC of its own, of each VM they live in, of what it was told and has told.

Everything here is frozen and encodable; a manager that starts again goes on from it.
"""

from typing import Literal

from msgspec import Struct

from holdfast.core.escalation import Counter
from holdfast.core.ledger import Ledger, Reasons
from holdfast.model.messages import ErrorOnVm, HostsAre, RepairRequest
from holdfast.model.names import GroupName, HostName, IncidentId, VmName, VnfcName, VnfName
from holdfast.model.reasons import Code

Phase = Literal["down", "starting", "ready", "failed", "isolating", "stuck", "held"]
"""down: nothing of it runs, it is started as soon as it may be; failed: something of it may still run;
stuck: that could not be ended from here, the zone above must; held: not tried again by itself."""

Condition = Literal["unknown", "up", "gone", "in-error", "failed", "isolated", "not-repaired"]
"""gone and in-error: known from the VNFCs' side; failed, isolated, not-repaired: told by the VIM."""


class Life(Struct, frozen=True):
    """One VNFC of the VNFM's own."""

    phase: Phase = "down"
    run: int = 0
    boot: int = 0
    """Life of its VM that the run was started in."""
    epoch: int = 0
    why: Reasons = ()
    """What led to the phase; the reasons of the next decision about it."""
    incident: IncidentId | None = None
    noted: Literal["", "provided", "interrupted", "held"] = ""
    """What was last noted of its service."""
    refused: Code | Literal[""] = ""
    """Why its start is being refused, so that it is said once."""
    failures: Counter = Counter()
    """Only where it has no VM to count for."""


class Need(Struct, frozen=True):
    """What the VIM has to be told about a VM, and has not been yet."""

    incident: IncidentId
    vnf: VnfName
    message: RepairRequest | ErrorOnVm
    reasons: Reasons


class Claim(Struct, frozen=True):
    """What the VIM was told under this incident, and has to be told the end of."""

    incident: IncidentId
    vnf: VnfName


class VmView(Struct, frozen=True):
    """A VM as this VNFM knows it."""

    boot: int = 0
    condition: Condition = "unknown"
    why: Reasons = ()
    told: Literal["", "requested", "acknowledged", "in-error"] = ""
    """What the VIM has heard from here about the failure of the present life: one of these, once."""
    need: Need | None = None
    claims: tuple[Claim, ...] = ()
    incident: IncidentId | None = None
    """The VNFM's own, about the VM (UC9)."""
    passed: tuple[str, ...] = ()
    """Kinds of news already passed on to the HA manager in this life."""
    failures: Counter = Counter()


class Report(Struct, frozen=True):
    """An error that the HA manager has reported and not yet cleared."""

    vnf: VnfName
    vnfc: VnfcName
    vm: VmName | None


class State(Struct, frozen=True):
    ledger: Ledger
    vnfcs: dict[VnfcName, Life] = {}
    vms: dict[VmName, VmView] = {}
    epochs: dict[GroupName, int] = {}
    """Highest epoch given out, by group."""
    hosts: dict[HostName, bool] = {}
    """Whether the link to the host's agent is up."""
    lives_of_hosts: dict[HostName, int] = {}
    """The life of each host whose agent joined last; 0 where agents hold no grants."""
    locked: HostsAre | None = None
    """Which hosts are locked, as the VIM told last."""
    reports: dict[IncidentId, Report] = {}
    probations: dict[str, float] = {}
    """When the counter of a VM, or of a VNFC without one, starts anew."""
