"""The successor's side of one agent: standing orders, and when the time has come to follow them.

In:   orders, who has failed, what voters say of the services that are waited for (`grant_rounds`), time.
Out:  which waiting claims are to be taken now, and why (`due`).
Always: a reserved epoch is used by the life of the agent that it was reserved for, and by no other; nothing is taken
while a majority does not say that nobody is promised it, or that its holder has released it; the first successor goes
first, each further one only after its turn has passed without anybody having taken it.
What is taken too early costs a lapse of the holder, never two actives.
"""

from holdfast.core.grant_claims import Claims, Entry
from holdfast.core.grant_rounds import Rounds
from holdfast.model.granting import Profile, Succession, Successor
from holdfast.model.names import HostName, ServiceName

FAR_NS = 1 << 62


class Waiting:
    """A service that is waited for here."""

    __slots__ = ("epoch", "free_since_ns", "holder", "released_ns", "turn")

    def __init__(self, turn: int, holder: HostName | None, epoch: int) -> None:
        self.turn = turn
        self.holder = holder
        self.epoch = epoch
        """Under which the holder holds it."""
        self.released_ns: int | None = None
        """When it was heard that the holder has let go."""
        self.free_since_ns: int | None = None
        """Since when a majority says that nobody is promised it."""


class Candidate:
    def __init__(self, host: HostName, incarnation: int, profile: Profile, claims: Claims, rounds: Rounds) -> None:
        self._host = host
        self._incarnation = incarnation
        self._profile = profile
        self._claims = claims
        self._rounds = rounds
        self._orders: dict[ServiceName, Succession] = {}
        self._waiting: dict[ServiceName, Waiting] = {}
        self._next_ns = FAR_NS
        self.failed: set[HostName] = set()
        """Hosts that this agent finds failed."""
        self.over: list[Entry] = []
        """Waiting claims whose epochs are sealed: they cannot come to anything."""
        self.is_stale = False

    # Orders.

    def follow(self, order: Succession) -> str | None:
        """Remember an order; why it is refused, if it is."""
        known = self._orders.get(order.service)
        if known is not None and order.revision <= known.revision:
            return None if order == known else f"revision {known.revision} is known already"
        self._orders[order.service] = order
        return None

    def place_in(self, service: ServiceName) -> tuple[int, Successor] | None:
        """Which turn this agent has in the order, if any."""
        order = self._orders.get(service)
        if order is None:
            return None
        for turn, successor in enumerate(order.successors):
            if successor.host == self._host and successor.incarnation == self._incarnation:
                return turn, successor
        return None

    def concerned(self, service: ServiceName) -> tuple[HostName, ...]:
        """Hosts that wait for a release of the service, whether they vote or not."""
        order = self._orders.get(service)
        return tuple(successor.host for successor in order.successors) if order is not None else ()

    def wait(self, service: ServiceName, turn: int) -> None:
        """It is waited for from now on, in that turn."""
        order = self._orders.get(service)
        former = self._waiting.get(service)
        holder, epoch = (order.holder, order.epoch) if order is not None else (None, 0)
        waiting = self._waiting[service] = Waiting(turn, holder, epoch)
        if former is not None:
            waiting.free_since_ns = former.free_since_ns
            if former.epoch == epoch:
                waiting.released_ns = former.released_ns
        self.is_stale = True

    def stop_waiting(self, service: ServiceName) -> None:
        self._waiting.pop(service, None)

    # What happens.

    def released(self, service: ServiceName, epoch: int, now: int) -> None:
        """Its holder says that it has let go."""
        waiting = self._waiting.get(service)
        if waiting is not None and epoch >= waiting.epoch:
            waiting.released_ns = now
            self.is_stale = True

    def deadline_ns(self) -> int:
        return self._next_ns

    def due(self, now: int) -> list[tuple[Entry, str]]:
        """Claims whose time has come, with the reason."""
        if not self.is_stale and now < self._next_ns:
            return []
        self.is_stale = False
        self._next_ns = FAR_NS
        found = []
        for service, waiting in self._waiting.items():
            entry = self._claims.get(service)
            if entry is None or entry.step not in ("wait", "watch"):
                continue
            if entry.older and self._rounds.is_sealed(entry):
                self.over.append(entry)
                continue
            reason = self._reason(entry, waiting, now)
            if reason is not None:
                found.append((entry, reason))
        return found

    def _reason(self, entry: Entry, waiting: Waiting, now: int) -> str | None:
        was_released = self._was_released(waiting, now)
        # A majority in any case: who lets go, and a voter that has promised it to nobody else, may both have been cut
        # off, and somebody who has succeeded it meanwhile would be ended for nothing.
        if not self._rounds.is_free(entry, now - 2 * self._profile.heartbeat_ns):
            waiting.free_since_ns = None
            return None
        if waiting.free_since_ns is None:
            waiting.free_since_ns = now
        patience, reason = self._profile.patience_ns, "its holder's promise has run out"
        if was_released:
            patience, reason = 0, "its holder has released it"
        elif self._rounds.is_granted(entry):
            patience, reason = 0, "its holder has released it, or is fenced"
        elif waiting.holder in self.failed:
            patience, reason = 0, f"its holder's promise has run out, and {waiting.holder} has failed"
        due = waiting.free_since_ns + patience + waiting.turn * self._profile.turn_ns
        if now < due:
            self._next_ns = min(self._next_ns, due)
            return None
        return reason if not waiting.turn else f"{reason}; nobody before it in the order has taken it"

    def _was_released(self, waiting: Waiting, now: int) -> bool:
        """Whether the holder that the order names has said lately that it has let go."""
        return waiting.released_ns is not None and now - waiting.released_ns < self._rounds.voter_set.length_max_ns
