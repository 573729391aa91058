"""Replication of state from the active to its standbys (SY-1): the active's end, without any I/O.

In: updates of the user, bytes of the links, the time. Out: effects for a shell to carry out, in order.
The standby's end is in `follower`.
What always holds (the rule "state tells the truth"):
- a synchronous update is acknowledged only when every standby that is waited for has it;
- a standby is waited for until its loss is recorded (`recorded`), and before it is told to be synced;
- a standby whose history differs gets the whole state, so what was never acknowledged disappears;
- an active that meets somebody who knows a newer epoch stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

from holdfast.errors import PeerError
from holdfast.state.frames import (
    ACK,
    HEARD,
    HELLO,
    PIECE,
    PIECE_BYTES,
    PING,
    REFUSED,
    SNAPSHOT,
    SNAPSHOT_BYTES_MAX,
    UPDATE,
    UPDATE_BYTES_MAX,
    WELCOME,
    Entry,
    Frame,
    Frames,
    Greeting,
    frame,
    greeting,
)
from holdfast.state.history import History
from holdfast.wire.component import Position

Mode = Literal["synchronous", "periodic"]

PENDING_MAX = 1024
"""Updates that wait for standbys; more are refused."""
JOIN_LAG = 64
"""A standby that is at most this many updates behind is waited for, so that it can catch up under load."""
TICKS_A_SILENCE = 4


class SendTo(NamedTuple):
    link: int
    data: bytes


class CloseLink(NamedTuple):
    link: int
    why: str


class Acknowledged(NamedTuple):
    """Everything up to this sequence number is safe: apply it and answer whoever asked."""

    sequence: int


class StandbyIsLost(NamedTuple):
    """Ask for leave to go on without it; until `recorded` nothing is acknowledged."""

    standby: str


class StandbyIsSynced(NamedTuple):
    standby: str


class SnapshotWanted(NamedTuple):
    """This link needs the whole state as it is now: to be given to `Sender.snapshot`."""

    link: int


class Superseded(NamedTuple):
    """Somebody knows a newer epoch: this active is none any more."""

    epoch: int


class Flushed(NamedTuple):
    """After `quiesce`: every standby that is waited for holds everything."""


Effect = SendTo | CloseLink | Acknowledged | StandbyIsLost | StandbyIsSynced | SnapshotWanted | Superseded | Flushed


class _Link:
    __slots__ = ("frames", "heard_at", "name", "ready", "sent")

    def __init__(self, now: float) -> None:
        self.frames = Frames()
        self.name = ""
        self.heard_at = now
        self.ready = False
        """It has been given what it lacked, so updates may follow."""
        self.sent = 0


class _Waited:
    """A standby without which nothing is acknowledged."""

    __slots__ = ("acked", "is_losing", "is_told", "joins", "link", "since", "target")

    def __init__(self, now: float, *, is_told: bool, link: int | None = None, acked: int = 0, target: int = 0) -> None:
        self.since = now
        self.is_told = is_told
        """The manager counts it as in sync (or has been told so)."""
        self.link = link
        self.acked = acked
        self.target = target
        """What it must have before it is told to be synced."""
        self.joins = False
        """Counted as in sync from before (a switchover) and following on a new link: said again once it has caught up,
        so that the manager knows that it does follow."""
        self.is_losing = False


class Sender:
    """The active's end. Links are numbered by the shell; effects are fetched by `take` after each call."""

    def __init__(
        self,
        *,
        service: str,
        epoch: int,
        history: History,
        in_sync: Iterable[str],
        now: float,
        mode: Mode = "synchronous",
        period_s: float = 0.1,
        silence_s: float = 0.3,
    ) -> None:
        self.service = service
        self.epoch = epoch
        self.history = history
        self.acknowledged = history.last.sequence
        self.is_superseded = False
        self.is_quiescing = False
        self._is_flushed = False
        self._synchronous = mode == "synchronous"
        self._silence_s = silence_s
        self.tick_s = silence_s / TICKS_A_SILENCE if self._synchronous else min(period_s, silence_s / TICKS_A_SILENCE)
        """How often the shell is to call `tick`."""
        self._period_s = period_s
        self._shipped_at = now
        self._ticked_at = now
        self._links: dict[int, _Link] = {}
        self._waited = {name: _Waited(now, is_told=True) for name in in_sync}
        self._effects: deque[Effect] = deque()

    def take(self) -> deque[Effect]:
        effects, self._effects = self._effects, deque()
        return effects

    @property
    def in_sync(self) -> tuple[str, ...]:
        """Standbys that may be promoted: those waited for and told about, and not being lost."""
        return tuple(name for name, waited in self._waited.items() if waited.is_told and not waited.is_losing)

    @property
    def losing(self) -> tuple[str, ...]:
        """Standbys whose loss is not recorded yet."""
        return tuple(name for name, waited in self._waited.items() if waited.is_losing)

    def append(self, payload: bytes) -> Entry | None:
        """Take an update; None when it is refused (quiescing, superseded, too many pending, too long)."""
        last = self.history.last.sequence
        if self.is_quiescing or self.is_superseded or last - self.acknowledged >= PENDING_MAX:
            return None
        if len(payload) > UPDATE_BYTES_MAX:
            return None
        entry = Entry(self.epoch, last + 1, payload)
        self.history.append(entry)
        if self._synchronous:
            data = b""
            for number, link in self._links.items():
                if link.ready:
                    data = data or frame(UPDATE, entry.position, payload)
                    link.sent = entry.sequence
                    self._effects.append(SendTo(number, data))
        self._acknowledge()
        return entry

    def connected(self, number: int, now: float) -> None:
        self._links[number] = _Link(now)

    def received(self, number: int, data: bytes, now: float) -> None:
        link = self._links.get(number)
        if link is None:
            return
        link.heard_at = now
        try:
            for said in link.frames.feed(data):
                self._take_frame(number, link, said, now)
        except PeerError as error:
            self._close(number, error.message)

    def disconnected(self, number: int) -> None:
        """The link is gone: a standby that was waited for is lost with it."""
        link = self._links.pop(number, None)
        if link is None:
            return
        waited = self._waited.get(link.name)
        if waited is not None and waited.link == number:
            self._lose(link.name, waited)

    def recorded(self, standby: str) -> None:
        """The loss of this standby is recorded durably: nothing waits for it any more."""
        waited = self._waited.get(standby)
        if waited is None or not waited.is_told:
            return
        if waited.is_losing:
            del self._waited[standby]
            self._acknowledge()
        elif waited.link is not None:
            # The manager has seen it fail before we did; or this is an old answer, and it has joined again since.
            # Which of them cannot be known: let it go and ask again, as after any loss.
            self._close(waited.link, f"{standby} was recorded as lost")
        else:
            self._lose(standby, waited)

    def snapshot(self, number: int, position: Position, data: bytes) -> None:
        """The whole state at `position`, for the link that wanted it."""
        link = self._links.get(number)
        if link is None:
            return
        rest = self.history.after(position.sequence)
        if rest is None or len(data) > SNAPSHOT_BYTES_MAX:
            self._close(number, "the snapshot is too old or too large")
            return
        frames = [frame(PIECE, position, data[at : at + PIECE_BYTES]) for at in range(0, len(data), PIECE_BYTES)]
        frames.append(frame(SNAPSHOT, position))
        link.sent = position.sequence
        self._catch_up(number, link, b"".join(frames))

    def quiesce(self) -> None:
        """Take no more updates; Flushed comes when the standbys have everything."""
        self.is_quiescing = True
        self._ship()
        self._acknowledge()

    def tick(self, now: float) -> None:
        """To be called every `tick_s`: asks for signs of life, misses those that give none, ships what is due."""
        late_s = now - self._ticked_at - self.tick_s
        self._ticked_at = now
        if late_s > self.tick_s:
            # We ourselves were held up: that is not the silence of others.
            for link in self._links.values():
                link.heard_at += late_s
            for waited in self._waited.values():
                waited.since += late_s
        for number, link in list(self._links.items()):
            if now - link.heard_at > self._silence_s:
                self._close(number, f"{link.name or 'a standby'} was silent for {self._silence_s} s")
        for name, waited in list(self._waited.items()):
            if waited.link is None and not waited.is_losing and now - waited.since > self._silence_s:
                self._lose(name, waited)
        if not self._synchronous and now - self._shipped_at >= self._period_s * 0.99:
            self._shipped_at = now
            self._ship()
        for number, link in self._links.items():
            if link.ready:
                self._effects.append(SendTo(number, frame(PING, self.history.last)))

    def _take_frame(self, number: int, link: _Link, said: Frame, now: float) -> None:
        if said.kind == HELLO and not link.name:
            self._greeted(number, link, said, now)
        elif said.kind == ACK and link.ready:
            self._acked(number, link, said.position.sequence, now)
        elif said.kind != HEARD:
            raise PeerError(f"frame of kind {said.kind} out of order")

    def _greeted(self, number: int, link: _Link, said: Frame, now: float) -> None:
        hello = greeting(said.payload)
        if hello.service != self.service:
            self._refuse(number, f"this is {self.service}, not {hello.service}")
            return
        if said.position.epoch > self.epoch:
            self._refuse(number, f"epoch {self.epoch} is older than {said.position.epoch}")
            if not self.is_superseded:
                self.is_superseded = True
                self._effects.append(Superseded(said.position.epoch))
            return
        link.name = hello.name
        is_ours = self.history.holds(hello.position)
        self._replace_link(number, hello, is_ours, now)
        welcome = frame(WELCOME, Position(self.epoch, self.history.last.sequence))
        if is_ours:
            link.sent = hello.position.sequence
            self._catch_up(number, link, welcome)
        else:
            self._effects.append(SendTo(number, welcome))
            self._effects.append(SnapshotWanted(number))

    def _replace_link(self, number: int, hello: Greeting, is_ours: bool, now: float) -> None:
        """The standby has one link, the newest; it is lost only if it lacks what it had acknowledged before."""
        waited = self._waited.get(hello.name)
        if waited is not None and not waited.is_losing:
            keeps = is_ours and hello.position.sequence >= waited.acked
            waited.link, waited.since = number, now
            waited.joins, waited.target = waited.is_told, self.history.last.sequence
            if waited.acked and not keeps:
                self._lose(hello.name, waited)
        for other, link in list(self._links.items()):
            if other != number and link.name == hello.name:
                self._close(other, "the standby has connected again")

    def _catch_up(self, number: int, link: _Link, before: bytes) -> None:
        rest = self.history.after(link.sent) or ()
        frames = [frame(UPDATE, entry.position, entry.payload) for entry in rest]
        last = self.history.last
        link.sent = last.sequence
        link.ready = True
        self._effects.append(SendTo(number, before + b"".join(frames) + frame(PING, last)))

    def _ship(self) -> None:
        """Send to each link what it has not been sent (periodic mode)."""
        for number, link in self._links.items():
            if link.ready and link.sent < self.history.last.sequence:
                if self.history.after(link.sent) is None:
                    link.ready = False
                    self._effects.append(SnapshotWanted(number))
                else:
                    self._catch_up(number, link, b"")

    def _acked(self, number: int, link: _Link, sequence: int, now: float) -> None:
        if sequence > link.sent:
            raise PeerError(f"{link.name} acknowledges {sequence}, sent was {link.sent}")
        waited = self._waited.get(link.name)
        if waited is None:
            if link.sent - sequence > JOIN_LAG or self.is_quiescing:
                return
            waited = _Waited(now, is_told=False, link=number, target=link.sent)
            self._waited[link.name] = waited
        if waited.is_losing:
            return
        waited.link = number
        waited.acked = max(waited.acked, sequence)
        if (not waited.is_told or waited.joins) and sequence >= waited.target:
            waited.is_told, waited.joins = True, False
            self._effects.append(StandbyIsSynced(link.name))
        self._acknowledge()

    def _lose(self, name: str, waited: _Waited) -> None:
        waited.link = None
        if waited.is_losing:
            return
        if not waited.is_told:
            del self._waited[name]
            self._acknowledge()
            return
        waited.is_losing = True
        self._effects.append(StandbyIsLost(name))

    def _acknowledge(self) -> None:
        last = reached = self.history.last.sequence
        held = False
        for waited in self._waited.values():
            if waited.is_losing:
                held = True
            elif waited.acked < reached:
                reached = waited.acked
        is_flushed = reached == last and not held
        if not self._synchronous:
            reached = last
        elif held:
            reached = self.acknowledged
        if self.is_superseded:
            return
        if reached > self.acknowledged:
            self.acknowledged = reached
            self._effects.append(Acknowledged(reached))
        if self.is_quiescing and is_flushed and not self._is_flushed:
            self._is_flushed = True
            self._effects.append(Flushed())

    def _refuse(self, number: int, why: str) -> None:
        self._effects.append(SendTo(number, frame(REFUSED, Position(self.epoch, 0), why.encode())))
        self._close(number, why)

    def _close(self, number: int, why: str) -> None:
        self._effects.append(CloseLink(number, why))
        self.disconnected(number)
