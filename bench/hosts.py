"""What a client sees when something fails on three hosts: every case of a table, live, N times each.

Run as root: `.venv/bin/python bench/hosts.py --runs 20 --json hosts.json --markdown docs/figures-hosts.md`.
Needs etcd and dnsmasq. Twenty runs of everything take about an hour and a half; two cases in which nothing happens take
ten minutes each. `--cases crash,host-off` measures only these. Results are kept in the JSON file after each run, and a
run that is there is not made again: after an interruption (^C, which leaves nothing behind) the same command goes on.
Files of results are joined with `--merge`.

Prints a Markdown table. Exit status: 0 if everything that was measured is as it shall be, 1 if not, 2 for wrong input,
3 if the machine lacks something, 130 when interrupted.
"""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hosts_beside import beside
from hosts_cases import CASES, Case, by_name
from hosts_report import Results, page, run_record, table, unsound
from msgspec.structs import replace

from holdfast.errors import HoldfastError, UserError
from holdfast.lab import scenario
from holdfast.lab.campaign import Plan, Progress, check_machine, judge_one, run_one, short
from holdfast.lab.judges.evidence import load_evidence
from holdfast.lab.judges.verdict import Verdict
from holdfast.lab.scenario import Scenario

LONG_STEP_MS = 10_000
"""A step of at least this length is what a long case is about."""


def prepared(case: Case, seconds: float | None) -> Scenario:
    """The scenario of a case; with `seconds`, its long step lasts as long."""
    found = scenario.load(case.file())
    if seconds is None:
        return found
    words = (f"{round(1000 * seconds)}ms",)
    return replace(found, steps=tuple(replace(one, words=words) if _is_long(one) else one for one in found.steps))


def _is_long(step: scenario.Step) -> bool:
    return step.verb == "load" and _ms(step) >= LONG_STEP_MS


def _ms(step: scenario.Step) -> int:
    return int(step.words[0].removesuffix("ms"))


def measured(case: Case, chosen: Scenario, number: int, out: Path, tell: "Teller") -> dict[str, object]:
    """One run, as it is kept."""
    aside = beside(case)
    long_steps = {str(step): _ms(step) / 1000 for step in chosen.steps if step.verb == "load" and case.is_long}
    longest = max(long_steps, key=lambda text: long_steps[text], default="")
    seen: dict[str, float] = {}

    def follow(progress: Progress) -> None:
        seen.update(aside.end())
        if progress.step == longest:
            aside.begin(long_steps[longest])
        tell.step(progress.step)

    try:
        folder = run_one(chosen, number, out, follow)
    except HoldfastError as error:
        if error.exit_status != 1:
            raise  # The next run would fare no better.
        return run_record({}, [error.message], short(out / case.name), None)
    finally:
        aside.end()
    verdict = judge_one(folder)
    why = complaints(case, verdict)
    figures: dict[str, float] = {}
    try:
        figures = case.figures(load_evidence(folder / "run.json"), verdict) | seen
    except LookupError as error:
        why.append(str(error))
    return run_record(figures, why, short(folder), verdict.noise_ms)


def complaints(case: Case, verdict: Verdict) -> list[str]:
    """What the judges say against a run. Where nothing fails there is no outage that they could judge."""
    nothing_failed = case.beside != ""
    left_out = {"restored", "order"} if nothing_failed else set()
    found = [f"unknown: {text}" for text in verdict.unknown]
    for name, check in verdict.checks.items():
        if check.ok is not True and not (check.ok is None and name in left_out):
            found.append(f"{name}: {check.text}")
    return found


class Teller:
    """Progress, on standard error: a line a run, and what it does at the moment where that can be shown."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._began = total, 0, time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        self._title = ""

    def run(self, case: Case, number: int, of: int) -> None:
        self._title = f"[{self._done + 1}/{self._total}] {case.name} {number}/{of}"

    def step(self, text: str) -> None:
        if self._is_terminal:
            sys.stderr.write(f"\r\033[K{self._title}  {text}"[:120])
            sys.stderr.flush()

    def ended(self, run: dict[str, object]) -> None:
        self._done += 1
        took_s = time.monotonic() - self._began
        left_s = took_s / self._done * (self._total - self._done)
        figures = ", ".join(f"{name} {value:g}" for name, value in run["figures"].items())  # type: ignore[attr-defined]
        state = "" if run["sound"] else f"  NOT SOUND: {'; '.join(run['why'])}"  # type: ignore[arg-type]
        clear = "\r\033[K" if self._is_terminal else ""
        sys.stderr.write(f"{clear}{self._title}: {figures}{state}  (about {left_s / 60:.0f} min left)\n")
        sys.stderr.flush()


def missing(results: Results, cases: Sequence[Case], runs: int, long_runs: int) -> list[tuple[Case, int, int]]:
    """What is still to be run: one of each case, then the next of each, so that a bad minute does not meet one case."""
    wanted = {case.name: long_runs if case.is_long else runs for case in cases}
    todo = [
        (case, number, wanted[case.name])
        for case in cases
        for number in range(len(results.runs[case.name]), wanted[case.name])
    ]
    return sorted(todo, key=lambda one: one[1])


def measure(chosen: argparse.Namespace, cases: Sequence[Case], results: Results) -> None:
    todo = missing(results, cases, chosen.runs, chosen.long_runs)
    scenarios = {case.name: prepared(case, chosen.seconds if case.is_long else None) for case in cases}
    check_machine(Plan([scenarios[case.name] for case, _, _ in todo], 1, chosen.out))
    tell = Teller(len(todo))
    for case, number, of in todo:
        tell.run(case, number + 1, of)
        run = measured(case, scenarios[case.name], number, chosen.out.absolute(), tell)
        results.add(case, run)
        tell.ended(run)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="bench/hosts.py", description=__doc__, formatter_class=raw)
    parser.add_argument("--runs", type=int, default=5, help="how often each case is run in all; 0: show what is there")
    parser.add_argument("--long-runs", type=int, default=1, help="the same for the cases of a minute and more")
    parser.add_argument("--cases", default="all", help=f"with commas, of: {', '.join(case.name for case in CASES)}")
    parser.add_argument("--seconds", type=float, help="length of the long cases, 10 at least; to try them out")
    parser.add_argument("--json", type=Path, help="results: those in it count, new ones are added")
    parser.add_argument("--merge", type=Path, nargs="*", default=[], help="further files of results, to be joined")
    parser.add_argument("--markdown", type=Path, help="write the page there (docs/figures-hosts.md)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where each run leaves its folder")
    chosen = parser.parse_args(words)
    if chosen.runs < 0 or chosen.long_runs < 0:
        parser.error("numbers of runs are 0 or more")
    if chosen.seconds is not None and chosen.seconds * 1000 < LONG_STEP_MS:
        parser.error(f"--seconds {chosen.seconds:g}: expected at least {LONG_STEP_MS // 1000}")
    return chosen


def chosen_cases(text: str) -> list[Case]:
    if text == "all":
        return list(CASES)
    known = by_name()
    unknown = [name for name in text.split(",") if name not in known]
    if unknown:
        raise UserError(f"no case is called {', '.join(unknown)}", f"expected some of {', '.join(known)}")
    return [known[name] for name in text.split(",")]


def main(words: Sequence[str] | None = None) -> int:
    chosen = arguments(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = 0
    try:
        cases = chosen_cases(chosen.cases)
        results = Results(chosen.json, chosen.merge)
        try:
            if chosen.runs or chosen.long_runs:
                measure(chosen, cases, results)
        except KeyboardInterrupt:
            print("\ninterrupted; what was measured is kept", file=sys.stderr)
            status = 130
        results.write()
        print(table(results))
        for text in unsound(results):
            print(f"not sound: {text}", file=sys.stderr)
        if chosen.markdown is not None and not status:
            chosen.markdown.write_text(page(results, command_of(sys.argv[1:] if words is None else words)))
    except HoldfastError as error:
        print(f"holdfast: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_status
    there = [case for case in cases if results.runs[case.name]]
    return status or (0 if there and all(results.is_reached(case) for case in there) else 1)


def command_of(words: Sequence[str]) -> str:
    return shlex.join([".venv/bin/python", "bench/hosts.py", *words])


if __name__ == "__main__":
    sys.exit(main())
