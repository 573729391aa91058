"""What a person sees of `lab soak`: a line for each fault and each episode, with the time left; the sums; the JSON.

In:   a plan. Out: the exit status: 0 when every episode passed, 1 when one failed or could not be judged, 130 after an
interruption.
The same lines are the soak's `timeline.txt`.
"""

import json
import signal
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from holdfast.lab.campaign import short
from holdfast.lab.judges.verdict import Verdict
from holdfast.lab.report.folder import TIMELINE
from holdfast.lab.report.summary import build_summary
from holdfast.lab.report.table import STYLE, show
from holdfast.lab.soak.campaign import Account, Stretching, complaint, soak, write_whole
from holdfast.lab.soak.plan import SoakPlan
from holdfast.lab.soak.run import Told

INTERRUPTED = 130
MINUTE_S = 60


class Lines:
    """To the console and into the timeline, each with its time and what is left."""

    def __init__(self, plan: SoakPlan, console: Console) -> None:
        self._plan, self._console = plan, console
        self._began = time.monotonic()
        self._file = (plan.out / TIMELINE).open("w")

    def say(self, text: str, style: str = "") -> None:
        passed = time.monotonic() - self._began
        left = max(0.0, self._plan.seconds - passed)
        line = f"{passed:7.1f} s  {_left(left):>8} left  {text}"
        self._console.print(Text(line, style=style), soft_wrap=True, highlight=False)
        self._file.write(line + "\n")
        self._file.flush()

    def tell(self, told: Told) -> None:
        if told.step:
            self.say(told.step)
        if told.episode:
            self.say(f"episode {told.episode}")
        if told.fault:
            self.say(f"  {told.fault}")
        if told.trouble:
            self.say(f"it cannot go on: {told.trouble}", STYLE["fail"])

    def judged(self, verdict: Verdict) -> None:
        outage = f"longest silence {verdict.outage_ms:.0f} ms" if verdict.outage_ms is not None else "no client"
        text = complaint(verdict) or f"{verdict.checks['restored'].text}, {outage}"
        self.say(f"episode {verdict.repeat}: {verdict.verdict}: {text}", STYLE[verdict.verdict])

    def close(self) -> None:
        self._file.close()


def _left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 10 * MINUTE_S else f"{seconds / MINUTE_S:.0f} min"


def run_and_show(plan: SoakPlan, json_file: Path | None, stretch: Stretching | None = None) -> int:
    console = Console(emoji=False)
    account = Account(plan)
    lines = Lines(plan, console)
    lines.say(f"seed {plan.seed}, folder {short(plan.out)}")
    interrupted = False
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        soak(account, lines.tell, lines.judged, stretch)
    except KeyboardInterrupt:
        interrupted = True
        lines.say("interrupted")
    finally:
        for number in before:
            # The report is written whole, whoever is impatient.
            signal.signal(number, signal.SIG_IGN)
        whole = write_whole(account)
        lines.close()
        if account.episodes:
            _report(account, whole, console)
        if json_file is not None:
            part = json_file.with_name(json_file.name + ".part")
            part.write_text(json.dumps(build_summary([*account.episodes, whole]), indent=1) + "\n")
            part.rename(json_file)
        for number, handler in before.items():
            signal.signal(number, handler)
    return INTERRUPTED if interrupted else 0 if whole.verdict == "pass" else 1


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _report(account: Account, whole: Verdict, console: Console) -> None:
    show([*account.episodes, whole], console)
    for one in account.episodes:
        if one.verdict != "pass":
            line = (
                f"episode {one.repeat} again: holdfast lab soak --seed {one.seed} --episodes {one.repeat}..{one.repeat}"
            )
            console.print(escape(line), soft_wrap=True, highlight=False)
    done = ", ".join(f"{kind} {times}" for kind, times in account.done.most_common())
    console.print(f"faults done: {done or 'none'}", soft_wrap=True, highlight=False)
    console.print(f"Everything is in {whole.dir}: verdict.json, timeline.txt, sequence.txt, episodes/.", soft_wrap=True)
