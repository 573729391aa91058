"""What every store must keep to. A further store adds itself to STORES in conftest.py."""

import pytest

from holdfast.model.names import HA, VIM
from holdfast.store.port import Superseded
from tests.contract.conftest import Opener


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
