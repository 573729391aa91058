"""Backup and restore as docs/etcd.md tells it."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.errors import UserError
from holdfast.model.names import HA
from holdfast.store.etcd import EtcdState
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_leadership import Campaign, Standing
from holdfast.store.etcd_state import Write
from holdfast.store.leadership import Leadership
from tests.contract.conftest import AnyCluster
from tests.contract.etcd_cluster import cluster
from tests.contract.etcd_sim import SimCluster


@pytest.fixture(params=["etcd", "simulated"])
def members(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyCluster]:
    """A cluster of one's own."""
    with ExitStack() as stack:
        if request.param == "etcd":
            yield stack.enter_context(cluster(tmp_path / "cluster"))
        else:
            made = SimCluster()
            made.start()
            yield made
            made.close()


def test_a_restored_cluster_has_the_state_of_the_snapshot_and_goes_on(members: AnyCluster, tmp_path: Path) -> None:
    with members.store(members.target()) as store:
        store.save(HA, {"a": b"1"}, 0)
        store.save(HA, {"a": b"2"}, 1)
        members.save_snapshot(tmp_path / "snapshot")
        store.save(HA, {"a": b"3"}, 2)
        members.restore(tmp_path / "snapshot", token="two")
        with pytest.raises(UserError, match="is of cluster") as told:
            store.load(HA)
        assert "restored" in told.value.hint
    with members.store(members.target()) as store:
        saved = store.load(HA)
        assert (saved.version, saved.parts) == (2, {"a": b"2"})
        assert store.save(HA, {"a": b"4"}, 2) == 3


def test_after_a_restore_the_leader_gets_a_term_that_agents_follow(members: AnyCluster, tmp_path: Path) -> None:
    async def lead(least: int) -> int:
        client = members.client(members.target())
        campaign = Campaign(client, Leadership("m", f"m-{members.now()}"), _nobody)
        try:
            campaign.raise_term(least)
            await campaign.start()
            async with asyncio.timeout(30):
                term = await campaign.won()
            await EtcdState(client, campaign.fence()).save([Write(HA, {"a": b"1"}, (await load(client)))])
            assert await campaign.resign()
        finally:
            await campaign.close()
            await client.close()
        return term

    async def load(client: EtcdClient) -> int:
        return (await EtcdState(client).load(HA)).version

    assert members.run(lead(0)) == 1
    members.save_snapshot(tmp_path / "snapshot")
    assert members.run(lead(0)) == 2
    members.restore(tmp_path / "snapshot", token="two")
    # Agents have heard of term 2.
    assert members.run(lead(3)) == 3


def _nobody(standing: Standing) -> None:
    assert standing.term >= 0
