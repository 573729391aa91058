"""What an event means: written into the state, before anything is planned.

In: the turn and one event. Out: the changed state, and the notes and reports that follow at once from a
failure. Always holds: news about an earlier run, boot or epoch changes nothing; news heard twice
counts once. Nothing is started, isolated or promoted here.
"""

from collections.abc import Mapping
from typing import assert_never

from msgspec.structs import replace

from holdfast.core.ha_adjust import adjusting_due
from holdfast.core.ha_epochs import agent_is_away, epochs_answered, recorded
from holdfast.core.ha_hosts import (
    host_failed,
    host_is_off,
    host_returned,
    hosts_are,
    may_have_taken,
    no_longer_failed,
    service_taken,
    tells_of_succession,
)
from holdfast.core.ha_incidents import (
    confirm_again_later,
    confirm_due,
    confirm_loss,
    fail,
    interrupt,
    isolated,
    leave_sync,
    provided,
)
from holdfast.core.ha_memory import (
    correct_in_sync,
    follows_another,
    forget_who_serves,
    life_of_vm,
    remember_vms,
    taken_for_what_it_is,
    took_over,
)
from holdfast.core.ha_pace import begin_anew
from holdfast.core.ha_standing import order_known, sealed, started_again
from holdfast.core.ha_state import Move
from holdfast.core.ha_successor import is_first_start
from holdfast.core.ha_turn import DUE, Turn
from holdfast.core.ha_vms import vm_gone_by_agent, vm_message
from holdfast.core.ledger import Pending
from holdfast.model.actions import (
    Activate,
    AgentAction,
    ConfirmLoss,
    IsolateVnfc,
    Quiesce,
    Refuse,
    RememberEpochs,
    StandBy,
    StandingOrder,
    StartVnfc,
    StopVnfc,
    VnfcAction,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    DeadlinePassed,
    Event,
    HostFailed,
    HostLocked,
    HostReturned,
    HostUnlocked,
    LossAccepted,
    ManagerStarted,
    NetworkHeard,
    NetworkSilent,
    Position,
    Received,
    ServiceTaken,
    StandbyLost,
    StandbySynced,
    SwitchoverAsked,
    VmBooted,
    VmDied,
    VnfcFact,
    VnfcFailed,
    VnfcIsolated,
    VnfcReady,
)
from holdfast.model.limits import FIRST_CHOICE_WAIT_S
from holdfast.model.messages import HostIsOff, HostsAre, Message
from holdfast.model.names import GroupName, ServiceName, VmName, VnfcName, VnfName
from holdfast.model.reasons import Reason


def take_in(turn: Turn, event: Event) -> None:
    match event:
        case ManagerStarted():
            # Whatever was outstanding is sent again now, so its time begins now.
            turn.desk.give_time(lambda action: True)
            # What ran when the state was saved may run no more: nobody is promoted before its agent has been heard.
            turn.agents = dict.fromkeys(turn.agents, False)
            turn.met = {}
            turn.fresh, turn.telling = {}, {}
            begin_anew(turn)
            for group, now in turn.groups.items():
                turn.touch(group)
                for key, service in now.services.items():
                    turn.wake_for(key, service)  # An earlier version saved no wakes for that.
                if event.is_behind:
                    forget_who_serves(turn, group)
        case DeadlinePassed():
            _time_is_up(turn)
        case VnfcReady():
            if turn.is_ours(event.vnfc):
                _ready(turn, event.vnfc, event.run, event.position)
        case VnfcFailed():
            _failure(turn, event)
        case VnfcIsolated():
            _isolated_unasked(turn, event)
        case StandbyLost():
            _standby_lost(turn, event)
        case StandbySynced():
            _standby_synced(turn, event)
        case AgentJoined():
            _agent_joined(turn, event)
        case AgentLost():
            turn.agents[event.host] = False
            agent_is_away(turn, event.host)
            for name, now in turn.groups.items():
                if any(service.move is not None or service.adjusting.run for service in now.services.values()):
                    turn.touch(name)  # A switchover, or a giving back, may wait for an answer of this agent.
        case HostFailed():
            host_failed(turn, event)
        case HostReturned():
            host_returned(turn, event)
        case ServiceTaken():
            service_taken(turn, event)
        case ActionDone():
            _done(turn, event)
        case ActionFailed():
            _failed(turn, event)
        case Received():
            if turn.desk.is_news(event):
                _told(turn, event.message)
        case SwitchoverAsked():
            _switchover_asked(turn, event)
        case LossAccepted():
            _loss_accepted(turn, event)
        case NetworkSilent() | NetworkHeard():
            pass  # Nothing has failed by that; the VIM speaks of it.
        case VmBooted() | VmDied() | HostLocked() | HostUnlocked():
            pass  # The NFVI's own news reach the HA manager through VIM and VNFM.
        case _:
            assert_never(event)


def _told(turn: Turn, message: Message) -> None:
    if isinstance(message, HostIsOff):
        host_is_off(turn, message)
    elif isinstance(message, HostsAre):
        hosts_are(turn, message)
    else:
        vm_message(turn, message)


def _failure(turn: Turn, event: VnfcFailed) -> None:
    if not turn.is_ours(event.vnfc) or turn.vnfc(event.vnfc).run != event.run:
        return
    if event.cause == "vm-gone":
        vm_gone_by_agent(turn, event.vnfc, event.detail)
    elif turn.vnfc(event.vnfc).phase != "stopping":  # One that was told to end may end.
        fail(turn, event.vnfc, event.cause, event.detail)


def _isolated_unasked(turn: Turn, event: VnfcIsolated) -> None:
    if not turn.is_ours(event.vnfc):
        return
    now = turn.vnfc(event.vnfc)
    if now.run == event.run and now.phase == "failed":
        isolated(turn, event.vnfc, Reason("vnfc-isolated", event.vnfc, event.detail, turn.seen))


def _ready(turn: Turn, name: VnfcName, run: int, position: Position | None) -> None:
    now = turn.vnfc(name)
    if now.phase != "starting" or now.run != run:
        return
    if now.doing is not None:
        turn.desk.settle(now.doing.id)
    ready = Reason("vnfc-ready", name, "", turn.seen)
    turn.put(name, replace(now, phase="ready", doing=None, position=position, ready=ready))
    if position is not None:
        _know_epoch(turn, name, position.epoch)
        started_again(turn, name, run, position)
        tells_of_succession(turn, name, position)
    if is_first_start(turn, turn.group_of(name)):
        turn.wakes[name] = turn.now + FIRST_CHOICE_WAIT_S


def _know_epoch(turn: Turn, name: VnfcName, epoch: int) -> None:
    """Numbers go on from the highest that was ever used, also where our own memory of it was lost."""
    group = turn.group_of(name)
    if epoch > turn.groups[group].epoch:
        turn.put_group(group, replace(turn.groups[group], epoch=epoch))


def _time_is_up(turn: Turn) -> None:
    for name, at in tuple(turn.wakes.items()):
        if at <= turn.now:
            del turn.wakes[name]
            if name.endswith(DUE):
                _service_due(turn, ServiceName(name.removesuffix(DUE)))
                continue
            for vnfc in (VnfcName(name), *turn.in_vm(VmName(name))):
                if turn.is_ours(vnfc):
                    turn.touch(turn.group_of(vnfc))
    for pending in turn.desk.hanging():
        _hangs(turn, pending)


def _service_due(turn: Turn, name: ServiceName) -> None:
    if turn.is_service_of_ours(name):
        turn.wake_for(name, turn.service(name))
        confirm_due(turn, name)
        adjusting_due(turn, name)


def _hangs(turn: Turn, pending: Pending) -> None:
    """The answer is overdue. An isolation may still succeed and stays outstanding; anything else has failed."""
    action = pending.action
    waits = StandBy | StopVnfc | IsolateVnfc if turn.layout.grants is not None else StandBy | StopVnfc
    if isinstance(action, waits) and not _is_reachable(turn, action.vnfc):
        turn.desk.give_time(lambda other: other.id == action.id)  # It can wait for the agent, which gets it again.
        return
    turn.desk.settle(action.id)
    why = f"no answer within {pending.limit_s:g} s"
    if isinstance(action, IsolateVnfc):
        turn.late[action.id] = action
        _not_isolated(turn, action.vnfc, why)
    elif isinstance(action, Activate | StandBy | Quiesce | StopVnfc | StartVnfc):
        _action_failed(turn, action, why)


def _done(turn: Turn, event: ActionDone) -> None:
    late = turn.late.pop(event.action, None)
    if late is not None:
        isolated(turn, late.vnfc, Reason("vnfc-isolated", late.vnfc, event.detail, turn.seen))
        return
    pending = turn.desk.settle(event.action)
    if pending is None:
        return
    action = pending.action
    match action:
        case StartVnfc():
            # Where positions count, readiness is believed only together with the position.
            if turn.wanted(turn.group_of(action.vnfc)).state != "internal":
                _ready(turn, action.vnfc, action.run, None)
        case StopVnfc() | IsolateVnfc():
            isolated(turn, action.vnfc, Reason("vnfc-isolated", action.vnfc, event.detail, turn.seen))
        case Activate():
            turn.put(action.vnfc, replace(turn.vnfc(action.vnfc), doing=None, role="active"))
            told = f"active for {action.service}, epoch {action.epoch}"
            sealed(turn, action.service, action.epoch)
            provided(turn, action.service, Reason("role-assigned", action.vnfc, told, turn.seen))
        case StandBy():
            _stands_by(turn, action)
        case Quiesce():
            turn.put(action.vnfc, replace(turn.vnfc(action.vnfc), doing=None, role="quiescing"))
            turn.put_service(action.service, replace(turn.service(action.service), holder=None))
        case ConfirmLoss():
            if action.seal and action.service is not None:
                sealed(turn, action.service, action.seal - 1)
                recorded(turn, action.service, action.seal)
        case StandingOrder():
            order_known(turn, action)
        case RememberEpochs():
            epochs_answered(turn, action)
        case _:
            pass  # A message taken: nothing waits for it.


def _stands_by(turn: Turn, action: StandBy) -> None:
    turn.put(action.vnfc, replace(turn.vnfc(action.vnfc), doing=None))
    group = turn.group_of(action.vnfc)
    service = turn.service(action.service)
    if turn.component(group).speaks or turn.wanted(group).state != "internal" or service.epoch != action.epoch:
        return
    # A component that does not speak never says that it is in sync; its role has to do.
    turn.put_service(action.service, replace(service, in_sync=_with(service.in_sync, action.vnfc)))


def _with(names: tuple[VnfcName, ...], name: VnfcName) -> tuple[VnfcName, ...]:
    return names if name in names else (*names, name)


def _failed(turn: Turn, event: ActionFailed) -> None:
    late = turn.late.get(event.action)
    pending = turn.desk.settle(event.action)
    action = late or (pending.action if pending else None)
    if isinstance(action, RememberEpochs):
        epochs_answered(turn, action)
    if not isinstance(action, VnfcAction):
        return
    if event.vm_gone and turn.vm_of(action.vnfc) is not None:
        vm_gone_by_agent(turn, action.vnfc, event.why, confirmed=True)
    elif late is None:
        _action_failed(turn, action, event.why)


def _action_failed(turn: Turn, action: VnfcAction, why: str) -> None:
    match action:
        case StartVnfc():
            fail(turn, action.vnfc, "start", why)
        case IsolateVnfc():
            _not_isolated(turn, action.vnfc, why)
        case StopVnfc():
            fail(turn, action.vnfc, "role", f"could not be stopped: {why}")
        case Activate():
            service = turn.service(action.service)
            turn.put_service(action.service, replace(service, unfit=_with(service.unfit, action.vnfc)))
            fail(turn, action.vnfc, "role", f"could not become active: {why}")
        case StandBy():
            fail(turn, action.vnfc, "role", f"could not become standby: {why}")
        case Quiesce():
            fail(turn, action.vnfc, "role", f"could not be quiesced: {why}")
        case ConfirmLoss():
            confirm_again_later(turn, action)


def _not_isolated(turn: Turn, name: VnfcName, why: str) -> None:
    now = turn.vnfc(name)
    detail = why if _is_reachable(turn, name) else f"{why}; its agent is away"
    turn.put(name, replace(now, doing=None, stuck=True, proof=Reason("vnfc-not-isolated", name, detail, turn.seen)))


def _is_reachable(turn: Turn, name: VnfcName) -> bool:
    return turn.is_reachable(turn.layout.vnfcs[name].host)


def _standby_lost(turn: Turn, event: StandbyLost) -> None:
    if not (turn.is_ours(event.vnfc) and turn.is_ours(event.standby)):
        return
    now = turn.vnfc(event.vnfc)
    if now.doing is not None and now.doing.kind == "quiesce":
        # It takes no updates any more, and its successor, which may have taken the service already, is no loss. One
        # that is really lost stays on the list: nothing was acknowledged without it.
        return
    for name in turn.held_by(event.vnfc):
        service = turn.service(name)
        if now.run == event.run and now.phase == "ready" and service.epoch == event.epoch:
            reasons = (Reason("standby-lost", event.standby, "", turn.seen),)
            if event.standby in service.in_sync:
                leave_sync(turn, event.standby, reasons)
            else:
                confirm_loss(turn, event.vnfc, event.standby, reasons)


def _standby_synced(turn: Turn, event: StandbySynced) -> None:
    if not (turn.is_ours(event.vnfc) and turn.is_ours(event.standby)):
        return
    active, standby = turn.vnfc(event.vnfc), turn.vnfc(event.standby)
    for name in turn.held_by(event.vnfc):
        service = turn.service(name)
        current = active.run == event.run and active.phase == "ready" and service.epoch == event.epoch
        follows = standby.phase == "ready" and standby.role == "standby" and standby.follows == service.epoch
        if current and follows:
            turn.put_service(name, replace(service, in_sync=_with(service.in_sync, event.standby)))


def _agent_joined(turn: Turn, event: AgentJoined) -> None:
    turn.agents[event.host] = True
    turn.lives[event.host] = event.life
    turn.met[event.host] = None
    turn.joined[event.host] = None
    no_longer_failed(turn, event.host)
    facts = {fact.vnfc: fact for fact in event.vnfcs}
    here = turn.on_host(event.host)
    boots = {fact.vm: fact.boot for fact in event.vms if fact.condition == "up"}
    remember_vms(turn, boots)
    for name in here:
        turn.touch(turn.group_of(name))
        fact = facts.get(name) or VnfcFact(name, 0, "absent")
        _believe(turn, name, fact, boots)
        _ask_again(turn, fact)
    # What is outstanding there was sent again a moment ago.
    turn.desk.give_time(lambda action: isinstance(action, AgentAction) and getattr(action, "vnfc", None) in here)


def _ask_again(turn: Turn, fact: VnfcFact) -> None:
    """What an active waits for leave for: we may have heard of it before we knew that it is one, and let it pass."""
    asked = {one.standby for one in turn.desk.awaited(fact.vnfc) if isinstance(one, ConfirmLoss)}
    for standby in fact.losing:
        if standby not in asked:
            _standby_lost(turn, StandbyLost(fact.vnfc, fact.run, fact.epoch, standby))


def _believe(turn: Turn, name: VnfcName, fact: VnfcFact, boots: Mapping[VmName, int]) -> None:
    """Bring our belief about one VNFC in line with what its agent sees; each difference is an event missed."""
    now = turn.vnfc(name)
    _know_epoch(turn, name, max(fact.epoch, fact.position.epoch if fact.position else 0))
    runs = fact.condition in ("starting", "ready")
    if fact.run > now.run or (runs and now.phase == "down"):
        # Something runs that was not ours to count on: from a time that our memory does not reach.
        if fact.run > now.run and taken_for_what_it_is(turn, name, fact, boots):
            return
        boot = life_of_vm(turn, name, boots) if runs else now.boot
        if runs and now.phase == "failed":
            _isolate_anew(turn, name, fact.run, boot)
            return
        now = replace(now, run=max(fact.run, now.run), boot=boot, phase="ready" if runs else now.phase)
        turn.put(name, now)
        if runs:
            fail(turn, name, "lost", f"its agent sees run {fact.run}, which is not known here")
    elif fact.run < now.run or now.phase in ("down", "failed", "stopping"):
        if now.phase == "ready" and fact.run < now.run:
            fail(turn, name, "lost", "its agent does not know of it")
    elif now.phase == "starting":
        if fact.condition == "ready":
            _ready(turn, name, fact.run, fact.position)
        elif fact.condition == "failed":
            fail(turn, name, "lost", fact.detail)
    elif fact.condition in ("absent", "failed"):
        vm = turn.vm_of(name)
        if vm is not None and vm not in boots:
            # Taken for a failure in a VM that is well, it would be started in a life of the VM that is over.
            vm_gone_by_agent(turn, name, "absent when its agent joined")
        else:
            fail(turn, name, "lost", fact.detail or "it ended while nobody watched")
    else:
        held = turn.held_by(name)
        strange = [one for one in fact.services if one not in held]
        others = [one for one in fact.services if fact.epoch != turn.service(one).epoch]
        newer = [one for one in others if may_have_taken(turn, one, name, fact.epoch)]
        if turn.layout.grants is not None and fact.role == "active" and newer:
            took_over(turn, name, fact)
        elif strange:
            fail(turn, name, "lost", f"it answers for {', '.join(strange)} with the older epoch {fact.epoch}")
        elif held and fact.role == "quiescing" and now.doing is None:
            _handed_over_before(turn, name, fact)
        elif (
            held
            and fact.role == "standby"
            and now.doing is None
            and all(fact.epoch > turn.service(one).epoch for one in held)
        ):
            follows_another(turn, name, fact)
        else:
            correct_in_sync(turn, name, fact)


def _handed_over_before(turn: Turn, name: VnfcName, fact: VnfcFact) -> None:
    """Whoever led before us had it hand its services over, and gave them to nobody that we know of."""
    turn.put(name, replace(turn.vnfc(name), role="quiescing"))
    for service in turn.held_by(name):
        if turn.service(service).epoch == fact.epoch and service not in fact.services:
            why = Reason(
                "service-interrupted", service, f"{name} had handed it over before this manager led", turn.seen
            )
            interrupt(turn, service, (why,))
            turn.put_service(service, replace(turn.service(service), holder=None))


def _isolate_anew(turn: Turn, name: VnfcName, run: int, boot: int) -> None:
    """Whoever decided before us has begun another run of one that recovers: that is no further failure."""
    now = turn.vnfc(name)
    if now.doing is not None:
        turn.desk.settle(now.doing.id)
    turn.put(name, replace(now, run=run, boot=boot, doing=None, stuck=False, zone_asked=False, proof=None))


def _switchover_asked(turn: Turn, event: SwitchoverAsked) -> None:
    reason = Reason("operator-asked", "switchover", "", turn.seen)
    for group in _groups_of(turn, event.vnf):
        if not turn.layout.groups[group].role_is_assigned:
            continue
        for name, service in turn.groups[group].services.items():
            if event.service in (None, name):
                turn.put_service(name, replace(service, move=Move(event.to, reason), tried=0))


def _loss_accepted(turn: Turn, event: LossAccepted) -> None:
    for group in _groups_of(turn, event.vnf):
        for name, service in turn.groups[group].services.items():
            reason = Reason("loss-accepted", name, "", turn.seen)
            if service.holder is None:
                turn.put_service(name, replace(service, loss_accepted=reason, tried=0))
            else:
                back = service.back or Reason("service-back", name, f"{service.holder} has it", turn.seen)
                turn.note(Refuse("accept-loss", name), (reason, back))


def _groups_of(turn: Turn, vnf: VnfName) -> list[GroupName]:
    return [name for name in turn.groups if turn.layout.groups[name].vnf == vnf]
