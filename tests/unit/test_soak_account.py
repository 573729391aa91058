"""What comes of a soak: sums, folders, the report of what was judged before an interruption."""

import dataclasses
import json
import os
import signal
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from holdfast.errors import UserError
from holdfast.lab.judges.evidence import write_run
from holdfast.lab.judges.soaked import save_notes
from holdfast.lab.judges.verdict import Checked, Verdict
from holdfast.lab.sim.script import load
from holdfast.lab.soak.campaign import (
    KEPT_WELL,
    SIMULATED,
    Account,
    Judge,
    Keeper,
    complaint,
    in_the_background,
    of_the_most_silent,
)
from holdfast.lab.soak.plan import SoakPlan, draw_episode, parse_episodes
from holdfast.lab.soak.run import START, Told
from holdfast.lab.soak.show import run_and_show
from holdfast.lab.soak.slices import KEPT_BYTES, Slices
from holdfast.model.names import ServiceName
from tests.unit.test_soak_judge import judged


def plan_in(folder: Path, seconds: float = 60.0, first: int = 1, last: int | None = None) -> SoakPlan:
    (folder / "episodes").mkdir()
    return SoakPlan(7, seconds, folder, first, last)


def verdict_of(number: int, *, well: bool = True) -> Verdict:
    text = "as declared 1.0 s after the last fault's end" if well else "not as declared"
    return Verdict(
        "soak", number, "live", 7, "pass" if well else "fail", {"restored": Checked(well, text)},
        None, None, 100.0 * number, 2, 1000, 0.0, 0, {}, 1000.0, 1.0,
    )  # fmt: skip


Tell = Callable[[Told], None]


class Play:
    """Stands for a stretch: some episodes, then an end of this kind."""

    def __init__(self, episodes: int, status: int = 0, fails: Sequence[int] = (), left: tuple[str, ...] = ()) -> None:
        self.episodes, self.status, self.fails, self.left = episodes, status, fails, left
        self.began: list[int] = []

    def __call__(
        self, account: Account, first: int, end_at: float, tell: Tell, judged: Sequence[Callable[[Verdict], None]]
    ) -> int:
        self.began.append(first)
        for number in range(first, first + self.episodes):
            (account.plan.out / "episodes" / str(number)).mkdir()
            tell(Told(episode=number))
            verdict = verdict_of(number, well=number not in self.fails)
            account.episodes.append(verdict)
            for hear in judged:
                hear(verdict)
            if number in self.fails:
                break
        if self.status == 0:
            account.leftovers = [*(account.leftovers or []), *self.left]
        return self.status


def runs_in(file: Path) -> dict[str, str]:
    return {f"{run['scenario']} {run['repeat']}": run["verdict"] for run in json.loads(file.read_text())["runs"]}


def test_a_soak_whose_episodes_pass_ends_well(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run_and_show(plan_in(tmp_path, last=3), report, Play(3)) == 0
    assert runs_in(report) == {"soak 1": "pass", "soak 2": "pass", "soak 3": "pass", "soak-whole 0": "pass"}
    whole = json.loads((tmp_path / "verdict.json").read_text())
    assert (whole["sent"], whole["lost"], whole["outage_ms"]) == (3000, 6, 300.0)
    assert whole["checks"]["leftovers"]["ok"] is True
    assert "episode 3: pass: as declared 1.0 s after" in (tmp_path / "timeline.txt").read_text()


def test_a_failed_episode_names_itself_and_how_to_repeat_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play = Play(2, fails=[2])
    assert run_and_show(plan_in(tmp_path, last=4), None, play) == 1
    assert play.began == [1, 3]
    shown = capsys.readouterr().out
    assert "episode 2 again: holdfast lab soak --seed 7 --episodes 2..2" in shown
    whole = json.loads((tmp_path / "verdict.json").read_text())
    assert whole["checks"]["restored"]["text"] == "in 1 of 4 episodes: episode 2: not as declared"


def test_an_interrupted_soak_reports_what_was_judged(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run_and_show(plan_in(tmp_path), report, Play(2, status=130)) == 130
    assert runs_in(report) == {"soak 1": "pass", "soak 2": "pass", "soak-whole 0": "pass"}
    assert (tmp_path / "timeline.txt").read_text().splitlines()[-1].endswith("interrupted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_deployments_ends_it_with_its_report(tmp_path: Path, number: signal.Signals) -> None:
    class Signalled(Play):
        def __call__(self, account: Account, first: int, *rest: Any) -> int:
            if first > 2:
                signal.raise_signal(number)
            return super().__call__(account, first, *rest)

    report, before = tmp_path / "report.json", signal.getsignal(number)
    assert run_and_show(plan_in(tmp_path), report, Signalled(2, fails=[2])) == 130
    assert runs_in(report) == {"soak 1": "pass", "soak 2": "fail", "soak-whole 0": "fail"}
    assert signal.getsignal(number) == before


def test_a_soak_interrupted_before_its_first_episode_reports_that_nothing_is_known(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run_and_show(plan_in(tmp_path), report, Play(0, status=130)) == 130
    assert runs_in(report) == {"soak-whole 0": "unknown"}


@pytest.mark.parametrize(("status", "episodes"), [(1, 2), (0, 0)])
def test_a_nest_that_ends_by_itself_is_no_pass_and_no_endless_loop(tmp_path: Path, status: int, episodes: int) -> None:
    play = Play(episodes, status)
    assert run_and_show(plan_in(tmp_path), None, play) == 1
    assert play.began == [1]
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == "unknown"


def test_what_a_deployment_leaves_behind_fails_the_soak(tmp_path: Path) -> None:
    assert run_and_show(plan_in(tmp_path, last=1), None, Play(1, left=("process 7 on host h1",))) == 1
    whole = json.loads((tmp_path / "verdict.json").read_text())
    assert whole["checks"]["leftovers"]["text"] == "left behind: process 7 on host h1"


def test_no_stretch_begins_when_the_time_is_over(tmp_path: Path) -> None:
    play = Play(1)
    assert run_and_show(plan_in(tmp_path, seconds=0.0), None, play) == 0
    assert play.began == [1]


def test_folders_of_failed_episodes_stay_and_of_the_others_the_last_few(tmp_path: Path) -> None:
    plan, count = plan_in(tmp_path), 2 * KEPT_WELL
    keeper = Keeper(plan.out)
    for number in range(1, count + 1):
        (plan.out / "episodes" / str(number)).mkdir()
        keeper.keep(verdict_of(number, well=number != 2))
    kept = {int(path.name) for path in (plan.out / "episodes").iterdir()}
    assert kept == {2, *range(count - KEPT_WELL + 1, count + 1)}


def test_what_is_never_done_of_the_drawn_is_said(tmp_path: Path) -> None:
    account = Account(plan_in(tmp_path))
    account.left_out.update({"clock-bends": 2, "kill-vm": 1})
    account.why |= {"clock-bends": "one clock", "kill-vm": "single-1 is in no VM"}
    account.done.update({"kill-vm": 5})
    assert account.whole().not_judged == ("clock-bends, drawn 2 times and never done: one clock",)


def test_an_episode_is_judged_from_its_folder(tmp_path: Path) -> None:
    account = Account(plan_in(tmp_path))
    evidence, notes = judged()
    folder = tmp_path / "episodes" / "5"
    folder.mkdir()
    (tmp_path / START / "journal").mkdir(parents=True)
    write_run(structs.replace(evidence.run, faults=()), folder / "run.json")
    (folder / "layout.json").write_bytes(msgspec.json.encode(evidence.layout))
    save_notes(structs.replace(notes, probed=()), folder)
    heard: list[Verdict] = []
    judge = Judge(account, [heard.append])
    for told in (Told(written=START), Told(written="5"), Told(left=("a port",)), Told(trouble="no room")):
        judge.hear(told)
    assert [(one.repeat, one.verdict) for one in heard] == [(5, "fail")]
    assert (account.leftovers, account.troubles, dict(account.done)) == (["a port"], ["no room"], {"kill-vnfc": 1})
    assert {"verdict.json", "timeline.txt", "sequence.txt"} <= {path.name for path in folder.iterdir()}
    plan, says = load(folder / SIMULATED)
    assert (plan.faults, says) == (draw_episode(3, 5, evidence.layout), complaint(heard[0]))
    assert (folder / "how-to-repeat.txt").read_text() == "holdfast lab soak --seed 3 --episodes 5..5\n"


@pytest.mark.parametrize(("text", "found"), [("3..3", (3, 3)), ("1..20", (1, 20))])
def test_episodes_are_read(text: str, found: tuple[int, int]) -> None:
    assert parse_episodes(text) == found


@pytest.mark.parametrize("text", ["3", "0..2", "5..4", "a..b", ""])
def test_what_names_no_episodes_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--episodes is"):
        parse_episodes(text)


def test_slices_hold_each_line_once_and_files_take_no_more_room(tmp_path: Path) -> None:
    journal = tmp_path / "run" / "journal"
    journal.mkdir(parents=True)
    slices = Slices(tmp_path / "run", ("journal",))
    line = b"x" * 1023 + b"\n"
    with (journal / "ha.jsonl").open("ab", buffering=0) as file:
        for number in range(8):
            file.write(line * 256 + b"torn")
            assert slices.take(tmp_path / str(number)) == ["journal/ha.jsonl"]
            slices.give_back()
            file.write(b"\n")
    pieces = [(tmp_path / str(number) / "journal" / "ha.jsonl").read_bytes() for number in range(8)]
    assert b"".join(pieces) == b"torn\n".join([line * 256] * 8)
    assert slices.take(tmp_path / "last") == ["journal/ha.jsonl"]
    after = (journal / "ha.jsonl").stat()
    assert after.st_size > 8 * 256 * 1024
    assert after.st_blocks * 512 < 2 * 256 * 1024 + 2 * KEPT_BYTES


def test_judging_is_done_with_what_is_left_of_the_machine() -> None:
    before = os.sched_getscheduler(0)
    with in_the_background():
        assert os.sched_getscheduler(0) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == before


def test_the_time_that_is_left_is_shown(tmp_path: Path) -> None:
    run_and_show(plan_in(tmp_path, seconds=7200.0, last=1), None, Play(1))
    first = (tmp_path / "timeline.txt").read_text().splitlines()[0]
    assert "120 min left" in first


def test_a_report_shows_the_client_that_was_left_alone_the_longest() -> None:
    evidence, notes = judged()
    assert evidence.probe is not None
    pairs = zip(evidence.probe.sent_at, evidence.probe.answered_at, strict=True)
    answered = array("d", [at if sent < notes.done[0].at else -1.0 for sent, at in pairs])
    worse = dataclasses.replace(evidence.probe, answered_at=answered)
    both = dataclasses.replace(evidence, further_probes=(worse,))
    shown = of_the_most_silent(both, structs.replace(notes, probed=(notes.probed[0], ServiceName("other"))))
    assert (shown.run.service, shown.probe) == ("other", worse)
    assert of_the_most_silent(dataclasses.replace(evidence, probe=None), notes).probe is None
