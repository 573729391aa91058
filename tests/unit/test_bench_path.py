"""Where the time of a failover goes: the moments on its way, from the journals and the client of a known run."""

import re
from dataclasses import replace

import pytest

from holdfast.errors import HoldfastError
from holdfast.lab.bench.cases import OWN
from holdfast.lab.bench.path import ANSWERED, PATHS, steps, table
from holdfast.model.names import HostName, agent_party
from holdfast.model.records import Marked
from tests.unit.judged_runs import good_run


def test_the_steps_come_to_the_outage_and_each_moment_is_told_once() -> None:
    path = PATHS["holdfast", "crash"]
    run = good_run("uc1")
    assert run.probe is not None
    outage = run.probe.outage(run.faults[0].at)
    assert outage is not None
    announced = Marked(outage.end - 0.0001, agent_party(HostName("host2")), 1, "address-assigned", "registry")
    found = steps(replace(run, records=(*run.records, announced)), path)
    assert sum(found.values()) == pytest.approx(1000 * outage.length_s)
    assert list(found)[-1] == ANSWERED
    assert set(found) <= {*(moment.says for moment in path), ANSWERED}


def test_a_table_has_the_middle_of_each_step_and_the_sum() -> None:
    path = PATHS["holdfast", "crash"][:1]
    text = table(path, [{path[0].says: 1.0, ANSWERED: 2.0}, {path[0].says: 2.0, ANSWERED: 2.0}, {ANSWERED: 5.0}])
    assert f"| {path[0].says} | 1.50 | 1.00 | 2.00 |" in text
    assert "| in all | 4.00 | 3.00 | 5.00 |" in text


def test_a_run_in_which_nobody_took_over_has_no_path() -> None:
    run = good_run("uc1")
    with pytest.raises(HoldfastError, match=re.escape("not answered anew")):
        steps(replace(run, records=()), PATHS["holdfast", "crash"])


def test_each_path_is_of_a_case_that_is_measured() -> None:
    assert all(case in OWN[system].scenarios for system, case in PATHS)
