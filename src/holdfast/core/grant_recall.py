"""Which epochs are over, asked of the other voters by one that has started, before it promises anything.

It has forgotten which epochs it promised; those that promised them with it have not. In: their answers. Out: what to
ask whom, whether enough is known to vote, and what stays open if the voter votes without knowing enough.
Always: it is asked when the silence is over and not before. By then a promise of the former life has come to its end,
so whatever was answered with its help is recorded by all the others that promised it. So many of the others as are
asked for here (`needed`) are none of a majority's others only if there is no such majority.
"""

from holdfast.model.granting import (
    EPOCHS_BYTES_MAX,
    OLDER_MAY_COME_BACK,
    AskEpochs,
    EpochsAre,
    Memory,
    VoterSet,
)
from holdfast.model.names import HostName, ServiceName

EPOCH_OVERHEAD_BYTES = 12
Questions = list[tuple[HostName, AskEpochs]]


class Recall:
    """Of one life of one voter."""

    def __init__(self, host: HostName, voter_set: VoterSet, *, is_needed: bool) -> None:
        self._host = host
        self._voter_set = voter_set
        self._upto: dict[HostName, ServiceName] = {}
        """Up to which service each one has told so far."""
        self._memories: dict[HostName, Memory] = {}
        """What each one remembers that has told everything."""
        self._lives: dict[HostName, int] = {}
        self._anew: dict[HostName, int] = {}
        self.is_over = not is_needed
        """It votes, or never had to ask."""

    def adopt(self, voter_set: VoterSet) -> None:
        self._voter_set = voter_set

    @property
    def _others(self) -> list[HostName]:
        return [member for member in self._voter_set.members if member != self._host]

    @property
    def needed(self) -> int:
        """Of whatever majority the own voter was one, at least one more is among so many of the others."""
        return len(self._voter_set.members) - self._voter_set.quorum + 1

    def questions(self) -> Questions:
        """To all that have not told what they remember: one that remembers nothing may know more the next time."""
        unsure = [host for host in self._others if self._memories.get(host, "none") == "none"]
        return [(host, AskEpochs(self._upto.get(host, ServiceName("")))) for host in unsure]

    def heard(self, host: HostName, incarnation: int, answer: EpochsAre) -> AskEpochs | None:
        """Take an answer into account; what to ask next, if that was not all."""
        if self.is_over or answer.after != self._upto.get(host, ""):
            return None
        if answer.more and answer.epochs:
            last = self._upto[host] = answer.epochs[-1][0]
            return AskEpochs(last)
        self._upto.pop(host, None)
        self._memories[host], self._lives[host] = answer.memory, incarnation
        return None

    @property
    def is_sure(self) -> bool:
        """No epoch that this voter ever promised, and that was answered, is unknown here any more."""
        told = [self._memories.get(host, "none") for host in self._others]
        return "anew" in told or sum(one != "none" for one in told) >= self.needed

    @property
    def is_complete(self) -> bool:
        """Nobody is left who could tell more."""
        return all(host in self._memories for host in self._others)

    def end(self) -> str | None:
        """It votes from now on; why an older epoch may come back, if it may."""
        self.is_over = True
        if self.is_sure:
            return None
        remember = [host for host in self._others if self._memories.get(host, "none") != "none"]
        if self.is_complete and not remember:
            # All have started anew, and nobody has voted since: whoever held anything lives no more.
            self._anew = dict(self._lives)
            return None
        missing = ", ".join(host for host in self._others if host not in self._memories)
        heard = f"{missing} not heard" if missing else "all others heard"
        return f"{len(remember)} of {self.needed} remember which epochs are over, {heard}: {OLDER_MAY_COME_BACK}"

    def memory_for(self, host: HostName, incarnation: int) -> Memory:
        """What the own memory is worth to that life of that voter."""
        if not self.is_over:
            return "none"
        return "anew" if self._anew.get(host) == incarnation else "whole"


def page(floors: dict[ServiceName, int], asked: AskEpochs, memory: Memory) -> EpochsAre:
    """As much of what is remembered as one message takes, in the order of the names."""
    found: list[tuple[ServiceName, int]] = []
    size = 0
    for service in sorted(name for name in floors if name > asked.after):
        size += len(service.encode()) + EPOCH_OVERHEAD_BYTES
        if size > EPOCHS_BYTES_MAX and found:
            return EpochsAre(asked.after, tuple(found), memory, more=True)
        found.append((service, floors[service]))
    return EpochsAre(asked.after, tuple(found), memory)
