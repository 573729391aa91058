"""State that the active passes on to its standbys before it acknowledges an update (SY-1).

In: updates (bytes) of the component, its roles. Out: calls of the component's own `apply`, `snapshot` and
`restore`; `done` for each update when it is safe. What always holds: the active applies an update only when
it is safe, so a reader never sees one that a failure can take back; each update is in the component's own
folder before anybody is told that it is there.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from typing import Protocol

from holdfast.errors import WorldError
from holdfast.state.follower import Change, Fence, Follower, Restore
from holdfast.state.frames import Entry
from holdfast.state.history import History
from holdfast.state.local import LocalLog
from holdfast.state.replication import (
    Acknowledged,
    CloseLink,
    Effect,
    Flushed,
    Mode,
    Sender,
    SendTo,
    SnapshotWanted,
    StandbyIsLost,
    StandbyIsSynced,
    Superseded,
)
from holdfast.vnfc.component import LATER, Component, Later, Role, RoleFailed
from holdfast.vnfc.following import Following
from holdfast.vnfc.loop import Timer
from holdfast.vnfc.sockets import CALLERS_MAX, Connection
from holdfast.vnfc.stream import Stream
from holdfast.wire.component import Position

Done = Callable[[bool], None]
"""Called with True when the update is safe; with False when the role was lost before that was known: then
nothing may be said about the update, for it may come to hold or not."""


class Content(Protocol):
    """The state itself: what the author of a component writes."""

    def apply(self, update: bytes) -> None: ...

    def snapshot(self) -> bytes: ...

    def restore(self, snapshot: bytes) -> None: ...


class ReplicatedState:
    """Made in `Component.start`; its role methods are called from the component's own."""

    def __init__(
        self,
        component: Component,
        content: Content,
        *,
        port: int,
        mode: Mode = "synchronous",
        period_s: float = 0.1,
        silence_s: float = 0.3,
    ) -> None:
        self._component = component
        self._loop = component.loop
        self._content = content
        self._port = port
        self._mode = mode
        self._period_s = period_s
        self._silence_s = silence_s
        self._sender: Sender | None = None
        self._following: Following | None = None
        self._listener: Connection | None = None
        self._links: dict[int, Stream] = {}
        self._links_made = 0
        self._tick: Timer | None = None
        self._waiting: deque[tuple[int, Done]] = deque()
        self._quiescing: Role | None = None
        self._is_carrying_out = False
        self._wrong: str | None = None
        self._fence = 0
        self._log: LocalLog | None = None
        self._history = History(Position())
        if component.folder:
            self._recover(os.path.join(component.folder, "state"))
        self._applied = self._history.last.sequence

    @property
    def position(self) -> Position:
        """What this component may say of itself: everything up to here it holds."""
        return self._history.last

    @property
    def port(self) -> int:
        """The port the active listens on (the one given, unless that was 0)."""
        if self._listener is None:
            return self._port
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def in_sync(self) -> tuple[str, ...]:
        return self._sender.in_sync if self._sender is not None else ()

    @property
    def pending(self) -> int:
        """Updates that wait for standbys."""
        return len(self._waiting)

    def wrong(self) -> str | None:
        """For `Component.check`: why this component must not be active, None when all is well."""
        return self._wrong

    def update(self, payload: bytes, done: Done) -> bool:
        """Take an update; False when it is refused (not active, quiescing, too many waiting)."""
        entry = self._sender.append(payload) if self._sender is not None else None
        if entry is None:
            return False
        if self._log is not None:
            self._log.append(entry)
        self._waiting.append((entry.sequence, done))
        self._carry_out_effects()
        return True

    def become_active(self, role: Role) -> None:
        """Take updates from now on. Standbys in sync that do not come are reported as lost."""
        if role.epoch < self._fence:
            raise RoleFailed(f"epoch {role.epoch} is older than {self._fence}, under which another was active")
        self._leave_role()
        self._remember(role.epoch)
        self._listen()
        self._sender = Sender(
            service=role.service,
            epoch=role.epoch,
            history=self._history,
            in_sync=[name for name in role.in_sync if name != self._component.name],
            now=self._loop.now(),
            mode=self._mode,
            period_s=self._period_s,
            silence_s=self._silence_s,
        )
        self._tick = self._loop.call_later(self._sender.tick_s, self._ticked)

    def become_standby(self, role: Role) -> None:
        """Follow the active named in the role."""
        self._leave_role()
        if not role.peer:
            return
        follower = Follower(
            service=role.service,
            name=self._component.name,
            position=self.position,
            known_epoch=self._fence,
            least_epoch=role.epoch,
        )
        self._following = Following(self._loop, follower, role.peer, self._silence_s, self._carry_out_change)

    def quiesce(self, role: Role) -> Later:
        """Refuse updates; done when all standbys in sync hold everything."""
        if self._sender is None:
            raise RoleFailed("not active")
        self._quiescing = role
        self._sender.quiesce()
        self._carry_out_effects()
        return LATER

    def recorded(self, standby: str) -> None:
        if self._sender is not None:
            self._sender.recorded(standby)
            self._carry_out_effects()

    def connected(self) -> None:
        """Tell a new agent what it has not heard, or may not have passed on."""
        if self._sender is None:
            return
        for standby in self._sender.in_sync:
            self._component.tell_synced(standby, self._sender.epoch)
        for standby in self._sender.losing:
            self._component.tell_lost(standby, self._sender.epoch)
        if self._wrong is not None:
            self._component.tell_unwell(self._wrong)

    def close(self) -> None:
        self._leave_role()
        if self._log is not None:
            self._log.close()
            self._log = None

    def let_go(self) -> None:
        """Close the files and nothing more, as the kernel does when the process is killed."""
        if self._log is not None:
            self._log.close()

    def _recover(self, folder: str) -> None:
        self._log = LocalLog(folder)
        recovered = self._log.recover()
        if recovered.put_aside:
            print(f"damaged state put aside as {recovered.put_aside}", file=sys.stderr, flush=True)
        if recovered.snapshot is not None:
            self._content.restore(recovered.snapshot)
        for entry in recovered.entries:
            self._content.apply(entry.payload)
        self._history = History(recovered.base, recovered.entries)
        self._history.trim(self._history.last.sequence)
        self._fence = max(recovered.fence, recovered.position.epoch)

    def _remember(self, epoch: int) -> None:
        self._fence = max(self._fence, epoch)
        if self._log is not None:
            self._log.fence(epoch)

    def _leave_role(self) -> None:
        """End whatever role there was. Updates that were waiting are kept and applied: the next active decides."""
        if self._tick is not None:
            self._tick.cancel()
        if self._following is not None:
            self._following.close()
        for link in self._links.values():
            link.close()
        self._links.clear()
        if self._listener is not None:
            self._loop.forget(self._listener)
            self._listener.close()
        self._tick = self._following = self._listener = self._sender = self._quiescing = None
        self._wrong = None
        waiting, self._waiting = self._waiting, deque()
        for _, done in waiting:
            done(False)
        self._apply_up_to(self._history.last.sequence)

    def _listen(self) -> None:
        try:
            self._listener = self._loop.sockets.listen(self._port)
        except OSError as error:
            raise WorldError(f"cannot listen on replication port {self._port}: {error.strerror}") from error
        self._loop.on_readable(self._listener, self._accept)

    def _accept(self) -> None:
        if self._listener is None or self._sender is None:
            return
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        if len(self._links) >= CALLERS_MAX:
            connection.close()
            return
        self._links_made += 1
        number = self._links_made
        self._links[number] = Stream(
            self._loop, connection, lambda data: self._heard(number, data), lambda _: self._ended(number)
        )
        self._sender.connected(number, self._loop.now())

    def _heard(self, number: int, data: bytes) -> None:
        if self._sender is not None:
            self._sender.received(number, data, self._loop.now())
            self._carry_out_effects()

    def _ended(self, number: int) -> None:
        self._links.pop(number, None)
        if self._sender is not None:
            self._sender.disconnected(number)
            self._carry_out_effects()

    def _ticked(self) -> None:
        if self._sender is not None:
            self._tick = self._loop.call_later(self._sender.tick_s, self._ticked)
            self._sender.tick(self._loop.now())
            self._carry_out_effects()

    def _carry_out_effects(self) -> None:
        """All effects in order; a callback that leads to more of them does not overtake those before it."""
        if self._is_carrying_out:
            return
        self._is_carrying_out = True
        try:
            while self._sender is not None and (effects := self._sender.take()):
                for effect in effects:
                    self._carry_out_effect(effect)
        finally:
            self._is_carrying_out = False

    def _carry_out_effect(self, effect: Effect) -> None:
        sender = self._sender
        if sender is None:
            return  # the role was lost by what an effect before this one led to
        match effect:
            case SendTo(link, data):
                if link in self._links:
                    self._links[link].send(data)
            case Acknowledged(sequence):
                self._apply_up_to(sequence)
                while self._waiting and self._waiting[0][0] <= sequence:
                    self._waiting.popleft()[1](True)
            case CloseLink(link, why):
                if link in self._links:
                    print(f"replication: {why}", file=sys.stderr, flush=True)
                    self._links.pop(link).close()
            case SnapshotWanted(link):
                sender.snapshot(link, self._history.at(self._applied), self._content.snapshot())
            case StandbyIsLost(standby):
                self._component.tell_lost(standby, sender.epoch)
            case StandbyIsSynced(standby):
                self._component.tell_synced(standby, sender.epoch)
            case Superseded(epoch):
                self._wrong = f"superseded: another was active under epoch {epoch}"
                self._component.tell_unwell(self._wrong)
            case Flushed():
                if self._quiescing is not None:
                    self._quiescing.ok()

    def _carry_out_change(self, change: Change) -> None:
        match change:
            case Entry():
                if self._log is not None:
                    self._log.append(change)
                self._history.append(change)
                self._apply_up_to(change.sequence)
            case Restore(position, data):
                self._content.restore(data)
                self._history = History(position)
                self._applied = position.sequence
                if self._log is not None:
                    self._log.replace(position, data)
            case Fence(epoch):
                self._remember(epoch)

    def _apply_up_to(self, sequence: int) -> None:
        for entry in self._history.after(self._applied) or ():
            if entry.sequence > sequence:
                break
            self._content.apply(entry.payload)
            self._applied = entry.sequence
        self._history.trim(self._applied)
        if self._log is not None and self._log.wants_compaction:
            rest = self._history.after(self._applied) or ()
            self._log.replace(self._history.at(self._applied), self._content.snapshot(), rest)
