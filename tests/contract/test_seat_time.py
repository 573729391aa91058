"""The time of a manager's state goes on in every store there is, also while nothing happens."""

from pathlib import Path

import pytest

from holdfast.model.events import ManagerStarted
from holdfast.model.limits import TIME_KEPT_S
from holdfast.model.names import VIM
from holdfast.runtime.manager_process import core_of
from holdfast.runtime.seat import Seat
from holdfast.store.journal import Journal
from tests.contract.conftest import Opener
from tests.scripts.layouts import registry_four


class Machine:
    """A monotonic clock that counts from anywhere."""

    def __init__(self, name: str, since: float) -> None:
        self.name, self.now_s = name, since

    def clock(self) -> float:
        return self.now_s


def seat_on(machine: Machine, opener: Opener, folder: Path, name: str = "") -> Seat:
    journal = Journal(folder / f"{machine.name}.jsonl", VIM)
    return Seat(VIM, core_of(registry_four(), VIM), opener(), journal, machine.clock, 0, name)


def be_quiet(seat: Seat, machine: Machine, seconds: int) -> None:
    for _ in range(2 * seconds):
        machine.now_s += 0.5
        seat.keep_time()


def test_who_goes_on_elsewhere_after_a_quiet_time_knows_how_long_it_was(opener: Opener, tmp_path: Path) -> None:
    one, other = Machine("one", 5000.0), Machine("other", 3.0)
    first = seat_on(one, opener, tmp_path, one.name)
    first.take(ManagerStarted())
    began = first.now()
    be_quiet(first, one, 600)
    second = seat_on(other, opener, tmp_path, other.name)
    assert second.now() - began == pytest.approx(600, abs=TIME_KEPT_S)


def test_time_is_kept_now_and_then_and_not_at_each_look(opener: Opener, tmp_path: Path) -> None:
    machine = Machine("one", 5000.0)
    seat = seat_on(machine, opener, tmp_path, machine.name)
    seat.take(ManagerStarted())
    before = seat.version
    be_quiet(seat, machine, 60)
    assert seat.version - before == pytest.approx(60 / TIME_KEPT_S, abs=1)


def test_where_nobody_goes_on_elsewhere_nothing_is_written(opener: Opener, tmp_path: Path) -> None:
    machine = Machine("one", 5000.0)
    seat = seat_on(machine, opener, tmp_path)
    seat.take(ManagerStarted())
    before = seat.version
    be_quiet(seat, machine, 60)
    assert seat.version == before
