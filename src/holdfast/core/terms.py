"""A manager that begins to lead: numbers that its forerunner can have given are left out.

In:   the state that the store has, and the term of the new leader.
Out:  the same state with every counter at the beginning of the term's own numbers.
Always: pure; no number of an action, incident, epoch or standing order is given under two terms. The store may lag
behind what a leader that was killed had let out; with numbers of its own the next one need not know how far.
"""

from typing import TypeVar

from msgspec.structs import replace

from holdfast.core import ha_state, vim_state, vnfm_state
from holdfast.core.ha_state import GroupNow, OrderNow, ServiceNow
from holdfast.core.ledger import Ledger
from holdfast.model.layout import Layout

NUMBERS_A_TERM = 1_000_000
State = TypeVar("State", ha_state.State, vnfm_state.State, vim_state.State)


def under_term(layout: Layout, state: State, term: int) -> State:
    """The state with which the leader of this term begins; term 0 means that there is but one manager ever."""
    if term == 0:
        return state
    least = term * NUMBERS_A_TERM
    state = replace(state, ledger=_ledger(state.ledger, least))
    if isinstance(state, ha_state.State):
        return replace(state, groups={name: _group(group, least) for name, group in state.groups.items()})
    if isinstance(state, vnfm_state.State):
        return replace(state, epochs={name: max(state.epochs.get(name, 0), least) for name in layout.groups})
    return state


def _ledger(ledger: Ledger, least: int) -> Ledger:
    return replace(ledger, actions=max(ledger.actions, least), incidents=max(ledger.incidents, least))


def _group(group: GroupNow, least: int) -> GroupNow:
    services = {name: _service(service, least) for name, service in group.services.items()}
    return replace(group, epoch=max(group.epoch, least), services=services)


def _service(service: ServiceNow, least: int) -> ServiceNow:
    # An order that we do not know may have gone out: ours is given again, under a number above both.
    return replace(service, ordered=OrderNow(number=max(service.ordered.number, least)))
