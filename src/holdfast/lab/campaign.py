"""Several runs: each in a nest of its own, then judged and reported.

In:   scenarios, how often, where to.
Out:  a folder for each run (`<out>/<scenario>/<time>-<n>/`, with a link `latest`) and its verdict.
The judging happens outside of the nest, from files alone: what the judges see is what anybody can look at later.
"""

import contextlib
import os
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast import descriptor
from holdfast.errors import HoldfastError, MachineLacks, UserError
from holdfast.lab.judges.evidence import load_evidence
from holdfast.lab.judges.verdict import Verdict, judge
from holdfast.lab.nest import run_in_nest
from holdfast.lab.report.folder import write_report
from holdfast.lab.run import run_live
from holdfast.lab.scenario import Scenario
from holdfast.runtime.machine import check_components


@dataclass(frozen=True)
class Plan:
    scenarios: Sequence[Scenario]
    repeat: int
    out: Path
    seed: int | None = None
    """In the simulated world, this is the first run's; None: the live world."""

    def runs(self) -> list[tuple[Scenario, int]]:
        return [(scenario, number) for number in range(self.repeat) for scenario in self.scenarios]


@dataclass(frozen=True)
class Progress:
    """What is going on, for whoever shows it."""

    scenario: str
    repeat: int
    step: str


def check_machine(plan: Plan) -> None:
    """Everything that the functions of the plan need is there; MachineLacks before the first run is better than after.

    The lab's own fence device is no program of the machine, so hosts are not looked at.
    """
    if plan.seed is not None:
        return  # A simulated machine has what it needs.
    for scenario in plan.scenarios:
        try:
            check_components(descriptor.load(scenario.layout))
        except MachineLacks as error:
            raise MachineLacks(f"scenario {scenario.name}: {error.message}", "run `make setup`") from error


def run_one(scenario: Scenario, repeat: int, out: Path, tell: Callable[[Progress], None]) -> Path:
    """One run in its nest; returns its folder (with `run.json`).

    Errors: KeyboardInterrupt when the run was interrupted; HoldfastError when it left no evidence.
    """
    folder = _new_folder(out / scenario.name, repeat)
    (folder / "how-to-repeat.txt").write_text(f"holdfast lab run {scenario.called}\n")
    read_end, write_end = os.pipe()

    def inside() -> int:
        os.close(read_end)
        with os.fdopen(write_end, "w") as pipe:

            def say(step: str) -> None:
                pipe.write(step + "\n")
                pipe.flush()

            run_live(scenario, repeat, folder, say)
        return 0

    def listen(done: Callable[[], bool]) -> None:
        os.close(write_end)
        with os.fdopen(read_end, "rb", buffering=0) as pipe:
            _relay(pipe.fileno(), lambda step: tell(Progress(scenario.name, repeat, step)), done)

    status = run_in_nest(inside, listen)
    if status == 130:
        raise KeyboardInterrupt
    if status != 0 or not (folder / "run.json").is_file():
        raise HoldfastError(
            f"the run of {scenario.name} ended with status {status} and left no evidence", f"see {folder}/log"
        )
    return folder


def run_one_simulated(scenario: Scenario, repeat: int, seed: int, out: Path, tell: Callable[[Progress], None]) -> Path:
    """One run in the simulated world, in this process; returns its folder."""
    from holdfast.lab.sim.run import run_sim  # Live runs need nothing of it.

    folder = _new_folder(out / scenario.name, repeat)
    (folder / "how-to-repeat.txt").write_text(f"holdfast lab run {scenario.called} --world sim --seed {seed}\n")
    # What simulated processes say goes where those of live ones say it.
    with (folder / "log.txt").open("w") as log, contextlib.redirect_stderr(log):
        run_sim(scenario, seed, folder, lambda step: tell(Progress(scenario.name, repeat, step)))
    return folder


def _relay(pipe: int, tell: Callable[[str], None], done: Callable[[], bool]) -> None:
    """Pass on lines from the nest until it has ended."""
    text = b""
    while True:
        if select.select([pipe], [], [], 0.1)[0]:
            chunk = os.read(pipe, 4096)
            if not chunk:
                return
            *lines, text = (text + chunk).split(b"\n")
            for line in lines:
                tell(line.decode(errors="replace"))
        elif done():
            return


def _new_folder(base: Path, repeat: int) -> Path:
    return new_folder(base, str(repeat), "journal")


def new_folder(base: Path, name: str, inner: str) -> Path:
    """A folder of this time and name, with one in it, and a link `latest` to it. Errors: UserError."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = base / f"{stamp}-{name}"
    suffix = 0
    while folder.exists():
        suffix += 1
        folder = base / f"{stamp}-{name}.{suffix}"
    try:
        (folder / inner).mkdir(parents=True)
        latest = base / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(folder.name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made: {(error.strerror or str(error)).lower()}", "choose another folder with --out"
        ) from error
    return folder


def judge_one(folder: Path) -> Verdict:
    """Judge a run from what it left, and write verdict, timeline and chart beside it."""
    evidence = load_evidence(folder / "run.json")
    verdict = msgspec.structs.replace(judge(evidence), dir=short(folder))
    write_report(folder, evidence, verdict)
    return verdict


def short(path: Path) -> str:
    """As it is typed from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
