"""The difference between what is wanted and what is, for one group of VNFCs: the actions that follow from it.

In: the turn after intake. Out: decisions, in the order isolate, recover, repair. Always holds: nothing that is
outstanding is decided again; nothing is started whose former run is not known gone; repair does not
begin while a take-over is under way.
"""

from msgspec.structs import replace

from holdfast.core import escalation
from holdfast.core.ha_adjust import plan_adjusting
from holdfast.core.ha_incidents import close_what_is_over, provided, raise_alarm, report
from holdfast.core.ha_pace import may_be_repaired, wait_for_turn
from holdfast.core.ha_roles import (
    outdated_reserve,
    plan_holding,
    plan_services,
    plan_standbys,
    take_over_under_way,
)
from holdfast.core.ha_standing import plan_standing_orders
from holdfast.core.ha_successor import blind_reserve
from holdfast.core.ha_turn import Reasons, Turn
from holdfast.core.ha_vms import ask_for_repair
from holdfast.core.ledger import UNANSWERED_S
from holdfast.model.actions import IsolateVnfc, StartVnfc, StopVnfc
from holdfast.model.names import GroupName, ServiceName, VnfcName
from holdfast.model.reasons import Reason


def plan(turn: Turn, group: GroupName) -> None:
    """Plan once; what this changes is planned again, until nothing is left to do."""
    turn.refusals = {}
    for name in turn.wanted(group).vnfcs:
        _plan_isolation(turn, group, name)
    if turn.wanted(group).role_is_assigned:
        plan_services(turn, group)
        plan_standbys(turn, group)
    else:
        _plan_serving(turn, group)
    _plan_starts(turn, group)
    _plan_renewal(turn, group)
    plan_holding(turn, group)
    close_what_is_over(turn, group)
    plan_adjusting(turn, group)
    plan_standing_orders(turn, group)


def _plan_isolation(turn: Turn, group: GroupName, name: VnfcName) -> None:
    now = turn.vnfc(name)
    vm = turn.vm_of(name)
    if now.phase in ("failed", "down"):
        ask_for_repair(turn, name)
    if now.phase != "failed" or now.failure is None:
        return
    if not now.stuck:
        if now.doing is None:
            action = IsolateVnfc(turn.desk.number(), name, now.run)
            limit_s = turn.component(group).cleanup_limit_s + UNANSWERED_S
            turn.order(name, "isolate", action, (now.failure,), limit_s)
        return
    reasons = (now.failure, *((now.proof,) if now.proof else ()))
    if vm is None:
        above = (*reasons, Reason("zone-above-unknown", name, "", turn.seen))
        turn.refuse("start", name, above, now.incident)
        raise_alarm(turn, group, f"not-isolated:{name}", f"{name} could not be isolated; it may still run", above)
    elif not now.zone_asked:
        turn.put(name, replace(turn.vnfc(name), zone_asked=True))
        report(turn, name, "cleanup failed", reasons, isolate_vm=True)
    elif turn.vms[vm].given_up is not None:
        raise_alarm(turn, group, f"not-isolated:{name}", f"{name} could not be isolated; it may still run", reasons)


def _plan_serving(turn: Turn, group: GroupName) -> None:
    """Where starting means serving, a VNFC that is ready provides its service."""
    for name, service in turn.groups[group].services.items():
        holder = turn.vnfc(service.holder) if service.holder else None
        if holder is not None and holder.ready and holder.phase == "ready" and service.state != "provided":
            provided(turn, name, holder.ready)


def _plan_starts(turn: Turn, group: GroupName) -> None:
    waits = take_over_under_way(turn, group)
    for name in turn.wanted(group).vnfcs:
        turn.waiting.pop(name, None)
    for name in _to_be_started(turn, group):
        now = turn.vnfc(name)
        if now.run > 0 and waits:
            continue
        obstacles = _obstacles(turn, group, name)
        if not obstacles:
            if may_be_repaired(turn, group, name):
                _start(turn, group, name)
            else:
                wait_for_turn(turn, name)
        elif now.run > 0 or obstacles[0].code == "dependency-missing":
            failure = (now.failure,) if now.failure else ()
            turn.refuse("start", name, (*failure, *obstacles), now.incident)
            _wait_for_probation(turn, group, name, (*failure, *obstacles))


def _wait_for_probation(turn: Turn, group: GroupName, name: VnfcName, reasons: Reasons) -> None:
    """Where no VM holds a VNFC that fails too often, nothing wider can be repaired: try again when the time is over."""
    end = escalation.ends_at(turn.vnfc(name).failures, turn.vnf(group).vnfc_escalation)
    if turn.vm_of(name) is None and end is not None and reasons[-1].code == "too-many-failures":
        turn.wakes[name] = end
        raise_alarm(turn, group, f"too-many-failures:{name}", f"{name} fails again and again", reasons)


def _to_be_started(turn: Turn, group: GroupName) -> list[VnfcName]:
    """VNFCs that are down and should not be, in order of preference."""
    wanted = turn.wanted(group)
    down = [name for name in wanted.vnfcs if turn.vnfc(name).phase == "down"]
    if not wanted.role_is_assigned:
        return [name for name in down if _own_service(turn, group, name) is not None]
    if wanted.reserve != "late-spare":
        return down
    live = sum(turn.vnfc(name).phase in ("starting", "ready", "stopping") for name in wanted.vnfcs)
    possible = [name for name in down if not _obstacles(turn, group, name)]
    # Where no start is possible, those in order of preference say why.
    return (possible or down)[: max(0, len(wanted.services) - live)]


def _own_service(turn: Turn, group: GroupName, name: VnfcName) -> ServiceName | None:
    """The service that a VNFC provides by being started, where no roles are assigned."""
    wanted = turn.wanted(group)
    place = wanted.vnfcs.index(name)
    return wanted.services[place] if place < len(wanted.services) else None


def _obstacles(turn: Turn, group: GroupName, name: VnfcName) -> Reasons:
    """What stands against starting a VNFC now."""
    now = turn.vnfc(name)
    for before in turn.wanted(group).after:
        services = turn.groups[before].services.values() if before in turn.groups else ()
        if any(service.state != "provided" for service in services):
            return (Reason("dependency-missing", before, "", turn.seen),)
    vm = turn.vm_of(name)
    if vm is None:
        host = turn.layout.vnfcs[name].host
        rule = turn.vnf(group).vnfc_escalation
        if escalation.exceeded(now.failures, rule, turn.now):
            detail = f"{now.failures.failures} within {rule.probation_s:g} s"
            return (Reason("too-many-failures", name, detail, now.failures.seen),)
        if turn.is_locked(host):
            return (Reason("host-locked", host, "", turn.seen),)
        return () if turn.agents.get(host) else (Reason("agent-away", host, "", turn.seen),)
    known = turn.vms[vm]
    if known.condemned is not None:
        return (known.condemned, Reason("vm-needed", vm, "", turn.seen))
    if known.up:
        return ()
    return (known.given_up or Reason("vm-needed", vm, "", known.news.seen if known.news else turn.seen),)


def _start(turn: Turn, group: GroupName, name: VnfcName) -> None:
    now = turn.vnfc(name)
    vm = turn.vm_of(name)
    reasons = _why_start(turn, group, name)
    service = None if turn.wanted(group).role_is_assigned else _own_service(turn, group, name)
    epoch = turn.next_epoch(group)
    boot = turn.vms[vm].boot if vm is not None else 0
    starting = replace(now, run=now.run + 1, boot=boot, epoch=epoch, phase="starting", role="none", follows=0)
    turn.put(name, starting)
    if service is not None:
        turn.put_service(service, replace(turn.service(service), holder=name, last=name, epoch=epoch))
    action = StartVnfc(turn.desk.number(), name, now.run + 1, epoch, service, boot)
    turn.order(name, "start", action, reasons)


def _why_start(turn: Turn, group: GroupName, name: VnfcName) -> Reasons:
    now = turn.vnfc(name)
    reasons: list[Reason] = []
    if now.failure is None:
        reasons.append(Reason("declared", name, "", turn.seen))
    vm = turn.vm_of(name)
    news = turn.vms[vm].news if vm is not None and turn.vms[vm].boot != now.boot else None
    incidents = turn.groups[group].incidents
    suffered = {one.service for one in incidents.values() if one.about == name}
    backs = [service.back for key, service in turn.groups[group].services.items() if key in suffered]
    lost = [service.lost for service in turn.groups[group].services.values() if service.state != "provided"]
    for reason in (now.failure, now.proof, *backs, *lost, news):
        if reason is not None and reason not in reasons:
            reasons.append(reason)
    return tuple(reasons)


def _plan_renewal(turn: Turn, group: GroupName) -> None:
    """Start one again to give it a fresh epoch before it is needed, or to learn what state it holds."""
    if take_over_under_way(turn, group):
        return
    found = outdated_reserve(turn, group) or blind_reserve(turn, group)
    if found is None:
        return
    name, reason = found
    component = turn.component(group)
    stop_s = component.stop.limit_s if component.stop is not None else 0.0
    now = turn.vnfc(name)
    turn.put(name, replace(now, phase="stopping"))
    action = StopVnfc(turn.desk.number(), name, now.run)
    turn.order(name, "stop", action, (reason,), stop_s + component.cleanup_limit_s + UNANSWERED_S)
