"""What an agent needs so that at most one host is active for a service: a claim before a role, a release after it.

`Unguarded` is what there is on one machine, where one manager decides and everybody obeys. `HeldGrants`
(agent_grants.py) is what several hosts have, by grants.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from holdfast.errors import WorldError
from holdfast.model.actions import StandingOrder
from holdfast.model.events import Silence
from holdfast.model.granting import VoterSet
from holdfast.model.layout import Service
from holdfast.model.names import HostName, ServiceName
from holdfast.runtime.hot_lateness import Lateness
from holdfast.runtime.hot_rights import Rights


class Told(Protocol):
    """Whom the grants tell of what they did not do at the agent's own wish."""

    def begun(
        self, held: Mapping[ServiceName, int], claimed: Collection[ServiceName] | None, orders: Sequence[StandingOrder]
    ) -> None:
        """How things stand when the agent starts: epochs of what is held, what is claimed, orders that are followed."""

    def taken(self, service: ServiceName, epoch: int) -> None:
        """The service is ours by a standing order."""

    def taking(self, service: ServiceName, epoch: int, why: str) -> None:
        """A standing order is being followed; `taken` comes if that succeeds."""

    def not_held(self, service: ServiceName, epoch: int, how: str, why: str) -> None:
        """lapsed: the kernel has stopped answering for now; lost: it is somebody else's."""

    def held_again(self, service: ServiceName, epoch: int) -> None:
        """After a lapse."""

    def host_changed(self, host: HostName, failed: bool, detail: str, life: int) -> None:
        """Another host is found failed by its peers, or heard again."""

    def heard_again(self, host: HostName) -> None:
        """Something comes of another host that was suspected or failed: its first word after the silence."""

    def network_changed(self, host: HostName, network: str, lost: bool, detail: str) -> None:
        """Another host is heard on one network between us and not on this one; or that is over."""

    def said(self, name: str, about: str, detail: str) -> None:
        """Something worth a line in the journal."""

    def grants_gone(self) -> None:
        """The process that held the grants is gone; nothing is held any more."""


class Exclusivity(Protocol):
    @property
    def is_shared(self) -> bool:
        """Whether other hosts may claim what is given up here."""

    @property
    def gate_is_timed(self) -> bool: ...

    @property
    def life(self) -> int:
        """Which life of this host the others hear; 0 where none hears it."""

    def ask_silent(self, answer: Callable[[tuple[Silence, ...]], None]) -> None:
        """Answers which hosts are found failed and are not heard at this moment either, or not on one network.

        In order with other news.
        """

    refused: Callable[[Mapping[str, int]], None]
    """Told now and then how many datagrams of other hosts were refused, by reason."""
    began: Callable[[Rights], None]
    """Told what the machine has given the process that holds the grants."""
    pulsed: Callable[[Lateness], None]
    """Told now and then how late the process was that holds the grants."""
    lapsed: Callable[[], None]
    """Told of each grant that has run out unrenewed."""

    async def open(self, told: Told) -> None: ...

    async def guard(self, port: str) -> None:
        """Keep a VM's port by the end of the grant too."""

    async def claim(self, service: Service, epoch: int) -> None:
        """Returns when a majority has recorded the claim and the kernel answers; HoldfastError if that cannot be."""

    def give_up(self, service: ServiceName) -> None:
        """The service is let go; others may claim it as soon as the kernel has stopped answering here."""

    async def follow(self, order: StandingOrder) -> None:
        """Returns when nothing can come of an older order any more; what has come of one has been told before."""

    @property
    def voters(self) -> VoterSet | None:
        """What the voter of this host goes by; None where there is none."""

    async def set_voters(self, voters: VoterSet, *, use: bool) -> str:
        """Returns when it is on disk; with `use`, when the voter goes by it, or by a newer one."""

    async def take_epochs(self, epochs: Mapping[ServiceName, int]) -> dict[ServiceName, int]:
        """Have the voter go by these epochs; answer below which number it refuses claims."""

    async def close(self, *, end_all: bool) -> None: ...


class Unguarded:
    """No grants: whatever the managers say is done."""

    is_shared = False
    gate_is_timed = False
    life = 0
    voters = None

    def __init__(self) -> None:
        self.refused: Callable[[Mapping[str, int]], None] = lambda _: None
        self.began: Callable[[Rights], None] = lambda _: None
        self.pulsed: Callable[[Lateness], None] = lambda _: None
        self.lapsed: Callable[[], None] = lambda: None

    def ask_silent(self, answer: Callable[[tuple[Silence, ...]], None]) -> None:
        answer(())

    async def open(self, told: Told) -> None:
        return

    async def guard(self, port: str) -> None:
        return

    async def claim(self, service: Service, epoch: int) -> None:
        return

    def give_up(self, service: ServiceName) -> None:
        return

    async def follow(self, order: StandingOrder) -> None:
        return

    async def set_voters(self, voters: VoterSet, *, use: bool) -> str:
        raise WorldError("nobody votes here: this deployment has no grants")

    async def take_epochs(self, epochs: Mapping[ServiceName, int]) -> dict[ServiceName, int]:
        raise WorldError("nobody votes here: this deployment has no grants")

    async def close(self, *, end_all: bool) -> None:
        return
