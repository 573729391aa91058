"""Backup and restore as docs/etcd.md tells it."""

import asyncio
import time
from pathlib import Path

import pytest

from holdfast.errors import UserError
from holdfast.model.names import HA
from holdfast.store.etcd import EtcdState, EtcdStore
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_leadership import Campaign, Standing
from holdfast.store.etcd_state import Write
from holdfast.store.leadership import Leadership
from tests.contract.etcd_cluster import Cluster, cluster


def _save_snapshot(members: Cluster, path: Path) -> None:
    # A snapshot is taken from one member.
    members.etcdctl("snapshot", "save", str(path), endpoints=members.urls().split(",")[0])


def test_a_restored_cluster_has_the_state_of_the_snapshot_and_goes_on(tmp_path: Path) -> None:
    with cluster(tmp_path / "cluster") as members:
        with EtcdStore(members.target()) as store:
            store.save(HA, {"a": b"1"}, 0)
            store.save(HA, {"a": b"2"}, 1)
            _save_snapshot(members, tmp_path / "snapshot")
            store.save(HA, {"a": b"3"}, 2)
            members.restore(tmp_path / "snapshot", token="two")
            with pytest.raises(UserError, match="is of cluster") as told:
                store.load(HA)
            assert "restored" in told.value.hint
        with EtcdStore(members.target()) as store:
            saved = store.load(HA)
            assert (saved.version, saved.parts) == (2, {"a": b"2"})
            assert store.save(HA, {"a": b"4"}, 2) == 3


def test_after_a_restore_the_leader_gets_a_term_that_agents_follow(tmp_path: Path) -> None:
    async def lead(members: Cluster, least: int) -> int:
        client = EtcdClient(members.target())
        campaign = Campaign(client, Leadership("m", f"m-{time.monotonic_ns()}"), _nobody)
        try:
            campaign.raise_term(least)
            await campaign.start()
            async with asyncio.timeout(10):
                term = await campaign.won()
            await EtcdState(client, campaign.fence()).save([Write(HA, {"a": b"1"}, (await load(client)))])
            assert await campaign.resign()
        finally:
            await campaign.close()
            await client.close()
        return term

    async def load(client: EtcdClient) -> int:
        return (await EtcdState(client).load(HA)).version

    with cluster(tmp_path / "cluster") as members:
        assert asyncio.run(lead(members, 0)) == 1
        _save_snapshot(members, tmp_path / "snapshot")
        assert asyncio.run(lead(members, 0)) == 2
        members.restore(tmp_path / "snapshot", token="two")
        # Agents have heard of term 2.
        assert asyncio.run(lead(members, 3)) == 3


def _nobody(standing: Standing) -> None:
    assert standing.term >= 0
