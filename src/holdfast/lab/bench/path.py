"""Where the time of a failover goes: from the last answer of the old one to the first of the new one, moment by moment.

In:   runs of Holdfast, of one case. Out: for each moment on the path, how long after the one before it came.
Always: both ends are the client's; what lies between is from the journals, so a moment that a run does not have is
left out and its time counts to the next one.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.lab.judges.evidence import Evidence
from holdfast.model.actions import Activate, IsolateVnfc, Quiesce
from holdfast.model.events import SwitchoverAsked, VnfcFailed, VnfcIsolated
from holdfast.model.names import HA
from holdfast.model.records import TAKING, Begun, Decided, Ended, Marked, Record, Seen

Sign = Callable[[Record], bool]
AGENT = "agent:"
ANSWERED = "the client is answered"


@dataclass(frozen=True)
class Moment:
    says: str
    sign: Sign


def _seen(event: type) -> Sign:
    return lambda record: isinstance(record, Seen) and record.by == HA and isinstance(record.event, event)


def _decided(action: type, by: str = HA) -> Sign:
    return lambda record: isinstance(record, Decided) and record.by.startswith(by) and isinstance(record.action, action)


def _marked(name: str) -> Sign:
    return lambda record: isinstance(record, Marked) and record.by.startswith(AGENT) and record.name == name


def _at_agent(kind: type[Begun] | type[Ended], action: type) -> Sign:
    return lambda record: isinstance(record, kind) and record.what == action.__name__


TOLD = Moment("the process has ended, and its agent says so", _marked("told"))
OPENED = (
    Moment("the gate of the successor's VM is open", _marked("gate-opened")),
    Moment("its component is active, and its address announced", _marked("address-assigned")),
)
GIVEN = (
    Moment("the manager gives the successor the service", _decided(Activate)),
    Moment("the successor's agent begins", _at_agent(Begun, Activate)),
    *OPENED,
)
TAKEN = (
    Moment("a majority has recorded the successor's claim", _marked(TAKING)),
    Moment("the successor's agent goes by the standing order", _decided(Activate, AGENT)),
    *OPENED,
)
LET_GO = (
    Moment("the manager takes in that it is asked to move", _seen(SwitchoverAsked)),
    Moment("it decides", _decided(Quiesce)),
    Moment("the active's agent begins", _at_agent(Begun, Quiesce)),
    Moment("component, gate and address have let go", _at_agent(Ended, Quiesce)),
)
PATHS: dict[tuple[str, str], tuple[Moment, ...]] = {
    ("holdfast", "crash"): (
        TOLD,
        Moment("the manager takes that in", _seen(VnfcFailed)),
        Moment("it decides to isolate", _decided(IsolateVnfc)),
        Moment("it takes in that nothing is left", _seen(VnfcIsolated)),
        *GIVEN,
    ),
    ("holdfast-hosts", "crash"): (TOLD, *TAKEN),
    ("holdfast", "switchover"): (*LET_GO, *GIVEN),
    ("holdfast-hosts", "switchover"): (*LET_GO, *TAKEN),
}


def steps(evidence: Evidence, path: Sequence[Moment]) -> dict[str, float]:
    """For each moment of one run, how many ms after the moment before; the first after the client's last answer.

    Raises:
        HoldfastError: nobody took over, or the client was not answered.
    """
    since = min(fault.at for fault in evidence.faults)
    times = {moment.says: at for moment in path if (at := _first(evidence.records, since, moment.sign)) is not None}
    last = times.get(path[-1].says, since)
    gaps = evidence.probe.gaps(since) if evidence.probe is not None else []
    gap = next((one for one in gaps if one.ended and one.begin <= last <= one.end), None)
    if gap is None or path[-1].says not in times:
        raise HoldfastError("the client was not answered anew by a successor", f"see {evidence.folder}")
    found: dict[str, float] = {}
    before = gap.begin
    for says, at in times.items():
        found[says], before = 1000 * max(0.0, at - before), max(before, at)
    found[ANSWERED] = 1000 * (gap.end - before)
    return found


def _first(records: Sequence[Record], since: float, sign: Sign) -> float | None:
    return min((record.at for record in records if record.at >= since and sign(record)), default=None)


def table(path: Sequence[Moment], runs: Sequence[dict[str, float]]) -> str:
    """The steps of several runs in Markdown, and what they come to."""
    lines = [f"| until | median ms of {len(runs)} | min | max |", "|---|---|---|---|"]
    for says in (*(moment.says for moment in path), ANSWERED):
        if times := [run[says] for run in runs if says in run]:
            lines.append(f"| {says} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} |")
    totals = [sum(run.values()) for run in runs]
    lines.append(f"| in all | {statistics.median(totals):.2f} | {min(totals):.2f} | {max(totals):.2f} |")
    return "\n".join(lines)
