"""What an agent does when its grants tell it something that it did not ask for.

In:   services that have become ours by a standing order, claims that are lost, hosts that have failed.
Out:  a component made active (and the manager told afterwards), a component cut off, events.
Always: a take-over by standing order is the same `Activate` as a manager's, under the number that was reserved, and is
decided with its reasons; what cannot be carried out is given up, so that the next successor may try.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from holdfast.model.actions import Activate, StandingOrder, Successor
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    Event,
    HostFailed,
    HostReturned,
    NetworkHeard,
    NetworkSilent,
    ServiceTaken,
)
from holdfast.model.names import ActionId, HostName, Party, ServiceName, VnfcName
from holdfast.model.reasons import Reason
from holdfast.model.records import TAKING
from holdfast.runtime.agent_vnfc import VnfcOnHost
from holdfast.runtime.exclusivity import Exclusivity

CarryOut = Callable[[Activate, tuple[Reason, ...]], Awaitable[ActionDone | ActionFailed]]
"""Carries out what the agent has decided by itself, and writes it down with its reasons."""


class StandingTakeOver:
    """Carries standing orders out on one host."""

    def __init__(
        self,
        host: HostName,
        lives: Mapping[VnfcName, VnfcOnHost],
        exclusive: Exclusivity,
        carry_out: CarryOut,
        emit: Callable[[Event], None],
        mark: Callable[[str, str, str], None],
        announce: Callable[[str], None],
    ) -> None:
        """
        Args:
            announce: has every address that is provided here announced again, for the reason given.
        """
        self._host, self._lives, self._exclusive = host, lives, exclusive
        self._carry_out, self._emit, self._mark, self._announce = carry_out, emit, mark, announce
        self._over: Callable[[str], None] = lambda why: None
        self._orders: dict[ServiceName, StandingOrder] = {}
        self._under_way: dict[asyncio.Task[None], ServiceName] = {}
        self._why: dict[ServiceName, str] = {}
        """Why the service was free when it was last taken over here."""
        self._found: dict[ServiceName, int] = {}
        self._claimed: Collection[ServiceName] | None = None
        self._is_adopted = asyncio.Event()

    def adopted(self) -> None:
        """What an earlier agent has left is known: bring together what runs, and what is held for it.

        While no agent was there a service may have become ours by a standing order, or may have been lost.
        """
        self._is_adopted.set()
        provided = {service for life in self._lives.values() for service in life.provides}
        for service, epoch in self._found.items():
            if service not in provided:
                self.taking(service, epoch, "it became ours while no agent was there")
                self.taken(service, epoch)
        for service in sorted(provided):
            if self._claimed is not None and service not in self._claimed:
                self._lose(service, "its grant ended while no agent was there")
        if provided:
            self._announce("the agent has started again")

    async def order(self, order: StandingOrder) -> str:
        """Returns when an older order is not followed any more, and what was taken over by it has been told."""
        known = self._orders.get(order.service)
        if known is None or known.number < order.number:
            self._orders[order.service] = order
        await self._exclusive.follow(order)
        under_way = [task for task, service in self._under_way.items() if service == order.service]
        if under_way:
            await asyncio.wait(under_way)
        return "known"

    async def close(self) -> None:
        for task in tuple(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    # --- what the grants tell

    def begun(
        self, held: Mapping[ServiceName, int], claimed: Collection[ServiceName] | None, orders: Sequence[StandingOrder]
    ) -> None:
        self._found, self._claimed = dict(held), claimed
        self._orders = {order.service: order for order in orders}

    def taken(self, service: ServiceName, epoch: int) -> None:
        task = asyncio.get_running_loop().create_task(self._take_over(service, epoch), name=f"take over {service}")
        self._under_way[task] = service
        task.add_done_callback(self._under_way.pop)

    async def _take_over(self, service: ServiceName, epoch: int) -> None:
        await self._is_adopted.wait()
        order = self._orders.get(service)
        chosen = next((one for one in order.successors if one.epoch == epoch), None) if order is not None else None
        if order is None or chosen is None or chosen.vnfc not in self._lives:
            self._mark("nothing-to-take-over", service, f"epoch {epoch} is in no order that is known")
            self._exclusive.give_up(service)
            return
        self._lives[chosen.vnfc].is_claimed_for(service)
        number = ActionId(f"{Party('standing')}/{service}/{epoch}")
        action = Activate(number, chosen.vnfc, chosen.run, service, epoch, chosen.in_sync)
        outcome = await self._carry_out(action, self._reasons(service, order, chosen))
        if isinstance(outcome, ActionDone):
            self._emit(ServiceTaken(chosen.vnfc, chosen.run, service, epoch, chosen.in_sync))
        else:
            self._mark("take-over-failed", service, outcome.why)
            self._exclusive.give_up(service)

    def _reasons(self, service: ServiceName, order: StandingOrder, chosen: Successor) -> tuple[Reason, ...]:
        why = self._why.pop(service, "")
        free = (Reason("nobody-holds", service, why),) if why else ()
        place = f"number {order.successors.index(chosen) + 1} of {len(order.successors)}"
        return (*free, Reason("standing-order", chosen.vnfc, f"{place} in order {order.number}, epoch {chosen.epoch}"))

    def taking(self, service: ServiceName, epoch: int, why: str) -> None:
        self._mark(TAKING, service, f"epoch {epoch}: {why}")
        self._why[service] = why

    def not_held(self, service: ServiceName, epoch: int, how: str, why: str) -> None:
        self._mark(f"grant-{how}", service, f"epoch {epoch}: {why}")
        if how == "lost":
            self._lose(service, f"its claim under epoch {epoch} is over: {why}")

    def held_again(self, service: ServiceName, epoch: int) -> None:
        self._mark("grant-regained", service, f"epoch {epoch}")
        self._announce(f"the grant of {service} was regained")

    def host_changed(self, host: HostName, failed: bool, detail: str, life: int) -> None:
        self._emit(HostFailed(host, self._host, detail, life) if failed else HostReturned(host, self._host))

    def heard_again(self, host: HostName) -> None:
        self._announce(f"{host} is heard again")

    def network_changed(self, host: HostName, network: str, lost: bool, detail: str) -> None:
        event = NetworkSilent(host, self._host, network, detail) if lost else NetworkHeard(host, self._host, network)
        self._emit(event)
        if not lost:
            self._announce(f"{host} is heard on the {network} network again")

    def said(self, name: str, about: str, detail: str) -> None:
        self._mark(name, about, detail)

    def when_over(self, told: Callable[[str], None]) -> None:
        self._over = told

    def grants_gone(self) -> None:
        self._mark("grants-gone", self._host, "the hot process has ended")
        for life in self._lives.values():
            if life.provides:
                life.lose("the process that held its grant has ended")
        # An agent that starts again starts another hot process, closes its kernel, and tells everybody of its new life.
        self._over("the hot process has ended")

    def _lose(self, service: ServiceName, why: str) -> None:
        for life in self._lives.values():
            if service in life.provides:
                life.lose(why)
