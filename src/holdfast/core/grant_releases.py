"""Releases that are on their way: told at once, and again until a majority has recorded them or they are of no use.

In: services that the kernel has closed. Out: to whom RELEASE is to be sent now. Nothing is told before it is closed.
"""

from collections.abc import Iterable

from holdfast.core.grant_candidate import Candidate
from holdfast.core.grant_claims import Entry
from holdfast.core.grant_members import Members
from holdfast.core.grant_rounds import Rounds
from holdfast.model.granting import RELEASES_MAX, Release
from holdfast.model.names import HostName, ServiceName

Letters = list[tuple[HostName, Release]]


class Releases:
    def __init__(self, members: Members, rounds: Rounds, candidate: Candidate) -> None:
        self._members = members
        self._rounds = rounds
        self._candidate = candidate
        self._under_way: dict[ServiceName, tuple[int, int, int]] = {}
        """Number of the release in the claim set, epoch, and until when it is repeated."""

    def begin(self, ended: Iterable[Entry], now: int) -> Letters:
        """Tell everybody whom it concerns: all voters, and those who wait for the service."""
        until = now + self._members.current.length_max_ns
        fresh = []
        for entry in ended:
            self._under_way[entry.service] = (entry.number, entry.epoch, until)
            fresh.append((entry.service, entry.epoch))
        return self._letters(fresh)

    def repeat(self, now: int) -> Letters:
        """Tell again what is not yet known to a majority, as long as a promise for it may run."""
        if not self._under_way:
            return []
        voter_set = self._members.current
        again = []
        for service, (number, epoch, until) in list(self._under_way.items()):
            known = sum(self._rounds.known(member) >= number for member in voter_set.members)
            if known >= voter_set.quorum or now >= until:
                del self._under_way[service]
            else:
                again.append((service, epoch))
        return self._letters(again)

    def _letters(self, claims: list[tuple[ServiceName, int]]) -> Letters:
        hosts = set(self._members.current.members)
        for service, _ in claims:
            hosts.update(self._candidate.concerned(service))
        parts = [Release(tuple(claims[at : at + RELEASES_MAX])) for at in range(0, len(claims), RELEASES_MAX)]
        return [(host, part) for part in parts for host in sorted(hosts)]
