"""Many seeds, on all processors: each run judged, what was covered counted, failing seeds kept.

In:   seeds from A to B. Out: a `Total`: how many were clean, which were not and why, events per second, coverage.
Always: each batch of seeds is run in a process of its own, so that nothing of one run stays for the next.
"""

import gc
import json
import os
import pickle
import select
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.lab.sim.draw import draw
from holdfast.lab.sim.script import text_of
from holdfast.lab.sim.seed import Outcome, run_seed
from holdfast.lab.sim.shrink import shrink

BATCH = 10
PIECE_BYTES = 1 << 16
Run = Callable[[Sequence[int], Path | None], tuple[list[Outcome], float]]
"""Runs seeds, keeps what is known of failing ones; tells their outcomes, and the seconds of processor time."""


@dataclass
class Total:
    """What has come of the seeds so far."""

    seeds: int = 0
    events: int = 0
    simulated_ms: int = 0
    began_at: float = field(default_factory=time.monotonic)
    processor_s: float = 0.0
    failed: list[Outcome] = field(default_factory=list)
    covered: Counter[tuple[str, str]] = field(default_factory=Counter)
    recovered_ms: list[int] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.events += outcome.events
        self.simulated_ms += outcome.simulated_ms
        self.covered.update(outcome.covered)
        self.recovered_ms.append(outcome.recovered_ms)
        if outcome.violations:
            self.failed.append(outcome)


@dataclass
class _Worker:
    pid: int
    pipe: int
    batch: Sequence[int]
    received: bytes = b""


def run_many(
    seeds: Sequence[int],
    keep: Path | None,
    tell: Callable[[Total], None],
    workers: int | None = None,
    run: Run | None = None,
) -> Total:
    """Run them all.

    Args:
        keep: where failing seeds leave what is known of them.
        tell: called each time some more are done.
        workers: processes at once; one for each processor if not given.
        run: how a process runs its seeds.

    Raises:
        HoldfastError: a process has ended by a fault of its own, or was killed.
    """
    total = Total()
    batches = _batches(seeds)
    running: dict[int, _Worker] = {}
    try:
        while True:
            while len(running) < (workers or os.cpu_count() or 1) and (batch := next(batches, None)) is not None:
                worker = _start(batch, keep, run or _run)
                running[worker.pipe] = worker
            if not running:
                return total
            for pipe in select.select(list(running), [], [])[0]:
                if not _listen(running[pipe]):
                    _take(running.pop(pipe), total)
            tell(total)
    finally:
        for worker in running.values():
            os.kill(worker.pid, 9)
            os.waitpid(worker.pid, 0)
            os.close(worker.pipe)


def _batches(seeds: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(seeds), BATCH):
        yield seeds[begin : begin + BATCH]


def _start(batch: Sequence[int], keep: Path | None, run: Run) -> _Worker:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_end)
            with os.fdopen(write_end, "wb") as pipe:
                pickle.dump(run(batch, keep), pipe)
            status = 0
        except BaseException:  # noqa: BLE001  # whatever it is, this process goes no further than here
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write_end)
    return _Worker(pid, read_end, batch)


def _run(batch: Sequence[int], keep: Path | None) -> tuple[list[Outcome], float]:
    began = time.process_time()
    # This process ends with its batch, so nothing of it has to be collected.
    gc.freeze()
    gc.disable()
    outcomes = []
    for seed in batch:
        outcome = run_seed(draw(seed))
        if outcome.violations and keep is not None:
            # Once more, as it is the same run, and now with everything that is known of it; then made short.
            run_seed(draw(seed), keep / str(seed))
            first = outcome.violations[0]
            short = text_of(shrink(draw(seed)), json.dumps(f"{first.judge}: {first.text}"))
            (keep / str(seed) / "short.yaml").write_text(short)
        outcomes.append(outcome)
    return outcomes, time.process_time() - began


def _listen(worker: _Worker) -> bool:
    """Whether there may be more to come."""
    piece = os.read(worker.pipe, PIECE_BYTES)
    worker.received += piece
    return bool(piece)


def _take(worker: _Worker, total: Total) -> None:
    os.close(worker.pipe)
    _, status = os.waitpid(worker.pid, 0)
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        how = (
            f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else "failed; what it said is above"
        )
        raise HoldfastError(
            f"the process that ran seeds {worker.batch[0]}..{worker.batch[-1]} {how}",
            "HOLDFAST_UNCOMPILED=1 runs the same seeds without the compiled copy",
        )
    outcomes, processor_s = pickle.loads(worker.received)
    total.processor_s += processor_s
    for outcome in outcomes:
        total.take(outcome)
