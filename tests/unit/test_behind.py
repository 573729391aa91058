"""Writing behind: nothing waits, nothing is reordered, what waits is said."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence

import pytest

from holdfast.errors import WorldError
from holdfast.model.limits import ETCD_TXN_BYTES_MAX, STORE_BEHIND_BYTES_MAX
from holdfast.model.names import HA, VIM, Party
from holdfast.store.behind import Behind
from holdfast.store.etcd_state import Write
from holdfast.store.port import Saved, StoreBroken, Superseded, Waiting

LIMIT_S = 20.0
"""Patience with a busy machine."""


class Cluster:
    """Keeps what it is given as etcd would; answers when it may."""

    def __init__(self) -> None:
        self.versions: dict[Party, int] = {}
        self.parts: dict[Party, dict[str, bytes]] = {}
        self.history: list[dict[Party, dict[str, bytes]]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()
        self.problem: StoreBroken | None = None

    async def save_all(self, writes: Sequence[Write]) -> None:
        self.asked.set()
        await self.answers.wait()
        if self.problem is not None:
            raise self.problem
        for write in writes:
            if self.versions.get(write.party, 0) != write.expected:
                raise Superseded(f"{write.party} is at {self.versions.get(write.party, 0)}")
        for write in writes:
            self.versions[write.party] = write.expected + 1
            parts = self.parts.setdefault(write.party, {})
            for name, content in write.changes.items():
                parts.pop(name, None) if content is None else parts.__setitem__(name, content)
        self.history.append({party: dict(parts) for party, parts in self.parts.items()})


class Front:
    """A front, its cluster, and what it told."""

    def __init__(self, loaded: dict[Party, Saved] | None = None) -> None:
        self.cluster = Cluster()
        for party, saved in (loaded or {}).items():
            self.cluster.versions[party] = saved.version
            self.cluster.parts[party] = dict(saved.parts)
        self.alarms: list[str | None] = []
        self.alarmed = asyncio.Event()
        self.kept: list[Party] = []
        self.superseded: list[Superseded] = []
        self.behind = Behind(loaded or {}, self.cluster.save_all, self.alarm, self.kept.append, self.superseded.append)

    def alarm(self, text: str | None) -> None:
        self.alarms.append(text)
        self.alarmed.set()


def run(scene: Callable[[Front], Awaitable[None]], loaded: dict[Party, Saved] | None = None) -> None:
    async def play() -> None:
        front = Front(loaded)
        async with asyncio.timeout(2 * LIMIT_S):
            await scene(front)
        front.behind.close()

    asyncio.run(play())


def test_a_change_is_taken_at_once_and_kept_a_little_later() -> None:
    async def scene(front: Front) -> None:
        assert front.behind.save(HA, {"a": b"1"}, 0) == 1
        assert front.behind.load(HA) == Saved(1, {"a": b"1"})
        assert not front.behind.is_kept(HA, 1)
        assert front.behind.waiting.changes == 1
        assert await front.behind.flush(LIMIT_S)
        assert front.behind.is_kept(HA, 1)
        assert not front.behind.is_kept(HA, 2)
        assert front.kept == [HA]
        assert front.cluster.parts == {HA: {"a": b"1"}}
        assert front.behind.waiting == Waiting()

    run(scene)


def test_what_comes_while_the_store_is_busy_becomes_one_transaction() -> None:
    async def scene(front: Front) -> None:
        front.cluster.answers.clear()
        front.behind.save(HA, {"a": b"0"}, 0)
        await front.cluster.asked.wait()
        for n in range(1, 50):
            front.behind.save(HA, {"a": b"%d" % n}, n)
            front.behind.save(VIM, {"b": b"%d" % n, "c": None}, n - 1)
        assert front.behind.waiting.changes == 99
        assert not front.behind.is_kept(HA, 1)
        front.cluster.answers.set()
        assert await front.behind.flush(LIMIT_S)
        assert len(front.cluster.history) == 2
        assert front.cluster.parts == {HA: {"a": b"49"}, VIM: {"b": b"49"}}
        assert front.behind.save(HA, {"a": b"last"}, 50) == 51
        assert await front.behind.flush(LIMIT_S)
        assert front.cluster.versions[HA] == 3

    run(scene)


@pytest.mark.parametrize("seed", range(10))
def test_the_store_always_holds_a_state_that_once_was(seed: int) -> None:
    async def scene(front: Front) -> None:
        chance = random.Random(seed)
        states: list[dict[Party, dict[str, bytes]]] = [{}]
        versions = {HA: 0, VIM: 0}
        for n in range(200):
            party = chance.choice([HA, VIM])
            name = chance.choice("abc")
            content = None if chance.random() < 0.2 else b"%d" % n + bytes(chance.choice([10, 300_000]))
            versions[party] = front.behind.save(party, {name: content, "n": b"%d" % n}, versions[party])
            state = {other: dict(parts) for other, parts in states[-1].items()}
            parts = state.setdefault(party, {})
            parts["n"] = b"%d" % n
            parts.pop(name, None) if content is None else parts.__setitem__(name, content)
            states.append(state)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        assert await front.behind.flush(LIMIT_S)
        places = [states.index(held) for held in front.cluster.history]
        assert places == sorted(places)
        assert front.cluster.history[-1] == states[-1]

    run(scene)


def test_no_transaction_is_larger_than_etcd_takes() -> None:
    async def scene(front: Front) -> None:
        for n in range(8):
            front.behind.save(HA, {f"p{n}": bytes(ETCD_TXN_BYTES_MAX // 3)}, n)
        for n in range(150):
            front.behind.save(VIM, {f"p{n}": b"x"}, n)
        assert await front.behind.flush(LIMIT_S)
        assert [len(state[HA]) for state in front.cluster.history] == [3, 6, 8, 8]
        assert len(front.cluster.parts[VIM]) == 150

    run(scene)


def test_a_lost_store_raises_an_alarm_names_what_waits_and_catches_up_by_itself() -> None:
    async def scene(front: Front) -> None:
        front.cluster.problem = StoreBroken("no majority")
        for n in range(3):
            front.behind.save(HA, {"a": b"%d" % n}, n)
        await front.alarmed.wait()
        text = front.alarms[0]
        assert text is not None
        assert re.fullmatch(r"3 changes have waited for the store for \d+\.\d+ s: no majority", text)
        assert front.behind.waiting.problem == "no majority"
        assert front.behind.waiting.since is not None
        assert not await front.behind.flush(0.0)
        front.cluster.problem = None
        assert await front.behind.flush(LIMIT_S)
        assert front.alarms[-1] is None
        assert front.cluster.parts == {HA: {"a": b"2"}}

    run(scene)


def test_it_goes_on_from_what_was_loaded() -> None:
    async def scene(front: Front) -> None:
        assert front.behind.load(HA) == Saved(7, {"a": b"1", "b": b"2"})
        assert front.behind.save(HA, {"a": None}, 7) == 8
        assert await front.behind.flush(LIMIT_S)
        assert (front.cluster.versions[HA], front.cluster.parts[HA]) == (8, {"b": b"2"})

    run(scene, {HA: Saved(7, {"a": b"1", "b": b"2"})})


def test_two_holders_of_a_party_in_one_process_are_refused() -> None:
    async def scene(front: Front) -> None:
        front.behind.save(HA, {"a": b"1"}, 0)
        with pytest.raises(Superseded):
            front.behind.save(HA, {"a": b"2"}, 0)

    run(scene)


def test_another_writer_ends_it_and_nothing_more_is_taken() -> None:
    async def scene(front: Front) -> None:
        front.cluster.versions[HA] = 5
        front.behind.save(HA, {"a": b"1"}, 0)
        assert not await front.behind.flush(LIMIT_S)
        assert len(front.superseded) == 1
        with pytest.raises(Superseded, match="is at 5"):
            front.behind.save(HA, {"a": b"2"}, 1)

    run(scene)


def test_more_than_memory_should_hold_is_refused() -> None:
    async def scene(front: Front) -> None:
        front.cluster.answers.clear()
        content = bytes(ETCD_TXN_BYTES_MAX)
        taken = STORE_BEHIND_BYTES_MAX // ETCD_TXN_BYTES_MAX + 1
        for n in range(taken):
            front.behind.save(HA, {"a": content}, n)
        with pytest.raises(StoreBroken, match="wait for the store already"):
            front.behind.save(HA, {"a": content}, taken)
        front.cluster.answers.set()
        assert await front.behind.flush(LIMIT_S)
        assert front.behind.save(HA, {"a": content}, taken) == taken + 1

    run(scene)


def test_an_error_of_another_kind_is_retried_too() -> None:
    async def scene(front: Front) -> None:
        failures = [WorldError("odd")]
        right = front.cluster.save_all

        async def save_all(writes: Sequence[Write]) -> None:
            if failures:
                raise failures.pop()
            await right(writes)

        behind = Behind({}, save_all, front.alarm, front.kept.append, front.superseded.append)
        behind.save(HA, {"a": b"1"}, 0)
        assert await behind.flush(LIMIT_S)
        assert front.cluster.parts == {HA: {"a": b"1"}}
        behind.close()

    run(scene)
