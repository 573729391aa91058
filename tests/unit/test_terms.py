"""Numbers of one leader are never those of another, however little of the first one's state was written."""

from msgspec.structs import replace

from holdfast.core import ha_manager, vim, vnfm
from holdfast.core.ha_state import GroupNow
from holdfast.core.terms import NUMBERS_A_TERM, under_term
from holdfast.model.names import VnfmName, vnfm_party
from tests.contract.fakes import small_layout

LAYOUT = small_layout()
VNFM = vnfm_party(VnfmName("main"))


def test_where_there_is_but_one_manager_ever_nothing_changes() -> None:
    state = ha_manager.initial(LAYOUT)
    assert under_term(LAYOUT, state, 0) is state


def test_every_counter_begins_at_the_numbers_of_the_term() -> None:
    least = 3 * NUMBERS_A_TERM
    ha = under_term(LAYOUT, ha_manager.initial(LAYOUT), 3)
    assert (ha.ledger.actions, ha.ledger.incidents) == (least, least)
    assert all(group.epoch == least for group in ha.groups.values())
    assert all(one.ordered.number == least for group in ha.groups.values() for one in group.services.values())
    other = under_term(LAYOUT, vnfm.initial(LAYOUT, VNFM), 3)
    assert other.ledger.actions == least
    assert all(other.epochs[group] == least for group in LAYOUT.groups)
    assert under_term(LAYOUT, vim.initial(LAYOUT), 3).ledger.actions == least


def test_a_counter_that_is_further_stays() -> None:
    state = ha_manager.initial(LAYOUT)
    name, group = next(iter(state.groups.items()))
    far = 9 * NUMBERS_A_TERM
    state = replace(state, groups={name: replace(group, epoch=far)})
    after: GroupNow = under_term(LAYOUT, state, 3).groups[name]
    assert after.epoch == far
