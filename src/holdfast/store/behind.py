"""The front of a store that may be slow or away: takes changes at once and writes them behind.

In:   changes of the parties, in order.
Out:  the same changes to the store behind, in the same order, several in one transaction; who waits, and since
when; an alarm while it lasts; word of what is kept.
Always: `save` never waits. At every moment the store holds the state after some prefix of the changes, never a later
change without an earlier one, of whatever party. What must not be let out before it is durable asks `is_kept`.
A change whose writing was not confirmed is repeated exactly until it is, or somebody else has written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from holdfast.errors import HoldfastError
from holdfast.model.limits import (
    ETCD_PAUSE_MAX_S,
    ETCD_PAUSE_S,
    ETCD_PIECES,
    ETCD_TXN_BYTES_MAX,
    ETCD_TXN_PARTS_MAX,
    STORE_BEHIND_ALARM_S,
    STORE_BEHIND_BYTES_MAX,
)
from holdfast.model.names import Party
from holdfast.store.etcd_state import Write
from holdfast.store.port import Saved, StoreBroken, Superseded, Waiting

SaveAll = Callable[[Sequence[Write]], Awaitable[None]]


class _Group(Struct):
    """Changes that become one transaction."""

    since: float
    changes: dict[Party, dict[str, bytes | None]] = {}
    upto: dict[Party, int] = {}
    """Version of each party that is kept when this group is."""
    count: int = 0

    @property
    def size_bytes(self) -> int:
        return sum(len(content or b"") for parts in self.changes.values() for content in parts.values())

    def fits(self, party: Party, changes: Mapping[str, bytes | None]) -> bool:
        if not self.count:
            return True
        merged = {**self.changes.get(party, {}), **changes}
        parts = sum(len(parts) for other, parts in self.changes.items() if other != party) + len(merged)
        grown = sum(len(content or b"") for content in changes.values())
        return parts <= ETCD_TXN_PARTS_MAX and self.size_bytes + grown <= ETCD_TXN_BYTES_MAX


class Behind:
    """`Store` in front of another one; held by one event loop.

    Args:
        loaded: what the store behind holds of each party, read under the same leadership.
        save_all: writes several changes at once (`EtcdState.save`).
        alarm: told what waits and why when it waits too long, and None when it is over.
        kept: told of each party of whose changes more are kept now.
        superseded: told once that somebody else writes: nothing more is taken or written.
    """

    pieces = ETCD_PIECES

    def __init__(
        self,
        loaded: Mapping[Party, Saved],
        save_all: SaveAll,
        alarm: Callable[[str | None], None],
        kept: Callable[[Party], None],
        superseded: Callable[[Superseded], None],
    ) -> None:
        self._parts = {party: dict(saved.parts) for party, saved in loaded.items()}
        self._stored = {party: saved.version for party, saved in loaded.items()}
        """Versions as the store behind counts them: one a transaction, not one a change."""
        self._newest = dict(self._stored)
        self._kept = dict(self._stored)
        self._loop = asyncio.get_running_loop()
        self._save_all = save_all
        self._tell_alarm = alarm
        self._tell_kept = kept
        self._tell_superseded = superseded
        self._groups: list[_Group] = []
        self._writing: _Group | None = None
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._problem = ""
        self._alarmed_for: tuple[float | None, str] | None = None
        self._superseded: Superseded | None = None
        self._alarm_clock: asyncio.TimerHandle | None = None
        self._task = self._loop.create_task(self._write_on(), name="write behind")

    def load(self, party: Party) -> Saved:
        """The newest state, kept or not."""
        return Saved(self._newest.get(party, 0), dict(sorted(self._parts.get(party, {}).items())))

    def save(self, party: Party, changes: Mapping[str, bytes | None], expected: int) -> int:
        """Take a change; answer the new version.

        Raises:
            Superseded: the version is another, or somebody else writes to the store behind.
            StoreBroken: too much is waiting already.
        """
        if self._superseded is not None:
            raise Superseded(self._superseded.message)
        newest = self._newest.get(party, 0)
        if newest != expected:
            raise Superseded(f"the state of {party} is at version {newest}, not {expected}")
        if self.waiting.size_bytes > STORE_BEHIND_BYTES_MAX:
            raise StoreBroken(f"{self.waiting.changes} changes wait for the store already: {self._problem}")
        self._join_last(party, changes)
        parts = self._parts.setdefault(party, {})
        for name, content in changes.items():
            if content is None:
                parts.pop(name, None)
            else:
                parts[name] = content
        return newest + 1

    def _join_last(self, party: Party, changes: Mapping[str, bytes | None]) -> None:
        last = self._groups[-1] if self._groups else None
        if last is None or last is self._writing or not last.fits(party, changes):
            last = _Group(self._loop.time())
            self._groups.append(last)
        last.changes.setdefault(party, {}).update(changes)
        self._newest[party] = last.upto[party] = self._newest.get(party, 0) + 1
        last.count += 1
        self._idle.clear()
        self._more.set()
        if self._alarm_clock is None:
            self._set_alarm_clock(STORE_BEHIND_ALARM_S)

    def is_kept(self, party: Party, version: int) -> bool:
        """Whether the changes of the party up to this version are in the store behind."""
        return self._kept.get(party, 0) >= version

    @property
    def waiting(self) -> Waiting:
        if not self._groups:
            return Waiting()
        changes, size = sum(group.count for group in self._groups), sum(group.size_bytes for group in self._groups)
        return Waiting(changes, size, self._groups[0].since, self._problem)

    async def flush(self, limit_s: float) -> bool:
        """Wait until nothing waits any more; false if it still does when the limit is over."""
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return self._superseded is None

    def tidy(self) -> None:
        """Nothing: the store behind keeps house itself."""

    def close(self) -> None:
        """Stop writing; what waits is lost to the store."""
        self._task.cancel()
        if self._alarm_clock is not None:
            self._alarm_clock.cancel()

    async def _write_on(self) -> None:
        pause = ETCD_PAUSE_S
        while True:
            await self._more.wait()
            group = self._writing = self._groups[0]
            writes = [Write(party, parts, self._stored.get(party, 0)) for party, parts in group.changes.items()]
            try:
                await self._save_all(writes)
            except Superseded as error:
                self._end(error)
                return
            except HoldfastError as error:
                self._problem = error.message
                await asyncio.sleep(pause)
                pause = min(pause * 2, ETCD_PAUSE_MAX_S)
            else:
                pause = ETCD_PAUSE_S
                self._written(group)

    def _written(self, group: _Group) -> None:
        self._groups.pop(0)
        self._writing = None
        self._problem = ""
        for party, upto in group.upto.items():
            self._stored[party] = self._stored.get(party, 0) + 1
            self._kept[party] = upto
        if not self._groups:
            self._more.clear()
            self._idle.set()
        self._look_at_alarm()
        for party in group.upto:
            self._tell_kept(party)

    def _end(self, error: Superseded) -> None:
        self._superseded = error
        self._idle.set()
        if self._alarm_clock is not None:
            self._alarm_clock.cancel()
        self._tell_superseded(error)

    def _set_alarm_clock(self, after_s: float) -> None:
        self._alarm_clock = self._loop.call_later(after_s, self._on_alarm_clock)

    def _on_alarm_clock(self) -> None:
        self._alarm_clock = None
        self._look_at_alarm()
        if self._groups:
            left = self._groups[0].since + STORE_BEHIND_ALARM_S - self._loop.time()
            self._set_alarm_clock(left if left > 0 else STORE_BEHIND_ALARM_S)

    def _look_at_alarm(self) -> None:
        """An alarm stands from when the oldest change has waited too long until nothing is too old."""
        waiting = self.waiting
        age = 0.0 if waiting.since is None else self._loop.time() - waiting.since
        if age >= STORE_BEHIND_ALARM_S:
            if self._alarmed_for != (waiting.since, waiting.problem):
                why = f": {waiting.problem}" if waiting.problem else ""
                self._tell_alarm(f"{waiting.changes} changes have waited for the store for {age:.1f} s{why}")
            self._alarmed_for = (waiting.since, waiting.problem)
        elif self._alarmed_for is not None:
            self._alarmed_for = None
            self._tell_alarm(None)
