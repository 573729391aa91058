"""What is counted on from step to step in a ledger is what going through all of it would find."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.ledger import Desk, Ledger, next_due
from holdfast.model.actions import Activate, IsolateVnfc, StandingOrder
from holdfast.model.names import HA, ActionId, HostName, ServiceName, VnfcName
from holdfast.model.reasons import Reason

WHY = (Reason("declared", "dns"),)
NAMES = [VnfcName(f"dns-{number}") for number in range(3)]
STEPS = st.lists(
    st.lists(
        st.one_of(
            st.tuples(st.just("order"), st.integers(0, 2), st.sampled_from([None, 1.0, 2.5, 2.5, 7.0])),
            st.tuples(st.sampled_from(["settle", "anew", "wait"]), st.integers(0, 9), st.none()),
            st.tuples(st.just("drop"), st.integers(0, 2), st.none()),
        ),
        max_size=6,
    ),
    max_size=10,
)


def _do(desk: Desk, what: str, which: int, limit_s: float | None) -> None:
    name = NAMES[which % 3]
    if what == "order":
        kind = Activate(desk.number(), name, 1, ServiceName("dns"), 2)
        desk.order(kind if which else IsolateVnfc(desk.number(), name, 1), WHY, limit_s=limit_s)
        if which == 2:
            desk.order(StandingOrder(desk.number(), HostName("h1"), ServiceName("dns"), 1, name, 2, ()), WHY)
    elif what == "drop":
        desk.drop(name, lambda action: isinstance(action, Activate))
    else:
        found = [number for number in _numbers(desk) if number.endswith(str(which))]
        for number in found:
            {"settle": desk.settle, "anew": desk.begin_anew, "wait": desk.wait_on}[what](number)


def _numbers(desk: Desk) -> list[ActionId]:
    return [one.id for name in (*NAMES, "h1") for one in desk.awaited(name)]


@given(STEPS)
def test_deadline_and_subjects_are_what_all_that_is_outstanding_says(
    steps: list[list[tuple[str, int, float | None]]],
) -> None:
    ledger = Ledger(HA)
    for now, step in enumerate(steps):
        desk = Desk(ledger, float(now))
        for what, which, limit_s in step:
            _do(desk, what, which, limit_s)
        before, ledger = ledger, desk.ledger()
        dues = [one.due for one in ledger.pending.values() if one.due is not None]
        assert next_due(ledger) == min(dues, default=None)
        again = Desk(ledger, float(now))
        for name in (*NAMES, "h1", "dns"):
            concerned = [
                one.action
                for one in ledger.pending.values()
                if name in (getattr(one.action, "vnfc", ""), getattr(one.action, "host", ""))
                or (isinstance(one.action, StandingOrder) and one.action.service == name)
            ]
            assert list(again.awaited(name)) == concerned
        assert list(before.pending) == [one.action.id for one in before.pending.values()]
