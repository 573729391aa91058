"""A loop that never rests for each core, of ordinary priority, for as long as the block lasts."""

import os
import subprocess
from types import TracebackType

SPARE_S = 60


class Busy:
    """The kernel ends the loops with this process, and at the latest `SPARE_S` of processor time after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._limit_s = int(seconds) + SPARE_S
        self._loops: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Busy":
        loop = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", f"ulimit -t {self._limit_s}; while :; do :; done"]
        self._loops = [subprocess.Popen(loop) for _ in os.sched_getaffinity(0)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for loop in self._loops:
            loop.kill()
            loop.wait()
        self._loops = []
