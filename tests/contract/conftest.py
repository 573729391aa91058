"""What several contract tests share: a cluster of etcd, and every store there is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.store.etcd import EtcdStore
from holdfast.store.port import Store
from holdfast.store.sqlite import SqliteStore
from tests.contract.etcd_cluster import Cluster, cluster
from tests.contract.etcd_sim import SimCluster

Opener = Callable[[], Store]
AnyCluster = Cluster | SimCluster


def assert_took(etcd: AnyCluster, took_s: float, limit_s: float) -> None:
    """Where time passes only as it is told to, so long and no longer."""
    assert took_s < limit_s or not etcd.keeps_time


@pytest.fixture(scope="session")
def etcd_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("etcd") / "cluster") as made:
        yield made


@pytest.fixture
def real_etcd(etcd_of_all_tests: Cluster) -> Iterator[Cluster]:
    """Three members that run, before and after; each test uses a folder of its own in them."""
    yield etcd_of_all_tests
    etcd_of_all_tests.heal()


@pytest.fixture
def simulated_etcd() -> Iterator[SimCluster]:
    made = SimCluster()
    made.start()
    yield made
    made.close()


@pytest.fixture(params=["real_etcd", "simulated_etcd"])
def etcd(request: pytest.FixtureRequest) -> AnyCluster:
    made: AnyCluster = request.getfixturevalue(request.param)
    return made


def _sqlite(request: pytest.FixtureRequest, folder: Path) -> Store:
    return SqliteStore(folder / "state.db")


def _etcd(request: pytest.FixtureRequest, folder: Path) -> Store:
    members: Cluster = request.getfixturevalue("real_etcd")
    return EtcdStore(members.target(folder.name))


def _simulated(request: pytest.FixtureRequest, folder: Path) -> Store:
    made: SimCluster = request.getfixturevalue("simulated_etcd")
    return made.store(made.target(folder.name))


STORES = {"sqlite": _sqlite, "etcd": _etcd, "simulated": _simulated}


@pytest.fixture(params=sorted(STORES))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store again and again; what was open before is closed first."""
    held: list[Store] = []

    def again() -> Store:
        while held:
            held.pop().close()
        held.append(STORES[request.param](request, tmp_path))
        return held[-1]

    yield again
    while held:
        held.pop().close()
