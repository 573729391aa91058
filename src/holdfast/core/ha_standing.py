"""Standing orders: who succeeds whom, decided while all is well, so that nothing need be asked when it is not.

In: the turn after planning. Out: StandingOrder for the agents of the holder and of every successor, whenever the order
has changed. Always holds: each successor has a number of its own, higher than the holder's and than every seal; for a
service with state only standbys that hold all acknowledged state are named, and one that was lost is sealed out by
ConfirmLoss before an update is acknowledged without it.
"""

from msgspec.structs import replace

from holdfast.core.ha_state import OrderNow, ServiceNow
from holdfast.core.ha_successor import choose, epoch_floor
from holdfast.core.ha_turn import Reasons, Turn
from holdfast.model.actions import StandingOrder, Successor
from holdfast.model.events import Position
from holdfast.model.layout import grant_suffices
from holdfast.model.names import GroupName, HostName, ServiceName, VnfcName
from holdfast.model.reasons import Reason


def plan_standing_orders(turn: Turn, group: GroupName) -> None:
    if not _are_given(turn, group):
        return
    for name, service in turn.groups[group].services.items():
        if service.holder is None and choose(turn, name).awaits_heirs:
            successors: tuple[Successor, ...] = ()  # Nobody gets it by an order; whoever has taken it says so.
        elif service.state == "provided" and service.holder is not None:
            successors = _successors(turn, group, name, service)
        else:
            continue
        wanted = OrderNow(service.holder, service.epoch, successors, service.ordered.number + 1)
        if replace(wanted, number=service.ordered.number) == service.ordered:
            continue
        now = turn.service(name)
        heirs = tuple(dict.fromkeys((*now.heirs, *successors)))
        turn.put_service(name, replace(now, ordered=wanted, heirs=heirs))
        _let_out(turn, name, wanted, _reasons(turn, service, successors))


def _are_given(turn: Turn, group: GroupName) -> bool:
    return grant_suffices(turn.layout, group) and turn.wanted(group).role_is_assigned


def is_next(turn: Turn, name: ServiceName, vnfc: VnfcName) -> bool:
    """Whether it is this one that gets the service if its holder lets it go now.

    The first successor of an order takes the service by itself as soon as it is let go, before any manager could have
    given it to another one.
    """
    group = turn.layout.services[name].group
    if not _are_given(turn, group):
        return True
    service = turn.service(name)
    first = next((one.vnfc for one in service.ordered.successors), None)
    return (service.ordered.holder, first) == (service.holder, vnfc) and not _untold(turn, name)


def _untold(turn: Turn, name: ServiceName) -> list[HostName]:
    """Hosts that may follow an order older than the last one. One that no other host hears can claim nothing."""
    waiting = {one.host for one in turn.desk.awaited(name) if isinstance(one, StandingOrder) and one.service == name}
    concerned = {turn.layout.vnfcs[one.vnfc].host for one in turn.service(name).heirs}
    return [
        host
        for host in _hosts(turn, name)
        if host in waiting and (turn.is_reachable(host) or host in concerned) and host not in turn.failed_hosts
    ]


def cannot_be_told(turn: Turn, name: ServiceName) -> Reasons:
    """Hosts that may follow an older order and whose agents cannot be reached to be told a newer one."""
    away = [host for host in _untold(turn, name) if not turn.is_reachable(host)]
    return tuple(Reason("agent-away", host, "", turn.seen) for host in away)


def order_known(turn: Turn, order: StandingOrder) -> None:
    """That host follows no older order any more, and has not followed one, or would have said so before.

    But for what it held before it was lost itself: nobody there remembers whether an heir that is gone had taken over.
    """
    service = turn.service(order.service)
    if order.number != service.ordered.number:
        return

    def may_still_have(one: Successor) -> bool:
        return turn.layout.vnfcs[one.vnfc].host != order.host or one in order.successors or _is_forgotten(turn, one)

    heirs = tuple(one for one in service.heirs if may_still_have(one))
    if heirs != service.heirs:
        turn.put_service(order.service, replace(service, heirs=heirs))
    if heirs != service.heirs or service.move is not None:
        turn.touch(turn.layout.services[order.service].group)


def _is_forgotten(turn: Turn, heir: Successor) -> bool:
    """Whether it may have taken over and acknowledged updates before it ended, with all who knew of that.

    While there is an active, a seal rules it out; its state, when it is started again, tells.
    """
    now = turn.vnfc(heir.vnfc)
    lives = now.phase == "ready" and now.run == heir.run
    return turn.wanted(turn.group_of(heir.vnfc)).state == "internal" and not lives


def started_again(turn: Turn, name: VnfcName, run: int, position: Position) -> None:
    """What it holds as it starts: nothing of an epoch means that it has acknowledged nothing under it, and never will.

    It is asked now: what it holds later, when it has followed an active, says nothing of what it held before.
    """

    def is_over(one: Successor) -> bool:
        return one.vnfc == name and one.run < run and position.epoch < one.epoch

    for key, service in turn.groups[turn.group_of(name)].services.items():
        heirs = tuple(one for one in service.heirs if not is_over(one))
        if heirs != service.heirs:
            turn.put_service(key, replace(turn.service(key), heirs=heirs))


def sealed(turn: Turn, name: ServiceName, epoch: int) -> None:
    """A majority knows this number, so no order for a lower one (or this one) can be followed any more."""
    service = turn.service(name)
    turn.put_service(name, replace(service, heirs=tuple(one for one in service.heirs if one.epoch > epoch)))


def _successors(turn: Turn, group: GroupName, name: ServiceName, service: ServiceNow) -> tuple[Successor, ...]:
    found = []
    first = service.move.first if service.move is not None else None
    for vnfc in sorted(turn.wanted(group).vnfcs, key=lambda one: one != first):
        now = turn.vnfc(vnfc)
        reachable = turn.is_reachable(turn.layout.vnfcs[vnfc].host)
        has_given_up = now.role == "quiescing" and vnfc != first
        if now.phase != "ready" or turn.held_by(vnfc) or not reachable or has_given_up:
            continue
        if turn.wanted(group).state == "internal" and vnfc not in service.in_sync:
            continue
        epoch = _number_for(turn, group, name, vnfc)
        if epoch is not None:
            others = tuple(one for one in service.in_sync if one != vnfc)
            found.append(Successor(vnfc, now.run, epoch, others))
    return tuple(found)


def _number_for(turn: Turn, group: GroupName, name: ServiceName, vnfc: VnfcName) -> int | None:
    """The number reserved for it; None where it has none that is high enough and cannot learn another."""
    now = turn.vnfc(vnfc)
    if now.epoch > epoch_floor(turn, name):
        return now.epoch
    if not turn.can_be_told(group):
        return None
    epoch = turn.next_epoch(group)
    turn.put(vnfc, replace(turn.vnfc(vnfc), epoch=epoch))
    return epoch


def _reasons(turn: Turn, service: ServiceNow, successors: tuple[Successor, ...]) -> Reasons:
    asked = (service.move.reason,) if service.move is not None else ()
    ready = [turn.vnfc(one.vnfc).ready for one in successors]
    reasons = [reason for reason in (*asked, service.back, *ready) if reason is not None]
    return tuple(reasons) or (Reason("no-successor", service.holder or "", "", turn.seen),)


def _let_out(turn: Turn, name: ServiceName, order: OrderNow, reasons: Reasons) -> None:
    turn.desk.drop(name, lambda action: isinstance(action, StandingOrder) and action.service == name)
    for host in _hosts(turn, name):
        action = StandingOrder(
            turn.desk.number(), host, name, order.number, order.holder, order.epoch, order.successors
        )
        turn.desk.order(action, reasons)


def _hosts(turn: Turn, name: ServiceName) -> list[HostName]:
    """Every host of the group: one that is no successor any more must know that too."""
    group = turn.layout.services[name].group
    return list(dict.fromkeys(turn.layout.vnfcs[vnfc].host for vnfc in turn.wanted(group).vnfcs))
