"""Who may take a service over, and who of them does.

In: the turn as it stands. Out: a `Choice`: a VNFC with the reasons for it, or the reasons why there is none.
Always holds: a VNFC that may lack acknowledged state is not chosen, unless a person has accepted the loss; after
a cold start the newest state wins, and while it may still be missing nobody is chosen. Changes nothing.
"""

from dataclasses import dataclass, replace

from holdfast.core.ha_state import ServiceNow, VnfcNow
from holdfast.core.ha_turn import Reasons, Turn
from holdfast.model.actions import Successor
from holdfast.model.events import Position
from holdfast.model.limits import PROMOTIONS_TRIED_MAX
from holdfast.model.names import GroupName, ServiceName, VnfcName
from holdfast.model.reasons import Reason

NOTHING = Position()


@dataclass(frozen=True)
class Choice:
    vnfc: VnfcName | None
    reasons: Reasons
    certain: bool = True
    """Whether it is known to hold all acknowledged state."""
    awaits_heirs: bool = False
    """Nobody is chosen only because another may have taken the service over by standing order, unheard."""
    awaits_agents: bool = False
    """Nobody is chosen yet, because a successor named by an order may have taken over, and was not heard so far."""
    awaits_voters: bool = False
    """Nobody is chosen because too few voters are left that could agree to it."""


def choose(turn: Turn, name: ServiceName, to: VnfcName | None = None) -> Choice:
    """Choose the successor for a service; `to` is whom an operator would like to have."""
    service = turn.service(name)
    group = turn.layout.services[name].group
    if missing := turn.no_majority():
        return Choice(None, missing, awaits_voters=True)
    if service.tried >= PROMOTIONS_TRIED_MAX:
        return Choice(None, (Reason("promotion-failed", name, f"{service.tried} successors were tried", turn.seen),))
    if service.behind and (unheard := _unheard(turn, group)):
        return Choice(None, unheard, awaits_heirs=True)
    if unheard := _unheard_heirs(turn, service):
        return Choice(None, unheard, awaits_agents=True)
    able, unable = _able(turn, group, name)
    if to is not None:
        able = sorted(able, key=lambda one: one != to)
    preferred = _on_its_way(turn, group, able[0]) if able and service.last is None else None
    if preferred is not None:
        return Choice(None, (Reason("declared", preferred, "", turn.seen),))
    if turn.wanted(group).state != "internal":
        return _first(turn, name, service, able, unable)
    if service.loss_accepted is not None and able:
        best = max(able, key=lambda one: (turn.vnfc(one).position or NOTHING, -able.index(one)))
        return Choice(best, (service.loss_accepted, *_ready(turn, best)), certain=False)
    heirs = tuple(dict.fromkeys(heir for one in able for heir in _heirs_without(turn, service, one)))
    sure = [one for one in able if not _heirs_without(turn, service, one)]
    choice = _with_state(turn, name, sure, unable)
    if choice.vnfc is not None or not heirs or _with_state(turn, name, able, unable).vnfc is None:
        return choice
    return Choice(None, tuple(Reason("heir-unheard", one, "", turn.seen) for one in heirs), awaits_heirs=True)


def _unheard(turn: Turn, group: GroupName) -> Reasons:
    """VNFCs that may have the service for all we know: their agents have not joined since we began."""
    return tuple(
        Reason("heir-unheard", name, "", turn.seen) for name in turn.wanted(group).vnfcs if _is_unmet(turn, name)
    )


def _unheard_heirs(turn: Turn, service: ServiceNow) -> Reasons:
    """Those named by standing orders whose agents have not joined since we began.

    A manager that begins after its forerunner was lost with the active's host would else take the service from the
    one that has just taken it over, and give it to the next, only because that one's agent joined first.
    """
    return tuple(Reason("heir-unheard", one.vnfc, "", turn.seen) for one in service.heirs if _is_unmet(turn, one.vnfc))


def _is_unmet(turn: Turn, name: VnfcName) -> bool:
    host = turn.layout.vnfcs[name].host
    return host not in turn.met and host not in turn.failed_hosts


def _heirs_without(turn: Turn, service: ServiceNow, vnfc: VnfcName) -> tuple[VnfcName, ...]:
    """Those that may have taken the service over by an order, and acknowledged what this one does not have.

    One that was started again since, and has told its position, has what it acknowledged then: positions tell.
    """

    def has_told(one: Successor) -> bool:
        now = turn.vnfc(one.vnfc)
        return now.run > one.run and is_known(now)

    return tuple(
        one.vnfc for one in service.heirs if one.vnfc != vnfc and vnfc not in one.in_sync and not has_told(one)
    )


def _able(turn: Turn, group: GroupName, name: ServiceName) -> tuple[list[VnfcName], Reasons]:
    """Those that are ready and free, in order of preference, and why others of them cannot be told."""
    able: list[VnfcName] = []
    unable: list[Reason] = []
    for vnfc in turn.wanted(group).vnfcs:
        now = turn.vnfc(vnfc)
        busy = now.doing is not None and now.doing.kind != "stand-by"
        if now.phase != "ready" or busy or turn.held_by(vnfc):
            continue
        host = turn.layout.vnfcs[vnfc].host
        if not turn.is_reachable(host):
            unable.append(Reason("agent-away", host, "", turn.seen))
        elif not turn.can_be_told(group) and now.epoch <= epoch_floor(turn, name):
            unable.append(outdated(turn, vnfc, name))
        else:
            able.append(vnfc)
    # The one that has just given the service up comes after the others, those that have failed to take it last of all.
    unfit = turn.service(name).unfit
    able.sort(key=lambda one: (one in unfit, turn.vnfc(one).role == "quiescing"))
    return able, tuple(unable)


def is_first_start(turn: Turn, group: GroupName) -> bool:
    """Whether some service of the group was never provided by anyone."""
    return any(service.last is None for service in turn.groups[group].services.values())


def _on_its_way(turn: Turn, group: GroupName, ready: VnfcName) -> VnfcName | None:
    """At the very first start: one that the descriptor names before this one and that is still being started."""
    if ready not in turn.wakes:
        return None
    order = turn.wanted(group).vnfcs
    for name in order[: order.index(ready)]:
        now = turn.vnfc(name)
        if now.phase == "starting" or (now.phase == "down" and now.run == 0):
            return name
    return None


def outdated(turn: Turn, vnfc: VnfcName, name: ServiceName) -> Reason:
    return Reason(
        "older-epoch", vnfc, f"{turn.vnfc(vnfc).epoch}, and {name} is at {epoch_floor(turn, name)}", turn.seen
    )


def epoch_floor(turn: Turn, name: ServiceName) -> int:
    """The next epoch of the service must be higher than this."""
    vnfcs = turn.groups[turn.layout.services[name].group].vnfcs.values()
    service = turn.service(name)
    return max([service.epoch, service.sealed, *(now.position.epoch for now in vnfcs if now.position is not None)])


def _ready(turn: Turn, name: VnfcName) -> Reasons:
    ready = turn.vnfc(name).ready
    return (ready,) if ready is not None else ()


def _first(turn: Turn, name: ServiceName, service: ServiceNow, able: list[VnfcName], unable: Reasons) -> Choice:
    if not able:
        return Choice(None, (Reason("no-successor", name, "", turn.seen), *unable))
    if service.state == "waiting" and service.last is None:
        return Choice(able[0], (Reason("declared", name, "", turn.seen), *_ready(turn, able[0])))
    return Choice(able[0], (Reason("successor-is-first", able[0]), *_ready(turn, able[0])))


def _with_state(turn: Turn, name: ServiceName, able: list[VnfcName], unable: Reasons) -> Choice:
    service = turn.service(name)
    vnfcs = turn.groups[turn.layout.services[name].group].vnfcs
    blank = all(now.position in (None, NOTHING) for now in vnfcs.values())
    if service.last is None and blank and able:
        return Choice(able[0], (Reason("declared", name, "", turn.seen), *_ready(turn, able[0])))
    if ahead := _ahead(service, able, vnfcs):
        # Who counts as in sync is so with the active that is recorded, not with one of these.
        return replace(_newest(turn, ahead), certain=False)
    certain = [one for one in able if _is_certain(turn, name, one)]
    kept = [one for one in certain if turn.vnfc(one).role != "none"]
    if kept:
        first = Reason("successor-is-first", kept[0])
        return Choice(kept[0], (first, *_held_state(turn, service, kept[0]), *_ready(turn, kept[0])))
    if all(is_known(now) for now in vnfcs.values()):
        certain = _newest_of_all(turn, service, able, vnfcs)
    if certain:
        return _newest(turn, certain)
    return Choice(None, (*_lacking(turn, name, able), *unable))


def _ahead(service: ServiceNow, able: list[VnfcName], vnfcs: dict[VnfcName, VnfcNow]) -> list[VnfcName]:
    """Those that tell of state under a number that they had by an order alone.

    They took the service over, acknowledged updates, and were lost before a manager heard of it.
    """
    reserved = {(one.vnfc, one.epoch) for one in service.heirs if one.epoch > service.epoch}
    return [one for one in able if is_known(now := vnfcs[one]) and (one, (now.position or NOTHING).epoch) in reserved]


def is_known(now: VnfcNow) -> bool:
    """Whether its position is known as it is now: it was told when it was ready, and nothing was added since."""
    return now.phase == "ready" and now.role == "none"


def _newest_of_all(
    turn: Turn, service: ServiceNow, able: list[VnfcName], vnfcs: dict[VnfcName, VnfcNow]
) -> list[VnfcName]:
    """All positions are known, so the newest wins; unless those that must have state say that they have none."""
    newest = max(now.position or NOTHING for now in vnfcs.values())
    recorded = [one for one in (service.last, *service.in_sync) if one is not None]
    if newest != NOTHING and recorded and all(vnfcs[one].position in (None, NOTHING) for one in recorded):
        return []
    return [one for one in able if (turn.vnfc(one).position or NOTHING) == newest]


def _is_certain(turn: Turn, name: ServiceName, vnfc: VnfcName) -> bool:
    """Whether the VNFC holds all acknowledged state, as far as our records and its own word go."""
    service = turn.service(name)
    now = turn.vnfc(vnfc)
    if service.behind or (vnfc != service.last and vnfc not in service.in_sync):
        return False
    if now.role != "none":
        return True
    # Started again since: what it holds is what it kept on its disk.
    component = turn.component(turn.group_of(vnfc))
    if component.speaks and now.position in (None, NOTHING):
        return False
    periodic = component.replication is not None and component.replication.mode == "periodic"
    return vnfc == service.last or not periodic


def _held_state(turn: Turn, service: ServiceNow, vnfc: VnfcName) -> Reasons:
    how = "it was active last" if vnfc == service.last else "it was in sync"
    return (Reason("holds-newest-state", vnfc, how, turn.seen),)


def _newest(turn: Turn, candidates: list[VnfcName]) -> Choice:
    """The newest of the candidates; among equals the first (they come in the order in which they are to be tried)."""
    best = max(candidates, key=lambda one: (turn.vnfc(one).position or NOTHING, -candidates.index(one)))
    position = turn.vnfc(best).position or NOTHING
    how = f"epoch {position.epoch}, number {position.sequence}"
    return Choice(best, (Reason("holds-newest-state", best, how, turn.seen), *_ready(turn, best)))


def _lacking(turn: Turn, name: ServiceName, able: list[VnfcName]) -> Reasons:
    """Why nobody may take a service with state over now."""
    service = turn.service(name)
    vnfcs = turn.groups[turn.layout.services[name].group].vnfcs
    stale = tuple(Reason("standby-stale", one, "", turn.seen) for one in able if not _is_certain(turn, name, one))
    if service.holder is not None:
        return stale or (Reason("no-successor", name, "", turn.seen),)
    missing = [one for one in (service.last, *service.in_sync) if one is not None and vnfcs[one].phase != "ready"]
    if not missing:
        missing = [one for one, now in vnfcs.items() if not is_known(now)]
    if service.last is not None or able:
        stale += tuple(Reason("newest-state-missing", one, "", turn.seen) for one in missing)
    return stale if able else (Reason("no-successor", name, "", turn.seen), *stale)


def blind_reserve(turn: Turn, group: GroupName) -> tuple[VnfcName, Reason] | None:
    """A standby whose position must be asked anew (by starting it again) to find out who has the newest state."""
    vnfcs = turn.groups[group].vnfcs
    if turn.wanted(group).state != "internal" or any(now.phase != "ready" for now in vnfcs.values()):
        return None
    for name, service in turn.groups[group].services.items():
        if service.holder is not None:
            continue
        choice = choose(turn, name)
        if choice.vnfc is not None or choice.awaits_heirs or choice.awaits_agents or choice.awaits_voters:
            continue
        for vnfc, now in vnfcs.items():
            known = is_known(now) or _is_certain(turn, name, vnfc)
            if not known and now.doing is None and not turn.held_by(vnfc):
                return vnfc, Reason("newest-state-missing", vnfc, "", turn.seen)
    return None
