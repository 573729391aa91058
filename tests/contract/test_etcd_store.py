"""The store on a cluster of etcd, real and simulated, whose members are killed and frozen."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from typing import TypeVar

import pytest
from msgspec import structs

from holdfast.errors import MachineLacks, UserError
from holdfast.model.names import HA, VIM
from holdfast.store.etcd import EtcdState, EtcdStore
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_http import LineBroken
from holdfast.store.etcd_state import Fence, Write, term_key
from holdfast.store.etcd_target import Endpoint, Target
from holdfast.store.etcd_words import (
    Compare,
    KeyValue,
    Op,
    Range,
    Txn,
    delete,
    get,
    is_revision,
    is_value,
    is_version,
    put,
    under,
)
from holdfast.store.port import StoreBroken, Superseded
from tests.contract.conftest import AnyCluster, assert_took
from tests.contract.etcd_cluster import Cluster
from tests.contract.etcd_sim import SimCluster

Answer = TypeVar("Answer")
ATTEMPTS = 20


@pytest.fixture
def target(etcd: AnyCluster, request: pytest.FixtureRequest) -> Target:
    return etcd.target(request.node.name)


@pytest.fixture
def store(etcd: AnyCluster, target: Target) -> Iterator[EtcdStore]:
    with etcd.store(target) as opened:
        yield opened


def test_what_was_acknowledged_survives_a_kill_of_the_leader_and_writes_go_on(
    etcd: AnyCluster, store: EtcdStore
) -> None:
    leader = etcd.leader()
    acknowledged = 0
    longest = 0.0
    killing = None
    while acknowledged < 400:
        if acknowledged == 200:
            killing = etcd.meanwhile(leader.kill)
        begun = etcd.now()
        acknowledged = store.save(HA, {"n": b"%d" % acknowledged, f"p{acknowledged % 50}": b"x"}, acknowledged)
        longest = max(longest, etcd.now() - begun)
    assert killing is not None
    killing.result()
    saved = store.load(HA)
    assert (saved.version, saved.parts["n"]) == (400, b"399")
    assert_took(etcd, longest, 2.5)


def until_answered(act: Callable[[], Answer]) -> Answer:
    """Repeated as it was while it is not answered in time, which harms nothing."""
    for _ in range(ATTEMPTS):
        with suppress(StoreBroken):
            return act()
    raise AssertionError(f"not answered in {ATTEMPTS} attempts")


def test_without_a_majority_a_save_fails_within_its_limit_and_goes_on_afterwards(
    etcd: AnyCluster, target: Target
) -> None:
    with etcd.store(target, limit_s=1.0) as store:
        assert until_answered(lambda: store.save(HA, {"a": b"1"}, 0)) == 1
        lost = etcd.followers()
        for member in lost:
            member.kill()
        begun = etcd.now()
        with pytest.raises(StoreBroken, match=r"not answered within 1 s"):
            store.save(HA, {"a": b"2"}, 1)
        with pytest.raises(StoreBroken):
            store.load(HA)
        assert_took(etcd, etcd.now() - begun, 2.5)
        etcd.start()
        assert until_answered(lambda: store.save(HA, {"a": b"2"}, 1)) == 2
        assert until_answered(lambda: store.load(HA)).parts == {"a": b"2"}


def test_a_frozen_member_costs_one_wait_and_no_more(etcd: AnyCluster, store: EtcdStore) -> None:
    store.save(HA, {"a": b"0"}, 0)
    frozen = next(member for member in etcd.members.values() if member.endpoint == etcd.target().endpoints[0])
    frozen.freeze()
    begun = etcd.now()
    for version in range(1, 20):
        store.save(HA, {"a": b"%d" % version}, version)
    assert_took(etcd, etcd.now() - begun, 2.5)


def test_a_save_that_went_through_unheard_is_recognised_when_repeated(etcd: AnyCluster, target: Target) -> None:
    leader, followers = etcd.leader(), etcd.followers()

    async def twice() -> None:
        async with etcd.client(structs.replace(target, endpoints=(leader.endpoint,))) as client:
            state = EtcdState(client)
            writes = [Write(HA, {"a": b"1"}, 0), Write(VIM, {"b": b"2"}, 0)]
            await state.load(HA)
            for member in followers:
                member.freeze()
            with pytest.raises(StoreBroken):
                # The leader takes it into its log, and needs one other member to call it done.
                await state.save(writes, limit_s=1.0)
            for member in followers:
                member.thaw()
            # What is written after it is done, so is it.
            await client.txn(Txn((), (put(f"{target.folder}/after".encode(), b""),)), limit_s=30.0)
            assert (await state.load(HA)).version == 1
            await state.save(writes)
            await state.save([Write(HA, {"a": b"2"}, 1)])
            with pytest.raises(Superseded, match="version 2, not 0"):
                await state.save([Write(HA, {"a": b"other"}, 0)])

    etcd.run(twice())


def test_all_writes_of_a_transaction_or_none(etcd: AnyCluster, target: Target) -> None:
    async def half() -> None:
        async with etcd.client(target) as client:
            state = EtcdState(client)
            await state.save([Write(VIM, {"a": b"1"}, 0)])
            with pytest.raises(Superseded, match="vim"):
                await state.save([Write(HA, {"a": b"1"}, 0), Write(VIM, {"a": b"2"}, 0)])
            assert (await state.load(HA)).version == 0

    etcd.run(half())


def test_writes_of_an_older_term_are_refused(etcd: AnyCluster, target: Target) -> None:
    async def fenced() -> None:
        async with etcd.client(target) as client:
            key = term_key(target.folder)
            await client.txn(Txn((), (put(key, b"7"),)))
            old, new = EtcdState(client, Fence(key, 6)), EtcdState(client, Fence(key, 7))
            await new.save([Write(HA, {"a": b"1"}, 0)])
            with pytest.raises(Superseded, match="term 7, not 6"):
                await old.save([Write(HA, {"a": b"2"}, 1)])
            assert (await new.load(HA)).parts == {"a": b"1"}

    etcd.run(fenced())


@pytest.mark.parametrize("size", [1800 << 10, 3 << 20])
def test_a_state_too_large_for_etcd_is_refused_at_once_with_what_to_do(
    etcd: AnyCluster, store: EtcdStore, size: int
) -> None:
    begun = etcd.now()
    with pytest.raises(StoreBroken, match="etcd refuses") as refused:
        store.save(HA, {"a": bytes(size)}, 0)
    assert "--max-request-bytes" in refused.value.hint
    assert_took(etcd, etcd.now() - begun, 2.0)
    assert store.save(HA, {"a": bytes(1 << 20)}, 0) == 1


def test_a_watch_tells_every_change_once_and_goes_on_at_another_member(etcd: AnyCluster, target: Target) -> None:
    key = f"{target.folder}/x".encode()

    async def write(client: EtcdClient) -> None:
        for n in range(20):
            if n == 10:
                serving = next(member for member in etcd.members.values() if member.endpoint == client.nearest)
                await etcd.aside(serving.kill)
            await client.txn(Txn((is_version(key, n),), (put(key, b"%d" % n),)))

    async def watched() -> list[bytes]:
        async with etcd.client(target) as client:
            told: list[bytes] = []
            revision = (await client.range(Range(key))).header.revision + 1
            writing = asyncio.create_task(write(client))
            while len(told) < 20:
                with suppress(LineBroken):
                    async with aclosing(client.watch(Range(key), revision)) as stream:
                        async for item in stream:
                            told += [change.kv.value for change in item.events]
                            revision = max(revision, item.header.revision + 1)
                            if len(told) >= 20:
                                break
            await writing
        return told

    assert etcd.run(watched()) == [b"%d" % n for n in range(20)]


def test_a_watch_from_before_a_compaction_ends_and_one_from_after_it_goes_on(etcd: AnyCluster, target: Target) -> None:
    key = f"{target.folder}/x".encode()

    async def heard_from(client: EtcdClient, revision: int) -> bytes:
        async with aclosing(client.watch(Range(key), revision)) as stream:
            async for item in stream:
                if item.events:
                    return item.events[0].kv.value
        raise AssertionError("the watch ended without an error")

    async def watched() -> bytes:
        async with etcd.only_asking_once(target) as client:
            written = [await client.txn(Txn((), (put(key, b"%d" % n),))) for n in range(5)]
            first, last = written[0].header.revision, written[-1].header.revision
            await etcd.aside(lambda: etcd.compact(last - 1))
            with pytest.raises(LineBroken, match="compacted"):
                await heard_from(client, first)
            return await heard_from(client, last)

    assert etcd.run(watched()) == b"4"


def random_txn(chance: random.Random, folder: str) -> Txn:
    """Of few keys, so that most of it meets something."""

    def key() -> bytes:
        return f"{folder}/{chance.randrange(4)}".encode()

    def op() -> Op:
        value = b"%d" % chance.randrange(3)
        return chance.choice([put(key(), value), delete(key()), get(key()), Op(request_range=under(folder.encode()))])

    def compare() -> Compare:
        held = chance.choice([b"", b"0", b"1", b"2"])
        return chance.choice([is_version(key(), chance.randrange(3)), is_value(key(), held), is_revision(key(), 0)])

    compared = tuple(compare() for _ in range(chance.randrange(2)))
    return Txn(compared, tuple(op() for _ in range(chance.randrange(1, 4))), (get(key()),))


def test_a_simulated_etcd_answers_whatever_is_asked_as_a_real_one(
    real_etcd: Cluster, simulated_etcd: SimCluster, request: pytest.FixtureRequest
) -> None:
    folder = f"/holdfast/{request.node.name}"

    async def told(client: EtcdClient) -> list[object]:
        """All answers, with revisions counted from where the cluster was before."""
        chance = random.Random(1)
        before = (await client.range(under(folder.encode()))).header.revision
        answers: list[object] = []

        def pair(one: KeyValue) -> tuple[bytes, bytes, int, int]:
            return one.key, one.value, one.version, one.mod_revision and one.mod_revision - before

        for _ in range(600):
            try:
                done = await client.txn(random_txn(chance, folder))
            except StoreBroken as refused:
                answers.append(refused.message)
                continue
            found = [[pair(one) for one in answer.response_range.kvs] for answer in done.responses]
            answers.append((done.succeeded, done.header.revision - before, found))
        last = await client.txn(Txn((), (put(f"{folder}/last".encode(), b""),)))
        async with aclosing(client.watch(under(folder.encode()), before + 1)) as stream:
            async for item in stream:
                answers += [(change.type, pair(change.kv)) for change in item.events]
                if item.events and item.events[-1].kv.mod_revision == last.header.revision:
                    return answers
        raise AssertionError("the watch ended without an error")

    async def answers(etcd: AnyCluster) -> list[object]:
        async with etcd.only_asking_once(etcd.target(request.node.name)) as client:
            return await told(client)

    real, simulated = real_etcd.run(answers(real_etcd)), simulated_etcd.run(answers(simulated_etcd))
    assert len(real) > 500
    assert simulated == real


def test_nobody_there_is_said_with_every_member(etcd: AnyCluster) -> None:
    nowhere = etcd.nowhere(2)
    with etcd.store(Target(tuple(nowhere)), limit_s=0.3) as store, pytest.raises(StoreBroken) as broken:
        store.load(HA)
    assert all(f"{endpoint} cannot be reached" in broken.value.message for endpoint in nowhere)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b'{"etcdserver":"3.3.25","etcdcluster":"3.3.0"}', MachineLacks, "is version 3.3.25"),
        (b'{"etcdserver":"2.3.8"}', MachineLacks, "is version 2.3.8"),
        (b"<html>hello</html>", UserError, "is no etcd"),
    ],
)
def test_what_is_no_fit_server_is_named(answer: bytes, kind: type[Exception], words: str) -> None:
    async def served() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with EtcdClient(Target((Endpoint("127.0.0.1", port),))) as client:
                with pytest.raises(kind, match=words):
                    await EtcdState(client).load(HA)

    asyncio.run(served())
