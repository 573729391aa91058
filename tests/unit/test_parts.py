"""How a state lies in a store: what has changed is written, and what was written is the state again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from holdfast.core import ha_state, vim_state, vnfm_state
from holdfast.core.book import Book, differences
from holdfast.core.ledger import Ledger, Pending
from holdfast.model.actions import IsolateVnfc
from holdfast.model.limits import ETCD_PIECES
from holdfast.model.names import HA, ActionId, VnfcName
from holdfast.runtime.parts import IN_PIECES, Parts, named, state_from
from holdfast.runtime.view import View, shown


class State(Struct, frozen=True):
    ledger: Ledger = Ledger(HA)
    groups: dict[str, int] = {}
    agents: dict[str, bool] = {}
    number: int = 0


def save(store: dict[str, bytes], parts: Parts, state: State) -> dict[str, bytes | None]:
    values = named("state", state)
    changes = parts.changes(values)
    for name, content in changes.items():
        if content is None:
            store.pop(name, None)
        else:
            store[name] = content
    parts.kept(values)
    return changes


def load(store: dict[str, bytes], fresh: State | None = None) -> State:
    return msgspec.msgpack.decode(state_from(store, fresh or State()), type=State)


def pending(number: int) -> dict[ActionId, Pending]:
    action = IsolateVnfc(ActionId(f"ha/{number}"), VnfcName("dns-1"), 1)
    return {action.id: Pending(action)}


NAMES = st.sampled_from([f"vnf-{number}" for number in range(12)])
STEPS = st.lists(st.lists(st.tuples(NAMES, st.integers(0, 3) | st.none()), max_size=4), max_size=12)


@given(STEPS, st.sampled_from([1, 3, 8, 4096]), st.booleans())
def test_what_was_written_is_the_state_whatever_the_pieces(
    steps: list[list[tuple[str, int | None]]], pieces: int, tracked: bool
) -> None:
    store: dict[str, bytes] = {}
    parts, state = Parts(pieces, {}), State()
    for step in steps:
        groups = Book(state.groups) if tracked else dict(state.groups)
        for name, value in step:
            if value is not None:
                groups[name] = value
            elif name in groups:
                del groups[name]
        state = msgspec.structs.replace(state, groups=groups, number=state.number + 1)
        save(store, parts, state)
        assert load(store) == state


def test_a_step_writes_the_piece_that_it_has_changed_and_nothing_else() -> None:
    store: dict[str, bytes] = {}
    parts = Parts(4096, {})
    first = State(groups={f"vnf-{number}": number for number in range(500)}, agents={"h1": True})
    save(store, parts, first)
    groups = Book(first.groups)
    groups["vnf-7"] = 70
    changes = save(store, parts, msgspec.structs.replace(first, groups=groups))
    assert len(changes) == 1
    assert save(store, parts, msgspec.structs.replace(first, groups=groups)) == {}


def test_a_save_that_failed_is_made_up_for_by_the_next_one() -> None:
    store: dict[str, bytes] = {}
    parts, state = Parts(8, {}), State(groups={"vnf-1": 1})
    save(store, parts, state)
    for name in ("vnf-2", "vnf-3"):
        groups = Book(state.groups)
        groups[name] = 2
        state = msgspec.structs.replace(state, groups=groups)
        if name == "vnf-2":
            parts.changes(named("state", state))  # Computed, and not taken.
    save(store, parts, state)
    assert load(store).groups == {"vnf-1": 1, "vnf-2": 2, "vnf-3": 2}


def test_what_an_older_version_saved_as_a_whole_is_read_and_taken_away() -> None:
    old = State(ledger=Ledger(HA, 5, 2, pending(4)), groups={"b": 1, "a": 2}, number=3)
    encode = msgspec.msgpack.encode
    store = {f"state.{name}": encode(getattr(old, name)) for name in State.__struct_fields__} | {"view": encode({})}
    state = load(store)
    assert state == old
    save(store, Parts(8, store), state)
    assert load(store) == old
    assert "view" not in store
    assert "state.groups" not in store


def test_order_is_that_of_the_layout_and_of_the_numbers() -> None:
    store: dict[str, bytes] = {}
    many = {key: one for number in range(1, 40) for key, one in pending(number).items()}
    fresh = State(groups={"z": 0, "a": 0, "m": 0})
    save(store, Parts(4096, {}), msgspec.structs.replace(fresh, ledger=Ledger(HA, pending=many)))
    state = load(store, fresh)
    assert list(state.groups) == ["z", "a", "m"]
    assert list(state.ledger.pending) == list(many)


def test_another_number_of_pieces_leaves_nothing_behind() -> None:
    store: dict[str, bytes] = {}
    state = State(groups={f"vnf-{number}": number for number in range(50)})
    save(store, Parts(4096, {}), state)
    save(store, Parts(8, store), load(store))
    assert sum(name.startswith("state.groups/") for name in store) == 8
    assert load(store) == state


def test_who_goes_on_from_what_was_saved_writes_only_what_is_new() -> None:
    store: dict[str, bytes] = {}
    save(store, Parts(8, {}), State(groups={f"vnf-{number}": number for number in range(50)}))
    parts, state = Parts(8, store), load(store)
    assert save(store, parts, msgspec.structs.replace(state, number=7)) == {"state.number": b"\x07"}


@pytest.mark.parametrize("is_next", [True, False])
def test_a_book_says_what_it_has_changed_to_whom_it_began_from_and_others_are_compared(is_next: bool) -> None:
    first = {"a": 1, "b": 2}
    second = Book(first)
    second["a"] = 3
    third = Book(second)
    third["c"] = 4
    del third["b"]
    assert differences(second if is_next else first, third) == (["c", "b"] if is_next else ["a", "c", "b"])
    assert third == {"a": 3, "c": 4}


@pytest.mark.parametrize("state", [ha_state.State, vim_state.State, vnfm_state.State])
def test_all_of_a_state_can_be_one_transaction_of_etcd(state: type[Struct]) -> None:
    fresh = state(Ledger(HA), {}, {}) if state is ha_state.State else state(Ledger(HA))
    names = [*named("state", fresh), *shown(View()), "heard", "n", "clock", "version"]
    mappings = [name for name in names if name.rpartition(".")[2] in IN_PIECES]
    older = len(fresh.__struct_fields__)  # What an older version has saved as a whole goes with the first save.
    assert len(names) + len(mappings) * (ETCD_PIECES - 1) + older <= 128
