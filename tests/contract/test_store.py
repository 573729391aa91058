"""What every store must keep to. A further store adds itself to STORES."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.model.names import HA, VIM
from holdfast.store.etcd import EtcdStore
from holdfast.store.port import Store, Superseded
from holdfast.store.sqlite import SqliteStore
from tests.contract.etcd_cluster import Cluster

Opener = Callable[[], Store]


def _sqlite(request: pytest.FixtureRequest, folder: Path) -> Store:
    return SqliteStore(folder / "state.db")


def _etcd(request: pytest.FixtureRequest, folder: Path) -> Store:
    cluster: Cluster = request.getfixturevalue("etcd")
    return EtcdStore(cluster.target(folder.name))


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


def test_a_party_that_never_saved_has_version_0_and_no_parts(opener: Opener) -> None:
    saved = opener().load(HA)
    assert (saved.version, saved.parts) == (0, {})


def test_what_was_saved_is_there_when_the_store_is_opened_again(opener: Opener) -> None:
    assert opener().save(HA, {"a": b"1", "b": b"2"}, 0) == 1
    saved = opener().load(HA)
    assert (saved.version, saved.parts) == (1, {"a": b"1", "b": b"2"})


def test_only_the_changed_parts_are_touched_and_none_removes(opener: Opener) -> None:
    store = opener()
    store.save(HA, {"a": b"1", "b": b"2", "c": b"3"}, 0)
    assert store.save(HA, {"b": b"22", "c": None}, 1) == 2
    assert store.load(HA).parts == {"a": b"1", "b": b"22"}


def test_a_save_on_an_old_version_is_refused_and_changes_nothing(opener: Opener) -> None:
    store = opener()
    store.save(HA, {"a": b"1"}, 0)
    store.save(HA, {"a": b"2"}, 1)
    for expected in (0, 1, 3):
        with pytest.raises(Superseded):
            store.save(HA, {"a": b"9", "z": b"9"}, expected)
    assert store.load(HA).parts == {"a": b"2"}
    assert store.save(HA, {"a": b"3"}, 2) == 3


def test_parties_do_not_see_each_other(opener: Opener) -> None:
    store = opener()
    store.save(HA, {"a": b"ha"}, 0)
    store.save(VIM, {"a": b"vim"}, 0)
    assert store.load(HA).parts == {"a": b"ha"}
    assert store.load(VIM).parts == {"a": b"vim"}


def test_housekeeping_loses_nothing(opener: Opener) -> None:
    store = opener()
    store.save(HA, {"a": b"1"}, 0)
    store.tidy()
    assert store.load(HA).parts == {"a": b"1"}
    assert opener().load(HA).version == 1
