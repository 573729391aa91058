"""What an agent sees, and our memory does not reach: where agents hold grants, it is taken for what it is.

The store was restored from an older snapshot, or the last writes of a leader that was killed are lost. In: the facts
about one VNFC. Out: the changed state. Always holds: a service is with whoever serves it under a higher epoch than we
know, since a majority has agreed to that; if it is not with whom we remember, it is given to nobody before all agents
of its VNFCs' hosts have been heard, and nobody counts as having all acknowledged state for what we remember.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from holdfast.core.ha_hosts import service_taken
from holdfast.core.ha_incidents import interrupt
from holdfast.core.ha_turn import Turn
from holdfast.model.actions import ConfirmLoss
from holdfast.model.events import ServiceTaken, VnfcFact
from holdfast.model.names import GroupName, VmName, VnfcName
from holdfast.model.reasons import Reason


def taken_for_what_it_is(turn: Turn, name: VnfcName, fact: VnfcFact, boots: Mapping[VmName, int]) -> bool:
    """Go on from a run that we do not know; False if it has to be ended, and started anew."""
    group = turn.wanted(turn.group_of(name))
    if fact.condition != "ready" or not group.role_is_assigned:
        return False
    if fact.role == "active" and fact.services:
        if any(fact.epoch <= turn.service(service).epoch for service in fact.services):
            return False
        _take_in(turn, name, fact, boots)
        took_over(turn, name, fact)
        return True
    if held := turn.held_by(name):
        for service in held:
            turn.put_service(service, replace(turn.service(service), behind=True))
        return False
    # What a standby has added to its state, and with whom it is in sync, is found out by starting it anew.
    if group.state == "internal" or fact.role not in ("standby", "none"):
        return False
    _take_in(turn, name, fact, boots)
    return True


def took_over(turn: Turn, name: VnfcName, fact: VnfcFact) -> None:
    """It serves by a standing order, or by a manager's word, of which we have not heard."""
    for service in fact.services:
        in_sync = _in_sync(turn, name, fact)
        service_taken(turn, ServiceTaken(name, fact.run, service, fact.epoch, in_sync))


def follows_another(turn: Turn, name: VnfcName, fact: VnfcFact) -> None:
    """Whom we remember as the active is a standby, under a newer epoch: another one has served since, whoever that was.

    If it still does, its own agent tells; until all have told, the service is given to nobody.
    """
    turn.put(name, replace(turn.vnfc(name), role="standby", follows=fact.epoch, epoch=fact.epoch))
    for service in turn.held_by(name):
        detail = f"{name} is a standby, under the newer epoch {fact.epoch}"
        why = Reason("service-interrupted", service, detail, turn.seen)
        interrupt(turn, service, (why,))
        turn.put_service(service, replace(turn.service(service), holder=None, behind=True))


def forget_who_serves(turn: Turn, group: GroupName) -> None:
    """What is remembered of it may be too old: until agents have told, its services are given to nobody."""
    for name, service in turn.groups[group].services.items():
        turn.put_service(name, replace(service, behind=True))


def remember_vms(turn: Turn, boots: Mapping[VmName, int]) -> None:
    """VMs that run, and that we have forgotten: nobody says once more that they are up."""
    if not any(service.behind for group in turn.groups.values() for service in group.services.values()):
        return
    for vm, boot in boots.items():
        known = turn.vms.get(vm)
        if known is not None and known.boot == 0:
            turn.put_vm(vm, replace(known, boot=boot, up=True, news=Reason("vm-up", vm, "", turn.seen)))


def correct_in_sync(turn: Turn, name: VnfcName, fact: VnfcFact) -> None:
    """The active's agent knows for whom each update waits: what we remember may be older."""
    if fact.in_sync is None:
        return
    for service in turn.held_by(name):
        now, told = turn.service(service), _in_sync(turn, name, fact)
        if now.epoch == fact.epoch and (set(now.in_sync) != set(told) or now.behind):
            turn.put_service(service, replace(now, in_sync=told, behind=False))


def _in_sync(turn: Turn, name: VnfcName, fact: VnfcFact) -> tuple[VnfcName, ...]:
    """Not one whose loss is being confirmed: that it is lost is recorded, and the active only yet to hear so."""
    losing = {one.standby for one in turn.desk.awaited(name) if isinstance(one, ConfirmLoss)}
    known = turn.groups[turn.group_of(name)].vnfcs
    told = fact.in_sync or ()
    return tuple(one for one in told if one in known and known[one].phase == "ready" and one not in losing)


def life_of_vm(turn: Turn, name: VnfcName, boots: Mapping[VmName, int]) -> int:
    """In which life of its VM a VNFC runs that its agent sees: the present one, also if we had not heard of that."""
    vm = turn.vm_of(name)
    if vm is None:
        return turn.vnfc(name).boot
    known = turn.vms[vm]
    boot = max(boots.get(vm, 0), known.boot)
    if boot > known.boot or not known.up:
        news = Reason("vm-up", vm, "", turn.seen)
        turn.put_vm(vm, replace(known, boot=boot, up=True, told=True, news=news, given_up=None))
    return boot


def _take_in(turn: Turn, name: VnfcName, fact: VnfcFact, boots: Mapping[VmName, int]) -> None:
    now = turn.vnfc(name)
    if now.doing is not None:
        turn.desk.settle(now.doing.id)
    turn.late = {key: action for key, action in turn.late.items() if action.vnfc != name}
    boot = life_of_vm(turn, name, boots)
    follows = fact.epoch if fact.role == "standby" else 0
    taken = replace(
        now,
        run=fact.run,
        boot=boot,
        epoch=fact.epoch,
        phase="ready",
        role=fact.role,
        follows=follows,
        position=fact.position,
        doing=None,
        stuck=False,
        zone_asked=False,
        ready=Reason("vnfc-ready", name, "", turn.seen),
        failure=None,
        proof=None,
    )
    turn.put(name, taken)
