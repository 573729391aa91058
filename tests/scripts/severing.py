"""Whole stories in which managers are killed at one point and start again: what they come to, in place of the same.

`python -m tests.scripts.severing` plays every cut of every use case in all ways, and counts them (docs/exhaustive.md).
"""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.model.events import DeadlinePassed
from tests.scripts.disturbing import USE_CASES, End, commands_of, end_of
from tests.scripts.harness import Story
from tests.scripts.severed import BEFORE_SAVING, Cut, Made, SeveredStage, cuts, failures_counted

MORE_TIME = ("tick 5", "tick 5", "tick 5")
"""A limit that was running when its manager was killed begins anew: it is to end before the faults do."""
GIVEN_UP = {"uc8-does-not-start"}
"""In these a VM is given up that its VNFMs know nothing of: it is tried once more when a VIM starts."""


class SeveredStory(Story):
    stage_type = SeveredStage

    @property
    def severed(self) -> SeveredStage:
        assert isinstance(self.stage, SeveredStage)
        return self.stage


@dataclass(frozen=True)
class Lived:
    """What a story came to, with what was done and counted on the way."""

    end: End
    made: tuple[Made, ...]
    """Up to the end of its commands."""
    begun: int
    """How many steps of these it took to start."""
    ordered: Counter[str]
    """What must be done once."""
    noted: Counter[str]
    """Incidents, alarms and services, told to people."""
    failures: dict[str, int]
    """Counted against each VM, host and VNFC at the end of the commands."""


@dataclass(frozen=True)
class Severed:
    """The cuts of one story."""

    steps: int
    cuts: int
    """Points at which managers were killed."""
    variants: int
    same: int
    anew: tuple[Cut, ...]
    """The limit that had just passed began anew, and what hung came to its end before it passed again."""
    less: tuple[Cut, ...]
    """Less was done: the others had gone on meanwhile."""
    more: tuple[Cut, ...]
    """A VM that had been given up was tried once more."""
    wrong: tuple[str, ...]


def sever(commands: list[str], cut: Cut | None = None, story_type: type[SeveredStory] = SeveredStory) -> Lived:
    """Play a story's commands up to the end of all faults, with managers killed at one point."""
    story = story_type()
    story.play(commands[0])
    stage = story.severed
    stage.cut = cut
    made: list[Made] = []
    failures: dict[str, int] = {}

    def when_told() -> None:
        made.extend(stage.made)
        failures.update(failures_counted(stage))

    end = end_of(story, [*commands[1:], *MORE_TIME], when_told)
    assert cut is None or stage.was_cut, f"{cut} is not in the story"
    return Lived(end, tuple(made), stage.begun, Counter(stage.ordered.values()), stage.noted, failures)


def sever_all(
    name: str,
    text: str,
    chosen: Callable[[list[Cut]], Sequence[Cut]] = list,
    story_type: type[SeveredStory] = SeveredStory,
) -> Severed:
    """Every cut of a story, in the chosen ways."""
    commands = commands_of(text)
    plain = sever(commands, None, story_type)
    all_cuts = cuts(list(plain.made))
    variants = chosen(all_cuts)
    same, wrong = 0, list(plain.end.wrong)
    anew: list[Cut] = []
    less: list[Cut] = []
    more: list[Cut] = []
    for cut in variants:
        about = f"{cut} ({plain.made[cut.step].party}: {plain.made[cut.step].event})"
        try:
            lived = sever(commands, cut, story_type)
        except AssertionError as what:
            wrong.append(f"{about}: {what}")
            continue
        broken = [*lived.end.wrong, *sorted(set(lived.end.undeclared) ^ set(plain.end.undeclared))]
        differs = list(_differs(plain, lived))
        if broken:
            wrong.append(f"{about}: {'; '.join(broken)}")
        elif not differs:
            same += 1
        elif _is_limit(plain, cut):
            anew.append(cut)
        elif _did_less(plain, lived):
            less.append(cut)
        elif name in GIVEN_UP and _was_tried(plain, lived):
            more.append(cut)
        else:
            wrong.append(f"{about}: {'; '.join(differs)}")
    points = len({(cut.step, cut.after) for cut in variants})
    return Severed(
        len(plain.made), points, len(variants),
        same, tuple(anew), tuple(less), tuple(more), tuple(wrong),
    )  # fmt: skip


def _differs(plain: Lived, lived: Lived) -> Iterator[str]:
    if lived.end.lines != plain.end.lines:
        yield f"the end is {set(lived.end.lines) ^ set(plain.end.lines)}"
    if lived.ordered != plain.ordered:
        yield f"done more: {dict(lived.ordered - plain.ordered)}, less: {dict(plain.ordered - lived.ordered)}"
    if lived.noted != plain.noted:
        yield f"told more: {dict(lived.noted - plain.noted)}, less: {dict(plain.noted - lived.noted)}"
    if lived.failures != plain.failures:
        yield f"counted {dict(lived.failures.items() ^ plain.failures.items())}"


def _is_limit(plain: Lived, cut: Cut) -> bool:
    return cut.after == BEFORE_SAVING and isinstance(plain.made[cut.step].event, DeadlinePassed)


def _did_less(plain: Lived, lived: Lived) -> bool:
    """Nothing that the plain story does not have, and everybody is what he is there."""
    is_less = not (lived.ordered - plain.ordered) and not (lived.noted - plain.noted)
    return is_less and [_role(line) for line in lived.end.lines] == [_role(line) for line in plain.end.lines]


def _was_tried(plain: Lived, lived: Lived) -> bool:
    """The VIM's repair of a VM is all that is otherwise."""
    otherwise = (lived.ordered - plain.ordered) + (lived.noted - plain.noted)
    return lived.end.lines == plain.end.lines and all(
        re.match(r"vim: .*[ :](vm1|repaired|not-repaired)\b", one) for one in otherwise
    )


def _role(line: str) -> str:
    return re.sub(r" (run|epoch) \d+", "", line)


def in_turn(all_cuts: list[Cut]) -> list[Cut]:
    """Every point at which managers can be killed, each in one of the four ways in turn."""
    return [cut for number, cut in enumerate(all_cuts) if number % 4 == number // 4 % 4]


def main() -> int:
    began_s = time.process_time()
    rows: dict[str, Counter[str]] = {}
    for path in USE_CASES:
        severed = sever_all(path.stem, path.read_text())
        row = rows.setdefault(path.stem.partition("-")[0], Counter())
        row.update({"stories": 1, "steps": severed.steps, "points": severed.cuts, "cuts": severed.variants})
        row.update(same=severed.same, anew=len(severed.anew), less=len(severed.less), more=len(severed.more))
        row.update(wrong=len(severed.wrong))
        for wrong in severed.wrong:
            print(f"{path.stem}: {wrong}", file=sys.stderr)
    columns = ("stories", "steps", "points", "cuts", "same", "anew", "less", "more", "wrong")
    rows["all"] = sum(rows.values(), Counter())
    print(f"| use case | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for use_case, row in rows.items():
        print(f"| {use_case} | {' | '.join(str(row[column]) for column in columns)} |")
    print(f"{time.process_time() - began_s:.0f} s of processor time")
    return 1 if rows["all"]["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
