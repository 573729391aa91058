"""Managers and agents on several simulated hosts, with a simulated etcd: what is lost, and who goes on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.model.actions import IsolateVnfc
from holdfast.model.events import VnfcFailed
from holdfast.model.names import HA
from holdfast.model.records import Decided, Marked
from holdfast.store.journal import read
from tests.sim.managers_story import confirmed, lose, story
from tests.sim.managers_world import World, vnfc_on

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=range(1, 5))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(request.param, tmp_path)
    yield made
    made.end()


def marks(world: World, host: str, names: set[str]) -> list[str]:
    journal = world.folders[host].journal(HA)
    found = (record.name for record in read(journal) if isinstance(record, Marked))
    return [name for name in found if name in names]


def test_one_leads_and_what_it_decides_is_carried_out_everywhere(world: World) -> None:
    world.until(world.is_settled)
    for host, agent in world.agents.items():
        agent.emit(VnfcFailed(vnfc_on(host), 1, "killed"))
    world.until(lambda: world.heard("ActionDone") == len(world.hosts), 0.1)
    for host, agent in world.agents.items():
        assert [one.vnfc for one in agent.toy.performed if isinstance(one, IsolateVnfc)] == [vnfc_on(host)]
        assert len(agent.toy.performed) == 1
    assert world.ha().outstanding() == ()
    followers = [host for host in world.hosts if host != world.leader]
    assert [world.folders[host].journal(HA).exists() for host in followers] == [False, False]


def test_a_killed_leader_is_followed_and_what_was_outstanding_is_taken_over(world: World) -> None:
    world.until(world.is_settled)
    leader = world.leader
    assert leader is not None
    host = next(host for host in world.hosts if host != leader)
    agent = world.agents[host]
    agent.toy.hold.clear()
    agent.emit(VnfcFailed(vnfc_on(host), 1, "killed"))
    world.until(lambda: agent.toy.performed)
    world.until(world.is_settled)
    killed_at = world.now
    world.managers[leader].process.end()
    world.until(lambda: world.leader is not None)
    assert world.now - killed_at < 2.0
    world.until(lambda: len(agent.toy.performed) == 2)
    agent.toy.hold.set()
    world.until(lambda: world.heard("ActionDone"))
    world.until(lambda: world.ha().outstanding() == ())
    assert agent.toy.performed[0] == agent.toy.performed[1]
    assert world.deciding == []


def test_the_loss_of_etcds_leader_loses_nothing(world: World) -> None:
    world.until(world.is_settled)
    first = world.etcd.leader
    assert first is not None
    world.members[first].end()
    lost = [(world.now, host) for host in world.hosts for _ in range(3)]
    for number, (_, host) in enumerate(lost):
        lose(world, host, number)
        world.run(0.2)
    world.until(lambda: world.etcd.leader not in {None, first})
    world.until(lambda: confirmed(world) == set(range(len(lost))))
    world.until(lambda: not any(agent.running._news.get(HA) for agent in world.agents.values()))
    assert world.deciding == []


def test_without_a_majority_nothing_is_decided_and_afterwards_everything_is(world: World) -> None:
    world.until(world.is_settled)
    leader = world.leader
    assert leader is not None
    for host in ("a", "b"):
        world.members[host].end()
    world.until(lambda: world.leader is None, 1.5)
    agent = world.agents["c"]
    lose(world, "c", 7)
    world.run(3.0)
    assert not agent.toy.performed
    for host in ("a", "b"):
        world.start_etcd(host)
    world.until(lambda: confirmed(world) == {7})
    assert world.deciding == []
    told = marks(world, leader, {"leads", "lapsed", "leads-on", "followed"})
    assert told in (["leads", "lapsed", "leads-on"], ["leads", "lapsed", "followed"])


def test_a_restored_store_gives_no_number_twice(world: World) -> None:
    world.until(world.is_settled)
    assert world.leader is not None
    snapshot = world.etcd.snapshot("a")
    # The snapshot knows of one term less than the agents: its next leader is led to believe that it leads under theirs.
    world.managers[world.leader].process.end()
    world.until(world.is_settled)
    lose(world, "a", 1)
    world.until(lambda: confirmed(world) == {1})
    world.until(world.is_settled)
    for process in (*world.members.values(), *(manager.process for manager in world.managers.values())):
        process.end()
    world.etcd.restore(snapshot)
    for host in world.hosts:
        world.start_etcd(host)
    world.until(world.is_settled)
    assert world.reign().campaign.standing.term == 3
    lose(world, "a", 2)
    world.until(lambda: confirmed(world) == {1, 2})
    performed = world.agents["a"].toy.performed
    assert len({action.id for action in performed}) == len(performed) >= 2


@pytest.mark.parametrize("seed", range(100, 112))
def test_whatever_happens_one_decides_and_no_news_are_lost(seed: int, tmp_path: Path) -> None:
    world = story(seed, tmp_path)
    try:
        assert world.deciding == []
        given: dict[str, object] = {}
        for host in world.hosts:
            journal = world.folders[host].journal(HA)
            for record in read(journal) if journal.exists() else ():
                if isinstance(record, Decided) and (name := getattr(record.action, "id", "")):
                    assert given.setdefault(name, record.action) == record.action
    finally:
        world.end()


def test_the_same_seed_gives_the_same_journals_to_the_byte(tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = subprocess.run(
            [sys.executable, "-m", "tests.sim.managers_story", "7", str(folder)],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(number)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(told.stdout)
    assert len(digests) == 1
