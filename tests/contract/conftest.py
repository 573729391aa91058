"""What several contract tests share."""

from collections.abc import Iterator

import pytest

from tests.contract.etcd_cluster import Cluster, cluster


@pytest.fixture(scope="session")
def etcd_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("etcd") / "cluster") as made:
        yield made


@pytest.fixture
def etcd(etcd_of_all_tests: Cluster) -> Iterator[Cluster]:
    """Three members that run, before and after; each test uses a folder of its own in them."""
    yield etcd_of_all_tests
    etcd_of_all_tests.heal()
