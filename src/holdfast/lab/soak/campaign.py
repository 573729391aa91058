"""A soak as a whole: stretches in nests, each episode judged as soon as it is written, all of it summed up.

In:   a plan. Out: `Account`, with a verdict for each episode and one for the soak; a folder.
Always: what was judged so far is accounted for at any moment, also after an interruption; of the folders of episodes
that went well only the last few are kept.
"""

import contextlib
import dataclasses
import json
import os
import select
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from holdfast import descriptor
from holdfast.lab.campaign import short
from holdfast.lab.judges.checks import listed
from holdfast.lab.judges.evidence import Evidence, load_evidence, merged, read_journal
from holdfast.lab.judges.leading import Former
from holdfast.lab.judges.soaked import Before, EpisodeNotes, Replayed, judge_episode, last_owners, load_notes
from holdfast.lab.judges.verdict import Checked, Result, Verdict
from holdfast.lab.nest import run_in_nest
from holdfast.lab.report.folder import SEQUENCE, VERDICT, write_report
from holdfast.lab.report.summary import overall
from holdfast.lab.sim.script import text_of
from holdfast.lab.soak.plan import LAYOUT, SoakPlan, simulated
from holdfast.lab.soak.replayed import Replay
from holdfast.lab.soak.run import START, Stretch, Told
from holdfast.model.records import Record
from holdfast.runtime.machine import check_components

KEPT_WELL = 5
"""Folders of so many episodes that went well are kept."""
KEPT_FAILED = 50
"""And of so many that did not: the first ones, since what went wrong first is what is looked at."""
WHOLE = "soak-whole"
SIMULATED = "simulated.yaml"
"""The faults of an episode that did not pass, to be tried in the simulated world."""
INTERRUPTED = 130
"""Exit status of a nest that was interrupted."""


@dataclass
class Account:
    """What has come of the episodes so far."""

    plan: SoakPlan
    episodes: list[Verdict] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)
    """Why a kind of fault was left out, the last time."""
    leftovers: list[str] | None = None
    troubles: list[str] = field(default_factory=list)
    stretches: int = 0

    @property
    def next_episode(self) -> int:
        return self.episodes[-1].repeat + 1 if self.episodes else self.plan.first

    def whole(self) -> Verdict:
        """The verdict on all of it."""
        checks = {name: _of_all(name, self.episodes) for name in (self.episodes[0].checks if self.episodes else ())}
        if self.leftovers is not None:
            text = f"left behind: {listed(self.leftovers)}" if self.leftovers else "nothing was left behind"
            checks["leftovers"] = Checked(not self.leftovers, text)
        verdict: Result = overall(self.episodes)
        if self.leftovers:
            verdict = "fail"
        elif self.troubles and verdict == "pass":
            verdict = "unknown"
        outages = [one.outage_ms for one in self.episodes if one.outage_ms is not None]
        repairs = [one.repair_ms for one in self.episodes if one.repair_ms is not None]
        return Verdict(
            scenario=WHOLE,
            repeat=0,
            world="live",
            seed=self.plan.seed,
            verdict=verdict,
            checks=checks,
            sal=None,
            sal_wanted=None,
            outage_ms=max(outages, default=None),
            lost=sum(one.lost or 0 for one in self.episodes),
            sent=sum(one.sent or 0 for one in self.episodes),
            two_owners_ms=round(sum(one.two_owners_ms or 0.0 for one in self.episodes), 3),
            updates_lost=sum(one.updates_lost or 0 for one in self.episodes),
            stages_ms={},
            repair_ms=max(repairs, default=None),
            noise_ms=max((one.noise_ms or 0.0 for one in self.episodes), default=None),
            unknown=tuple(self.troubles),
            not_judged=tuple(self._not_done()),
            dir=short(self.plan.out),
        )

    def _not_done(self) -> Iterator[str]:
        for kind, times in sorted(self.left_out.items()):
            if not self.done[kind]:
                yield f"{kind}, drawn {times} times and never done: {self.why[kind]}"


def _of_all(name: str, episodes: list[Verdict]) -> Checked:
    """A check of the whole: that of its worst episodes."""
    for ok, says in ((False, "in"), (None, "cannot tell in")):
        wrong = [one for one in episodes if name not in one.checks or one.checks[name].ok is ok]
        if wrong:
            texts = (f"episode {one.repeat}: {one.checks[name].text}" for one in wrong if name in one.checks)
            return Checked(ok, f"{says} {len(wrong)} of {len(episodes)} episodes: {listed(texts)}")
    return Checked(True, f"in all {len(episodes)} episodes")


Stretching = Callable[[Account, int, float, Callable[[Told], None], Sequence[Callable[[Verdict], None]]], int]
"""One stretch, from the episode of that number, until that time; its exit status."""


def soak(
    account: Account,
    tell: Callable[[Told], None],
    judged: Callable[[Verdict], None],
    stretch: Stretching | None = None,
) -> None:
    """Run its plan; what is judged goes into the account at once.

    Errors: KeyboardInterrupt after an interruption.
    """
    plan = account.plan
    end_at = time.monotonic() + plan.seconds
    keeper = Keeper(plan.out)
    while not account.troubles:
        first = account.next_episode
        if first > (plan.last or first) or (account.stretches and time.monotonic() >= end_at):
            return
        account.stretches += 1
        status = (stretch or in_a_nest)(account, first, end_at, tell, [judged, keeper.keep])
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        if status != 0:
            account.troubles.append(f"the deployment's nest ended with status {status}")
        if account.next_episode == first and not account.troubles:
            account.troubles.append("the deployment ended before its first episode did")


def in_a_nest(
    account: Account,
    first: int,
    end_at: float,
    tell: Callable[[Told], None],
    judged: Sequence[Callable[[Verdict], None]],
) -> int:
    """Its exit status."""
    check_components(descriptor.load(LAYOUT))
    read_end, write_end = os.pipe()
    plan = account.plan

    def inside() -> int:
        os.close(read_end)
        with os.fdopen(write_end, "wb", buffering=0) as pipe:
            encoder = msgspec.json.Encoder()
            Stretch(plan, first, end_at, lambda told: _write(pipe.fileno(), encoder.encode(told) + b"\n")).play()
        return 0

    judge = Judge(account, judged)

    def listen(done: Callable[[], bool]) -> None:
        os.close(write_end)
        with os.fdopen(read_end, "rb", buffering=0) as pipe, in_the_background():
            for told in _lines(pipe.fileno(), done):
                judge.hear(told)
                tell(told)

    return run_in_nest(inside, listen)


def _write(handle: int, text: bytes) -> None:
    while text:
        text = text[os.write(handle, text) :]


def _lines(pipe: int, done: Callable[[], bool]) -> Iterator[Told]:
    text = b""
    decoder = msgspec.json.Decoder(Told)
    while True:
        if select.select([pipe], [], [], 0.1)[0]:
            chunk = os.read(pipe, 4096)
            if not chunk:
                return
            *lines, text = (text + chunk).split(b"\n")
            yield from (decoder.decode(line) for line in lines)
        elif done():
            return


@contextlib.contextmanager
def in_the_background() -> Iterator[None]:
    """Only with what is left over of the machine: judging must not slow down what is being judged."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


class Judge:
    """Judges what a stretch has written, slice by slice."""

    def __init__(self, account: Account, judged: Sequence[Callable[[Verdict], None]]) -> None:
        self._account, self._judged = account, judged
        self._before = Before()
        self._start: dict[str, list[Record]] = {}
        self._replay: Replay | None = None
        """Of the present deployment, once an episode has told its layout."""

    def hear(self, told: Told) -> None:
        if told.written == START:
            # Another deployment has other leaders, and numbers of its own.
            self._before.former, self._replay = Former(), None
            self._start = _journals(self._account.plan.out / START)
            self._follow(self._start)
        elif told.written:
            self._judge(self._account.plan.out / "episodes" / told.written)
        if told.left is not None:
            self._account.leftovers = [*(self._account.leftovers or []), *told.left]
        if told.trouble:
            self._account.troubles.append(told.trouble)

    def _follow(self, journals: dict[str, list[Record]]) -> None:
        self._before.follow(merged(list(journals.values())))
        self._before.former.follow(journals)

    def _replayed(self, evidence: Evidence) -> Replayed:
        wrong: list[str] = []
        if self._replay is None:
            self._replay = Replay(evidence.layout)
            wrong += self._replay.take(self._start)
        wrong += self._replay.take(evidence.by_file)
        return Replayed(tuple(wrong), tuple(f"{party}: {why}" for party, why in self._replay.lost.items()))

    def _judge(self, folder: Path) -> None:
        evidence, notes = load_evidence(folder / "run.json"), load_notes(folder)
        judged = judge_episode(evidence, notes, self._before, self._replayed(evidence))
        verdict = msgspec.structs.replace(judged, dir=short(folder))
        self._follow(evidence.by_file)
        self._before.owner |= last_owners(evidence)
        repeat = f"holdfast lab soak --seed {notes.seed} --episodes {notes.number}..{notes.number}"
        (folder / "how-to-repeat.txt").write_text(f"{repeat}\n")
        write_report(folder, of_the_most_silent(evidence, notes), verdict)
        if verdict.verdict != "pass":
            plan = simulated(notes.seed, notes.number, evidence.layout)
            (folder / SIMULATED).write_text(text_of(plan, json.dumps(complaint(verdict))))
        account = self._account
        account.done.update(fault.kind for fault in notes.done)
        account.left_out.update(fault.kind for fault in notes.left_out)
        account.why |= {fault.kind: fault.why for fault in notes.left_out}
        account.episodes.append(verdict)
        for hear in self._judged:
            hear(verdict)


def of_the_most_silent(evidence: Evidence, notes: EpisodeNotes) -> Evidence:
    """As the client of that service saw it: a report shows one of them."""
    probes = [probe for probe in (evidence.probe, *evidence.further_probes) if probe is not None]
    if not probes:
        return evidence
    since = min((fault.at for fault in notes.done), default=evidence.run.began_at)
    gaps = [probe.outage(since) for probe in probes]
    at = max(range(len(probes)), key=lambda at: 0.0 if (gap := gaps[at]) is None else gap.length_s)
    run = msgspec.structs.replace(evidence.run, service=notes.probed[at])
    return dataclasses.replace(evidence, run=run, probe=probes[at])


def complaint(verdict: Verdict) -> str:
    """What did not hold, in one line."""
    wrong = [f"{name}: {check.text}" for name, check in verdict.checks.items() if check.ok is not True]
    return "; ".join([*wrong, *verdict.unknown])


def _journals(folder: Path) -> dict[str, list[Record]]:
    return {f"journal/{path.name}": read_journal(path)[0] for path in sorted((folder / "journal").glob("*.jsonl"))}


class Keeper:
    """Bounds what stays on the disk."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._well: deque[Path] = deque()
        self._failed = 0

    def keep(self, verdict: Verdict) -> None:
        folder = self._out / "episodes" / str(verdict.repeat)
        if verdict.verdict == "pass":
            self._well.append(folder)
            if len(self._well) > KEPT_WELL:
                shutil.rmtree(self._well.popleft())
            return
        self._failed += 1
        if self._failed > KEPT_FAILED:
            shutil.rmtree(folder)


def write_whole(account: Account) -> Verdict:
    """The soak's own report; its chart is that of the first episode that went wrong, or of the last one."""
    whole = account.whole()
    out = account.plan.out
    (out / VERDICT).write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    if account.episodes:
        shown = next((one for one in account.episodes if one.verdict != "pass"), account.episodes[-1])
        (out / SEQUENCE).unlink(missing_ok=True)
        (out / SEQUENCE).symlink_to(Path("episodes") / str(shown.repeat) / SEQUENCE)
    return whole
