"""The HA manager: detects nothing, does nothing; decides who provides a service and what becomes of who failed.

In: a layout, the state, one observed event, the time. Out: the next state and decisions with their reasons. One
core looks after all VNFs that have redundancy. Steps are level-triggered: the event is written into the
state, then each group it touches is planned from what is, except what is already outstanding.
"""

from holdfast.core.ha_epochs import tell_epochs
from holdfast.core.ha_intake import take_in
from holdfast.core.ha_pace import in_order, next_of_waiting
from holdfast.core.ha_planning import plan
from holdfast.core.ha_state import State, deadline, initial, outstanding
from holdfast.core.ha_turn import Refusals, Turn
from holdfast.errors import Bug
from holdfast.model.actions import Decision
from holdfast.model.events import Observed
from holdfast.model.layout import Layout
from holdfast.model.names import GroupName

__all__ = ["State", "deadline", "initial", "outstanding", "step"]

ROUNDS_MAX = 16
"""A group that is planned more often in one step would never come to rest: planning contradicts itself."""


def step(layout: Layout, state: State, observed: Observed, now: float) -> tuple[State, tuple[Decision, ...]]:
    turn = Turn(layout, state, observed, now)
    take_in(turn, observed.event)
    rounds: dict[GroupName, int] = {}
    refusals: dict[GroupName, Refusals] = {}
    while turn.touched or next_of_waiting(turn):
        for group in in_order(turn):
            turn.touched.pop(group, None)
            rounds[group] = rounds.get(group, 0) + 1
            if rounds[group] > ROUNDS_MAX:
                raise Bug(f"planning of group {group!r} does not come to rest", "please report this with the journal")
            plan(turn, group)
            refusals[group] = turn.refusals
    for group, refused in refusals.items():
        turn.refusals = refused
        turn.say_refusals(group)
    tell_epochs(turn)
    return turn.state(), tuple(turn.desk.decisions)
