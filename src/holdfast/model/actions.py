"""What can be done: the outputs of the pure cores, in the imperative.

Actions with an agent as target carry an `id`; doing one twice is harmless, and its agent answers a
repeated id with the outcome it already knows. An action stays *outstanding* in the core's state until
ActionDone or ActionFailed arrives, and everything outstanding is sent again when a manager or a
link starts again.
"""

from typing import Literal

from msgspec import Struct

from holdfast.model.granting import VoterSet
from holdfast.model.messages import Message
from holdfast.model.names import ActionId, HostName, IncidentId, Party, ServiceName, VmName, VnfcName
from holdfast.model.reasons import Reason


class StartVnfc(Struct, frozen=True, tag=True):
    """Start run `run` of the VNFC; done when its checks have answered well once.

    `epoch` is the number reserved for it: what it uses should it become active before told another.
    Where the group assigns no roles the VNFC serves at once: gate, address and announcement for
    `service` follow as soon as it is ready. `boot` is the life of its VM that the start is meant for (0 for
    any): in another life it fails as `vm_gone`, so that news about the VM are never about the wrong run.
    """

    id: ActionId
    vnfc: VnfcName
    run: int
    epoch: int
    service: ServiceName | None = None
    boot: int = 0


class StopVnfc(Struct, frozen=True, tag=True):
    """End a healthy VNFC in good order (then as IsolateVnfc, if it does not end by itself)."""

    id: ActionId
    vnfc: VnfcName
    run: int


class IsolateVnfc(Struct, frozen=True, tag=True):
    """Clean up: gates closed, addresses gone, cleanup command succeeded, whole process group gone.

    Done means all of that was confirmed for this run and every earlier one. Failed with `vm_gone` when
    the VM itself is gone.
    """

    id: ActionId
    vnfc: VnfcName
    run: int


class Activate(Struct, frozen=True, tag=True):
    """Give the VNFC the active role for the service: role told and confirmed, then gate opened, address added
    (or claimed by the component, and seen there), announced, read back."""

    id: ActionId
    vnfc: VnfcName
    run: int
    service: ServiceName
    epoch: int
    in_sync: tuple[VnfcName, ...] = ()
    """Standbys that hold all acknowledged state: no update may be acknowledged without them."""


class StandBy(Struct, frozen=True, tag=True):
    """Give the VNFC the standby role: it follows `active` and asks it for the state."""

    id: ActionId
    vnfc: VnfcName
    run: int
    service: ServiceName
    epoch: int
    active: VnfcName


class Quiesce(Struct, frozen=True, tag=True):
    """Take the active role away in good order: no new updates, all state passed on, then address and gate
    withdrawn, confirmed. The VNFC then waits for StandBy."""

    id: ActionId
    vnfc: VnfcName
    run: int
    service: ServiceName
    epoch: int


class ConfirmLoss(Struct, frozen=True, tag=True):
    """Tell the active that the loss of this standby is recorded durably: it may acknowledge without it."""

    id: ActionId
    vnfc: VnfcName
    run: int
    standby: VnfcName
    service: ServiceName | None = None
    seal: int = 0
    """Where grants decide: claim the service under this number first, so that no order given to the lost standby under
    a lower one can succeed any more, whether it has heard of its loss or not."""


class Successor(Struct, frozen=True):
    """One who may take a service over by itself, under the number reserved for it."""

    vnfc: VnfcName
    run: int
    epoch: int
    in_sync: tuple[VnfcName, ...] = ()


class StandingOrder(Struct, frozen=True, tag=True):
    """Decided ahead: who takes the service over when its holder's host fails or gives it up after a failure.

    Needs neither manager nor store when the time comes. A newer order (higher `number`) takes the place of older ones.
    """

    id: ActionId
    host: HostName
    """Whose agent is to know it."""
    service: ServiceName
    number: int
    holder: VnfcName | None
    epoch: int
    successors: tuple[Successor, ...]
    """In the order in which they are to try."""


class RememberEpochs(Struct, frozen=True, tag=True):
    """Tell the voter of a host which numbers a majority has recorded: claims under lower ones are over.

    Given whenever such a number is known, and all of them to each agent that joins: a voter forgets with its process.
    """

    id: ActionId
    host: HostName
    epochs: dict[ServiceName, int]


class SetVoters(Struct, frozen=True, tag=True):
    """Have the voter set on the host's disk; with `use`, go by it. Done when that is so, for it or a newer one."""

    id: ActionId
    host: HostName
    voters: VoterSet
    use: bool
    """First everybody has it on disk, which takes its time; then all go by it at once, so that no grant lapses."""


class IsolateVm(Struct, frozen=True, tag=True):
    """End the VM and take its port away; done when its processes and its port are gone."""

    id: ActionId
    vm: VmName
    boot: int


class StartVm(Struct, frozen=True, tag=True):
    """Start the VM as boot number `boot`; done when it can start VNFCs."""

    id: ActionId
    vm: VmName
    boot: int
    how: Literal["initial", "snapshot", "standby-vm"] = "initial"


class FenceHost(Struct, frozen=True, tag=True):
    """Switch the host off by its fence device; done when the device reports it off."""

    id: ActionId
    host: HostName


class StartHost(Struct, frozen=True, tag=True):
    """Switch the host on; done when the device reports it on. Its agent joins later."""

    id: ActionId
    host: HostName


class Send(Struct, frozen=True, tag=True):
    """Send a message to another manager; outstanding until its receiver has taken it."""

    id: ActionId
    to: Party
    message: Message


class OpenIncident(Struct, frozen=True, tag=True):
    incident: IncidentId
    about: str
    """Entity that failed."""
    service: ServiceName | None
    """Service that was interrupted, if any."""
    cause: str


class CloseIncident(Struct, frozen=True, tag=True):
    """The service is back, what was reported is cleared, and the failed entity is repaired (or given up)."""

    incident: IncidentId
    outcome: Literal["repaired", "not-repaired"]


class RaiseAlarm(Struct, frozen=True, tag=True):
    alarm: str
    """Stable identity, `<kind>:<entity>`; raising one twice is harmless."""
    text: str


class ClearAlarm(Struct, frozen=True, tag=True):
    alarm: str


class Refuse(Struct, frozen=True, tag=True):
    """Something that one might expect to be done now is not done; the reasons say why."""

    what: str
    about: str


class NoteService(Struct, frozen=True, tag=True):
    """The manager's view of a service has changed."""

    service: ServiceName
    state: Literal["provided", "interrupted", "held"]
    vnfc: VnfcName | None
    epoch: int


class NoteVoters(Struct, frozen=True, tag=True):
    """How far the voter set has come: made (in the store), used (told to be gone by), sealed (none before it is)."""

    voters: VoterSet
    state: Literal["made", "used", "sealed"]


VnfcAction = StartVnfc | StopVnfc | IsolateVnfc | Activate | StandBy | Quiesce | ConfirmLoss
VmAction = IsolateVm | StartVm
HostAction = StandingOrder | RememberEpochs | SetVoters
"""For a host's agent as such."""
AgentAction = VnfcAction | HostAction | VmAction
PowerAction = FenceHost | StartHost
Note = OpenIncident | CloseIncident | RaiseAlarm | ClearAlarm | Refuse | NoteService | NoteVoters
Action = AgentAction | PowerAction | Send | Note


class Decision(Struct, frozen=True):
    """An action and why. One without a reason cannot be built (rule 2)."""

    action: Action
    reasons: tuple[Reason, ...]
    incident: IncidentId | None = None

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError(f"{type(self.action).__name__} was decided without a reason")
