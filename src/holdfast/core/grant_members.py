"""The voter set that an agent goes by, and when the next one may be made. Pure.

Always: one member at a time; a version is on disk before it is acknowledged or used; and the next one is made only
when the present one is sealed: so many members of the one before have acknowledged it that the others are no majority,
and the longest promise has run out since. Then nobody can renew by the one before any more, only neighbours are alive,
and majorities of neighbours meet.
"""

from holdfast.model.granting import VOTERS_MAX, VoterSet, quorum, surely_ns
from holdfast.model.names import HostName


def why_not(old: VoterSet, new: VoterSet) -> str | None:
    """Why this voter set cannot follow that one at once; None if it can. Says nothing of sealing."""
    changed = set(old.members) ^ set(new.members)
    if len(changed) > 1:
        return f"members {', '.join(sorted(changed))} change at once: one at a time"
    if set(new.previous) != set(old.members):
        return "it was made to follow another one"
    if new.length_max_ns < old.length_max_ns:
        return "its longest promise is shorter than one that may still run"
    return ill_made(new)


def ill_made(voter_set: VoterSet) -> str | None:
    """What is wrong with it, whatever it follows."""
    members = voter_set.members
    if not members or len(set(members)) != len(members) or len(members) > VOTERS_MAX:
        return f"it has {len(members)} members; 1 to {VOTERS_MAX} different ones are expected"
    if voter_set.length_max_ns < voter_set.length_ns:
        return "its promises are longer than its longest promise"
    if not set(voter_set.witnesses) <= set(members):
        return "a witness is no member"
    return None


class Members:
    """What one agent knows of the voter set: the version in use, one that is being written, who has acknowledged."""

    def __init__(self, host: HostName, current: VoterSet, rho_ppm: int) -> None:
        self.host = host
        self.current = current
        self.proposed: VoterSet | None = None
        self._rho_ppm = rho_ppm
        self._versions: dict[HostName, int] = {host: current.version}
        self._sealed_since: int | None = None

    @property
    def newest(self) -> VoterSet:
        return self.proposed or self.current

    def propose(self, voter_set: VoterSet) -> str | None:
        """Get ready to adopt a newer one; why it is refused, if it is."""
        if voter_set.version <= self.newest.version:
            for known in (self.current, self.proposed):
                if known is not None and known.version == voter_set.version and known != voter_set:
                    return "another voter set of the same version is known here: two stores, or two minds"
            return None
        if voter_set.version == self.current.version + 1:
            # Of an agent that was away for several versions only the newest is asked.
            wrong = why_not(self.current, voter_set)
        else:
            wrong = ill_made(voter_set)
        if wrong is None:
            self.proposed = voter_set
        return wrong

    def persisted(self, version: int) -> bool:
        """It is on disk: from now on it is used and acknowledged."""
        if self.proposed is None or self.proposed.version != version:
            return False
        self.current, self.proposed = self.proposed, None
        self._versions[self.host] = version
        self._sealed_since = None
        return True

    def heard(self, host: HostName, version: int, now: int) -> None:
        """A peer's head names the version it has on disk."""
        if version > self._versions.get(host, 0):
            self._versions[host] = version
            self._look(now)

    def _look(self, now: int) -> None:
        if self._sealed_since is None:
            before = self.current.previous
            silent = sum(self._versions.get(member, 0) < self.current.version for member in before)
            if silent < quorum(before):
                self._sealed_since = now

    def may_change(self, now: int) -> bool:
        """True once the present version is sealed: the next one may be made."""
        if not self.current.previous:
            return True
        self._look(now)
        longest = surely_ns(self.current.length_max_ns, self._rho_ppm)
        return self._sealed_since is not None and now - self._sealed_since >= longest
