"""Giving a service back to the VNFC that is named first for it, where the descriptor asks for that (`auto-adjust`).

In: the turn as it stands. Out: a `Move`, which is carried out as any switchover is. Always holds: nothing is given back
while anything in the group fails, recovers or moves, nor before the preferred VNFC was well and in step for the whole
time in one run; a person's switchover is not undone; a preferred VNFC that fails again and again is waited for longer
each time.
"""

from msgspec.structs import replace

from holdfast.core.ha_state import Adjusting, Move, ServiceNow
from holdfast.core.ha_successor import choose
from holdfast.core.ha_turn import Turn
from holdfast.model.limits import ADJUSTING_DOUBLED_MAX, ADJUSTING_LASTS
from holdfast.model.names import GroupName, ServiceName, VnfcName
from holdfast.model.reasons import Reason


def plan_adjusting(turn: Turn, group: GroupName) -> None:
    wanted = turn.wanted(group)
    if wanted.auto_adjust_s is None or not wanted.role_is_assigned:
        return
    for name in wanted.services:
        _plan(turn, group, name, wanted.auto_adjust_s)


def preferred(turn: Turn, name: ServiceName) -> VnfcName:
    wanted = turn.wanted(turn.layout.services[name].group)
    return wanted.vnfcs[wanted.services.index(name)]


def adjusting_after(turn: Turn, name: ServiceName, to: VnfcName) -> Adjusting:
    """What becomes of it when the service is given to this one: whom a person has chosen keeps it."""
    service = turn.service(name)
    if service.move is None or service.move.reason.code != "operator-asked":
        return service.adjusting
    return replace(service.adjusting, by_hand=to != preferred(turn, name))


def adjusting_due(turn: Turn, name: ServiceName) -> None:
    """A time of waiting is over; whether anything stands against giving back is looked at when the group is planned."""
    now = turn.service(name)
    if now.adjusting.until is not None and now.adjusting.until <= turn.now:
        turn.put_service(name, replace(now, adjusting=replace(now.adjusting, until=None)))


def _plan(turn: Turn, group: GroupName, name: ServiceName, wait_s: float) -> None:
    service, first = turn.service(name), preferred(turn, name)
    known = service.adjusting
    is_settled = service.state == "provided" and service.move is None
    if is_settled and service.holder == first:
        _put(turn, name, replace(known, run=0, until=None, by_hand=False))
    elif not is_settled or known.by_hand or not _is_well(turn, group, service, first):
        _put(turn, name, replace(known, run=0, until=None))
    elif known.run != turn.vnfc(first).run:
        _put(turn, name, _begun(turn, known, turn.vnfc(first).run, wait_s))
    elif known.until is None and _is_quiet(turn, group, name, first):
        well = f"{_length_s(known, wait_s):g} s"
        ready = turn.vnfc(first).ready
        reason = Reason("auto-adjust", first, well, (*(ready.seen if ready else ()), *turn.seen))
        given = replace(known, run=0, last=turn.now)
        turn.put_service(name, replace(service, move=Move(first, reason), tried=0, adjusting=given))


def _put(turn: Turn, name: ServiceName, now: Adjusting) -> None:
    service = turn.service(name)
    if service.adjusting != now:
        turn.put_service(name, replace(service, adjusting=now))


def _begun(turn: Turn, known: Adjusting, run: int, wait_s: float) -> Adjusting:
    """Wait anew: twice as long as the last time, if what was given back then did not stay there for long."""
    stayed_s = None if known.last is None else turn.now - known.last
    was_short = stayed_s is not None and stayed_s < ADJUSTING_LASTS * _length_s(known, wait_s)
    doubled = min(known.doubled + 1, ADJUSTING_DOUBLED_MAX) if was_short else 0
    begun = replace(known, run=run, doubled=doubled, last=None)
    return replace(begun, until=turn.now + _length_s(begun, wait_s))


def _length_s(known: Adjusting, wait_s: float) -> float:
    return float(wait_s * 2**known.doubled)


def _is_well(turn: Turn, group: GroupName, service: ServiceNow, name: VnfcName) -> bool:
    """Whether time counts for it: any break, of the link to its agent too, begins the time anew."""
    now, vm, host = turn.vnfc(name), turn.vm_of(name), turn.layout.vnfcs[name].host
    in_step = turn.wanted(group).state != "internal" or name in service.in_sync
    in_good_vm = vm is None or (turn.vms[vm].up and turn.vms[vm].condemned is None)
    return now.phase == "ready" and in_step and in_good_vm and turn.is_reachable(host) and not turn.is_locked(host)


def _is_quiet(turn: Turn, group: GroupName, name: ServiceName, first: VnfcName) -> bool:
    """Whether nothing else is under way: a recovery, a repair, a move, a change of role."""
    now = turn.groups[group]
    if now.incidents or turn.held_by(first) or any(one.doing is not None for one in now.vnfcs.values()):
        return False
    if any(one.state != "provided" or one.move is not None or one.unconfirmed for one in now.services.values()):
        return False
    return choose(turn, name, first).vnfc == first
