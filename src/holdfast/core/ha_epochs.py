"""Which epochs are over: kept with each service, and told to every voter, which forgets it with its process.

In: the turn. Out: RememberEpochs for the agents of all hosts. Always holds: what is told has been recorded by a
majority of the voters, so that it never seals an epoch that is still held; an agent that joins is told all of it.
"""

from msgspec.structs import replace

from holdfast.core.ha_turn import Turn
from holdfast.model.actions import RememberEpochs
from holdfast.model.names import HostName, ServiceName
from holdfast.model.reasons import Reason


def recorded(turn: Turn, name: ServiceName, epoch: int) -> None:
    """A majority of the voters has recorded this number: claims under lower ones are over."""
    service = turn.service(name)
    if turn.layout.grants is not None and epoch > service.recorded:
        turn.put_service(name, replace(service, recorded=epoch))
        turn.recorded[name] = epoch


def tell_epochs(turn: Turn) -> None:
    """At the end of a step: what is new to everybody who is there, and everything to those that have just joined."""
    if turn.layout.grants is None or not (turn.recorded or turn.joined):
        return
    for host in turn.layout.hosts:
        if host in turn.joined:
            epochs = _all_recorded(turn)
            reason = Reason("voter-joined", host, "", turn.seen)
        elif turn.recorded and turn.agents.get(host):
            epochs = _untold(turn, host) | turn.recorded
            reason = Reason("epoch-recorded", ", ".join(turn.recorded), "", turn.seen)
        else:
            continue
        turn.desk.drop(lambda action: isinstance(action, RememberEpochs) and action.host == host)  # noqa: B023
        turn.desk.order(RememberEpochs(turn.desk.number(), host, epochs), (reason,))


def _all_recorded(turn: Turn) -> dict[ServiceName, int]:
    groups = turn.groups.values()
    return {name: now.recorded for group in groups for name, now in group.services.items() if now.recorded}


def _untold(turn: Turn, host: HostName) -> dict[ServiceName, int]:
    """What this host's agent was told and has not answered yet."""
    told = [one for one in turn.desk.awaited() if isinstance(one, RememberEpochs) and one.host == host]
    return dict(told[-1].epochs) if told else {}
