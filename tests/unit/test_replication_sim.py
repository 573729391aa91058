"""Replication against a network and a manager that do what they like: acknowledged updates are never lost.

One active, two standbys, links that break and bytes that wait, a manager that hears late; chance decides
what happens next. Whoever the manager may promote must hold every update that a client saw acknowledged.
"""

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from holdfast.state.follower import Fence, Follower, Restore
from holdfast.state.frames import Entry
from holdfast.state.history import History
from holdfast.state.replication import (
    Acknowledged,
    CloseLink,
    Sender,
    SendTo,
    SnapshotWanted,
    StandbyIsLost,
    StandbyIsSynced,
)
from holdfast.wire.component import Position

NAMES = ("a", "b", "c")


@dataclass
class Node:
    """What one component has on its disk: its updates in order, and where they start."""

    name: str
    base: Position = field(default_factory=Position)
    held: list[bytes] = field(default_factory=list)
    """All updates since the beginning (also those before `base`)."""
    entries: list[Entry] = field(default_factory=list)
    fence: int = 0

    def history(self) -> History:
        return History(self.base, self.entries)

    @property
    def position(self) -> Position:
        return self.entries[-1].position if self.entries else self.base


@dataclass
class Link:
    number: int
    follower: Follower
    to_active: bytes
    to_standby: bytes = b""


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.nodes = {name: Node(name) for name in NAMES}
        self.acknowledged: list[bytes] = []
        self.in_sync: set[str] = set()
        self.told: deque[StandbyIsLost | StandbyIsSynced] = deque()
        self.recorded: deque[str] = deque()
        self.links: dict[str, Link] = {}
        self.links_made = 0
        self.updates_made = 0
        self.epoch = 0
        self.promote("a")

    def promote(self, name: str) -> None:
        """The active is gone (with all its links); this one takes over."""
        self.epoch += 1
        node = self.active = self.nodes[name]
        self.in_sync.discard(name)
        for update in self.acknowledged:
            assert update in node.held, f"{name} was promoted without {update!r}"
        self.links.clear()
        self.told.clear()
        self.recorded.clear()
        self.history = node.history()
        self.applied = node.position.sequence
        node.fence = self.epoch
        self.sender = Sender(
            service="s", epoch=self.epoch, history=self.history, in_sync=sorted(self.in_sync), now=self.now
        )

    def update(self) -> None:
        self.updates_made += 1
        payload = f"u{self.updates_made}".encode()
        entry = self.sender.append(payload)
        if entry is not None:
            self.active.entries.append(entry)
            self.active.held.append(payload)
        self.carry_out()

    def connect(self, name: str) -> None:
        if name == self.active.name:
            return
        self.links_made += 1
        node = self.nodes[name]
        follower = Follower(service="s", name=name, position=node.position, known_epoch=node.fence)
        # The link before it is forgotten without a word: the active does not know yet.
        self.links[name] = Link(self.links_made, follower, follower.greet())
        self.sender.connected(self.links_made, self.now)

    def break_link(self, name: str) -> None:
        link = self.links.pop(name, None)
        if link is not None:
            self.sender.disconnected(link.number)
            self.carry_out()

    def active_reads(self, name: str, size: int) -> None:
        link = self.links.get(name)
        if link is not None:
            data, link.to_active = link.to_active[:size], link.to_active[size:]
            self.sender.received(link.number, data, self.now)
            self.carry_out()

    def standby_reads(self, name: str, size: int) -> None:
        link = self.links.get(name)
        if link is None:
            return
        data, link.to_standby = link.to_standby[:size], link.to_standby[size:]
        heard = link.follower.received(data)
        node = self.nodes[name]
        for change in heard.changes:
            if isinstance(change, Entry):
                node.entries.append(change)
                node.held.append(change.payload)
            elif isinstance(change, Restore):
                node.base, node.entries = change.position, []
                node.held = change.data.split()
            elif isinstance(change, Fence):
                node.fence = change.epoch
        link.to_active += heard.answer
        assert not heard.broken

    def tick(self, passed_s: float) -> None:
        self.now += passed_s
        self.sender.tick(self.now)
        self.carry_out()

    def manager_hears(self) -> None:
        if not self.told:
            return
        news = self.told.popleft()
        if isinstance(news, StandbyIsLost):
            self.in_sync.discard(news.standby)
            self.recorded.append(news.standby)
        else:
            self.in_sync.add(news.standby)

    def active_hears(self) -> None:
        if self.recorded:
            self.sender.recorded(self.recorded.popleft())
            self.carry_out()

    def carry_out(self) -> None:
        while effects := self.sender.take():
            for effect in effects:
                if isinstance(effect, SendTo):
                    for link in self.links.values():
                        if link.number == effect.link:
                            link.to_standby += effect.data
                elif isinstance(effect, Acknowledged):
                    for entry in self.history.after(self.applied) or ():
                        if entry.sequence <= effect.sequence:
                            self.acknowledged.append(entry.payload)
                            self.applied = entry.sequence
                elif isinstance(effect, CloseLink):
                    self.links = {name: link for name, link in self.links.items() if link.number != effect.link}
                elif isinstance(effect, StandbyIsLost | StandbyIsSynced):
                    self.told.append(effect)
                elif isinstance(effect, SnapshotWanted):
                    count = len(self.active.held) - (self.history.last.sequence - self.applied)
                    state = b" ".join(self.active.held[:count])
                    self.sender.snapshot(effect.link, self.history.at(self.applied), state)

    def settle(self) -> None:
        """Let everything that is on its way arrive, for long enough."""
        for name in NAMES:
            if name not in self.links:
                self.connect(name)
        for _ in range(30):
            for name in NAMES:
                self.standby_reads(name, 1 << 20)
                self.active_reads(name, 1 << 20)
            self.manager_hears()
            self.active_hears()
            self.tick(0.075)


STEPS: list[tuple[object, ...]] = [
    *[("update",)] * 6,
    *[("exchange", name) for name in NAMES] * 4,
    *[("connect", name) for name in NAMES],
    *[("break", name) for name in NAMES],
    *[("promote", name) for name in NAMES],
    *[("active-reads", name, 30) for name in NAMES],
    *[("standby-reads", name, 50) for name in NAMES],
    ("tick", 0.075),
    ("tick", 0.075),
    ("tick", 0.4),
    *[("manager-hears",)] * 3,
    *[("active-hears",)] * 3,
    ("recorded-again",),
    *[("settle",)] * 2,
]


def _do(world: World, step: tuple[object, ...]) -> None:
    match step:
        case ("update",):
            world.update()
        case ("connect", str(name)):
            world.connect(name)
        case ("break", str(name)):
            world.break_link(name)
        case ("active-reads", str(name), int(size)):
            world.active_reads(name, size)
        case ("standby-reads", str(name), int(size)):
            world.standby_reads(name, size)
        case ("exchange", str(name)):
            world.standby_reads(name, 1 << 20)
            world.active_reads(name, 1 << 20)
        case ("tick", float(passed_s)):
            world.tick(passed_s)
        case ("manager-hears",):
            world.manager_hears()
        case ("active-hears",):
            world.active_hears()
        case ("recorded-again",):
            for name in NAMES:
                # An old answer, or one that is ahead of what the active has seen.
                if name not in world.sender.losing:
                    world.sender.recorded(name)
                    world.carry_out()
        case ("settle",):
            world.settle()
        case ("promote", str(name)):
            # The manager promotes only who is in sync, or starts the same active anew (its disk has everything).
            if name in world.in_sync or name == world.active.name:
                world.promote(name)


@pytest.mark.parametrize("seed", range(30))
def test_whoever_may_be_promoted_holds_every_acknowledged_update(seed: int) -> None:
    choice = random.Random(seed)
    world = World()
    for _ in range(400):
        step = choice.choice(STEPS)
        _do(world, step)
        for name in world.in_sync:
            assert set(world.acknowledged) <= set(world.nodes[name].held), f"{name} is in sync, after {step}"
    world.settle()
    assert set(world.in_sync) == set(NAMES) - {world.active.name}
    for node in world.nodes.values():
        assert node.held == world.active.held
    assert world.acknowledged == [update for update in world.active.held if update in set(world.acknowledged)]
    assert world.sender.in_sync
    assert not world.sender.losing
