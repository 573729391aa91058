"""Hosts that fail, and successors that have taken over by themselves: where agents hold grants (docs/grants.md).

In: HostFailed, HostReturned, ServiceTaken. Out: the changed state. Always holds: a service is free of a holder whose
host has failed only because nobody else's claim can succeed before that host's kernel has stopped answering; where
that is not enough (storage that only one may use) it stays with its holder until the host is confirmed off.
"""

from msgspec.structs import replace

from holdfast.core.ha_adjust import adjusting_after
from holdfast.core.ha_incidents import fail, interrupt, isolated, provided
from holdfast.core.ha_standing import sealed
from holdfast.core.ha_turn import Turn
from holdfast.model.events import FailureCause, HostFailed, HostReturned, Position, ServiceTaken
from holdfast.model.layout import grant_suffices
from holdfast.model.messages import HostIsOff, HostsAre
from holdfast.model.names import GroupName, HostName, ServiceName, VnfcName
from holdfast.model.reasons import Reason


def host_failed(turn: Turn, event: HostFailed) -> None:
    if turn.layout.grants is None or event.host not in turn.layout.hosts or event.host in turn.failed_hosts:
        return
    if event.host in turn.met and event.is_of_another_life(turn.lives.get(event.host, 0)):
        return  # It lives anew: what it holds now was not ended by this.
    detail = f"found by {event.by}" + (f": {event.detail}" if event.detail else "")
    turn.failed_hosts[event.host] = Reason("host-failed", event.host, detail, turn.seen)
    proof = Reason("grant-ends", event.host, "", turn.seen)
    for name in turn.on_host(event.host):
        fail(turn, name, "host", f"host {event.host} has failed")
        if grant_suffices(turn.layout, turn.group_of(name)):
            _free(turn, name, proof)


def _free(turn: Turn, name: VnfcName, proof: Reason) -> None:
    """Its services may be claimed by others; the VNFC itself still counts as failed, and is cleaned up later."""
    turn.put(name, replace(turn.vnfc(name), proof=proof))
    for service in turn.held_by(name):
        turn.put_service(service, replace(turn.service(service), holder=None))


def host_returned(turn: Turn, event: HostReturned) -> None:
    """It is heard again. What was cleaned up in vain meanwhile is known from its agent, which had it outstanding."""
    no_longer_failed(turn, event.host)


def no_longer_failed(turn: Turn, host: HostName) -> None:
    if host not in turn.failed_hosts:
        return
    had_majority = not turn.no_majority()
    del turn.failed_hosts[host]
    for name in turn.on_host(host):
        turn.touch(turn.group_of(name))
    if not had_majority:
        _touch_all(turn)


def _touch_all(turn: Turn) -> None:
    """Each group may have waited for a majority of the voters."""
    for group in turn.groups:
        turn.touch(group)


def hosts_are(turn: Turn, message: HostsAre) -> None:
    """Who votes now, and who is locked: whatever a locked one may have taken over unheard, a person has given up."""
    before = turn.hosts
    if before is not None and message.number <= before.number:
        return
    had_majority = not turn.no_majority()
    turn.hosts = message
    if had_majority != (not turn.no_majority()):
        _touch_all(turn)
    locked = before.locked if before is not None else ()
    for host in (*locked, *message.locked):
        for name in turn.on_host(host):
            turn.touch(turn.group_of(name))
            _without_locked(turn, turn.group_of(name), message)


def _without_locked(turn: Turn, group: GroupName, message: HostsAre) -> None:
    for service, now in turn.groups[group].services.items():
        heirs = tuple(one for one in now.heirs if turn.layout.vnfcs[one.vnfc].host not in message.locked)
        if heirs != now.heirs:
            turn.put_service(service, replace(now, heirs=heirs))


def host_is_off(turn: Turn, message: HostIsOff) -> None:
    """Nothing runs there any more. What is in its VMs is told of by itself, VM by VM."""
    if not message.ends(turn.lives.get(message.host, 0)):
        return  # It is up again, and what we have started there since is not meant.
    proof = Reason(message.proof, message.host, message.how, turn.seen)
    for name in turn.on_host(message.host):
        if turn.vm_of(name) is None:
            fail(turn, name, "host", f"host {message.host} was switched off")
            isolated(turn, name, proof)


def _let_go(turn: Turn, holder: VnfcName) -> bool:
    """Whether the holder was told to give the service up; that it has, is known by its successor having it."""
    now = turn.vnfc(holder)
    if now.doing is None or now.doing.kind != "quiesce":
        return False
    turn.desk.settle(now.doing.id)
    turn.put(holder, replace(now, doing=None, role="quiescing"))
    return True


def _succeeded(turn: Turn, holder: VnfcName, by: VnfcName, epoch: int) -> None:
    # One whose host cannot be reached need not have failed itself: perhaps it was only cut off.
    cause: FailureCause = "lost" if turn.is_reachable(turn.layout.vnfcs[holder].host) else "host"
    fail(turn, holder, cause, f"{by} has succeeded it under epoch {epoch}")


def tells_of_succession(turn: Turn, name: VnfcName, position: Position) -> None:
    """What it holds as it starts may be of an epoch that an order alone had reserved: that heir has served, unheard.

    So whom we remember is the holder no more. Nobody may be told to follow it: that would throw newer state away.
    """
    for service in turn.groups[turn.group_of(name)].services.values():
        heirs = [one.vnfc for one in service.heirs if one.epoch == position.epoch > service.epoch]
        if service.holder is not None and heirs and heirs[0] != service.holder:
            _succeeded(turn, service.holder, heirs[0], position.epoch)


def may_have_taken(turn: Turn, name: ServiceName, vnfc: VnfcName, epoch: int) -> bool:
    """Whether it can serve under this epoch: a newer one, or an heir's while the newer one is no more than given out.

    A manager gives a free service to whom it thinks best, and another one may have taken it meanwhile by an order. If
    that one has failed since, the service is free as it was.
    """
    service = turn.service(name)
    is_heir = any((one.vnfc, one.epoch) == (vnfc, epoch) for one in service.heirs)
    is_quicker = is_heir and service.state != "provided" and service.holder != vnfc and _serves(turn, vnfc)
    return epoch >= service.epoch or is_quicker


def _serves(turn: Turn, name: VnfcName) -> bool:
    """Not one that is being isolated, or is gone: it has taken a service and has lost it again."""
    return turn.vnfc(name).phase not in ("failed", "stopping", "down")


def service_taken(turn: Turn, event: ServiceTaken) -> None:
    """A successor has claimed the service and serves: that is how it is now, whatever was planned.

    Word of it may come so late that the run which took the service is over: then it had it, and nobody has it now.
    """
    if not turn.is_ours(event.vnfc) or event.service not in turn.groups[turn.group_of(event.vnfc)].services:
        return
    service, now = turn.service(event.service), turn.vnfc(event.vnfc)
    same = service.holder == event.vnfc and service.epoch == event.epoch
    is_over = event.run < now.run
    if event.run > now.run or (same and service.state == "provided") or (is_over and event.epoch <= service.epoch):
        return
    if not may_have_taken(turn, event.service, event.vnfc, event.epoch):
        return
    if service.holder is not None and service.holder != event.vnfc and not _let_go(turn, service.holder):
        _succeeded(turn, service.holder, event.vnfc, event.epoch)
    took_over = Reason("took-over", event.vnfc, f"epoch {event.epoch}", turn.seen)
    if serves := not is_over and _serves(turn, event.vnfc):  # Word of it may come late, or twice.
        if now.doing is not None:
            turn.desk.settle(now.doing.id)
        ready = replace(turn.vnfc(event.vnfc), phase="ready", role="active", doing=None, epoch=event.epoch)
        turn.put(event.vnfc, ready)
    else:
        interrupt(turn, event.service, (took_over,))
    taken = replace(
        turn.service(event.service),
        # Where a later run counts as failed, nobody has said yet that nothing is left there.
        holder=event.vnfc if now.phase == "failed" or (now.phase != "down" and not is_over) else None,
        last=event.vnfc,
        epoch=event.epoch,
        # Whoever was given a higher number may have claimed it, so that voters know it already.
        sealed=max(service.sealed, service.epoch) if service.epoch > event.epoch else service.sealed,
        in_sync=event.in_sync,
        move=None,
        behind=False,
        adjusting=adjusting_after(turn, event.service, event.vnfc),
    )
    turn.put_service(event.service, taken)
    sealed(turn, event.service, event.epoch)
    group = turn.group_of(event.vnfc)
    if event.epoch > turn.groups[group].epoch:
        turn.put_group(group, replace(turn.groups[group], epoch=event.epoch))
    if serves:
        provided(turn, event.service, took_over)
