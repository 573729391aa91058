"""Which managers an agent follows: the highest term that it has heard of, for each party, and who leads under it.

In:   the terms under which managers say that they lead.
Out:  whether to follow one; the newest known.
Always: never goes down, also when the agent starts again: written to its folder before a newer leader is followed. A
term has one leader: another one under the same term comes from a store that was restored, and knows nothing of the
numbers that the first one gave out.
The page cache keeps the file while the host runs; a host that was off has nothing to protect from an old leader,
since it holds nothing.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.model.names import Party
from holdfast.model.reading import UNREADABLE
from holdfast.store.sums import checked, with_sum

Trouble = Callable[[str], None]


class Followed(Struct, frozen=True):
    term: int = 0
    leader: str = ""
    """Which candidature; empty for the only manager of one machine."""


class Terms:
    """The terms known on one host; without a path they live as long as the process."""

    def __init__(self, path: Path | None, trouble: Trouble) -> None:
        self._path = path
        self._trouble = trouble
        self._newest: dict[Party, Followed] = self._load()

    def newest(self, party: Party) -> int:
        return self._newest.get(party, Followed()).term

    def admit(self, party: Party, term: int, leader: str = "") -> bool:
        """Whether this leader of this term is to be followed; a newer one is remembered."""
        known = self._newest.get(party, Followed())
        if term > known.term:
            known = self._newest[party] = Followed(term, leader)
            self._save()
        return known == Followed(term, leader)

    def _load(self) -> dict[Party, Followed]:
        if self._path is None:
            return {}
        try:
            found = msgspec.json.decode(checked(self._path.read_bytes()), type=dict[Party, Followed | int | str])
            # Written by an older version, which knew no leaders: nobody leads under that term any more.
            return {
                party: Followed(one) if isinstance(one, int) else one
                for party, one in found.items()
                if not isinstance(one, str)
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, *UNREADABLE) as error:
            # An agent that refused to start would do more harm than one that must hear of the newest term again.
            aside = self._put_aside()
            self._trouble(
                f"the terms in {self._path} cannot be read: {error}{aside}; leaders tell theirs when they call"
            )
            return {}

    def _put_aside(self) -> str:
        assert self._path is not None
        aside = self._path.with_suffix(".damaged")
        try:
            self._path.replace(aside)
        except OSError as error:
            return f" (and not put aside: {error.strerror})"
        return f" (it is kept as {aside.name})"

    def _save(self) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(f".{os.getpid()}")
        try:
            fresh.write_bytes(with_sum(msgspec.json.encode(self._newest)))
            fresh.replace(self._path)
        except OSError as error:
            self._trouble(f"the newest terms could not be written to {self._path}: {error.strerror}")
