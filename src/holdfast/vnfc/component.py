"""What a component is: the methods its author writes, and the words it is told its role with.

The author derives from `Component` and overrides what is needed; `run` (in `process`) does the rest.
A role method that returns None has succeeded; one that raises has failed, with the exception's text
as the reason; one that returns LATER answers by `role.ok()` or `role.failed(reason)` when it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from holdfast.errors import HoldfastError
from holdfast.wire.component import ComponentRole, Lost, Position, Synced, Unwell

if TYPE_CHECKING:
    from holdfast.vnfc.loop import Loop
    from holdfast.vnfc.session import Session


class RoleFailed(HoldfastError):
    """A component cannot take the role that it was given; the text is the reason its agent is told."""


class Later:
    """Type of LATER."""


LATER: Final = Later()
"""Returned by a role method that is not done yet."""

Outcome = Callable[[bool, str], None]


class Role:
    """One instruction of the agent, with everything it says. Unused fields are empty."""

    __slots__ = ("active", "address", "claim", "epoch", "in_sync", "kind", "outcome", "peer", "service")

    def __init__(
        self,
        kind: Literal["active", "standby", "quiescing"],
        service: str,
        epoch: int,
        outcome: Outcome,
        *,
        in_sync: tuple[str, ...] = (),
        address: str = "",
        claim: bool = False,
        active: str = "",
        peer: str = "",
    ) -> None:
        self.kind: ComponentRole = kind
        self.service = service
        self.epoch = epoch
        self.outcome = outcome
        self.in_sync = in_sync
        """Standbys that hold all acknowledged state (become_active)."""
        self.address = address
        """Address of the service with prefix length (become_active)."""
        self.claim = claim
        """Whether the component takes the address itself (become_active, IF-1)."""
        self.active = active
        """Whom to follow (become_standby)."""
        self.peer = peer
        """Where the active's replication port is: `10.0.0.1:7001` or `[fd00::1]:7001` (become_standby)."""

    def asks_the_same(self, other: Role) -> bool:
        """Whether `other` is this instruction once more (the list of standbys in sync may have changed since)."""
        mine = (self.kind, self.service, self.epoch, self.address, self.active, self.peer)
        return mine == (other.kind, other.service, other.epoch, other.address, other.active, other.peer)

    def ok(self) -> None:
        """Answer that the role is taken, after the method returned LATER."""
        self.outcome(True, "")

    def failed(self, reason: str) -> None:
        """Answer that the role cannot be taken, after the method returned LATER."""
        self.outcome(False, reason)


class Component:
    """Base of components in Python. All methods are called in the loop's thread, one at a time."""

    # Set by `run` before `start` is called, so that authors need no __init__ of ours.
    loop: Loop
    name: str
    """The VNFC's name (HOLDFAST_VNFC)."""
    folder: str
    """Own folder; survives restarts of the component (HOLDFAST_DIR), empty for none."""
    epoch: int
    """The number reserved for this start (HOLDFAST_EPOCH): in use where starting means serving."""
    role: ComponentRole = "none"
    service: str = ""
    session: Session | None = None
    """The connection with the agent; None when started by hand, without one."""

    def start(self) -> None:
        """Called once, before the agent is told that this component is there: open ports, read state."""

    def stop(self) -> None:
        """Called once, when the component is to end in good order."""

    def become_active(self, role: Role) -> Later | None:
        """Provide `role.service` under `role.epoch` from now on."""
        return None

    def become_standby(self, role: Role) -> Later | None:
        """Stop providing the service, follow `role.active`."""
        return None

    def quiesce(self, role: Role) -> Later | None:
        """Accept no more updates and pass all state on."""
        return None

    def check(self) -> str | None:
        """Say what is wrong, None when well."""
        return None

    def position(self) -> Position | None:
        """Say how new the state is; None where none is held."""
        return None

    def recorded(self, standby: str) -> None:
        """The loss of `standby`, told by `tell_lost`, is recorded durably."""

    def connected(self) -> None:
        """The agent is (again) there and knows our role; what it must know beside that is to be said again."""

    def tell_unwell(self, reason: str) -> None:
        """Tell the agent that this component has failed, without waiting for its next check."""
        if self.session is not None:
            self.session.say(Unwell(reason))

    def tell_lost(self, standby: str, epoch: int) -> None:
        """Tell the agent that `standby` does not hold all state any more (see ReplicatedState)."""
        if self.session is not None:
            self.session.say(Lost(standby, epoch))

    def tell_synced(self, standby: str, epoch: int) -> None:
        """Tell the agent that every update waits for `standby` from now on (see ReplicatedState)."""
        if self.session is not None:
            self.session.say(Synced(standby, epoch))
