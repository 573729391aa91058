"""Suspicion: which of the other agents can be heard, and what may be concluded from silence. Sans-IO.

In:   `late` (the own loop woke too late), `receive` (an authentic datagram of a peer), `unsent` (one to a peer that the
      own kernel did not take), `tick` (time has come so far).
Out:  `take` (what was noticed), `deadline` (when to call `tick` at the latest), `beat` (what to tell each peer).
Always:
- time in which the own loop stood still counts as nobody's silence, and patience is longer for a while after it;
- `failed` is said only of a peer that others do not hear either, by an agent that hears more than half of all
  (with a single peer there is nobody to ask: it says so, and whoever acts on it must fence);
- nobody is found failed whom the own kernel lets nothing be sent to: it may be silent because it was told nothing;
- silence makes a level worse only step by step; only being heard, steadily, makes it well again;
- a peer that tells of its own lateness is borne longer by that, up to a bound, and less as time goes.
Levels give no right to anything: who may be active is decided by grants. A wrong `failed` costs a failover, never
two actives.

The caller reads the clock once a round, then calls `late`, then `receive` for all that has arrived, then `tick`, all
with that one reading: what happens to the process meanwhile makes the reading older, and silence shorter.
"""

from collections.abc import Iterable

from holdfast.core.suspicion_peer import Peer
from holdfast.core.suspicion_words import (
    LEVELS,
    Beat,
    Level,
    NetworkChanged,
    NetworkName,
    Noticed,
    OutnumberedChanged,
    OwnLate,
    OwnOnTime,
    Patience,
    PeerChanged,
    PeerHeard,
    PeerRestarted,
    PeerState,
    View,
    in_ms,
    mark_of,
)
from holdfast.errors import UserError
from holdfast.model.names import HostName
from holdfast.model.reasons import Reason

Judged = tuple[Level, tuple[Reason, ...]]
_WELL: Judged = ("well", ())


class Suspicion:
    """What one agent makes of its peers on one or several networks."""

    def __init__(
        self,
        me: HostName,
        peers: Iterable[HostName],
        networks: tuple[NetworkName, ...],
        patience: Patience,
        now_ns: int,
    ) -> None:
        self._me = me
        self._networks = networks
        self._patience = patience
        self._late_degrades_ns = patience.late_degrades_ns
        self._stood_still_ns = 0
        """Own lateness so far: what the blame clock is behind the own clock."""
        self._late_ns = 0
        self._doubt_until_ns: int | None = None
        self._told_ns, self._told_at_ns = 0, now_ns
        """The own lateness that the others were told, and when it was new."""
        self._noticed: list[Noticed] = []
        self._peers: dict[HostName, Peer] = {}
        self._due_ns = now_ns
        self._is_asking = False
        """Somebody is suspected: each heartbeat of another may bring the word that is waited for."""
        self.is_outnumbered = True
        self.set_peers(peers, now_ns)

    def set_peers(self, peers: Iterable[HostName], now_ns: int) -> None:
        """The other agents from now on; what is known of those that stay is kept."""
        names = sorted(peers)
        marks = {mark_of(name) for name in (*names, self._me)}
        if len(marks) != len(names) + 1:
            raise UserError(
                f"the names {', '.join((*names, self._me))} cannot be told apart in heartbeats", "rename one"
            )
        fresh = {name: Peer(name, len(self._networks), now_ns, self._blame(now_ns)) for name in names}
        self._peers = {name: self._peers.get(name, fresh[name]) for name in names}
        self.is_outnumbered = len(names) > 1
        self._due_ns = now_ns

    # What is told to it.

    def late(self, now_ns: int, by_ns: int) -> None:
        """The own loop woke `by_ns` later than it should have; call it before anything else of that round."""
        if by_ns < self._patience.late_from_ns:
            return
        if by_ns > self.told_late_ns(now_ns):
            self._told_ns, self._told_at_ns = min(by_ns, self._patience.stretch_max_ns), now_ns
        self._stood_still_ns += by_ns
        until_ns = now_ns + self._patience.doubt_ns
        worst_ns = by_ns if self._doubt_until_ns is None else max(self._late_ns, by_ns)
        if self._doubt_until_ns is None or worst_ns > self._late_ns:
            self._noticed.append(OwnLate(now_ns, by_ns, until_ns))
        self._late_ns, self._doubt_until_ns = worst_ns, until_ns
        self._due_ns = now_ns

    def receive(self, peer: HostName, network: int, incarnation: int, now_ns: int, beat: Beat | None = None) -> None:
        """An authentic datagram of `peer` came in on the network of this number."""
        known = self._peers.get(peer)
        if known is None:
            return
        if incarnation != known.incarnation:
            if incarnation in known.former:
                return
            former = known.lives_anew(incarnation)
            if former:
                self._noticed.append(PeerRestarted(now_ns, peer, former, incarnation))
        now_b = self._blame(now_ns)
        silent_ns = known.silent_ns(now_b)
        if silent_ns >= self._patience.suspected_after_ns and known.level in ("suspected", "failed"):
            self._noticed.append(PeerHeard(now_ns, peer, silent_ns))
        known.hearings[network].heard(now_b, self._patience)
        known.heard_ns = now_ns
        if beat is not None:
            known.beat, known.beat_ns, known.late_ns = beat, now_ns, beat.late_ns
            if not beat.hears_you or beat.late_ns >= self._late_degrades_ns:
                self._due_ns = now_ns
        if self._is_asking or known.level != "well":
            self._due_ns = now_ns

    def unsent(self, peer: HostName, network: int, now_ns: int) -> None:
        """The own kernel has not taken what was to be sent to `peer` on the network of this number."""
        known = self._peers.get(peer)
        if known is not None:
            known.hearings[network].unsent_b = self._blame(now_ns)

    def tick(self, now_ns: int) -> None:
        """Judge everybody by what has been told so far."""
        now_b = self._blame(now_ns)
        if self._doubt_until_ns is not None and now_ns >= self._doubt_until_ns:
            self._late_ns, self._doubt_until_ns = 0, None
            self._noticed.append(OwnOnTime(now_ns))
        stretch_ns = self._stretch_ns
        for peer in self._peers.values():
            for hearing in peer.hearings:
                hearing.judge(now_b, stretch_ns, self._patience)
        self._count(now_ns, now_b)
        for peer in self._peers.values():
            level, reasons = self._judged(peer, now_ns, now_b)
            if level != peer.level:
                self._change(peer, level, reasons, now_ns, now_b)
            if len(self._networks) > 1:
                self._look_at_networks(peer, now_ns, now_b)
        self._is_asking = any(peer.level == "suspected" for peer in self._peers.values())
        self._due_ns = self._next_ns(now_ns, now_b)

    # What it tells.

    def deadline(self) -> int:
        """When the next change can come from silence alone; `tick` no later than this."""
        return self._due_ns

    def take(self) -> tuple[Noticed, ...]:
        """What was noticed since the last call."""
        if not self._noticed:
            return ()
        noticed = tuple(self._noticed)
        self._noticed.clear()
        return noticed

    def level(self, peer: HostName) -> Level:
        return self._peers[peer].level

    def told_late_ns(self, now_ns: int) -> int:
        """What the others are told to bear: the own lateness, and evenly less of it as the loop is on time again."""
        window_ns = self._patience.late_window_ns
        return self._told_ns * max(0, window_ns - (now_ns - self._told_at_ns)) // window_ns

    @property
    def is_in_doubt(self) -> bool:
        return self._doubt_until_ns is not None

    def views(self, now_ns: int) -> tuple[View, ...]:
        """What this agent has of each peer, for the heartbeats of this round."""
        now_b = self._blame(now_ns)
        return tuple(
            View(peer.mark, LEVELS.index(peer.level), peer.incarnation, now_ns - peer.heard_ns, peer.silent_ns(now_b))
            for peer in self._peers.values()
        )

    def hears(self, peer: HostName, now_ns: int) -> bool:
        """For `Beat.hears_you`: not while it is silent for so long that it should know."""
        known = self._peers[peer]
        return known.silent_ns(self._blame(now_ns)) < self._patience.suspected_after_ns

    def beat(self, peer: HostName, now_ns: int) -> Beat:
        """The heartbeat to send to `peer` now."""
        return Beat(self.told_late_ns(now_ns), self.hears(peer, now_ns), self.views(now_ns))

    def states(self, now_ns: int) -> dict[HostName, PeerState]:
        """Everybody as they stand."""
        now_b = self._blame(now_ns)
        return {
            peer.name: PeerState(
                peer.level,
                peer.incarnation,
                {name: now_b - hearing.heard_b for name, hearing in zip(self._networks, peer.hearings, strict=True)},
                peer.late_ns,
                sum(hearing.falls(now_b, self._patience) for hearing in peer.hearings),
                peer.reasons,
                tuple(name for name, one in zip(self._networks, peer.hearings, strict=True) if one.is_lost),
            )
            for peer in self._peers.values()
        }

    # How it judges.

    def _blame(self, now_ns: int) -> int:
        """The blame clock: time in which the own loop stood still does not count."""
        return now_ns - self._stood_still_ns

    @property
    def _stretch_ns(self) -> int:
        return min(self._late_ns, self._patience.stretch_max_ns)

    def _limits(self, peer: Peer) -> tuple[int, int, int]:
        """Silence after which this peer is degraded, suspected, failed."""
        patience, own_ns = self._patience, self._stretch_ns
        both_ns = own_ns + min(peer.late_ns, patience.stretch_max_ns)
        return (
            patience.degraded_after_ns + own_ns,
            patience.suspected_after_ns + both_ns,
            patience.failed_after_ns + both_ns,
        )

    def _count(self, now_ns: int, now_b: int) -> None:
        """Are those that are heard more than half? With one peer the question has no use."""
        members = len(self._peers) + 1
        if members <= 2:
            return
        limit_ns = self._patience.degraded_after_ns + self._stretch_ns
        heard = 1 + sum(peer.silent_ns(now_b) < limit_ns and peer.incarnation != 0 for peer in self._peers.values())
        is_outnumbered = 2 * heard <= members
        if is_outnumbered != self.is_outnumbered:
            self.is_outnumbered = is_outnumbered
            self._noticed.append(OutnumberedChanged(now_ns, is_outnumbered, heard, members))

    def _judged(self, peer: Peer, now_ns: int, now_b: int) -> Judged:
        silent_ns = peer.silent_ns(now_b)
        if peer.failed_b is not None:
            if peer.good() < peer.needed_to_return(now_b, self._patience):
                return "failed", peer.reasons
            peer.failed_b = None
        if silent_ns >= self._patience.degraded_after_ns:
            return self._silent(peer, silent_ns, now_ns)
        return self._heard(peer, now_b)

    def _heard(self, peer: Peer, now_b: int) -> Judged:
        """The peer is heard on at least one network: what speaks against `well`?"""
        is_steady = all(hearing.is_up for hearing in peer.hearings)
        is_deaf = not peer.beat.hears_you and not self.is_in_doubt
        if is_steady and not is_deaf and peer.late_ns < self._late_degrades_ns:
            return _WELL
        if peer.level == "degraded":
            return "degraded", peer.reasons  # Asked with every datagram then; only a change is told with its reasons.
        if not is_steady:
            return "degraded", (self._unsteady(peer, now_b),)
        if is_deaf:
            return "degraded", (Reason("peer-does-not-hear", peer.name, f"heard by {self._me} all the same"),)
        return "degraded", (_lateness(peer),)

    def _unsteady(self, peer: Peer, now_b: int) -> Reason:
        """What is the matter with the first network on which it is not up."""
        place = next(place for place, hearing in enumerate(peer.hearings) if not hearing.is_up)
        name, hearing = self._networks[place], peer.hearings[place]
        if peer.incarnation == 0:
            return Reason("peer-never-heard", peer.name)
        if hearing.good:
            needed = hearing.needed(now_b, self._patience)
            return Reason("peer-unsteady", peer.name, f"{hearing.good} of {needed} good heartbeats on {name}")
        return Reason("network-silent", peer.name, f"{name}, for {in_ms(now_b - hearing.heard_b)}")

    def _silent(self, peer: Peer, silent_ns: int, now_ns: int) -> Judged:
        """Nothing comes from the peer on any network: how bad is it?"""
        degraded_ns, suspected_ns, failed_ns = self._limits(peer)
        if silent_ns >= suspected_ns:
            level, reasons = self._asked(peer, silent_ns, failed_ns, now_ns)
            if level == "degraded":
                return level, reasons
        elif silent_ns >= degraded_ns:
            level, reasons = "degraded", (_silence(peer, silent_ns), *self._borne(peer))
        else:
            return peer.level, peer.reasons
        # Longer patience (a doubt that has just begun) does not take back what was said: only being heard does.
        if LEVELS.index(level) < LEVELS.index(peer.level):
            return peer.level, peer.reasons
        return level, reasons

    def _borne(self, peer: Peer) -> tuple[Reason, ...]:
        """Why patience is longer than usual."""
        reasons = []
        if self._late_ns:
            reasons.append(Reason("own-loop-late", self._me, f"by {in_ms(self._late_ns)}"))
        if peer.late_ns >= self._patience.late_from_ns:
            reasons.append(_lateness(peer))
        return tuple(reasons)

    def _asked(self, peer: Peer, silent_ns: int, failed_ns: int, now_ns: int) -> Judged:
        """What the others tell of the silent peer; their latest heartbeats hold the answer already."""
        silence = (_silence(peer, silent_ns), *self._borne(peer))
        hearing, deaf, was_known = self._voices(peer, now_ns)
        if hearing:
            return "degraded", (*silence, Reason("peer-heard-by-other", peer.name, "by " + ", ".join(hearing)))
        if not peer.could_be_told(self._blame(now_ns), self._patience):
            return "suspected", (*silence, Reason("own-sends-refused", self._me, f"to {peer.name}"))
        if silent_ns < failed_ns:
            return "suspected", silence
        if len(self._peers) == 1:
            if peer.incarnation == 0:
                return "suspected", (*silence, Reason("peer-never-heard", peer.name))
            return "failed", (*silence, Reason("nobody-to-ask", peer.name))
        if self.is_outnumbered:
            return "suspected", (*silence, Reason("outnumbered", self._me))
        if not deaf:
            return "suspected", (*silence, Reason("nobody-confirms", peer.name))
        if not was_known:
            return "suspected", (*silence, Reason("peer-never-heard", peer.name, "nor by those asked"))
        return "failed", (*silence, Reason("peer-unheard-by-other", peer.name, "asked: " + ", ".join(deaf)))

    def _voices(self, peer: Peer, now_ns: int) -> tuple[list[str], list[str], bool]:
        """Who hears the peer, who does not, and whether it was heard before by anybody of them or by this agent."""
        fresh_ns = self._patience.degraded_after_ns
        hearing: list[str] = []
        deaf: list[str] = []
        was_known = peer.incarnation != 0
        asked = 0
        for other in self._peers.values():
            since_ns = now_ns - other.beat_ns
            if other is peer or since_ns >= fresh_ns or asked == self._patience.asked_max:
                continue
            view = other.view(peer.mark)
            if view is None:
                continue
            asked += 1
            if view.incarnation and view.incarnation not in peer.former and view.heard_ago_ns + since_ns < fresh_ns:
                hearing.append(other.name)
            elif view.silent_ns >= fresh_ns:
                deaf.append(other.name)
                was_known = was_known or view.incarnation != 0
        return hearing, deaf, was_known

    def _change(self, peer: Peer, level: Level, reasons: tuple[Reason, ...], now_ns: int, now_b: int) -> None:
        if level == "failed":
            peer.failed_b = now_b
            peer.fails_b.append(now_b)
        if level == "well" and not reasons:
            reasons = (Reason("peer-heard", peer.name, f"{peer.good()} good heartbeats in a row"),)
        self._noticed.append(
            PeerChanged(now_ns, peer.name, peer.incarnation, peer.level, level, reasons, peer.silent_ns(now_b))
        )
        peer.level, peer.reasons = level, reasons

    def _look_at_networks(self, peer: Peer, now_ns: int, now_b: int) -> None:
        """Is it heard on one network and not on another? Said only after a while: what is off falls silent on all."""
        for name, hearing in zip(self._networks, peer.hearings, strict=True):
            lost_at_b = peer.lost_at_b(hearing, self._patience)
            is_lost = lost_at_b is not None and (hearing.is_lost or now_b >= lost_at_b)
            if is_lost != hearing.is_lost:
                hearing.is_lost = is_lost
                self._noticed.append(NetworkChanged(now_ns, peer.name, name, is_lost, now_b - hearing.heard_b))

    def _next_ns(self, now_ns: int, now_b: int) -> int:
        """The earliest instant at which time alone can change something."""
        wait_ns = self._patience.flap_window_ns
        if self._doubt_until_ns is not None:
            wait_ns = self._doubt_until_ns - now_ns
        for peer in self._peers.values():
            limits = self._limits(peer)
            for hearing in peer.hearings:
                if hearing.is_up:
                    wait_ns = min(wait_ns, limits[0] - now_b + hearing.heard_b)
                elif not hearing.is_lost:
                    lost_at_b = peer.lost_at_b(hearing, self._patience)
                    wait_ns = wait_ns if lost_at_b is None else min(wait_ns, lost_at_b - now_b)
            if peer.failed_b is None:
                silent_ns = peer.silent_ns(now_b)
                for limit_ns in limits:
                    if silent_ns < limit_ns:
                        wait_ns = min(wait_ns, limit_ns - silent_ns)
                        break
        return now_ns + wait_ns


def _silence(peer: Peer, silent_ns: int) -> Reason:
    return Reason("peer-silent", peer.name, f"for {in_ms(silent_ns)}")


def _lateness(peer: Peer) -> Reason:
    return Reason("peer-late", peer.name, f"borne for {in_ms(peer.late_ns)} more")
