"""Every use case, each message and each instruction late, overdue or twice, one at a time: the end is as declared, and
nothing breaks on the way. Of each a few variants; all of them: `python -m tests.scripts.disturbing`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.model.actions import Activate, AgentAction, Decision, IsolateVnfc, PowerAction
from holdfast.model.events import ActionDone, DeadlinePassed, Observed, VnfcFailed
from holdfast.model.names import HA, Party
from tests.scripts.disturbed import AT_LAST, Disturbance, DisturbedStage, disturbances
from tests.scripts.disturbing import (
    USE_CASES,
    Counted,
    DisturbedStory,
    InstructedStory,
    commands_of,
    few,
    instruct,
    instruct_all,
    live,
    live_all,
)
from tests.scripts.harness import HaCore
from tests.scripts.instructed import Detour, InstructedStage

FIRST = Path(__file__).parent / "stories" / "uc1-standby-takes-over.txt"


@pytest.mark.parametrize("path", USE_CASES, ids=[path.stem for path in USE_CASES])
@pytest.mark.parametrize("count", [live_all, instruct_all], ids=["messages", "instructions"])
def test_whatever_goes_otherwise_the_end_is_as_declared(path: Path, count: Callable[..., Counted]) -> None:
    counted = count(path.read_text(), chosen=few)
    assert not counted.wrong, "\n".join(counted.wrong[:5])
    assert counted.same + len(counted.otherwise) + counted.held == counted.variants.total()
    assert counted.disturbed <= counted.variants.total()


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


class BelievesSilence(HaCore):
    """A core that takes an isolation that nobody has confirmed for done when its time is up."""

    def step(self, observed: Observed, now: float) -> tuple[Decision, ...]:
        over = [
            one.action.id
            for one in self.state.ledger.pending.values()
            if isinstance(one.action, IsolateVnfc) and one.due is not None and one.due <= now
        ]
        if isinstance(observed.event, DeadlinePassed) and over:
            observed = Observed(observed.n, ActionDone(over[0]))
        return super().step(observed, now)


class OnBeliever(InstructedStage):
    def start(self) -> None:
        self.cores[HA] = BelievesSilence(self.layout)
        super().start()


class Believer(InstructedStory):
    stage_type = OnBeliever


HANGS = """
layout registry
start
fail registry-1 check
tick 3
tick 3
"""


def test_a_core_that_does_not_wait_for_isolation_is_found_out_by_an_instruction_that_is_overdue() -> None:
    assert not instruct_all(HANGS).wrong
    wrong = instruct_all(HANGS, Believer).wrong
    assert any("registry: registry-1 and registry-2" in one for one in wrong), wrong
    assert all("IsolateVnfc" in one for one in wrong), wrong


def test_a_late_instruction_keeps_back_what_the_same_manager_tells_the_same_host() -> None:
    commands = commands_of(HANGS)
    plain, _ = instruct(commands)
    number = next(number for number, one in enumerate(plain.given) if isinstance(one.action, IsolateVnfc))
    seen: list[tuple[float, str]] = []

    class Watched(InstructedStage):
        def _arrives(self, party: Party, action: AgentAction | PowerAction) -> None:
            seen.append((self.now, f"{type(action).__name__} by {party} for {self.world.host_of(action)}"))
            super()._arrives(party, action)

    class Watching(InstructedStory):
        stage_type = Watched

    instruct(commands, Detour(number, "overdue", rests=AT_LAST), Watching)
    late = [one for at, one in seen if at == 6.0]
    assert late[0] == "IsolateVnfc by ha for host1"
    # The VM was ended by the VIM meanwhile, over its own link; what else the HA manager told the host came behind.
    assert (1.5, "IsolateVm by vim for host1") in seen
    assert not [one for at, one in seen if 0 < at < 6.0 and one.endswith("by ha for host1")]
    assert all(one.endswith("for host1") for one in late)


def test_what_is_on_its_way_to_a_host_that_loses_its_power_never_arrives() -> None:
    commands = ["layout registry", "start", "fail registry-1 check", "kill-host host1", "agent host1 joins", "tick 1"]
    plain, _ = instruct(commands)
    number = next(number for number, one in enumerate(plain.given) if isinstance(one.action, IsolateVnfc))
    stage, end = instruct(commands, Detour(number, "overdue", rests=2))
    again = [one for one in stage.given if one.action == plain.given[number].action]
    assert stage.was_disturbed
    assert len(again) > 1, "once its agent joins it is told again"
    assert not end.wrong


def test_an_agent_that_starts_again_is_told_again_what_nobody_has_heard_of() -> None:
    commands = commands_of(FIRST.read_text())
    plain, end = instruct(commands)
    number = next(number for number, one in enumerate(plain.given) if isinstance(one.action, Activate))
    stage, after = instruct(commands, Detour(number, "anew"))
    told = [one.action for one in stage.given].count(plain.given[number].action)
    assert told == 2
    assert after.lines == end.lines
    assert not after.wrong


def test_a_host_that_came_back_before_anybody_heard_that_it_was_off_is_switched_off_again() -> None:
    """Its agent joined in a new life between the fencing and the news of it: that life is not confirmed off."""
    story = (FIRST.parent / "fence-external-bare.txt").read_text()
    counted = live_all(story, chosen=lambda variants: [one for one in variants if one.how == "overdue"])
    assert not counted.wrong, "\n".join(counted.wrong[:5])


@pytest.mark.parametrize("name", ["held-before-first-service", "given-up-twice"])
@pytest.mark.parametrize("count", [live_all, instruct_all], ids=["messages", "instructions"])
def test_nothing_stays_open_where_a_vm_is_not_repaired(name: str, count: Callable[..., Counted]) -> None:
    counted = count((FIRST.parent / f"{name}.txt").read_text(), chosen=few)
    assert not counted.wrong, "\n".join(counted.wrong[:5])
