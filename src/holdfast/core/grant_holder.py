"""The holder's side of one agent: what its kernel answers for, and until when.

In:   what `grant_rounds` proves, what the kernel has confirmed (`armed`, `arm_failed`, `closed`, `all_closed`), time.
Out:  Own, Disown, Arm, Close, CloseAll for the kernel; Held, Lapsed, Regained, Lost, Released, Refused for the agent.
Always: the keys are moved to an end only if each owned service is proven until then; the others leave the owned set
first. A service is released only after its closing is confirmed and no arming that names it is under way. Nothing is
armed for it any more from the moment it is to be released. At most one arming is under way.
"""

from holdfast.core.grant_claims import Claims, Entry
from holdfast.core.grant_rounds import Rounds
from holdfast.model.granting import (
    Arm,
    Close,
    CloseAll,
    Disown,
    Held,
    Lapsed,
    Lost,
    Output,
    Own,
    Profile,
    Refused,
    Regained,
    Released,
)
from holdfast.model.names import ServiceName

FAR_NS = 1 << 62
FAILURES_AT_ONCE = 1
"""So many armings that fail in a row are tried again at once; more of them rest for half a heartbeat each time, so that
an agent whose kernel refuses does not do nothing else than ask it."""


class Holder:
    def __init__(self, profile: Profile, claims: Claims, rounds: Rounds, out: list[Output]) -> None:
        self._profile = profile
        self._claims = claims
        self._rounds = rounds
        self._out = out
        self._sealing: set[ServiceName] = set()
        """Held under an epoch that a majority does not know yet."""
        self._owned: dict[ServiceName, Entry] = {}
        """The kernel's owned set, as far as it was last said."""
        self._named: tuple[ServiceName, ...] = ()
        self._masks: set[int] = set()
        self._leaving: set[ServiceName] = set()
        """Said to leave the owned set, and not yet confirmed."""
        self.armed_until_ns = 0
        """What the kernel has confirmed; 0 if the keys are gone or have ended."""
        self.pending: Arm | None = None
        self.is_shut = False
        """All is being closed: nothing is armed before that is confirmed."""
        self.is_barred = False
        """Nothing is to be armed (the clock is in doubt)."""
        self._shut_again = False
        self._failures = 0
        """In a row."""
        self._rest_until_ns = 0
        self._not_owned: dict[ServiceName, int] = {}
        """How often in a row the kernel has not taken a service in."""
        self.is_stale = True
        """Something changed that the settling has not seen yet."""
        self.is_unequal = True
        """Claims differ, or wait to be owned: they must be looked at one by one."""
        self.wants_to_close: set[ServiceName] = set()
        """Closings that were confirmed while an arming that names the service was under way."""
        self.to_release: list[Entry] = []
        """Closed in the kernel: the releases may go out."""
        self.lapses = 0
        self.regained = 0
        self.arms = 0
        self.arms_failed = 0

    # Moving the keys.

    def settle(self, now: int) -> None:
        """Move the keys as far as is proven, take in what has become ours, let go of what holds the others back."""
        if not self.is_stale or self.pending is not None or self.is_shut or self.is_barred:
            return
        if now < self._rest_until_ns:
            return  # The answers of the next heartbeat come after that.
        self.is_stale = False
        if self.is_unequal:
            self._settle_each(now)
            return
        if not self._owned:
            return
        rounds = self._rounds
        until = min(rounds.end_of_mask(mask) for mask in self._masks)
        if self._in_window(until, now) - self.armed_until_ns >= self._profile.heartbeat_ns // 4:
            if until >= now + self._profile.margin_ns:
                self._arm(until, now)
            else:
                self._settle_each(now)

    def goes_on(self, entry: Entry) -> None:
        """The service is claimed under a higher epoch, and held all the while."""
        if entry.service in self._owned:
            self._owned[entry.service] = entry
        self._sealing.add(entry.service)
        self.is_unequal = self.is_stale = True

    def _look_at_seals(self) -> None:
        for service in tuple(self._sealing):
            entry = self._claims.get(service)
            if entry is not None and self._rounds.is_majority(entry.mask) and entry.condition == "held":
                self._sealing.discard(service)
                self._out.append(Held(service, entry.epoch, self.armed_until_ns))

    def _settle_each(self, now: int) -> None:
        self._look_at_seals()
        rounds, profile = self._rounds, self._profile
        ends = {entry: rounds.end_of(entry) for entry in self._owned.values()}
        best = max(ends.values(), default=0)
        # Who is not renewed holds the others back until shortly before its end; then it leaves.
        leaving = [entry for entry, end in ends.items() if end < min(best, now + profile.margin_ns)]
        if best < now + profile.shortest_ns:
            leaving = []
        staying = [end for entry, end in ends.items() if entry not in leaving]
        least = max(self.armed_until_ns, now + profile.shortest_ns)
        entering = []
        for entry in self._claims:
            if entry.step == "take" and entry.is_live and entry.service not in self._owned:
                end = rounds.end_of(entry)
                if end >= least:
                    entering.append(entry)
                    staying.append(end)
        until = min(staying, default=0)
        moved = self._in_window(until, now) - self.armed_until_ns >= profile.heartbeat_ns // 4
        if until >= now + profile.shortest_ns and (leaving or entering or moved):
            self._disown(leaving, now)
            self._own(entering, until)
            self._arm(until, now)
        self._give_up_sealed()
        self._look_whether_equal()

    def _in_window(self, until: int, now: int) -> int:
        window = self._profile.window_ns
        return min(until, now + window) if window else until

    def _disown(self, leaving: list[Entry], now: int) -> None:
        for entry in leaving:
            del self._owned[entry.service]
            self._leaving.add(entry.service)
            self._out.append(Disown(entry.service))
            if entry.condition == "held":
                self._lapse(entry, "a majority no longer renews it", now)
            elif entry.condition == "joining":
                entry.condition = "asking"
        self._named = tuple(self._owned)

    def _own(self, entering: list[Entry], until: int) -> None:
        for entry in entering:
            self._owned[entry.service] = entry
            self._leaving.discard(entry.service)
            self._out.append(Own(entry.service, entry.epoch, max(until, self.armed_until_ns)))
            if entry.condition == "asking":
                entry.condition = "joining"
        self._named = tuple(self._owned)

    def _arm(self, until: int, now: int) -> None:
        self.pending = Arm(self._in_window(until, now), self._named)
        self.arms += 1
        self._out.append(self.pending)

    def armed(self, until_ns: int, now: int) -> None:
        """The kernel has confirmed: both keys end then, in time."""
        if self.pending is None or self.pending.until_ns != until_ns:
            return
        self._leaving.clear()
        self._failures = 0
        self._not_owned.clear()
        self._answered(self.pending)
        if self.is_shut:
            return
        self.armed_until_ns = until_ns
        if now >= until_ns:
            return
        # Whoever has left, or is to be released, since the arming was said is not in the owned set any more.
        for entry in self._owned.values():
            if entry.condition == "joining":
                entry.condition = "held"
                self._out.append(Held(entry.service, entry.epoch, until_ns))
            elif entry.condition == "lapsed":
                entry.condition = "held"
                self.regained += 1
                self._out.append(Regained(entry.service, entry.epoch, max(0, now - entry.dark_since_ns)))
                entry.dark_since_ns = 0

    def arm_failed(self, reason: str, now: int) -> None:
        """The kernel did not take it in time, or not at all; both keys are deleted, which is confirmed."""
        if self.pending is None:
            return
        self.arms_failed += 1
        self._failed(now)
        self.armed_until_ns = 0
        self._lapse_all(reason, now)
        self.is_unequal = True
        self._answered(self.pending)

    def kernel_failed(self, reason: str, now: int, own: ServiceName | None) -> None:
        """Something else was not done: what the kernel owns is not known any more, so all of it is closed first."""
        self.pending = None
        self.is_unequal = self.is_stale = True
        self._failed(now)
        self.shut(reason, now)
        if own is not None:
            self._not_taken_in(own, reason)

    def _failed(self, now: int) -> None:
        self._failures += 1
        if self._failures > FAILURES_AT_ONCE:
            self._rest_until_ns = now + self._profile.heartbeat_ns // 2

    def _not_taken_in(self, service: ServiceName, reason: str) -> None:
        """Tried once more; then it is given up, so that another host can have it and the other services go on here."""
        times = self._not_owned[service] = self._not_owned.get(service, 0) + 1
        entry = self._claims.get(service)
        if times > FAILURES_AT_ONCE and entry is not None and entry.condition in ("joining", "lapsed"):
            del self._not_owned[service]
            said = Refused if entry.condition == "joining" else Lost
            self._out.append(said(service, entry.epoch, reason))
            self.release(entry)

    def _answered(self, arm: Arm) -> None:
        self.pending = None
        self.is_stale = True
        if self._shut_again:
            self._shut_again = False
            self._out.append(CloseAll("an arming was still under way"))
        self._close_again(arm.owned)

    def _close_again(self, named: tuple[ServiceName, ...]) -> None:
        """An arming may have put back what was closed meanwhile."""
        for service in sorted(self.wants_to_close):
            entry = self._claims.get(service)
            if service in named and entry is not None and entry.condition == "closing":
                self.wants_to_close.discard(service)
                self._out.append(Close(service, entry.epoch))

    # Time.

    def deadline_ns(self) -> int:
        """When the keys end: what is held then has lapsed."""
        return self.armed_until_ns if self.armed_until_ns and self._owned else FAR_NS

    def tick(self, now: int) -> None:
        if self.armed_until_ns and now >= self.armed_until_ns:
            since, self.armed_until_ns = self.armed_until_ns, 0
            self._lapse_all("the grant has run out", since)
            self.is_unequal = self.is_stale = True
        elif self._profile.window_ns and self._owned:
            self.is_stale = True

    def _lapse_all(self, reason: str, since: int) -> None:
        for entry in list(self._owned.values()):
            if entry.condition == "held":
                self._lapse(entry, reason, since)

    def _lapse(self, entry: Entry, reason: str, since: int) -> None:
        self.lapses += 1
        entry.condition = "lapsed"
        entry.dark_since_ns = since
        self._out.append(Lapsed(entry.service, entry.epoch, reason))
        if entry.service in self._sealing:
            # Under a lower epoch a successor may be active meanwhile. To come back under the higher one would end it,
            # so what few or no voters know of it is withdrawn, and seals nothing where it was not heard.
            self._out.append(Lost(entry.service, entry.epoch, "it lapsed before a majority knew its new epoch"))
            self.release(entry)

    # Giving up.

    def release(self, entry: Entry) -> None:
        """Give it up: nothing is armed for it from now on; the release goes out when it is closed."""
        if entry.condition == "closing":
            return
        named = self.pending.owned if self.pending is not None else ()
        is_open = entry.service in self._owned or entry.service in self._leaving or entry.service in named
        entry.condition = "closing"
        self._owned.pop(entry.service, None)
        self._named = tuple(self._owned)
        self.is_unequal = self.is_stale = True
        if is_open or self.is_shut:
            self._out.append(Close(entry.service, entry.epoch))
        else:
            self.to_release.append(entry)

    def closed(self, service: ServiceName) -> None:
        """The kernel has confirmed that it no longer answers for it."""
        entry = self._claims.get(service)
        if entry is None or entry.condition != "closing" or entry.step == "release":
            return
        if self.pending is not None and service in self.pending.owned:
            self.wants_to_close.add(service)
            return
        self.finish(entry)

    def finish(self, entry: Entry) -> None:
        if entry not in self.to_release:
            self.to_release.append(entry)

    def released(self, entry: Entry) -> Entry:
        """Put the release into the claim set."""
        is_unsure = entry.service in self._sealing
        self._sealing.discard(entry.service)
        ended = self._claims.end(entry, "drop" if is_unsure else "release")
        ended.condition = "closing"
        if not (is_unsure and entry.dark_since_ns):  # One that lapsed has been said to be lost.
            self._out.append(Released(entry.service, entry.epoch))
        self.is_unequal = self.is_stale = True
        return ended

    def _give_up_sealed(self) -> None:
        """Nobody can promise these any more; what is still held is held to its end."""
        for entry in list(self._claims):
            if not (entry.older and entry.is_live and entry.step == "take" and self._rounds.is_sealed(entry)):
                continue
            if entry.condition in ("asking", "lapsed"):
                said = Refused if entry.condition == "asking" else Lost
                self._out.append(said(entry.service, entry.epoch, "a majority knows a newer epoch"))
                self.release(entry)

    # All at once.

    def shut(self, reason: str, now: int) -> None:
        """Close everything now, whatever is under way."""
        self._out.append(CloseAll(reason))
        self.is_shut = True
        self.armed_until_ns = 0
        self._lapse_all(reason, now)

    def all_closed(self) -> None:
        """The kernel has confirmed that it answers for nothing."""
        if self.pending is not None:
            # It was said before the closing, but may be done after: wait for its answer, and close again.
            self._shut_again = True
            return
        self.is_shut = False
        self.armed_until_ns = 0
        self._owned.clear()
        self._named = ()
        self._masks.clear()
        self._leaving.clear()
        self.is_unequal = self.is_stale = True
        for entry in self._claims:
            if entry.condition == "joining":
                entry.condition = "asking"
            elif entry.condition == "closing" and entry.step == "take":
                self.finish(entry)

    def _look_whether_equal(self) -> None:
        """True as long as all that is claimed is owned, and its promises are those of the masks."""
        self._masks = {entry.mask for entry in self._owned.values()}
        rounds = self._rounds
        self.is_unequal = any(
            (entry.service not in self._owned and entry.step == "take" and entry.is_live)
            or (entry.service in self._owned and rounds.end_of_mask(entry.mask) < entry.proven_ns)
            for entry in self._claims
        )
