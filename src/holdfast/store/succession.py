"""Successions, voter set, descriptor and fencings of a deployment, in whatever store it has.

In:   decisions of the leading manager.
Out:  what was decided last, for managers that begin and agents that start again.
Always: kept by compare-and-swap on the whole table, so that of two managers one is refused; within a service epochs
never go down, and a number that was reserved for one life of an agent is never given to another. Nothing on the path of
a take-over reads or writes here: it records what was decided ahead, and what happened afterwards.

Parts: `service/<name>`, `voters`, `descriptor`, `fenced/<host>/<incarnation>`.
"""

from typing import TypeVar

import msgspec
from msgspec import Struct

from holdfast.errors import Bug
from holdfast.model.granting import Fenced, Succession, Successor, VoterSet
from holdfast.model.names import HostName, Party, ServiceName
from holdfast.store.port import Store

TABLE = Party("succession")
"""The name under which the table lies beside the states of the parties."""
Kind = TypeVar("Kind")


class Kept(Struct, frozen=True):
    """What the store holds of one service."""

    epoch: int
    holder: HostName | None
    incarnation: int
    """Of the holder's agent: an epoch belongs to one life of it."""
    successors: tuple[Successor, ...]
    revision: int
    """Grows with each decision about the service; agents refuse older ones."""
    highest: int
    """No number up to this one may be reserved again."""

    def order(self, service: ServiceName) -> Succession:
        return Succession(service, self.revision, self.holder, self.epoch, self.successors)


class Successions:
    """The table, read once and then kept in step with the store.

    Args:
        store: the deployment's; `Behind` where it may be slow or away.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        saved = store.load(TABLE)
        self._version = saved.version
        self._parts = saved.parts

    def service(self, name: ServiceName) -> Kept | None:
        return self._read(f"service/{name}", Kept)

    def services(self) -> dict[ServiceName, Kept]:
        names = [ServiceName(part.removeprefix("service/")) for part in self._parts if part.startswith("service/")]
        return {name: kept for name in names if (kept := self.service(name)) is not None}

    def decide(
        self,
        name: ServiceName,
        epoch: int,
        holder: HostName | None,
        incarnation: int,
        successors: tuple[Successor, ...],
    ) -> Kept:
        """Record who holds a service under which epoch, and who may succeed.

        Raises:
            Superseded: another manager decides.
            StoreBroken: not kept, or not known to be.
            Bug: the numbers break the rules.
        """
        before = self.service(name)
        wrong = why_not(before, epoch, holder, incarnation, successors)
        if wrong is not None:
            raise Bug(f"service {name}: {wrong}")
        highest = max([before.highest if before else 0, epoch, *(one.epoch for one in successors)])
        revision = before.revision + 1 if before else 1
        kept = Kept(epoch, holder, incarnation, successors, revision, highest)
        self._write(f"service/{name}", msgspec.json.encode(kept))
        return kept

    @property
    def voters(self) -> VoterSet | None:
        return self._read("voters", VoterSet)

    def set_voters(self, voters: VoterSet) -> None:
        """Record the next voter set; whether its members may follow the present ones is for the caller to know.

        Raises:
            Bug: it is not the next version, or shortens the longest promise.
        """
        before = self.voters
        if before == voters:
            return
        expected = before.version + 1 if before else 1
        if voters.version != expected:
            raise Bug(f"voter set {voters.version} is to follow, {expected} would be next")
        if before is not None and voters.length_max_ns < before.length_max_ns:
            raise Bug("the longest promise never goes down: one that was given before may still run")
        self._write("voters", msgspec.json.encode(voters))

    @property
    def descriptor(self) -> bytes | None:
        """The descriptor that is in force, as it was given."""
        return self._parts.get("descriptor")

    def set_descriptor(self, text: bytes) -> None:
        self._write("descriptor", text)

    def fenced(self, host: HostName, incarnation: int) -> Fenced | None:
        return self._read(f"fenced/{host}/{incarnation}", Fenced)

    def note_fenced(self, fenced: Fenced) -> None:
        """That life of that host is over, confirmed. To be recorded before any voter is told."""
        self._write(f"fenced/{fenced.host}/{fenced.incarnation}", msgspec.json.encode(fenced))

    def _read(self, part: str, kind: type[Kind]) -> Kind | None:
        content = self._parts.get(part)
        return None if content is None else msgspec.json.decode(content, type=kind)

    def _write(self, part: str, content: bytes) -> None:
        if self._parts.get(part) == content:
            return
        self._version = self._store.save(TABLE, {part: content}, self._version)
        self._parts = {**self._parts, part: content}


def why_not(
    before: Kept | None, epoch: int, holder: HostName | None, incarnation: int, successors: tuple[Successor, ...]
) -> str | None:
    """What is wrong with the numbers of a decision; None if nothing is."""
    numbers = [one.epoch for one in successors]
    if len(set(numbers)) < len(numbers):
        return f"two successors with the same number: {numbers}"
    if numbers and min(numbers) <= epoch:
        return f"a successor's number {min(numbers)} is not above the epoch {epoch}"
    if before is None:
        return None
    if epoch < before.epoch:
        return f"epoch {epoch} after {before.epoch}"
    owners = {one.epoch: (one.host, one.incarnation) for one in before.successors}
    if before.holder is not None:
        owners[before.epoch] = (before.holder, before.incarnation)
    given = {one.epoch: (one.host, one.incarnation) for one in successors}
    if holder is not None:
        given[epoch] = (holder, incarnation)
    for number, owner in given.items():
        if owners.get(number, owner) != owner:
            return f"number {number} was reserved for {owners[number][0]}, and is given to {owner[0]}"
        if number <= before.highest and number not in owners:
            return f"number {number} was given before: {before.highest} is the highest so far"
    return None
