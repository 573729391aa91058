"""A failing run made short: fewer faults, shorter ones, as long as the same judge still sees something.

In:   a plan that fails. Out: a smaller one that fails by the same judge. Always: what is answered was run.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from holdfast.lab.sim.draw import Plan
from holdfast.lab.sim.seed import Outcome, run_seed

RUNS_MAX = 60
LASTS_MS = (50, 200, 1000)


def shrink(plan: Plan, run: Callable[[Plan], Outcome] = run_seed, runs_max: int = RUNS_MAX) -> Plan:
    """The smallest that was found within so many runs."""
    judges = {one.judge for one in run(plan).violations}
    runs = 1
    found = True
    while found and runs < runs_max:
        found = False
        for smaller in _smaller(plan):
            runs += 1
            if judges & {one.judge for one in run(smaller).violations}:
                plan, found = smaller, True
                break
            if runs >= runs_max:
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """One step smaller, in every way."""
    for place in range(len(plan.faults)):
        yield replace(plan, faults=plan.faults[:place] + plan.faults[place + 1 :])
    if plan.loss or plan.doubling:
        yield replace(plan, loss=0.0, doubling=0.0)
    for place, fault in enumerate(plan.faults):
        for lasts_ms in LASTS_MS:
            if lasts_ms < fault.lasts_ms:
                shorter = replace(fault, lasts_ms=lasts_ms)
                yield replace(plan, faults=(*plan.faults[:place], shorter, *plan.faults[place + 1 :]))
