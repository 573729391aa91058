"""What the registry knows, and the three ways in which it keeps it.

In: puts, roles. Out: the subscribers, and for each put whether and when it is safe. What always holds: a put
that waits for others (replication, storage) is not visible before it is safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from holdfast.errors import HoldfastError
from holdfast.state.checkpoint import CheckpointFolder
from holdfast.state.replication import Mode
from holdfast.vnfc import Component, Later, Position, Role, Timer
from holdfast.vnfc.replicated import ReplicatedState

WAITING_MAX = 1024
"""Puts that wait for storage; more are refused."""

Done = Callable[[bool], None]


class Subscribers:
    """Key to value. An update is `<key> <value>`."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def apply(self, update: bytes) -> None:
        key, _, value = update.partition(b" ")
        self.values[key] = value

    def snapshot(self) -> bytes:
        return b"\n".join(key + b" " + value for key, value in self.values.items())

    def restore(self, snapshot: bytes) -> None:
        self.values.clear()
        for line in snapshot.split(b"\n") if snapshot else ():
            self.apply(line)


class Keeping(Protocol):
    """How state is kept."""

    def put(self, update: bytes, done: Done) -> bool:
        """Take an update; False when it is refused."""

    def become_active(self, role: Role) -> None: ...

    def become_standby(self, role: Role) -> None: ...

    def quiesce(self, role: Role) -> Later | None: ...

    def position(self) -> Position | None: ...

    def wrong(self) -> str | None: ...

    def recorded(self, standby: str) -> None: ...

    def connected(self) -> None: ...

    def close(self) -> None: ...

    def let_go(self) -> None:
        """Close the files and nothing more, as the kernel does when the process is killed."""


class InMemory:
    """Lost with the process."""

    def __init__(self, content: Subscribers) -> None:
        self._content = content

    def put(self, update: bytes, done: Done) -> bool:
        self._content.apply(update)
        done(True)
        return True

    def become_active(self, role: Role) -> None:
        pass

    def become_standby(self, role: Role) -> None:
        pass

    def quiesce(self, role: Role) -> None:
        return None

    def position(self) -> Position | None:
        return None

    def wrong(self) -> str | None:
        return None

    def recorded(self, standby: str) -> None:
        pass

    def connected(self) -> None:
        pass

    def close(self) -> None:
        pass

    def let_go(self) -> None:
        pass


class Replicated:
    """Passed on from the active to its standbys (SY-1)."""

    def __init__(self, component: Component, content: Subscribers, port: int, mode: Mode, period_s: float) -> None:
        self.state = ReplicatedState(component, content, port=port, mode=mode, period_s=period_s)
        self.put = self.state.update
        self.become_active = self.state.become_active
        self.become_standby = self.state.become_standby
        self.quiesce = self.state.quiesce
        self.wrong = self.state.wrong
        self.recorded = self.state.recorded
        self.connected = self.state.connected
        self.close = self.state.close
        self.let_go = self.state.let_go

    def position(self) -> Position:
        return self.state.position


class Checkpointed:
    """On shared storage (SY-3): each put before it is answered, or all of them every so often."""

    def __init__(self, component: Component, content: Subscribers, folder: str, every_s: float | None) -> None:
        self._component = component
        self._loop = component.loop
        self._content = content
        self._path = folder
        self._every_s = every_s
        """None: each put."""
        self._folder: CheckpointFolder | None = None
        self._position = Position()
        self._saved = Position()
        self._timer: Timer | None = None
        self._waiting: list[tuple[bytes, Done]] = []
        self._is_sync_due = False
        self._wrong: str | None = None

    def claim(self, epoch: int) -> None:
        """Take office under this epoch and read what is there."""
        self.close()
        self._folder = CheckpointFolder(self._path, epoch)
        loaded = self._folder.claim()
        self._content.restore(loaded.state or b"")
        for update in loaded.updates:
            self._content.apply(update)
        self._position = self._saved = loaded.position
        self._wrong = None
        self._schedule()

    def put(self, update: bytes, done: Done) -> bool:
        if self._folder is None or self._wrong is not None:
            return False
        if self._every_s is None:
            return self._put_durably(self._folder, update, done)
        self._content.apply(update)
        self._position = Position(self._folder.epoch, self._position.sequence + 1)
        done(True)
        return True

    def become_active(self, role: Role) -> None:
        if self._folder is None or self._folder.epoch != role.epoch:
            self.claim(role.epoch)

    def become_standby(self, role: Role) -> None:
        self.close()

    def quiesce(self, role: Role) -> None:
        self.close()

    def position(self) -> Position | None:
        return self._position

    def wrong(self) -> str | None:
        return self._wrong

    def recorded(self, standby: str) -> None:
        pass

    def connected(self) -> None:
        pass

    def close(self) -> None:
        """Save what is not saved and leave office."""
        self._sync()
        self._save()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def let_go(self) -> None:
        if self._folder is not None:
            self._folder.close()

    def _put_durably(self, folder: CheckpointFolder, update: bytes, done: Done) -> bool:
        if len(self._waiting) >= WAITING_MAX:
            return False
        self._position = folder.append(update)
        self._waiting.append((update, done))
        if not self._is_sync_due:
            self._is_sync_due = True
            self._loop.call_soon(self._sync)  # one write for all puts that came together
        return True

    def _sync(self) -> None:
        self._is_sync_due = False
        waiting, self._waiting = self._waiting, []
        if self._folder is None or not waiting:
            return
        try:
            self._folder.sync()
        except HoldfastError as error:
            self._fail(error)
            for _, done in waiting:
                done(False)
            return
        for update, done in waiting:
            self._content.apply(update)
            done(True)
        if self._folder.wants_checkpoint:
            self._save()

    def _schedule(self) -> None:
        if self._every_s is not None:
            self._timer = self._loop.call_later(self._every_s, self._save_again)

    def _save_again(self) -> None:
        self._save()
        self._schedule()

    def _save(self) -> None:
        if self._folder is None or self._position == self._saved or self._wrong is not None:
            return
        try:
            self._folder.save(self._content.snapshot(), self._position.sequence)
            self._saved = self._position
        except HoldfastError as error:
            self._fail(error)

    def _fail(self, error: HoldfastError) -> None:
        """Storage that cannot be written to, or that another has claimed, means: do not serve."""
        self._wrong = error.message
        self._component.tell_unwell(error.message)
