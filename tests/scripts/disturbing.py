"""Whole stories in which one message or instruction goes otherwise: what they come to, what may never be on the way.

`python -m tests.scripts.disturbing` plays all variants of all use cases and counts them (docs/exhaustive.md).
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from holdfast.model.actions import Action, Activate, OpenIncident
from holdfast.model.names import HA, GroupName, Party
from tests.scripts.disturbed import Disturbance, DisturbedStage, Handed, disturbances
from tests.scripts.harness import HaCore, Stage, Story
from tests.scripts.instructed import Detour, Given, InstructedStage, detours
from tests.scripts.test_properties import heal
from tests.scripts.words import ha_lines

USE_CASES = sorted((Path(__file__).parent / "stories").glob("uc*.txt"))


class DisturbedStory(Story):
    stage_type = DisturbedStage

    @property
    def disturbed(self) -> DisturbedStage:
        assert isinstance(self.stage, DisturbedStage)
        return self.stage


class InstructedStory(Story):
    stage_type = InstructedStage

    @property
    def instructed(self) -> InstructedStage:
        assert isinstance(self.stage, InstructedStage)
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
    ended: tuple[str, ...] = ()
    """Who served well when a manager took that away."""

    @property
    def is_held(self) -> bool:
        """Whether each service that nobody provides is said to be held."""
        unserved = [one.split()[0] for one in self.undeclared if one.endswith("by None, answered by []")]
        return bool(unserved) and all(f"alarm held:{service}" in self.undeclared for service in unserved)


def live(
    commands: list[str], disturbance: Disturbance | None = None, story_type: type[DisturbedStory] = DisturbedStory
) -> tuple[DisturbedStage, End]:
    """Play a story's commands, with one message going otherwise, up to the end of all faults."""
    story = story_type()
    story.play(commands[0])
    stage = story.disturbed
    stage.disturbance = disturbance
    handed: list[Handed] = []

    def when_told() -> None:
        handed.extend(stage.handed)
        stage.let_through()

    end = end_of(story, commands[1:], when_told)
    stage.handed = handed
    return stage, end


def instruct(
    commands: list[str], detour: Detour | None = None, story_type: type[InstructedStory] = InstructedStory
) -> tuple[InstructedStage, End]:
    """Likewise, with one instruction going otherwise."""
    story = story_type()
    story.play(commands[0])
    stage = story.instructed
    stage.detour = detour
    given: list[Given] = []

    def when_told() -> None:
        given.extend(stage.given)
        stage.let_through()
        stage.settle()

    end = end_of(story, commands[1:], when_told)
    stage.given = given
    return stage, replace(end, ended=tuple(stage.ended))


def end_of(story: Story, commands: list[str], when_told: Callable[[], None]) -> End:
    """Play the commands, have all faults end, and look what it came to; `when_told` is called in between."""
    stage = story.stage
    wrong = _watch_promotions(stage)
    for command in commands:
        story.play(command)
        wrong += _lost_updates(stage)
    when_told()
    heal(story)
    wrong += _lost_updates(stage) + _without_reasons(stage)
    core = stage.cores[HA]
    assert isinstance(core, HaCore)
    return End(tuple(ha_lines(core.state)), tuple(_undeclared(stage, core)), tuple(wrong), _incidents(stage))


def _watch_promotions(stage: Stage) -> list[str]:
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


class Variant(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def how(self) -> str: ...


V = TypeVar("V", bound=Variant)


@dataclass(frozen=True)
class Counted:
    """The variants of one story."""

    disturbed: int
    """Messages, or instructions."""
    variants: Counter[str]
    same: int
    """That came to the same end."""
    otherwise: tuple[tuple[object, End], ...]
    """That came to another end, in which all is as declared."""
    held: int
    """That had one failure more than the redundancy of the story bears: nobody may serve, and that is said."""
    wrong: tuple[str, ...]


def live_all(
    text: str,
    story_type: type[DisturbedStory] = DisturbedStory,
    chosen: Callable[[list[Disturbance]], list[Disturbance]] = list,
) -> Counted:
    """Every variant of a story in which a message goes otherwise."""
    commands = commands_of(text)
    stage, plain = live(commands, None, story_type)
    variants = chosen(disturbances(stage.handed))
    return _count(plain, stage.handed, variants, lambda variant: live(commands, variant, story_type)[1])


def instruct_all(
    text: str,
    story_type: type[InstructedStory] = InstructedStory,
    chosen: Callable[[list[Detour]], list[Detour]] = list,
) -> Counted:
    """Every variant of a story in which an instruction goes otherwise."""
    commands = commands_of(text)
    stage, plain = instruct(commands, None, story_type)
    variants = chosen(detours(stage))
    return _count(plain, stage.given, variants, lambda variant: instruct(commands, variant, story_type)[1])


def _count(plain: End, all_of: Sequence[object], variants: list[V], play: Callable[[V], End]) -> Counted:
    same, held, otherwise, wrong = 0, 0, [], list(plain.wrong)
    for variant in variants:
        about = f"{variant} ({all_of[variant.number]})"
        try:
            end = play(variant)
        except AssertionError as what:
            wrong.append(f"{about}: {what}")
            continue
        # Time went by without an answer: that is a failure of its own.
        is_failure = variant.how == "overdue"
        if is_failure and plain.undeclared and end.is_held and not end.wrong:
            held += 1
        elif found := [*end.wrong, *_worse(plain, end, is_failure)]:
            wrong.append(f"{about}: {'; '.join(found)}")
        elif end.lines == plain.lines:
            same += 1
        else:
            otherwise.append((variant, end))
    counted = Counter(variant.how for variant in variants)
    return Counted(len(all_of), counted, same, tuple(otherwise), held, tuple(wrong))


def _worse(plain: End, end: End, is_failure: bool) -> Iterator[str]:
    yield from sorted(set(end.undeclared) - set(plain.undeclared))
    if is_failure:
        return
    if end.incidents > plain.incidents:
        yield f"{end.incidents} incidents for {plain.incidents}"
    if len(end.ended) > len(plain.ended):
        yield f"ended although they served: {', '.join(end.ended)}"


def few(variants: list[V]) -> list[V]:
    """Of each message or instruction and each way to go otherwise the last variant; of those overdue the first too."""
    first: dict[int, V] = {}
    last: dict[tuple[int, str], V] = {}
    for variant in variants:
        last[variant.number, variant.how] = variant
        if variant.how == "overdue":
            first.setdefault(variant.number, variant)
    return [*first.values(), *(one for one in last.values() if one is not first.get(one.number))]


def _table(name: str, hows: tuple[str, ...], count: Callable[[str], Counted]) -> int:
    """A row for each use case, as the tables of the docs have them; how many were wrong."""
    began_s = time.process_time()
    rows: dict[str, Counter[str]] = {}
    for path in USE_CASES:
        counted = count(path.read_text())
        row = rows.setdefault(path.stem.partition("-")[0], Counter())
        row.update({"stories": 1, name: counted.disturbed, "same": counted.same, "otherwise": len(counted.otherwise)})
        row.update(counted.variants)
        row.update(held=counted.held, wrong=len(counted.wrong))
        for wrong in counted.wrong:
            print(f"{path.stem}: {wrong}", file=sys.stderr)
    columns = ("stories", name, *hows, "same", "otherwise", "held", "wrong")
    rows["all"] = sum(rows.values(), Counter())
    print(f"| use case | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for use_case, row in rows.items():
        print(f"| {use_case} | {' | '.join(str(row[column]) for column in columns)} |")
    print(f"{time.process_time() - began_s:.0f} s of processor time\n", flush=True)
    return rows["all"]["wrong"]


def main() -> int:
    wrong = _table("messages", ("late", "overdue", "twice"), live_all)
    wrong += _table("instructions", ("late", "overdue", "twice", "anew"), instruct_all)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
