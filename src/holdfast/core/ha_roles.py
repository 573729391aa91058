"""Roles: give a service to a successor, have standbys follow it, move it in good order, hold it where that is safer.

In: the turn after intake. Out: Activate, StandBy, Quiesce, and what is said about a service that is held.
Always holds: a service is given only while nobody holds it, and under a higher epoch than ever before.
"""

from msgspec.structs import replace

from holdfast.core.ha_adjust import adjusting_after
from holdfast.core.ha_incidents import interrupt, raise_alarm
from holdfast.core.ha_standing import cannot_be_told, is_next
from holdfast.core.ha_state import GroupNow, Move, ServiceNow
from holdfast.core.ha_successor import Choice, choose, epoch_floor, is_first_start, outdated
from holdfast.core.ha_turn import Reasons, Turn
from holdfast.core.ledger import UNANSWERED_S
from holdfast.model.actions import Activate, NoteService, Quiesce, Refuse, StandBy
from holdfast.model.layout import grant_suffices
from holdfast.model.limits import ORDERS_KNOWN_WAIT_S
from holdfast.model.names import GroupName, ServiceName, VnfcName
from holdfast.model.reasons import Reason


def plan_services(turn: Turn, group: GroupName) -> None:
    """Give each free service of the group a holder; the longest interrupted one first."""
    services = turn.groups[group].services
    for name in sorted(services, key=lambda one: services[one].interruption):
        service = turn.service(name)
        if service.holder is None:
            move = service.move
            choice = choose(turn, name, move.to if move else None)
            if choice.vnfc is not None:
                _give(turn, name, choice)
        elif service.move is not None:
            _plan_move(turn, name)


def take_over_under_way(turn: Turn, group: GroupName) -> bool:
    """Whether an interrupted service is about to be given to a successor: repair waits that long."""
    for name, service in turn.groups[group].services.items():
        if service.state in ("waiting", "provided") or service.holder is None:
            continue
        holder = turn.vnfc(service.holder)
        if holder.phase == "ready":
            return True
        if holder.phase == "failed" and not holder.stuck and choose(turn, name).vnfc is not None:
            return True
    return False


def _give(turn: Turn, name: ServiceName, choice: Choice) -> None:
    vnfc = choice.vnfc
    if vnfc is None:
        return
    service = turn.service(name)
    group = turn.layout.services[name].group
    before = turn.vnfc(vnfc)
    epoch = before.epoch if before.epoch > epoch_floor(turn, name) else turn.next_epoch(group)
    keeps = choice.certain and turn.wanted(group).state == "internal"
    in_sync = _still_in_sync(turn.groups[group], service, vnfc) if keeps else ()
    given = replace(
        service,
        holder=vnfc,
        last=vnfc,
        epoch=epoch,
        in_sync=in_sync,
        tried=service.tried + 1,
        move=None,
        behind=False,
        adjusting=adjusting_after(turn, name, vnfc),
    )
    turn.put(vnfc, replace(before, epoch=epoch, role="none"))
    turn.put_service(name, given)
    if not is_first_start(turn, group):
        for waited in turn.wanted(group).vnfcs:
            turn.wakes.pop(waited, None)
    action = Activate(turn.desk.number(), vnfc, before.run, name, epoch, in_sync)
    reasons = (*why_free(turn, service, vnfc), *choice.reasons)
    limit_s = turn.component(group).role_limit_s + UNANSWERED_S
    turn.order(vnfc, "activate", action, reasons, limit_s, turn.incident_of(name))


def _still_in_sync(group: GroupNow, service: ServiceNow, chosen: VnfcName) -> tuple[VnfcName, ...]:
    """Standbys that need not be brought up to date first.

    They followed the former active to its end, or were the active and gave the service up in good order: so the
    service can go back to it should the chosen one fail.
    """

    def has_all(one: VnfcName) -> bool:
        role = group.vnfcs[one].role
        return (role == "standby" and one in service.in_sync) or (role == "quiescing" and one == service.last)

    return tuple(one for one, now in group.vnfcs.items() if one != chosen and now.phase == "ready" and has_all(one))


def why_free(turn: Turn, service: ServiceNow, successor: VnfcName | None = None) -> Reasons:
    """Why nobody has the service: what became of its last holder, and how that is known."""
    reasons = [service.lost] if service.lost is not None else []
    if service.last is not None and service.last != successor:
        proof = turn.vnfc(service.last).proof
        if proof is not None:
            reasons.append(proof)
    if service.move is not None:
        reasons.append(service.move.reason)
    return tuple(dict.fromkeys(reasons))


def _plan_move(turn: Turn, name: ServiceName) -> None:
    """A switchover: have the active give the service up, if there is somebody to take it."""
    service = turn.service(name)
    move, holder = service.move, service.holder
    if move is None or holder is None or turn.vnfc(holder).doing is not None:
        return
    services = turn.groups[turn.group_of(holder)].services
    if any(one.state == "interrupted" for other, one in services.items() if other != name):
        return  # One after the other: whoever is free can take one, and its former active may take the next.
    choice = choose(turn, name, move.to)
    wrong = move.to is not None and choice.vnfc != move.to
    if service.state != "provided" or choice.vnfc is None or wrong or move.to == holder:
        reasons = choice.reasons if choice.vnfc is None else (Reason("no-successor", move.to or name, "", turn.seen),)
        _refuse_move(turn, name, reasons)
        return
    if not is_next(turn, name, choice.vnfc):
        _put_first(turn, name, move, choice.vnfc)
        return
    now = turn.vnfc(holder)
    action = Quiesce(turn.desk.number(), holder, now.run, name, service.epoch)
    limit_s = turn.component(turn.group_of(holder)).role_limit_s + UNANSWERED_S
    turn.order(holder, "quiesce", action, (move.reason, *choice.reasons), limit_s)
    interrupt(turn, name, (move.reason,))
    turn.put_service(name, replace(turn.service(name), move=move))


def _put_first(turn: Turn, name: ServiceName, move: Move, vnfc: VnfcName) -> None:
    """Another one would take the service as soon as it is let go: first the order, then the holder."""
    holder = turn.service(name).holder
    if away := cannot_be_told(turn, name):
        _refuse_move(turn, name, away)
    elif move.until and turn.now >= move.until:
        late = f"a standing order with {vnfc} first, {ORDERS_KNOWN_WAIT_S:g} s"
        _refuse_move(turn, name, (Reason("time-limit-passed", name, late, turn.seen),))
    elif holder is not None and move.first != vnfc:
        until = move.until or turn.now + ORDERS_KNOWN_WAIT_S
        turn.wakes[holder] = until
        turn.put_service(name, replace(turn.service(name), move=replace(move, first=vnfc, until=until)))


def _refuse_move(turn: Turn, name: ServiceName, reasons: Reasons) -> None:
    service = turn.service(name)
    if service.move is not None:
        turn.put_service(name, replace(service, move=None))
        what = "give-back" if service.move.reason.code == "auto-adjust" else "switchover"
        turn.note(Refuse(what, name), (service.move.reason, *reasons))


def plan_standbys(turn: Turn, group: GroupName) -> None:
    """Each standby follows the present active, under its present epoch."""
    if turn.wanted(group).reserve != "standby":
        return
    for name, service in turn.groups[group].services.items():
        if service.state != "provided" or service.holder is None:
            continue
        for vnfc in turn.wanted(group).vnfcs:
            now = turn.vnfc(vnfc)
            # One that follows a higher epoch than we know knows more than we do: its active will be heard of.
            follows = now.role == "standby" and now.follows >= service.epoch
            if now.phase != "ready" or now.doing is not None or turn.held_by(vnfc) or follows:
                continue
            told = f"active for {name}, epoch {service.epoch}"
            seen = service.back.seen if service.back else turn.seen
            reasons = (*((now.ready,) if now.ready else ()), Reason("role-assigned", service.holder, told, seen))
            turn.put(vnfc, replace(now, role="standby", follows=service.epoch))
            action = StandBy(turn.desk.number(), vnfc, now.run, name, service.epoch, service.holder)
            turn.order(vnfc, "stand-by", action, reasons, turn.component(group).role_limit_s + UNANSWERED_S)


def plan_holding(turn: Turn, group: GroupName) -> None:
    """Say what is not done about a service that nobody provides, and hold it where nothing is on its way."""
    for name, service in turn.groups[group].services.items():
        if service.state == "provided":
            continue
        stuck = _stuck(turn, service)
        if stuck:
            lost = (service.lost,) if service.lost else ()
            turn.refuse("take-over", name, (*lost, *stuck), turn.incident_of(name))
            if not _zone_may_be_isolated(turn, service):
                _hold(turn, name, stuck)
        elif unsafe := _must_be_off(turn, group, service):
            turn.refuse("take-over", name, unsafe, turn.incident_of(name))
            _hold(turn, name, unsafe)
        elif service.holder is None and not _is_coming(turn, group):
            reasons = choose(turn, name).reasons
            if service.state != "waiting" or reasons[0].code != "no-successor":
                turn.refuse("take-over", name, (*why_free(turn, service), *reasons), turn.incident_of(name))
            if service.state != "waiting" or service.last is not None:
                _hold(turn, name, (*why_free(turn, service), *reasons))


def _stuck(turn: Turn, service: ServiceNow) -> Reasons:
    if service.holder is None or not turn.vnfc(service.holder).stuck:
        return ()
    now = turn.vnfc(service.holder)
    vm = turn.vm_of(service.holder)
    proof = (now.proof,) if now.proof else ()
    if vm is None:
        return (*proof, Reason("zone-above-unknown", service.holder, "", turn.seen))
    given_up = turn.vms[vm].given_up
    return (*proof, given_up if given_up else Reason("already-in-repair", vm, "its isolation was asked for"))


def _must_be_off(turn: Turn, group: GroupName, service: ServiceNow) -> Reasons:
    """Why a service of a failed host is not taken over yet, though the grant there has ended."""
    if service.holder is None or turn.vnfc(service.holder).phase != "failed":
        return ()
    host = turn.layout.vnfcs[service.holder].host
    if host not in turn.failed_hosts or grant_suffices(turn.layout, group):
        return ()
    return (turn.failed_hosts[host], Reason("must-be-off", host, group, turn.seen))


def _zone_may_be_isolated(turn: Turn, service: ServiceNow) -> bool:
    vm = turn.vm_of(service.holder) if service.holder else None
    return vm is not None and turn.vms[vm].given_up is None


def _is_coming(turn: Turn, group: GroupName) -> bool:
    """Whether one that is being started is the normal way on, as opposed to a repair that happens to help."""
    wanted = turn.wanted(group)
    normal = wanted.reserve == "late-spare" or len(wanted.vnfcs) <= len(wanted.services)
    return normal and any(now.phase in ("starting", "stopping") for now in turn.groups[group].vnfcs.values())


def _hold(turn: Turn, name: ServiceName, reasons: Reasons) -> None:
    service = turn.service(name)
    group = turn.layout.services[name].group
    if service.state == "interrupted":
        turn.put_service(name, replace(service, state="held"))
        turn.note(NoteService(name, "held", None, service.epoch), reasons, turn.incident_of(name))
    raise_alarm(turn, group, f"held:{name}", f"service {name} is held: nothing may take it over now", reasons)


def outdated_reserve(turn: Turn, group: GroupName) -> tuple[VnfcName, Reason] | None:
    """A free VNFC whose reserved number is used up, where a running component cannot learn another one."""
    if turn.can_be_told(group) or not turn.wanted(group).role_is_assigned:
        return None
    for vnfc, now in turn.groups[group].vnfcs.items():
        if now.phase != "ready" or now.doing is not None or turn.held_by(vnfc):
            continue
        for name in turn.groups[group].services:
            if now.epoch <= epoch_floor(turn, name):
                return vnfc, outdated(turn, vnfc, name)
    return None
