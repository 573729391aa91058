"""What live tests make of lengths of time: on a machine that runs something else besides, they prove nothing.

Lengths are judged where time is simulated, and measured in `bench/`. Here a run whose lengths alone are wrong is made
again; if they are wrong each time, though the machine did nothing else all the while, that is a failure all the same.
"""

import os
import resource
import time
from pathlib import Path

import msgspec

from holdfast.lab.judges.verdict import Checked, Verdict

OTHERS_MAX, STOLEN_MAX, STALLED_MAX = 0.05, 0.01, 0.05
"""Shares of the machine's time that others may have while it still counts as quiet."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Machine:
    """What else it has done since this was made."""

    def __init__(self) -> None:
        self._began_s, self._used_s, self._own_s = time.monotonic(), _used_s(), _own_s()
        self._stolen_s, self._stalled_s = _stolen_s(), _stalled_s()

    def other_work(self) -> str:
        """In words; empty if it was quiet. Work of processes of this test that have not ended counts as others'."""
        took_s = max(time.monotonic() - self._began_s, 1e-3)
        whole_s = took_s * (os.cpu_count() or 1)
        shares = {
            "taken by others": ((_used_s() - self._used_s - _own_s() + self._own_s) / whole_s, OTHERS_MAX),
            "taken away by the hypervisor": ((_stolen_s() - self._stolen_s) / whole_s, STOLEN_MAX),
            "spent in waiting for disks": ((_stalled_s() - self._stalled_s) / took_s, STALLED_MAX),
        }
        return ", ".join(f"{share:.0%} {what}" for what, (share, limit) in shares.items() if share > limit)


def _ticks() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]


def _used_s() -> float:
    """By processes: `user`, `nice` and `system`."""
    return sum(_ticks()[:3]) / TICKS_PER_S


def _stolen_s() -> float:
    return _ticks()[7] / TICKS_PER_S


def _own_s() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in both)


def _stalled_s() -> float:
    """While something waited for a disk; 0 where the kernel does not say."""
    try:
        words = Path("/proc/pressure/io").read_text().split()
    except OSError:
        return 0.0
    return int(words[4].removeprefix("total=")) / 1e6


def wrong_in(verdict: Verdict) -> dict[str, Checked]:
    return {name: check for name, check in verdict.checks.items() if check.ok is not True}


def wrong_but_lengths(verdict: Verdict) -> dict[str, str]:
    """What is wrong in a verdict, lengths of time left out."""
    told = {name: check.text for name, check in wrong_in(verdict).items() if not check.of_time}
    return told | {f"unknown {number}": text for number, text in enumerate(verdict.unknown)}


def verdict_in(folder: Path) -> Verdict:
    return msgspec.json.decode((folder / "verdict.json").read_bytes(), type=Verdict)
