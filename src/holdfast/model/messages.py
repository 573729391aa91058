"""What HA manager, VNFM and VIM say to each other. Nothing else passes between them.

Every message names the incident it belongs to on the sender's side. Delivery is at least once: a
message is repeated until its receiver has taken it durably, and receivers drop what they have seen.
`boot` says which life of the VM is meant, so that news that was overtaken by a repair does not start
another one; 0 where the sender does not know it.
"""

from typing import Literal

from msgspec import Struct

from holdfast.model.names import HostName, IncidentId, ServiceName, VmName, VnfcName, VnfName


class ErrorReport(Struct, frozen=True, tag=True):
    """HA manager -> VNFM: a VNFC failed, the service may be interrupted (UC1, UC2, UC5, UC6)."""

    incident: IncidentId
    vnf: VnfName
    vnfc: VnfcName
    vm: VmName | None
    service: ServiceName | None
    """The service that was interrupted; None when a standby or spare failed."""
    cause: str
    isolate_vm: bool = False
    """Cleanup failed: the VM must be isolated before the service can be taken over."""
    repair_vm: bool = False
    """The VM is gone and its repair is requested (UC6)."""
    boot: int = 0


class ErrorCleared(Struct, frozen=True, tag=True):
    """HA manager -> VNFM, VNFM -> VIM: what was reported under this incident is over."""

    incident: IncidentId
    vnf: VnfName


class RepairRequest(Struct, frozen=True, tag=True):
    """VNFM -> VIM: the VM is gone or must be isolated; restart is safe from the sender's side (UC4, UC8)."""

    incident: IncidentId
    vm: VmName
    why: str
    isolate_only: bool = False
    """Isolate now because a take-over waits for it; the restart still needs the acknowledgements."""
    boot: int = 0
    gone: bool = False
    """The VM itself is gone; otherwise something in it could not be cleaned up."""


class RepairAck(Struct, frozen=True, tag=True):
    """VNFM -> VIM: answer to VmFailed; restart of the VM is safe from the sender's side (UC2)."""

    incident: IncidentId
    vm: VmName


class ErrorOnVm(Struct, frozen=True, tag=True):
    """VNFM -> VIM: too many failures of VNFCs in this VM within the probation time (UC9)."""

    incident: IncidentId
    vm: VmName
    failures: int
    within_s: float
    vnfcs: tuple[VnfcName, ...]
    boot: int = 0


class VmFailed(Struct, frozen=True, tag=True):
    """VIM -> VNFM -> HA manager: the VM has failed, seen from the NFVI."""

    incident: IncidentId
    vm: VmName
    cause: str
    ack_wanted: bool
    boot: int = 0


class VmIsolated(Struct, frozen=True, tag=True):
    """VIM -> VNFM -> HA manager: nothing of this VM runs or is reachable any more, confirmed."""

    incident: IncidentId
    vm: VmName
    boot: int = 0


class VmUp(Struct, frozen=True, tag=True):
    """VIM -> VNFM -> HA manager: the VM runs (again), empty; its VNFCs may be started."""

    incident: IncidentId
    vm: VmName
    boot: int
    """Counts the starts of this VM; a lower one than known is an old message."""


class HostIsOff(Struct, frozen=True, tag=True):
    """VIM -> VNFM -> HA manager: nothing runs on this host any more, confirmed. For VNFCs without a VM of their own."""

    incident: IncidentId
    host: HostName
    how: str
    """Who has confirmed it."""
    life: int
    """The life of the host that is over; what runs there in another one is not meant."""
    by_person: bool = False
    """A person has said so, and no fence device."""

    def ends(self, known: int) -> bool:
        """Whether it is about the life that is known here; where none is, nothing newer can run."""
        return known in (0, self.life)

    @property
    def proof(self) -> Literal["host-fenced", "host-vouched-off"]:
        """The code of the reason that it is."""
        return "host-vouched-off" if self.by_person else "host-fenced"


class HostsAre(Struct, frozen=True, tag=True):
    """VIM -> HA manager, VNFM, to each directly: who votes, and which hosts are locked."""

    incident: IncidentId
    number: int
    """Counts these messages: one that was overtaken by a newer one says nothing."""
    members: tuple[HostName, ...]
    """Members of the voter set that is gone by; empty where there is none."""
    locked: tuple[HostName, ...]
    """Given up by a person's word: what only they may have acknowledged is given up, too."""


class VmNotRepaired(Struct, frozen=True, tag=True):
    """VIM -> VNFM -> HA manager: repair has failed or is not configured; do not wait for this VM."""

    incident: IncidentId
    vm: VmName
    why: str
    boot: int = 0


Message = (
    ErrorReport
    | ErrorCleared
    | RepairRequest
    | RepairAck
    | ErrorOnVm
    | VmFailed
    | VmIsolated
    | VmUp
    | HostIsOff
    | HostsAre
    | VmNotRepaired
)
