"""A VNFM: starts, cleans up and restarts the VNFCs of VNFs without redundancy, and speaks for all its VNFs to the VIM.

In: what its agents, the VIM and the HA manager tell. Out: decisions with their reasons. Always holds: a VNFC
is restarted only after its earlier run is confirmed gone, or its VM has begun a new life; the VIM hears of a
failed VM once; repeated failures in one VM go up to the VIM instead of being restarted for ever. One
value of `State` is one VNFM; several of them know nothing of each other.
"""

from holdfast.core import ledger
from holdfast.core.ledger import Awaited, Ledger
from holdfast.core.vnfm_charge import charge_of
from holdfast.core.vnfm_draft import Draft
from holdfast.core.vnfm_intake import take_in
from holdfast.core.vnfm_plan import plan
from holdfast.core.vnfm_state import State
from holdfast.model.actions import Decision
from holdfast.model.events import Observed
from holdfast.model.layout import Layout
from holdfast.model.names import Party

__all__ = ["State", "deadline", "initial", "outstanding", "step"]


def initial(layout: Layout, party: Party) -> State:
    """The state of a VNFM (`vnfm:<name>`) that has seen nothing yet."""
    charge_of(layout, party)
    return State(Ledger(party))


def step(layout: Layout, state: State, observed: Observed, now: float) -> tuple[State, tuple[Decision, ...]]:
    draft = Draft(layout, charge_of(layout, state.ledger.party), state, observed.n, now)
    take_in(draft, observed.event)
    plan(draft)
    return draft.state(), tuple(draft.desk.decisions)


def deadline(state: State) -> float | None:
    """When an answer is overdue, or a counter starts anew."""
    dues = [due for due in (ledger.next_due(state.ledger), *state.probations.values()) if due is not None]
    return min(dues, default=None)


def outstanding(state: State) -> tuple[Awaited, ...]:
    return ledger.outstanding(state.ledger)
