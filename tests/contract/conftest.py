"""What several contract tests share: a cluster of etcd, and every store there is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.store.etcd import EtcdStore
from holdfast.store.port import Store
from holdfast.store.sqlite import SqliteStore
from tests.contract.etcd_cluster import Cluster, cluster

Opener = Callable[[], Store]


@pytest.fixture(scope="session")
def etcd_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("etcd") / "cluster") as made:
        yield made


@pytest.fixture
def etcd(etcd_of_all_tests: Cluster) -> Iterator[Cluster]:
    """Three members that run, before and after; each test uses a folder of its own in them."""
    yield etcd_of_all_tests
    etcd_of_all_tests.heal()


def _sqlite(request: pytest.FixtureRequest, folder: Path) -> Store:
    return SqliteStore(folder / "state.db")


def _etcd(request: pytest.FixtureRequest, folder: Path) -> Store:
    members: Cluster = request.getfixturevalue("etcd")
    return EtcdStore(members.target(folder.name))


STORES = {"sqlite": _sqlite, "etcd": _etcd}


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
