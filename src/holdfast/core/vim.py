"""The VIM: starts VMs, sees them and their hosts fail, isolates, repairs, and tells the VNFMs.

In: what agents, the power driver and the VNFMs tell. Out: decisions with their reasons. Always holds: one fault
has one repair, however many notice it; a VM is started only after its earlier life is confirmed gone, empty,
and, where its repair is negotiated, after every VNFM concerned has acknowledged or asked for it; every VNFM
with VNFCs in a VM hears that it is up; the VIM starts no VNFC and gives no role.
"""

from holdfast.core import ledger
from holdfast.core.ledger import Awaited, Ledger
from holdfast.core.vim_draft import Draft, region_of
from holdfast.core.vim_intake import take_in
from holdfast.core.vim_plan import plan
from holdfast.core.vim_state import State
from holdfast.model.actions import Decision
from holdfast.model.events import Observed
from holdfast.model.layout import Layout
from holdfast.model.names import VIM

__all__ = ["State", "deadline", "initial", "outstanding", "step"]


def initial(layout: Layout) -> State:
    """The state of a VIM that has seen nothing yet."""
    region_of(layout)
    return State(Ledger(VIM))


def step(layout: Layout, state: State, observed: Observed, now: float) -> tuple[State, tuple[Decision, ...]]:
    draft = Draft(layout, state, observed.n, now)
    take_in(draft, observed.event)
    plan(draft)
    return draft.state(), tuple(draft.desk.decisions)


def deadline(state: State) -> float | None:
    """When an answer is overdue, or something has to be looked at again."""
    dues = [due for due in (ledger.next_due(state.ledger), *state.timers.values()) if due is not None]
    return min(dues, default=None)


def outstanding(state: State) -> tuple[Awaited, ...]:
    return ledger.outstanding(state.ledger)
