"""The simulated etcd under whatever chance does: nothing acknowledged is lost, no read is older than it may be."""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import aclosing, closing

import pytest

from holdfast.errors import Bug, HoldfastError
from holdfast.lab.sim.etcd import dial_over
from holdfast.lab.sim.etcd_group import OWN
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_words import Range, Txn, get, is_version, put, under
from holdfast.store.port import StoreBroken
from tests.contract.etcd_sim import NAMES, S, SimCluster

MS = 1_000_000
FOLDER = b"/holdfast/chance/"
FIVE = ("a", "b", "c", "d", "e")


class Checked:
    """What clients have been told, and so may rely on."""

    def __init__(self) -> None:
        self.versions: dict[bytes, int] = {}
        """Of each key, the newest that was acknowledged."""
        self.revision = 0
        """The newest that any answer has named."""
        self.writes = self.reads = self.broken = 0
        self.heard: list[tuple[int, bytes, int]] = []


class Client:
    """A process that writes one key, each time only over what it has written before, and reads all."""

    def __init__(self, cluster: SimCluster, host: str, told: Checked) -> None:
        self.key = FOLDER + host.encode()
        self.told = told
        self._chance = cluster.timeline.chance
        _, loop, streams = cluster.spawn(host, f"client@{host}")
        self._loop = loop
        target = cluster.target("chance")
        self._client = EtcdClient(target, dial=dial_over(streams))
        self._version = 0
        for task in (self._write_on(), self._read_on(EtcdClient(target, dial=dial_over(streams)))):
            loop.create_task(task).add_done_callback(found_out)

    async def _thinks(self) -> None:
        thought = self._loop.create_future()
        self._loop.call_later(self._chance.random() * 0.03, thought.set_result, None)
        await thought

    async def _write_on(self) -> None:
        told = self.told
        while True:
            wanted = self._version + 1
            txn = Txn((is_version(self.key, self._version),), (put(self.key, b"%d" % wanted),), (get(self.key),))
            try:
                done = await self._client.txn(txn, 1.0)
            except StoreBroken:
                # It may have been carried out, or will be: then the version is another when we try again.
                told.broken += 1
                continue
            if done.succeeded:
                self._version = wanted
                told.versions[self.key] = wanted
                told.writes += 1
            else:
                found = done.responses[0].response_range.first()
                assert found.version == wanted, "nobody else writes it"
                self._version = found.version
                told.versions[self.key] = found.version
            told.revision = max(told.revision, done.header.revision)
            await self._thinks()

    async def _read_on(self, client: EtcdClient) -> None:
        told = self.told
        while True:
            before, versions = told.revision, dict(told.versions)
            try:
                found = await client.range(under(FOLDER), 1.0)
            except StoreBroken:
                told.broken += 1
                continue
            told.reads += 1
            assert found.header.revision >= before, "older than an answer that was there before"
            seen = {pair.key: pair.version for pair in found.kvs}
            for key, version in versions.items():
                assert seen.get(key, 0) >= version, f"{key!r} was acknowledged at version {version}"
            told.revision = max(told.revision, found.header.revision)
            await self._thinks()


def found_out(task: "asyncio.Task[None]") -> None:
    """What is wrong in a simulated process ends the run."""
    if not task.cancelled():
        task.result()


def follow(cluster: SimCluster, told: Checked) -> None:
    """A process that watches everything."""
    _, loop, streams = cluster.spawn("client", "watcher")
    client = EtcdClient(cluster.target("chance"), dial=dial_over(streams))

    async def on() -> None:
        revision = 1
        while True:
            try:
                # A watch alone would not notice that its member has been cut off.
                await client.range(Range(FOLDER))
                async with aclosing(client.watch(under(FOLDER), revision)) as stream:
                    async for item in stream:
                        for change in item.events:
                            pair = change.kv
                            told.heard.append((pair.mod_revision, pair.key, pair.version))
                            revision = pair.mod_revision + 1
            except HoldfastError:
                told.broken += 1

    loop.create_task(on()).add_done_callback(found_out)


def trouble(cluster: SimCluster) -> Callable[[], None]:
    timeline = cluster.timeline
    chance = timeline.chance
    name = chance.choice(sorted(cluster.members))
    member = cluster.members[name]
    other = chance.choice(sorted(cluster.hosts))
    pause = chance.randint(50, 2500) * MS

    def later(act: Callable[[], None]) -> None:
        timeline.after(pause, act)

    def kill() -> None:
        member.kill()
        later(lambda: None if member.runs else member.start())

    def freeze() -> None:
        member.freeze()
        later(member.thaw)

    def cut() -> None:
        """One way only."""
        if other != name:
            cluster.net.cut(name, other)
            later(lambda: cluster.net.heal(name, other))

    def cut_off() -> None:
        for one in cluster.members:
            cluster.net.cut(name, one)
            cluster.net.cut(one, name)
        later(cluster.net.heal_all)

    def slow() -> None:
        disk = cluster.etcd.disks[name]
        disk.sync_ns = (50 * MS, 500 * MS)
        later(lambda: setattr(disk, "sync_ns", (300_000, 3 * MS)))

    return chance.choice([kill, kill, freeze, cut, cut_off, slow])


def story(seed: int, names: tuple[str, ...] = NAMES, plant: Callable[[SimCluster], None] | None = None) -> Checked:
    with closing(SimCluster(seed, names, OWN)) as cluster:
        cluster.net.loss = 0.002
        cluster.net.doubling = 0.002
        cluster.start()
        if plant is not None:
            plant(cluster)
        return played(cluster)


def played(cluster: SimCluster) -> Checked:
    told = Checked()
    for host in cluster.hosts:
        Client(cluster, host, told)
    follow(cluster, told)
    for _ in range(12):
        trouble(cluster)()
        cluster.timeline.run(cluster.timeline.now_ns + cluster.timeline.chance.randint(1, 800) * MS)
    cluster.timeline.run(cluster.timeline.now_ns + 3 * S)
    cluster.net.heal_all()
    cluster.heal()
    writes = told.writes
    cluster.timeline.run(cluster.timeline.now_ns + 2 * S)
    assert told.writes > writes, "it goes on"
    return told


@pytest.mark.parametrize("seed", range(20))
def test_nothing_acknowledged_is_lost_and_every_change_is_told_once(seed: int) -> None:
    told = story(seed)
    revisions = [revision for revision, _, _ in told.heard]
    assert revisions == sorted(set(revisions))
    for key in told.versions:
        versions = [version for _, of, version in told.heard if of == key]
        assert versions == list(range(1, len(versions) + 1)), "none left out"
    assert told.reads > 100


@pytest.mark.parametrize("seed", range(3))
def test_five_members_outlive_the_same(seed: int) -> None:
    assert story(seed, FIVE).writes > 100


def test_a_single_member_goes_on_when_it_is_started_again() -> None:
    with closing(SimCluster(1, ("a",))) as cluster:
        cluster.start()
        told = Checked()
        Client(cluster, "a", told)
        cluster.timeline.run(cluster.timeline.now_ns + S)
        writes = told.writes
        cluster.members["a"].kill()
        cluster.start()
        cluster.timeline.run(cluster.timeline.now_ns + S)
        assert told.writes > writes > 20


def test_the_same_seed_gives_the_same_run() -> None:
    def digest() -> str:
        told = story(5)
        return hashlib.sha256(repr((told.heard, told.reads, told.broken, told.revision)).encode()).hexdigest()

    assert digest() == digest()


@pytest.mark.parametrize("seed", range(8))
def test_without_its_leader_nothing_is_written_for_as_long_as_on_a_real_one(seed: int) -> None:
    with closing(SimCluster(seed, NAMES, OWN)) as cluster:
        cluster.start()
        told = Checked()
        Client(cluster, "client", told)
        cluster.timeline.run(cluster.timeline.now_ns + S)
        cluster.leader().kill()
        killed_at = cluster.now()
        cluster.until(lambda: cluster.etcd.leader is not None, "another leader")
        assert 1.25 < cluster.now() - killed_at < 1.57
        writes = told.writes
        cluster.until(lambda: told.writes > writes, "a write")
        assert cluster.now() - killed_at < 2.2


def forgets_on_disk(cluster: SimCluster) -> None:
    """A disk that says that it has written what it has not."""
    for disk in cluster.etcd.disks.values():
        disk.sync = lambda done: done()  # type: ignore[method-assign]


def counts_wrongly(cluster: SimCluster) -> None:
    """One member is taken for a majority."""
    cluster.etcd.group.majority = 1


@pytest.mark.parametrize("plant", [forgets_on_disk, counts_wrongly])
def test_a_cluster_that_breaks_the_rules_is_found_out(plant: Callable[[SimCluster], None]) -> None:
    def is_found(seed: int) -> bool:
        try:
            story(seed, NAMES, plant)
        except (AssertionError, Bug, ValueError):
            return True
        return False

    assert any(is_found(seed) for seed in range(20))
