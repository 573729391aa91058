"""How long etcd takes for what Holdfast asks of it: saves, and the loss of a leader.

Run: `.venv/bin/python -m bench.etcd [saves] [kills]` in the root of the repository. Starts clusters of three members of
its own on loopback, on one machine and one disk (three machines share neither), in a folder of its own. Prints
milliseconds, once with the timing that docs/etcd.md recommends and once with etcd's own.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.contract.etcd_cluster import TUNED, Cluster, cluster

from holdfast.model.names import HA
from holdfast.store.etcd import EtcdState, EtcdStore
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_leadership import Campaign, Standing
from holdfast.store.etcd_state import Write
from holdfast.store.leadership import Leadership

STATE_BYTES = 4000


def show(what: str, times_s: Sequence[float]) -> None:
    ordered = sorted(1000 * time_s for time_s in times_s)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    print(f"| {what:44} | {statistics.median(ordered):8.1f} | {p95:8.1f} | {ordered[-1]:8.1f} | {len(ordered):4} |")


def saves(members: Cluster, count: int) -> list[float]:
    times = []
    with EtcdStore(members.target("saves")) as store:
        for version in range(count):
            begun = time.perf_counter()
            store.save(HA, {"state": bytes(STATE_BYTES), "view": b"%d" % version}, version)
            times.append(time.perf_counter() - begun)
    return times


def writes_after_kill(members: Cluster, kills: int) -> list[float]:
    """From the death of the members' leader to the first save that stands."""
    times = []
    with EtcdStore(members.target("kills"), limit_s=10.0) as store:
        version = store.save(HA, {"a": b""}, 0)
        for _ in range(kills):
            leader = members.leader()
            begun = time.perf_counter()
            leader.kill()
            version = store.save(HA, {"a": b"%d" % version}, version)
            times.append(time.perf_counter() - begun)
            members.start()
    return times


class Candidate:
    def __init__(self, members: Cluster, name: str) -> None:
        self.client = EtcdClient(members.target("leaders"))
        self.campaign = Campaign(self.client, Leadership(name, f"{name}-{time.monotonic_ns()}"), self._changed)

    def _changed(self, standing: Standing) -> None:
        self.standing = standing

    async def end(self) -> None:
        await self.campaign.close()
        await self.client.close()


async def first_to_lead(candidates: Sequence[Candidate]) -> Candidate:
    winning = {asyncio.create_task(one.campaign.won()): one for one in candidates}
    done, others = await asyncio.wait(winning, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    return winning[done.pop()]


async def take_overs(members: Cluster, count: int, how: str) -> list[float]:
    """From the end of a leader to the first state that its follower has loaded and saved."""
    times = []
    candidates = [Candidate(members, name) for name in "abc"]
    for one in candidates:
        await one.campaign.start()
    for n in range(count):
        leader = await first_to_lead(candidates)
        candidates.remove(leader)
        begun = time.perf_counter()
        if how == "resigned":
            await leader.campaign.resign()
        # Who is closed says nothing to anybody, as one who was killed.
        await leader.end()
        if how == "with the leader of etcd":
            dead = await asyncio.to_thread(members.leader)
            begun = time.perf_counter()
            await asyncio.to_thread(dead.kill)
        follower = await first_to_lead(candidates)
        state = EtcdState(follower.client, follower.campaign.fence())
        version = (await state.load(HA)).version
        await state.save([Write(HA, {"a": b"%d" % n}, version)])
        times.append(time.perf_counter() - begun)
        await asyncio.to_thread(members.start)
        candidates.append(Candidate(members, f"n{n}"))
        await candidates[-1].campaign.start()
    for one in candidates:
        await one.end()
    return times


def measure(timing: str, flags: Sequence[str], count: int, kills: int) -> None:
    print(f"\n{timing}\n\n| {'ms':44} | {'median':>8} | {'p95':>8} | {'max':>8} | {'n':>4} |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder) / "cluster", timing=flags) as members:
        show(f"save of {STATE_BYTES} bytes", saves(members, count))
        show("etcd's leader killed: first save", writes_after_kill(members, kills))
        for how in ("killed", "resigned", "with the leader of etcd"):
            show(f"managers' leader {how}: next saves", asyncio.run(take_overs(members, kills, how)))


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]] + [1000, 20][len(sys.argv) - 1 :]
    measure(" ".join(TUNED), TUNED, *numbers)
    measure("etcd's own timing (heartbeat 100 ms, election 1000 ms)", (), *numbers)
