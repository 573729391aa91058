"""Who comes first when much is to be done at once, and how many are repaired at a time.

In: the turn. Out: an order of groups to plan; whether a repair may begin now; what waited and may go on. Always holds:
services come before repairs, those of SAL 1 before those of SAL 2; a repair that has to wait is remembered, and begins
when what it waited for is over: nothing is dropped.
"""

from holdfast.core.ha_turn import Turn
from holdfast.model.limits import REPAIRS_AT_ONCE
from holdfast.model.names import GroupName, HostName, VnfcName


def in_order(turn: Turn) -> list[GroupName]:
    """Groups to be planned: first those with a service to be recovered, by their SAL; then in the order of the news."""
    if len(turn.touched) == 1:
        return list(turn.touched)
    return sorted(turn.touched, key=lambda group: (not _is_interrupted(turn, group), turn.vnf(group).sal))


def _is_interrupted(turn: Turn, group: GroupName) -> bool:
    return any(service.state in ("interrupted", "held") for service in turn.groups[group].services.values())


def may_be_repaired(turn: Turn, group: GroupName, name: VnfcName) -> bool:
    """Whether this VNFC may be started again now, or has to wait for others.

    One without which its own service does not come back is no mere repair, and waits for nobody.
    """
    if turn.vnfc(name).run == 0 or _is_interrupted(turn, group):
        return True
    if turn.recovering:
        return False
    return _repairs_on(turn, turn.layout.vnfcs[name].host) < REPAIRS_AT_ONCE


def _repairs_on(turn: Turn, host: HostName) -> int:
    """A host that starts all its components at once is slow with each of them, and with what it serves meanwhile."""
    under_way = (turn.vnfc(name) for name in turn.on_host(host))
    return sum(now.run > 1 and now.doing is not None and now.doing.kind == "start" for now in under_way)


def begin_anew(turn: Turn) -> None:
    """A manager begins, and plans everything: nobody waits for what only an earlier one, or another layout, knew of."""
    turn.waiting = {}
    turn.recovering = {
        name: None
        for group in turn.groups.values()
        for name, now in group.vnfcs.items()
        if now.doing is not None and now.doing.kind == "activate"
    }


def wait_for_turn(turn: Turn, name: VnfcName) -> None:
    turn.waiting[name] = None


def next_of_waiting(turn: Turn) -> bool:
    """Have the group planned of the first that waited and need wait no more; False if there is none."""
    if not turn.has_room or not turn.waiting:
        return False
    for name in sorted(turn.waiting, key=lambda one: turn.vnf(turn.group_of(one)).sal):
        group = turn.group_of(name)
        if may_be_repaired(turn, group, name):
            del turn.waiting[name]
            turn.touch(group)
            return True
    return False
