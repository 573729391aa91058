"""One measurement: what the client saw of one case with one system, and what speaks against it.

In:   the files that probe and owners' watcher have left, the time of the fault. Out: `Trial`.
Always: figures come from outside, the same way for every system; only processor time is read from the kernel.
"""

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from holdfast.lab.judges.asked import OwnersRun, load_owners
from holdfast.lab.judges.owners import judge_owners
from holdfast.lab.judges.probed import ProbeRun, load_probe

PROBE_FILE, OWNERS_FILE = "probe.bin", "owners.bin"
UNDER_WAY_S = 0.005
"""A request that was sent so shortly before the fault may be lost to it."""
FALSE_AFTER_S = 0.02
"""One who answers for less long than this between two others' answers was only late with its own."""


class Trial(Struct, frozen=True):
    """`system` and `case` by their names; times in ms as said."""

    system: str
    case: str
    lost: int
    """Requests that got no good answer, from the fault on."""
    outage_ms: float
    """The longest time between two answers, from the fault on."""
    two_owners_ms: float
    """For how long two hosts answered for the address, by ARP."""
    noise_ms: float
    """The longest pause of the client itself: nothing finer than this can be told from `outage_ms`."""
    moves: int
    """How often the address was answered by another one than before."""
    lapses: int = 0
    """Grants that ran out and were renewed by the same holder."""
    cpu_ms_per_s: float | None = None
    """Processor time of what keeps the service available, per second and host."""
    seconds: float = 0.0
    """Of load."""
    why: tuple[str, ...] = ()
    """What speaks against it; a trial that has anything here counts and is shown as not sound."""
    folder: str = ""


def measured(
    system: str, case: str, folder: Path, since: float, *, cpu_ms_per_s: float | None = None, lapses: int = 0,
    why: Iterable[str] = (),
) -> Trial:  # fmt: skip
    """Figures of a trial from the files in `folder`. `since` is when the fault began."""
    probe, owners = load_probe(folder / PROBE_FILE), load_owners(folder / OWNERS_FILE)
    judged = judge_owners([owners], [])  # Peers name no epochs, so their answers' names prove nothing.
    gap = probe.outage(since)
    return Trial(
        system=system,
        case=case,
        lost=probe.lost_since(since - UNDER_WAY_S),
        outage_ms=round(1000 * (gap.length_s if gap is not None else 0.0), 1),
        two_owners_ms=round(judged.ms, 1),
        noise_ms=round(1000 * probe.noise_s, 1),
        moves=moves(owners, since),
        lapses=lapses,
        cpu_ms_per_s=cpu_ms_per_s,
        seconds=round(probe.stopped_at - probe.began_at, 1),
        why=(*why, *_doubts(probe, judged.asked)),
        folder=str(folder),
    )


def _doubts(probe: ProbeRun, asked: bool) -> list[str]:
    found = []
    if not probe.realtime:
        found.append("the client had no real-time priority (it takes root)")
    if not asked:
        found.append("nobody was seen to own the address")
    if not probe.answered_well_at_the_end():
        found.append("the service did not answer at the end")
    return found


def moves(owners: OwnersRun, since: float) -> int:
    """How often another one answered than before."""
    answers = sorted((answer.at, answer.mac) for answer in owners.answers if answer.kind == "answer")
    stretches: list[tuple[str, float, float]] = []
    for at, mac in answers:
        if stretches and stretches[-1][0] == mac:
            stretches[-1] = (mac, stretches[-1][1], at)
        else:
            stretches.append((mac, at, at))
    lasting = [one for one in stretches if one[2] - one[1] >= FALSE_AFTER_S]
    changes = itertools.pairwise(lasting)
    return sum(1 for former, now in changes if now[1] >= since and former[0] != now[0])


class ProcessorTime:
    """What processes have used since this was made, in ms per second; one that has ended meanwhile does not count."""

    def __init__(self, pids: Iterable[int], at: float) -> None:
        self._at = at
        self._used = {pid: used for pid in pids if (used := used_s(pid)) is not None}

    def ms_per_s(self, now: float, hosts: int) -> float:
        used = [after - before for pid, before in self._used.items() if (after := used_s(pid)) is not None]
        return round(1000 * sum(used) / (now - self._at) / hosts, 2)


def used_s(pid: int) -> float | None:
    """Processor time of a process since it began, in seconds; None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
