"""Episodes of a soak in the simulated world: what is drawn for five live hosts is drawn for it, too."""

import pytest

from holdfast import descriptor
from holdfast.lab.sim.seed import run_seed
from holdfast.lab.soak.plan import LAYOUT, simulated

SOAK = descriptor.load(LAYOUT)


@pytest.mark.parametrize("number", [2, 4, 6])
def test_an_episode_goes_well_in_the_simulated_world(number: int) -> None:
    plan = simulated(1, number, SOAK)
    outcome = run_seed(plan)
    assert outcome.violations == []
    assert len(outcome.covered) + outcome.left_out == len(plan.faults)
