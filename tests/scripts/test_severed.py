"""Every use case with its managers killed at every point of it, one at a time: the end is the same.

Each point here in one of four ways (which managers, back when); in all of them: `python -m tests.scripts.severing`.
"""

from collections import Counter
from pathlib import Path

import pytest

from holdfast.model.actions import Decision, OpenIncident
from holdfast.model.events import ManagerStarted, Observed
from holdfast.model.names import HA
from holdfast.model.reasons import Reason
from tests.scripts.disturbing import USE_CASES, commands_of
from tests.scripts.harness import HaCore
from tests.scripts.severed import BEFORE_SAVING, Cut, SeveredStage, Stored
from tests.scripts.severing import SeveredStory, in_turn, sever, sever_all

FIRST = Path(__file__).parent / "stories" / "uc1-standby-takes-over.txt"
IN_CHARGE = {
    "uc1": {"ha", "vnfm"},
    "uc2": {"ha", "vnfm", "vim"},
    "uc3": {"vnfm"},
    "uc4": {"vnfm", "vim"},
    "uc5": {"ha", "vnfm"},
    "uc6": {"ha", "vnfm", "vim"},
    "uc7": {"vnfm"},
    "uc8": {"vnfm", "vim"},
    "uc9": {"vnfm", "vim"},
}
"""Who instructs or tells somebody in each use case. In UC3, UC5 and UC7 the VIM has nothing to do."""


@pytest.mark.parametrize("path", USE_CASES, ids=[path.stem for path in USE_CASES])
def test_wherever_a_manager_is_killed_the_end_is_the_same(path: Path) -> None:
    severed = sever_all(path.stem, path.read_text(), in_turn)
    assert not severed.wrong, "\n".join(severed.wrong[:5])
    assert severed.cuts == severed.variants > 2 * severed.steps
    assert severed.same > 0.9 * severed.variants


def test_each_use_case_has_points_at_which_each_of_its_managers_is_killed() -> None:
    found: dict[str, Counter[str]] = {name: Counter() for name in IN_CHARGE}
    for path in USE_CASES:
        lived = sever(commands_of(path.read_text()))
        for one in lived.made[lived.begun :]:
            found[path.stem.partition("-")[0]][one.party.partition(":")[0]] += len(one.leaving)
    for name, managers in IN_CHARGE.items():
        assert all(found[name][manager] > 0 for manager in managers), found[name]


def test_a_cut_keeps_what_is_saved_and_loses_what_is_not() -> None:
    commands = commands_of(FIRST.read_text())
    plain = sever(commands)
    failed = next(
        number for number, one in enumerate(plain.made) if number >= plain.begun and one.party == HA and one.leaving
    )
    unsaved = sever(commands, Cut(failed, BEFORE_SAVING, "own", "at once"))
    saved = sever(commands, Cut(failed, 0, "own", "at once"))
    for lived, again in ((unsaved, "AgentJoined"), (saved, "ManagerStarted")):
        after = [one for one in lived.made[failed + 1 :] if one.party == HA]
        assert isinstance(after[0].event, ManagerStarted)
        told = next(one for one in after if one.leaving)
        # What was not saved is seen anew among the facts of the host; what was saved is sent again, and not decided.
        assert type(told.event).__name__ == "AgentJoined"
        opened = [one for one in after if type(one.event).__name__ == again]
        assert opened
        assert lived.noted == plain.noted


class Forgetful(Stored):
    """A store that keeps a part of the state only the first time."""

    def save(self, state: object) -> None:
        if not self._parts:
            super().save(state)


class OnForgetful(SeveredStage):
    def start(self) -> None:
        self._stores[HA] = Forgetful(self.cores[HA].state)
        super().start()


class ForgetfulStory(SeveredStory):
    stage_type = OnForgetful


def test_a_manager_whose_store_forgets_is_found_out() -> None:
    assert sever_all(FIRST.stem, FIRST.read_text(), in_turn, ForgetfulStory).wrong


class TellsAgain(HaCore):
    """A core that opens its incidents again when it starts."""

    def step(self, observed: Observed, now: float) -> tuple[Decision, ...]:
        decisions = super().step(observed, now)
        if not isinstance(observed.event, ManagerStarted):
            return decisions
        reason = (Reason("declared", "nothing", "", (observed.n,)),)
        again = [
            Decision(OpenIncident(name, one.about, one.service, "again"), reason, name)
            for group in self.state.groups.values()
            for name, one in group.incidents.items()
        ]
        return (*decisions, *again)


class OnTeller(SeveredStage):
    def start(self) -> None:
        self.cores[HA] = TellsAgain(self.layout)
        super().start()


class TellerStory(SeveredStory):
    stage_type = OnTeller


def test_an_incident_that_is_told_twice_is_found_out() -> None:
    wrong = sever_all(FIRST.stem, FIRST.read_text(), in_turn, TellerStory).wrong
    assert any("told more: {'ha: OpenIncident" in one for one in wrong)
