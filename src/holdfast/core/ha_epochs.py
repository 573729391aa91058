"""Which epochs are over: kept with each service, and told to every voter, which forgets it with its process.

In: the turn. Out: RememberEpochs for the agents of all hosts. Always holds: what is told has been recorded by a
majority of the voters, so that it never seals an epoch that is still held; an agent that joins is told all of it.
"""

from msgspec.structs import replace

from holdfast.core.ha_state import Fresh
from holdfast.core.ha_turn import Turn
from holdfast.model.actions import RememberEpochs
from holdfast.model.names import HostName, ServiceName
from holdfast.model.reasons import Reason

FEW = 16
"""With so few services each host is told at once, and again of what it has not answered: its answer may never come."""


def recorded(turn: Turn, name: ServiceName, epoch: int) -> None:
    """A majority of the voters has recorded this number: claims under lower ones are over."""
    service = turn.service(name)
    if turn.layout.grants is not None and epoch > service.recorded:
        turn.put_service(name, replace(service, recorded=epoch))
        turn.recorded[name] = epoch


def epochs_answered(turn: Turn, action: RememberEpochs) -> None:
    """That host's agent can be told what has come since. One that has failed to remember is told all when it joins."""
    if action.host in turn.telling:
        turn.answered[action.host] = turn.telling.pop(action.host)


def agent_is_away(turn: Turn, host: HostName) -> None:
    """It is told everything when it joins again."""
    turn.telling.pop(host, None)


def tell_epochs(turn: Turn) -> None:
    """At the end of a step: what is new to everybody who is there, and everything to those that have just joined.

    Nobody is told more while he has not answered: where many services move at once, each host is told of all of them in
    a few words, and not in one for each.
    """
    if turn.layout.grants is None or not (turn.recorded or turn.joined or turn.answered):
        return
    before = _last_number(turn)
    for number, (name, epoch) in enumerate(turn.recorded.items(), before + 1):
        turn.fresh.pop(name, None)
        turn.fresh[name] = Fresh(epoch, number)
    for host in turn.layout.hosts if turn.recorded else (*turn.joined, *turn.answered):
        if host in turn.joined:
            turn.desk.drop(host, lambda action: isinstance(action, RememberEpochs))
            _tell(turn, host, _all_recorded(turn), Reason("voter-joined", host, "", turn.seen))
        elif turn.agents.get(host) and host in turn.telling and len(turn.layout.services) <= FEW:
            if turn.recorded:
                told = [one for one in turn.desk.awaited(host) if isinstance(one, RememberEpochs)]
                turn.desk.drop(host, lambda action: isinstance(action, RememberEpochs))
                both = (dict(told[-1].epochs) if told else {}) | turn.recorded
                _tell(turn, host, both, Reason("epoch-recorded", ", ".join(turn.recorded), "", turn.seen))
        elif turn.agents.get(host) and host not in turn.telling:
            known = turn.answered.get(host, before)
            news = _since(turn, known) if known != before else turn.recorded
            if news:
                _tell(turn, host, news, Reason("epoch-recorded", ", ".join(news), "", turn.seen))
    if not turn.telling:
        turn.fresh = {}


def _last_number(turn: Turn) -> int:
    return next((one.number for one in reversed(turn.fresh.values())), 0)


def _since(turn: Turn, known: int) -> dict[ServiceName, int]:
    return {name: one.epoch for name, one in turn.fresh.items() if one.number > known}


def _tell(turn: Turn, host: HostName, epochs: dict[ServiceName, int], reason: Reason) -> None:
    turn.desk.order(RememberEpochs(turn.desk.number(), host, epochs), (reason,))
    turn.telling[host] = _last_number(turn)


def _all_recorded(turn: Turn) -> dict[ServiceName, int]:
    groups = turn.groups.values()
    return {name: now.recorded for group in groups for name, now in group.services.items() if now.recorded}
