"""Whole stories in which one message goes otherwise: what they come to, and what may never be on the way.

`python -m tests.scripts.disturbing` plays all variants of all use cases and counts them (docs/exhaustive.md).
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.actions import Action, Activate, OpenIncident
from holdfast.model.names import HA, GroupName, Party
from tests.scripts.disturbed import Disturbance, DisturbedStage, disturbances
from tests.scripts.harness import HaCore, Stage, Story
from tests.scripts.test_properties import heal
from tests.scripts.words import ha_lines

USE_CASES = sorted((Path(__file__).parent / "stories").glob("uc*.txt"))


class DisturbedStory(Story):
    stage_type = DisturbedStage

    @property
    def disturbed(self) -> DisturbedStage:
        assert isinstance(self.stage, DisturbedStage)
        return self.stage


@dataclass(frozen=True)
class End:
    """What a story came to, when all faults were over."""

    lines: tuple[str, ...]
    """What the HA manager believes."""
    undeclared: tuple[str, ...]
    """What is not as it was declared."""
    wrong: tuple[str, ...]
    """What must never be."""
    incidents: int
    """How many were opened: more than without the disturbance is a failure that nobody had."""


def live(
    commands: list[str], disturbance: Disturbance | None = None, story_type: type[DisturbedStory] = DisturbedStory
) -> tuple[DisturbedStage, End]:
    """Play a story's commands, with one message going otherwise, up to the end of all faults."""
    story = story_type()
    story.play(commands[0])
    stage = story.disturbed
    stage.disturbance = disturbance
    wrong = _watch_promotions(stage)
    for command in commands[1:]:
        story.play(command)
        wrong += _lost_updates(stage)
    count = len(stage.handed)
    heal(story)
    del stage.handed[count:]
    wrong += _lost_updates(stage) + _without_reasons(stage)
    core = stage.cores[HA]
    assert isinstance(core, HaCore)
    return stage, End(tuple(ha_lines(core.state)), tuple(_undeclared(stage, core)), tuple(wrong), _incidents(stage))


def _watch_promotions(stage: DisturbedStage) -> list[str]:
    """Who is promoted while somebody else answers for the service."""
    wrong: list[str] = []
    let_out = stage.let_out

    def watched(party: Party, action: Action) -> None:
        if isinstance(action, Activate):
            others = [one for one in stage.world.owners(action.service) if one != action.vnfc]
            if others:
                wrong.append(f"{action.vnfc} is promoted while {' and '.join(others)} answers for {action.service}")
        let_out(party, action)

    stage.let_out = watched  # type: ignore[method-assign]
    return wrong


def _lost_updates(stage: Stage) -> list[str]:
    world = stage.world
    return [
        f"{owner} has {world.vnfcs[owner].disk.sequence} of {updates} acknowledged updates"
        for group, updates in world.acknowledged.items()
        for service in stage.layout.groups[GroupName(group)].services
        for owner in world.owners(service)
        if world.vnfcs[owner].disk.sequence < updates
    ]


def _without_reasons(stage: Stage) -> list[str]:
    return [
        f"{party}: {decision.action} rests on nothing that was seen"
        for party, decision in stage.decisions
        if party == HA and not any(reason.seen for reason in decision.reasons)
    ]


def _incidents(stage: Stage) -> int:
    return sum(isinstance(decision.action, OpenIncident) for _, decision in stage.decisions)


def _undeclared(stage: Stage, core: HaCore) -> Iterator[str]:
    for group in core.state.groups.values():
        for name, service in group.services.items():
            owners = stage.world.owners(name)
            if service.state != "provided" or owners != [service.holder]:
                yield f"{name} is {service.state} by {service.holder}, answered by {owners}"
        for vnfc, now in group.vnfcs.items():
            if now.phase not in ("ready", "down"):
                yield f"{vnfc} is {now.phase}"
        down = sum(now.phase == "down" for now in group.vnfcs.values())
        if down:
            yield f"{down} of {' '.join(group.vnfcs)} down"
        yield from (f"{incident} is open" for incident in group.incidents)
        yield from (f"alarm {alarm}" for alarm in group.alarms)


def commands_of(text: str) -> list[str]:
    """The commands of a story's file, in order."""
    blocks = text.strip("\n").split("\n\n")
    spoken = (line for block in blocks for line in block.partition("\n----")[0].splitlines())
    return [line for line in spoken if line and not line.startswith("#")]


@dataclass(frozen=True)
class Counted:
    """The variants of one story."""

    messages: int
    variants: Counter[str]
    same: int
    """That came to the same end."""
    otherwise: tuple[tuple[Disturbance, End], ...]
    """That came to another end, in which all is as declared."""
    wrong: tuple[str, ...]


def live_all(text: str, story_type: type[DisturbedStory] = DisturbedStory) -> Counted:
    """Every variant of a story."""
    commands = commands_of(text)
    stage, plain = live(commands, None, story_type)
    variants = disturbances(stage.handed)
    same, otherwise, wrong = 0, [], list(plain.wrong)
    for variant in variants:
        try:
            _, end = live(commands, variant, story_type)
        except AssertionError as what:
            wrong.append(f"{variant} ({stage.handed[variant.number]}): {what}")
            continue
        wrong += [f"{variant} ({stage.handed[variant.number]}): {one}" for one in end.wrong]
        lacking = set(end.undeclared) - set(plain.undeclared)
        if end.incidents > plain.incidents:
            wrong.append(f"{variant} ({stage.handed[variant.number]}): {end.incidents} incidents for {plain.incidents}")
        elif lacking:
            wrong.append(f"{variant} ({stage.handed[variant.number]}): {'; '.join(sorted(lacking))}")
        elif end.lines == plain.lines:
            same += 1
        else:
            otherwise.append((variant, end))
    return Counted(
        len(stage.handed), Counter(variant.how for variant in variants), same, tuple(otherwise), tuple(wrong)
    )


def main() -> int:
    """A row for each use case, as the table of the docs has them."""
    rows: dict[str, Counter[str]] = {}
    began_s = time.process_time()
    for path in USE_CASES:
        counted = live_all(path.read_text())
        row = rows.setdefault(path.stem.partition("-")[0], Counter())
        row.update(stories=1, messages=counted.messages, same=counted.same, otherwise=len(counted.otherwise))
        row.update(counted.variants)
        row.update(wrong=len(counted.wrong))
        for wrong in counted.wrong:
            print(f"{path.stem}: {wrong}", file=sys.stderr)
    columns = ("stories", "messages", "late", "twice", "same", "otherwise", "wrong")
    rows["all"] = sum(rows.values(), Counter())
    print(f"| use case | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(str(row[column]) for column in columns)} |")
    print(f"{time.process_time() - began_s:.0f} s of processor time")
    return 1 if rows["all"]["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
