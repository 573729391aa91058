"""One member of a simulated etcd, from the start of its process to its end.

In:   requests of clients; posts of the other members.
Out:  answers, when a majority has agreed; changes to those who watch.
Always: answers nothing that could be undone. A write that nobody answered may have been, or yet be, carried out. Reads
see everything that was answered before they were asked. Without a leader requests wait.
"""

from collections.abc import Callable
from typing import Protocol

from holdfast.lab.sim.etcd_disk import Disk, Entry
from holdfast.lab.sim.etcd_group import Group
from holdfast.lab.sim.etcd_keys import is_in
from holdfast.lab.sim.etcd_lead import Lead
from holdfast.lab.sim.plain import Later, PlainLoop
from holdfast.store.etcd_words import Found, Header, Range, Status, Txn, TxnDone, Watched, WatchFailed, WatchLine

VERSION = "3.4.23"


class Asker(Protocol):
    """A request of a client."""

    @property
    def is_open(self) -> bool:
        """Whether the client still waits."""

    def answer(self, answer: Found | TxnDone) -> None: ...


class Watcher(Protocol):
    """A watch of a client."""

    @property
    def is_open(self) -> bool: ...

    def tell(self, line: WatchLine) -> None: ...

    def end(self) -> None: ...


class Watch:
    def __init__(self, wanted: Range, from_revision: int, watcher: Watcher) -> None:
        self.wanted = wanted
        self.next = from_revision
        self.watcher = watcher


class Member:
    def __init__(self, group: Group, name: str, host: str, loop: PlainLoop) -> None:
        self.group = group
        self.name = name
        self.disk: Disk = group.disks[name]
        self.host = host
        self.process = loop.process
        self.loop = loop
        self.leader: str | None = None
        self.leading: Lead | None = None
        self.applied = 0
        self._heard_at = self.loop.time()
        self._lost_at: float | None = self._heard_at
        """Since when there is no leader; None while there is one."""
        self._doubts_after = self._between(group.timing.start)
        self._look_again: Later | None = None
        self._same = 0
        """So much of our log is as that of the leader of this term."""
        self._agreed = 0
        """So much has the leader of this term agreed on with others."""
        self._askers: dict[int, Asker] = {}
        """By number of the entry that was proposed for them."""
        self._unled: list[tuple[Asker, Callable[[], None]]] = []
        """What waits for a leader."""
        self._reads: list[tuple[int, Callable[[], None]]] = []
        """What waits until so much is applied."""
        self._watches: list[Watch] = []

    def start(self) -> None:
        self.group.running[self.name] = self
        self.process.when_over(self._over)
        self.apply(self.disk.commit)
        self._look_in(self._doubts_after)

    def _over(self) -> None:
        if self.group.running.get(self.name) is self:
            del self.group.running[self.name]
            self.disk.process_ended()

    def _between(self, bounds: tuple[float, float]) -> float:
        low, high = bounds
        return low + (high - low) * self.group.timeline.chance.random()

    # --- who leads

    @property
    def is_loyal(self) -> bool:
        """Whether it would elect nobody else now."""
        if self.leading is not None:
            return True
        return self.leader is not None and self.loop.time() < self._heard_at + self.group.timing.loyal_s

    def voted(self, term: int) -> None:
        self.follow(term, None)
        self._heard_at = self.loop.time()

    def lead(self, term: int) -> None:
        if self.disk.term == term:
            self.leader, self.leading, self._lost_at = self.name, Lead(self, term), None
            self.leading.begin()
            self._led_again()

    def follow(self, term: int, leader: str | None) -> None:
        if term > self.disk.term:
            self._same = self._agreed = 0
        if term > self.disk.term or leader is None:
            self.disk.term = term
            if self.leader is not None:
                self._lost_at = self.loop.time()
            self.leader = None
            if self.leading is not None:
                self.leading = None
                self._heard_at = self.loop.time()
                self._look_in(self._doubts_after)
        if leader is not None and self.leader is None:
            self.leader, self._lost_at = leader, None
            self._doubts_after = self._between(self.group.timing.doubt)
            self._led_again()

    def _led_again(self) -> None:
        waiting, self._unled = self._unled, []
        for asker, act in waiting:
            if asker.is_open:
                act()

    def _look(self) -> None:
        """Has a leader been heard of?"""
        timing = self.group.timing
        now = self.loop.time()
        if self._lost_at is not None and now >= self._lost_at + timing.stream_s:
            self._end_watches()
        if self.leading is not None:
            return
        left = self._heard_at + self._doubts_after - now
        if left <= 0:
            self.follow(self.disk.term, None)
            self._heard_at = now
            self._doubts_after = left = self._between(timing.doubt)
            self.group.elect(self)
        self._look_in(left)

    def _look_in(self, wait_s: float) -> None:
        if self._look_again is not None:
            self._look_again.cancel()
        self._look_again = self.loop.call_later(wait_s, self._look)

    def _is_of_leader(self, term: int, leader: str) -> bool:
        """Whether a post is of the one who leads; an older one is told the term."""
        if term < self.disk.term:
            newest = self.disk.term
            self.group.post(self, leader, lambda other: other.told_term(newest))
            return False
        self.follow(term, leader)
        self._heard_at = self.loop.time()
        return True

    def told_term(self, term: int) -> None:
        if term > self.disk.term:
            self.follow(term, None)

    # --- what the leader says

    def appended(self, term: int, leader: str, log: list[Entry], upto: int, commit: int) -> None:
        """The log of the leader of this term begins so."""
        if not self._is_of_leader(term, leader):
            return
        own = self.disk.log
        same = both = min(len(own), upto)
        while same and own[same - 1] is not log[same - 1]:
            same -= 1
        if same < both:
            self.disk.cut(same)
        self.disk.log.extend(log[len(self.disk.log) : upto])
        self.disk.sync(lambda: self._say_has(term, leader, upto))
        self._same = max(self._same, upto)
        self._apply_agreed(commit)

    def _say_has(self, term: int, leader: str, upto: int) -> None:
        me = self.name
        if self.disk.term == term:
            self.group.post(self, leader, lambda other: other.told_has(me, term, upto))

    def told_has(self, name: str, term: int, length: int) -> None:
        if self.leading is not None:
            self.leading.has(name, term, length)

    def committed(self, term: int, leader: str, commit: int) -> None:
        if self._is_of_leader(term, leader):
            self._apply_agreed(commit)

    def heard_beat(self, term: int, leader: str, beat: int, commit: int) -> None:
        if self._is_of_leader(term, leader):
            self._apply_agreed(commit)
            me = self.name
            self.group.post(self, leader, lambda other: other.told_beat(me, term, beat))

    def told_beat(self, name: str, term: int, beat: int) -> None:
        if self.leading is not None:
            self.leading.answered(name, term, beat)

    def _apply_agreed(self, commit: int) -> None:
        """What is agreed on may be told before it has arrived here."""
        self._agreed = max(self._agreed, commit)
        self.apply(min(self._agreed, self._same))

    def apply(self, upto: int) -> None:
        """A majority has agreed on so much."""
        if upto <= self.applied:
            return
        group = self.group
        before, self.applied = self.applied, upto
        self.disk.commit = upto
        for index in range(before, upto):
            asker = self._askers.pop(group.agreed[index].number, None)
            result = group.results[index]
            if asker is not None and result is not None:
                asker.answer(TxnDone(self.header(index + 1), *result))
        for watch in self._watches:
            self._tell(watch)
        ready = [act for index, act in self._reads if index <= upto]
        self._reads = [(index, act) for index, act in self._reads if index > upto]
        for act in ready:
            act()

    # --- clients

    def header(self, index: int | None = None) -> Header:
        revision = self.group.revisions[self.applied if index is None else index]
        return Header(self.group.cluster_id, self.group.member_ids[self.name], revision)

    def status(self) -> Status:
        leader = 0 if self.leader is None else self.group.member_ids[self.leader]
        return Status(self.header(), VERSION, leader, len(self.disk.log))

    def txn(self, txn: Txn, asker: Asker) -> None:
        self._when_led(asker, lambda: self._propose(txn, asker))

    def _when_led(self, asker: Asker, act: Callable[[], None]) -> None:
        if self.leader is not None:
            act()
        else:
            self._unled.append((asker, act))

    def _propose(self, txn: Txn, asker: Asker) -> None:
        number = self.group.next_number()
        self._askers[number] = asker
        if self.leading is not None:
            self.leading.take(number, txn)
        elif self.leader is not None:
            self.group.post(self, self.leader, lambda other: other.take(number, txn))

    def take(self, number: int, txn: Txn) -> None:
        """Another member proposes this; one that no longer leads forgets it."""
        if self.leading is not None:
            self.leading.take(number, txn)

    def range(self, wanted: Range, asker: Asker) -> None:
        def answer() -> None:
            if asker.is_open:
                header = self.header()
                asker.answer(Found(header, self.group.keys.range(wanted, header.revision)))

        self._when_led(asker, lambda: self._ask_index(lambda index: self._when_applied(index, answer)))

    def _ask_index(self, told: Callable[[int], None]) -> None:
        if self.leading is not None:
            self.leading.read(told)
        elif self.leader is not None:
            self.group.post(self, self.leader, lambda other: other.say_index(self, told))

    def say_index(self, asking: "Member", told: Callable[[int], None]) -> None:
        if self.leading is not None:
            self.leading.read(lambda index: self.group.post(self, asking.name, lambda other: told(index)))

    def _when_applied(self, index: int, act: Callable[[], None]) -> None:
        if self.applied >= index:
            act()
        else:
            self._reads.append((index, act))

    # --- watches

    def watch(self, wanted: Range, from_revision: int, watcher: Watcher) -> None:
        """Tell what changes from a revision on, or from now on if that is 0."""
        if self.leader is None:
            watcher.tell(WatchLine(error=WatchFailed("etcdserver: no leader")))
            watcher.end()
            return
        header = self.header()
        watcher.tell(WatchLine(Watched(header, created=True)))
        compacted = self.group.keys.compacted
        if 0 < from_revision <= compacted:
            watcher.tell(WatchLine(Watched(header, canceled=True, compact_revision=compacted)))
            watcher.end()
            return
        watch = Watch(wanted, from_revision or header.revision + 1, watcher)
        self._watches.append(watch)
        self._tell(watch)

    def _tell(self, watch: Watch) -> None:
        header = self.header()
        events = [
            change
            for revision in range(watch.next, header.revision + 1)
            for change in self.group.keys.changes(revision)
            if is_in(watch.wanted, change.kv.key)
        ]
        watch.next = max(watch.next, header.revision + 1)
        if events:
            watch.watcher.tell(WatchLine(Watched(header, events=tuple(events))))

    def forget(self, watcher: Watcher) -> None:
        """The client is gone."""
        self._watches = [watch for watch in self._watches if watch.watcher is not watcher]

    def _end_watches(self) -> None:
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.watcher.tell(WatchLine(error=WatchFailed("etcdserver: no leader")))
            watch.watcher.end()
