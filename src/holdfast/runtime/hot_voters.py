"""The hot process's part in voter set and epochs: what its voter goes by, and what is on its host's disk.

In:   epochs and voter sets that the agent was told by managers; voter sets that the voter was told by others.
Out:  the `Grantor` told of them, the agent asked to write, or told what the voter goes by now.
Always: a voter set is on disk before it is gone by, and epochs that are known are said before that. The loop does not
wait for the disk: the agent writes, which has time; only where there is no agent that does, the voter writes itself,
since a voter that stays behind is worth nothing.
"""

from collections.abc import Callable
from pathlib import Path

from holdfast.core.grants import Grantor
from holdfast.errors import WorldError
from holdfast.model.granting import IN_DOUBT, MS, SECOND, VoterSet
from holdfast.model.names import HostName, ServiceName
from holdfast.runtime import hot_grant_words as words
from holdfast.runtime import voter_file
from holdfast.runtime.hot_clock import Clocks

AGENT_AWAY_NS = SECOND
"""An agent that has said nothing for so long writes nothing."""
WRITE_LIMIT_NS = 300 * MS
"""An agent that was asked to write gets so long for it."""
WRITE_AGAIN_NS = SECOND
"""Pause after a disk that did not take it."""


class HotVoters:
    def __init__(
        self, me: HostName, path: Path, grantor: Grantor, clocks: Clocks, tell: Callable[[words.GrantNews], None]
    ) -> None:
        self._me, self._path, self._grantor, self._clocks, self._tell = me, path, grantor, clocks, tell
        self._epochs: dict[ServiceName, int] | None = None
        """As far as managers have told since this process began; None: nothing at all."""
        self._on_disk = grantor.members.current
        self._unwritten: VoterSet | None = None
        self._write_at_ns = 0
        """When to write it here, if the agent has not done so."""

    @property
    def in_use(self) -> VoterSet:
        return self._grantor.members.current

    def learn(self, command: words.TakeEpochs, now_ns: int) -> None:
        """Epochs that managers know to be recorded by a majority."""
        known = self._epochs if self._epochs is not None else {}
        self._epochs = {**known, **{name: max(epoch, known.get(name, 0)) for name, epoch in command.epochs.items()}}
        self._grantor.set_floors(command.epochs, now_ns)
        self._tell(words.EpochsTaken(command.number, self._grantor.voter.floors(command.epochs)))

    def written(self, voters: VoterSet, now_ns: int, *, use: bool) -> None:
        """The agent has it on disk; it is gone by if it shall be, or if the voter waits for that."""
        if voters.version > self._on_disk.version:
            self._on_disk = voters
        if use:
            self._grantor.set_voter_set(voters, now_ns)
        self._go_by_what_is_written()
        if use and self.in_use.version >= voters.version:
            self._tell(words.VotersAre(self.in_use))

    def persist(self, voters: VoterSet, now_ns: int, alive_ns: int) -> None:
        """The voter wants to go by it."""
        if voters.version <= self._on_disk.version:
            self._go_by(voters)
            return
        self._unwritten = voters
        if now_ns - alive_ns > AGENT_AWAY_NS:
            self._write(now_ns)
        else:
            self._write_at_ns = now_ns + WRITE_LIMIT_NS
            self._tell(words.WriteVoters(voters))

    def beat(self, now_ns: int) -> None:
        if self._unwritten is not None and now_ns >= self._write_at_ns:
            self._write(now_ns)

    def _write(self, now_ns: int) -> None:
        voters = self._unwritten
        if voters is None:
            return
        try:
            voter_file.keep(self._path, voters, is_patient=False)
        except WorldError as error:
            self._write_at_ns = now_ns + WRITE_AGAIN_NS
            self._tell(words.Said(IN_DOUBT, self._me, error.message))
            return
        self._on_disk = voters
        self._go_by_what_is_written()

    def _go_by_what_is_written(self) -> None:
        if self._unwritten is not None and self._unwritten.version <= self._on_disk.version:
            self._go_by(self._unwritten)

    def _go_by(self, voters: VoterSet) -> None:
        self._unwritten = None
        if self._epochs is not None:
            self._grantor.set_floors(self._epochs, self._clocks.raw_ns())
        self._grantor.persisted(voters.version, self._clocks.raw_ns())
        self._tell(words.VotersAre(self.in_use))


def voters_at_start(path: Path, first: VoterSet) -> VoterSet:
    """As it is on this host's disk; at the very first start that of the descriptor."""
    present = voter_file.read(path)
    if present is not None:
        return present
    voter_file.keep(path, first)
    return first
