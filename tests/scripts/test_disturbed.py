"""Every use case, each message late or twice, one at a time: the end is as declared, nothing breaks on the way."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.model.actions import Decision
from holdfast.model.events import Observed, VnfcFailed
from holdfast.model.names import HA
from tests.scripts.disturbed import Disturbance, DisturbedStage, disturbances
from tests.scripts.disturbing import USE_CASES, DisturbedStory, commands_of, live, live_all
from tests.scripts.harness import HaCore

FIRST = Path(__file__).parent / "stories" / "uc1-standby-takes-over.txt"


@pytest.mark.parametrize("path", USE_CASES, ids=[path.stem for path in USE_CASES])
def test_whatever_message_is_late_or_comes_twice_the_end_is_as_declared(path: Path) -> None:
    counted = live_all(path.read_text())
    assert not counted.wrong, "\n".join(counted.wrong[:5])
    assert counted.same + len(counted.otherwise) == counted.variants.total()
    assert counted.messages <= counted.variants.total()


def test_without_a_disturbance_a_story_goes_as_ever() -> None:
    commands = commands_of(FIRST.read_text())
    stage, end = live(commands)
    plain = DisturbedStory()
    for command in commands:
        plain.play(command)
    assert [one.event for one in plain.disturbed.handed] == [one.event for one in stage.handed]
    assert not end.undeclared
    assert not end.wrong


def test_a_late_message_lets_those_of_other_links_pass_and_none_of_its_own() -> None:
    commands = commands_of(FIRST.read_text())
    stage, _ = live(commands)
    late = next(one for one in disturbances(stage.handed) if one.how == "late" and one.past == 2)
    message = stage.handed[late.number]
    disturbed, _ = live(commands, late)
    assert disturbed.was_disturbed
    to_party = [one for one in disturbed.handed[late.number :] if one.to == message.to]
    again = to_party.index(message, 1)
    assert [one.link != message.link for one in to_party[1:again]] == [True] * (again - 1)
    assert again >= 2


def test_a_message_that_comes_twice_is_handed_over_twice() -> None:
    commands = commands_of(FIRST.read_text())
    plain, _ = live(commands)
    twice, _ = live(commands, Disturbance(len(plain.handed) // 2, "twice"))
    assert twice.was_disturbed
    event = plain.handed[len(plain.handed) // 2].event
    handed = [one.event for one in twice.handed]
    assert handed.count(event) == [one.event for one in plain.handed].count(event) + 1


class ForgetsRuns(HaCore):
    """A core that takes news of an earlier life for news of the present one."""

    def step(self, observed: Observed, now: float) -> tuple[Decision, ...]:
        event = observed.event
        if isinstance(event, VnfcFailed):
            run = next(group.vnfcs[event.vnfc].run for group in self.state.groups.values() if event.vnfc in group.vnfcs)
            observed = Observed(observed.n, replace(event, run=run))
        return super().step(observed, now)


class OnForgetful(DisturbedStage):
    def start(self) -> None:
        self.cores[HA] = ForgetsRuns(self.layout)
        super().start()


class Forgetful(DisturbedStory):
    stage_type = OnForgetful


def test_a_core_that_does_not_tell_lives_apart_is_found_out() -> None:
    assert live_all(FIRST.read_text(), Forgetful).wrong
