"""Which managers an agent follows: the highest term that it has heard of, for each party.

In:   the terms under which managers say that they lead.
Out:  whether to follow one; the newest known.
Always: never goes down, also when the agent starts again: written to its folder before a newer leader is followed.
The page cache keeps the file while the host runs; a host that was off has nothing to protect from an old leader,
since it holds nothing.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from holdfast.model.names import Party

Trouble = Callable[[str], None]


class Terms:
    """The terms known on one host; without a path they live as long as the process."""

    def __init__(self, path: Path | None, trouble: Trouble) -> None:
        self._path = path
        self._trouble = trouble
        self._newest: dict[Party, int] = self._load()

    def newest(self, party: Party) -> int:
        return self._newest.get(party, 0)

    def admit(self, party: Party, term: int) -> bool:
        """Whether a leader of this term is to be followed; a newer one is remembered."""
        known = self.newest(party)
        if term > known:
            self._newest[party] = term
            self._save()
        return term >= known

    def _load(self) -> dict[Party, int]:
        if self._path is None:
            return {}
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[Party, int])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            # An agent that refused to start would do more harm than one that must hear of the newest term again.
            self._trouble(f"the terms in {self._path} cannot be read: {error}")
            return {}

    def _save(self) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(f".{os.getpid()}")
        try:
            fresh.write_bytes(msgspec.json.encode(self._newest))
            fresh.replace(self._path)
        except OSError as error:
            self._trouble(f"the newest terms could not be written to {self._path}: {error.strerror}")
