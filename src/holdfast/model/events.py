"""What can be seen: the inputs of the pure cores, in the past tense.

`run` counts the starts of a VNFC, `boot` those of a VM, so that news about an earlier life is
recognised and dropped. Every event reaches a core inside an `Observed`, whose number the reasons of
the following decisions refer to.
"""

from typing import Literal

from msgspec import Struct

from holdfast.model.granting import VoterSet
from holdfast.model.messages import Message
from holdfast.model.names import ActionId, HostName, Party, Role, ServiceName, VmName, VnfcName, VnfName

FailureCause = Literal["exited", "killed", "check", "role", "start", "lost", "grant", "vm-gone", "host"]
"""grant: its host may not be active for the service any more; others have not heard it for too long."""
OF_ITS_ZONE: tuple[FailureCause, ...] = ("grant", "vm-gone", "host")
"""What is around the VNFC has failed, or cannot be heard: that counts against neither the VNFC nor its VM."""


class Position(Struct, frozen=True, order=True):
    """How new the state of a VNFC is: epoch under which it was written, then sequence number."""

    epoch: int = 0
    sequence: int = 0


class ManagerStarted(Struct, frozen=True, tag=True):
    """The manager's process has begun (first start, or again after a crash)."""

    store_on: tuple[HostName, ...] = ()
    """The hosts with a member of the store that it leads by, where the members' addresses tell."""
    store_members: int = 0
    """How many members there are, on hosts or elsewhere."""
    is_behind: bool = False
    """Its store was damaged: what it has given out, and what has happened, may not be in it."""


class DeadlinePassed(Struct, frozen=True, tag=True):
    """`deadline(state)` of the core is due."""


class VnfcReady(Struct, frozen=True, tag=True):
    """The VNFC was started and all its checks have answered well once."""

    vnfc: VnfcName
    run: int
    position: Position | None = None
    """Told by components that hold state; None where they hold none or do not say."""
    took_s: float = 0.0


class VnfcFailed(Struct, frozen=True, tag=True):
    """The VNFC failed: its process ended, a check failed `misses` times, or it reported itself unwell.

    For `check` and `role` something of it may still run. An agent reports each run once.
    """

    vnfc: VnfcName
    run: int
    cause: FailureCause
    detail: str = ""


class VnfcIsolated(Struct, frozen=True, tag=True):
    """Nothing of a VNFC that has failed runs any more, or is heard: its agent has seen to that before it was asked.

    It comes after VnfcFailed, where that was the end of its process; an isolation that was ordered meanwhile is as good
    as done.
    """

    vnfc: VnfcName
    run: int
    detail: str = ""


class StandbyLost(Struct, frozen=True, tag=True):
    """The active asks for leave to acknowledge updates without this standby (rule: state tells the truth)."""

    vnfc: VnfcName
    run: int
    epoch: int
    standby: VnfcName


class StandbySynced(Struct, frozen=True, tag=True):
    """The active has brought this standby up to date; from now on each update waits for it."""

    vnfc: VnfcName
    run: int
    epoch: int
    standby: VnfcName


class VmBooted(Struct, frozen=True, tag=True):
    """The VM runs and can start VNFCs."""

    vm: VmName
    boot: int


class VmDied(Struct, frozen=True, tag=True):
    """The VM's first process is gone, and everything in the VM with it (seen from the NFVI)."""

    vm: VmName
    boot: int
    cause: str = ""


class VnfcFact(Struct, frozen=True):
    """One VNFC as its agent sees it now."""

    vnfc: VnfcName
    run: int
    condition: Literal["absent", "starting", "ready", "failed"]
    role: Role = "none"
    epoch: int = 0
    services: tuple[ServiceName, ...] = ()
    """Services whose address this VNFC holds at this moment."""
    position: Position | None = None
    detail: str = ""
    in_sync: tuple[VnfcName, ...] | None = None
    """Of an active: the standbys for which each of its updates waits; None where its agent does not know."""
    losing: tuple[VnfcName, ...] = ()
    """Of an active: those of them that it has asked leave to go on without, and not been answered."""


class VmFact(Struct, frozen=True):
    vm: VmName
    boot: int
    condition: Literal["absent", "up"]


class AgentJoined(Struct, frozen=True, tag=True):
    """An agent's link is up; `vnfcs` and `vms` are complete for its host. Sent on every (re)connection."""

    host: HostName
    vnfcs: tuple[VnfcFact, ...]
    vms: tuple[VmFact, ...]
    life: int = 0
    """Which life of the host other hosts hear, where agents hold grants: another one after each restart; 0: none."""
    voters: VoterSet | None = None
    """Where agents hold grants: the voter set that its voter goes by, which is on its disk."""


class AgentLost(Struct, frozen=True, tag=True):
    """The link to an agent broke. By itself no fault of what runs there."""

    host: HostName


class HostFailed(Struct, frozen=True, tag=True):
    """Agents of other hosts agree that this host is not heard any more; its grants end by themselves."""

    host: HostName
    by: HostName
    detail: str = ""
    life: int = 0
    """The life of the host that is over (see AgentJoined); 0 where it is not known."""

    def is_of_another_life(self, known: int) -> bool:
        """Whether it is about another life than the one whose agent has joined: then it is old news, told late."""
        return known != 0 and self.life not in (0, known)


class HostReturned(Struct, frozen=True, tag=True):
    """A host that was found failed is heard again."""

    host: HostName
    by: HostName


class NetworkSilent(Struct, frozen=True, tag=True):
    """One agent does not hear a host on one of the networks between them, and hears it on another one."""

    host: HostName
    by: HostName
    network: str
    detail: str = ""


class NetworkHeard(Struct, frozen=True, tag=True):
    """That is over: it is heard there again, or on no network at all (then it fails as a host)."""

    host: HostName
    by: HostName
    network: str


Silence = HostFailed | NetworkSilent
"""What an agent has not heard: as long as that is so, each manager that begins to lead is told."""


class ServiceTaken(Struct, frozen=True, tag=True):
    """A VNFC has become active by a standing order: claimed, told, address announced, read back."""

    vnfc: VnfcName
    run: int
    service: ServiceName
    epoch: int
    in_sync: tuple[VnfcName, ...] = ()


class ActionDone(Struct, frozen=True, tag=True):
    """The action's effect was confirmed by looking (read back, process gone, answer received)."""

    action: ActionId
    detail: str = ""


class ActionFailed(Struct, frozen=True, tag=True):
    """The action failed or its effect could not be confirmed within its limit."""

    action: ActionId
    why: str
    vm_gone: bool = False
    """The VM that holds the VNFC is known to be gone, so nothing of the VNFC can run or be reached."""


class Received(Struct, frozen=True, tag=True):
    """A message of another manager."""

    id: ActionId
    """The sender's action that sent it: the same on every repetition."""
    sender: Party
    message: Message


class SwitchoverAsked(Struct, frozen=True, tag=True):
    """An operator wants the services of a VNF (or one of them) moved to their successors."""

    vnf: VnfName
    service: ServiceName | None = None
    to: VnfcName | None = None


class HostLocked(Struct, frozen=True, tag=True):
    """A person says that the host is off, and that it is to be left alone (`lock HOST --is-off`)."""

    host: HostName


class HostUnlocked(Struct, frozen=True, tag=True):
    """A person wants the host back (`unlock HOST`)."""

    host: HostName


class LossAccepted(Struct, frozen=True, tag=True):
    """A person allows a stale standby to be promoted (`--accept-loss`)."""

    vnf: VnfName


Event = (
    ManagerStarted
    | DeadlinePassed
    | VnfcReady
    | VnfcFailed
    | VnfcIsolated
    | StandbyLost
    | StandbySynced
    | VmBooted
    | VmDied
    | AgentJoined
    | AgentLost
    | HostFailed
    | HostReturned
    | NetworkSilent
    | NetworkHeard
    | ServiceTaken
    | ActionDone
    | ActionFailed
    | Received
    | SwitchoverAsked
    | LossAccepted
    | HostLocked
    | HostUnlocked
)


class Observed(Struct, frozen=True):
    """An event with the number it has in the observing manager's journal."""

    n: int
    event: Event
