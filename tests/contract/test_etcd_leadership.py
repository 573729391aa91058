"""Three candidates for the leadership, each a process, real and simulated: killed, frozen, cut from their store."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from holdfast.lab.sim.etcd import dial_over
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_leadership import Campaign
from holdfast.store.etcd_target import Target
from holdfast.store.leadership import Leadership
from tests.contract.conftest import AnyCluster
from tests.contract.etcd_candidate import take_part
from tests.contract.etcd_cluster import PATIENT_S, Cluster
from tests.contract.etcd_sim import SimCluster
from tests.contract.fakes import until

ROOT = Path(__file__).resolve().parents[2]
One = TypeVar("One", bound="Candidate")


class Candidate(ABC):
    """What one of them has said."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.holds = False
        self.term = 0
        self.times: list[tuple[float, float | None]] = []
        """From when until when it held."""

    def look(self, at: float, holds: bool) -> None:
        if holds and not self.holds:
            self.times.append((at, None))
        elif self.holds and not holds:
            self.times[-1] = (self.times[-1][0], at)
        self.holds = holds

    def heard(self, at: float, holds: bool, term: int) -> None:
        self.term = term or self.term
        self.look(at, holds)

    @abstractmethod
    def send(self, number: int) -> float:
        """Answer when."""


class RealCandidate(Candidate):
    def __init__(self, address: str, name: str) -> None:
        super().__init__(name)
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.contract.etcd_candidate"]
        self._process = subprocess.Popen([*command, address, name], stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        self.descriptor = self._process.stdout.fileno()
        os.set_blocking(self.descriptor, False)
        self._rest = b""

    def send(self, number: int) -> float:
        at = time.monotonic()
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()
            self.read()
            self.look(at, False)
        return at

    def read(self) -> None:
        try:
            told = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + told).split(b"\n")
        for line in lines:
            self.heard(**json.loads(line))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class SimCandidate(Candidate):
    def __init__(self, cluster: SimCluster, host: str, target: Target, name: str) -> None:
        super().__init__(name)
        self._cluster = cluster
        self._process, self._loop, streams = cluster.spawn(host, name)
        self._end: asyncio.Event | None = None
        self._loop.create_task(self._take_part(EtcdClient(target, dial=dial_over(streams))))

    async def _take_part(self, client: EtcdClient) -> None:
        self._end = asyncio.Event()
        leadership = Leadership(self.name, f"{self.name}, process {self._process.pid}")
        await take_part(client, leadership, self._told, self._end)

    def _told(self, holds: bool, term: int) -> None:
        self.heard(self._cluster.now(), holds, term)

    def send(self, number: int) -> float:
        at = self._cluster.now()
        if number == signal.SIGSTOP:
            self._process.stop()
        elif number == signal.SIGCONT:
            self._process.go_on()
        elif number == signal.SIGTERM:
            assert self._end is not None
            self._loop.call_soon(self._end.set)
        else:
            self._process.end()
            self.look(at, False)
        return at


class Race(ABC, Generic[One]):
    """Three candidates, and what they say."""

    candidates: list[One]
    keeps_time: bool
    """Its time passes only as it is told to. On a busy machine anything may take long, and a leader may lapse."""

    @abstractmethod
    def until(self, holds: Callable[[], bool], limit_s: float = 10.0) -> None:
        """Within the limit, where it keeps time; else at some time."""

    def assert_took(self, took_s: float, limit_s: float) -> None:
        assert took_s < limit_s or not self.keeps_time

    def assert_follows(self, term: int, former: int) -> None:
        """The next term, where nobody can have led in between."""
        assert term > former
        assert term == former + 1 or not self.keeps_time

    def leader(self, other_than: Candidate | None = None) -> Candidate:
        self.until(lambda: any(one.holds for one in self.candidates if one is not other_than))
        return next(one for one in self.candidates if one.holds and one is not other_than)

    def assert_never_two(self) -> None:
        """What one that is frozen would say counts only when it says it, so its end may be told late."""
        spans = sorted((begin, end or float("inf"), one.name) for one in self.candidates for begin, end in one.times)
        for (_, end, first), (begin, _, second) in pairwise(spans):
            assert end <= begin, f"{first} held until {end}, {second} from {begin}"


class RealRace(Race[RealCandidate]):
    keeps_time = False

    def __init__(self, address: str) -> None:
        self.candidates = [RealCandidate(address, name) for name in ("m1", "m2", "m3")]

    def until(self, holds: Callable[[], bool], limit_s: float = 10.0) -> None:
        end = time.monotonic() + PATIENT_S
        while not holds():
            assert time.monotonic() < end, [(one.name, one.holds, one.times) for one in self.candidates]
            ready, _, _ = select.select([one.descriptor for one in self.candidates], [], [], 0.05)
            for one in self.candidates:
                if one.descriptor in ready:
                    one.read()


class SimRace(Race[SimCandidate]):
    keeps_time = True

    def __init__(self, cluster: SimCluster, target: Target) -> None:
        self._cluster = cluster
        named = zip(cluster.members, ("m1", "m2", "m3"), strict=True)
        self.candidates = [SimCandidate(cluster, host, target, name) for host, name in named]

    def until(self, holds: Callable[[], bool], limit_s: float = 10.0) -> None:
        self._cluster.until(holds, "as wanted", limit_s)


@pytest.fixture
def race(etcd: AnyCluster, request: pytest.FixtureRequest) -> Iterator[Race[Any]]:
    target = etcd.target(request.node.name)
    if isinstance(etcd, SimCluster):
        yield SimRace(etcd, target)
        return
    made = RealRace(f"etcd://{target}{target.folder.removeprefix('/holdfast')}")
    yield made
    for one in made.candidates:
        one.end()


def test_a_killed_leader_is_followed_within_two_seconds(race: Race[Any]) -> None:
    first = race.leader()
    killed_at = first.send(signal.SIGKILL)
    second = race.leader(other_than=first)
    race.assert_took(second.times[-1][0] - killed_at, 2.0)
    race.assert_follows(second.term, first.term)
    race.assert_never_two()


def test_a_leader_that_resigns_is_followed_at_once(race: Race[Any]) -> None:
    first = race.leader()
    told_at = first.send(signal.SIGTERM)
    second = race.leader(other_than=first)
    # Far less than the length of a leadership.
    race.assert_took(second.times[-1][0] - told_at, 1.0)
    race.until(lambda: not first.holds)
    race.assert_never_two()


def test_a_frozen_leader_does_not_decide_when_it_is_thawed(race: Race[Any]) -> None:
    first = race.leader()
    frozen_at = first.send(signal.SIGSTOP)
    second = race.leader(other_than=first)
    thawed_at = first.send(signal.SIGCONT)
    race.until(lambda: not first.holds)
    race.assert_took(second.times[-1][0] - frozen_at, 2.0)
    # The first thing it finds when it asks is that its time is over.
    began, end = first.times[-1]
    assert end is not None
    assert began < frozen_at < thawed_at <= end
    race.leader(other_than=first)


def test_without_a_majority_nobody_decides_and_afterwards_one_does(etcd: AnyCluster, race: Race[Any]) -> None:
    first = race.leader()
    for member in etcd.followers():
        member.kill()
    race.until(lambda: not any(one.holds for one in race.candidates), 3.0)
    term = first.term
    etcd.start()
    again = race.leader()
    assert again.term >= term
    assert again.term <= term + 1 or not race.keeps_time
    race.assert_never_two()


def test_the_leaders_of_managers_and_store_lost_at_once(etcd: AnyCluster, race: Race[Any]) -> None:
    first = race.leader()
    etcd_leader = etcd.leader()
    killed_at = first.send(signal.SIGKILL)
    etcd_leader.kill()
    second = race.leader(other_than=first)
    race.assert_took(second.times[-1][0] - killed_at, 3.0)
    race.assert_never_two()


def test_a_leader_outlives_the_loss_of_the_stores_leader(etcd: AnyCluster, race: Race[Any]) -> None:
    first = race.leader()
    etcd.leader().kill()
    etcd.wait_ready()
    led_on = race.leader()
    assert led_on is first or not race.keeps_time
    told_at = led_on.send(signal.SIGTERM)
    race.leader(other_than=led_on)
    ends = [end is not None and end >= told_at for _, end in led_on.times]
    assert ends[-1]
    assert len(ends) == 1 or not race.keeps_time
    race.assert_never_two()


def test_a_candidate_says_once_that_the_store_cannot_be_asked_and_once_that_it_answers_again(
    real_etcd: Cluster,
) -> None:
    told: list[str] = []

    async def story() -> None:
        client = EtcdClient(real_etcd.target("troubled"), limit_s=0.3)
        campaign = Campaign(client, Leadership("m", "m"), lambda _: None, told.append)
        try:
            await campaign.start()
            async with asyncio.timeout(PATIENT_S):
                await until(lambda: told, "the problem")
                for member in real_etcd.members.values():
                    member.thaw()
                await until(lambda: len(told) > 1, "that it is over")
                await campaign.won()
        finally:
            await campaign.close()
            await client.close()

    for member in real_etcd.members.values():
        member.freeze()
    asyncio.run(story())
    assert told[0].startswith("etcd has not answered within 0.3 s: etcd member ")
    # A busy member may not answer in time once more: that would be said, and once.
    assert [bool(words) for words in told] == [number % 2 == 0 for number in range(len(told))]
