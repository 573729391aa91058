"""What can be done to a world, live or simulated, as a contract: the deeds that the steps of a scenario consist of.

Every deed has taken effect when it returns; otherwise it raises `FaultFailed`, since a recovery from a fault that never
was proves nothing.
"""

from typing import Literal, Protocol

from holdfast.errors import WorldError
from holdfast.model.names import HostName, VmName, VnfcName, VnfName

Managers = str
"""`ha`, `vnfm`, `vim`, `all`, or the `supervisor` above them."""
AgentAndHot = Literal["with its hot process", "alone"]


class FaultFailed(WorldError):
    """The fault did not take effect."""


class Stuck(Exception):
    """What a step waits for did not happen within its limit."""


class Acts(Protocol):
    # --- time

    def now(self) -> float:
        """Seconds, on the clock that the lab's records have."""

    def let_pass(self, seconds: float) -> None:
        """Let the world go on for so long."""

    # --- components and VMs

    def kill_vnfc(self, name: VnfcName) -> None: ...

    def freeze_vnfc(self, name: VnfcName) -> None: ...

    def has_processes(self, name: VnfcName) -> bool: ...

    def kill_vm(self, name: VmName) -> None: ...

    def put_file(self, name: VnfcName, file: str) -> None:
        """Make an empty file in the VNFC's own folder."""

    def take_file(self, name: VnfcName, file: str) -> None: ...

    # --- hosts and agents

    def host_off(self, name: HostName) -> None: ...

    def host_on(self, name: HostName) -> None: ...

    def is_on(self, name: HostName) -> bool: ...

    def freeze_host(self, name: HostName) -> None:
        """Every process of it stands still; its kernel goes on."""

    def thaw_host(self, name: HostName) -> None: ...

    def kill_agent(self, name: HostName) -> None:
        """Its hot process, which holds the grants, goes on."""

    def stick_agent(self, name: HostName) -> None:
        """As if its loop were stuck; its hot process goes on."""

    def freeze_agent(self, name: HostName) -> None:
        """With its hot process."""

    def thaw_agent(self, name: HostName) -> None: ...

    def starve_agent(self, name: HostName) -> str:
        """Hardly any processor time for it and its hot process; how that is done."""

    def feed_agent(self, name: HostName) -> None: ...

    # --- managers and store

    def kill_managers(self, which: Managers) -> None: ...

    def hold_managers(self, which: Managers) -> None: ...

    def release_managers(self, which: Managers) -> None: ...

    def has_leader(self) -> bool:
        """Whether a manager leads that is on one of the hosts."""

    def leads_at(self, name: HostName) -> bool: ...

    def kill_leader(self) -> None: ...

    def move_store_leader(self, name: HostName) -> None: ...

    def kill_store(self, name: HostName) -> None: ...

    def start_store(self, name: HostName) -> None: ...

    def is_controlled(self) -> bool:
        """What a person asks with `holdfast status`: every manager answers, and no agent is missing."""

    def switch_over(self, vnf: VnfName, to: VnfcName | None = None) -> None:
        """As a person asks for it; Stuck when it is refused or does not end."""

    def lock(self, name: HostName) -> None:
        """A person says that the host is off; Stuck when that is refused or not taken."""

    def unlock(self, name: HostName) -> None: ...

    # --- network, power, all of it

    def cut(self, name: HostName, other: HostName | None, network: str) -> None:
        """The host from all others and from the managers; or the two from one another. On all networks, or on one."""

    def heal(self) -> None: ...

    def second_client(self) -> None:
        """Another machine outside asks the service too; it is answered when this returns."""

    def mislead(self, name: VnfcName) -> None:
        """From now on the second client takes this VNFC's VM for the owner of the service's address."""

    def set_fence_mode(self, name: HostName, mode: str, level: str) -> None: ...

    def down_and_up(self) -> None:
        """Everything off at once, and on again on the same disks."""
