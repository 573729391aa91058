"""The timeline of a run: one line for each record of all parties and for what the client saw, in fixed columns.

In: the evidence. Out: text. Times are milliseconds since the (first) fault, negative before it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from holdfast.core.explain_words import because, happened, ordered, outcome, party, plain, work
from holdfast.lab.judges.evidence import Evidence
from holdfast.model.actions import Action
from holdfast.model.events import ActionDone, ActionFailed, AgentJoined
from holdfast.model.names import ActionId
from holdfast.model.records import Begun, Decided, Ended, Marked, Opened, Record, Seen

LEGEND = """\
 ms since the fault   of the machine's monotonic clock, which all processes share
 who                  client: seen from outside; lab: done to the world; managers; agent of a host
 what                 saw: news reached a manager   decided: its answer, with reasons
                      begun, done, failed: an agent at work   told: its news to a manager   noted: anything else
 [ha/6]               number of an instruction or message, the same from its decision to its outcome
"""
BEFORE_S = 0.1
"""How much of the time before the first fault is shown."""


class Line(NamedTuple):
    at: float
    who: str
    what: str
    text: str


def origin(evidence: Evidence) -> float:
    """The moment that times are counted from: the first fault, or the start of the run."""
    return min((fault.at for fault in evidence.faults), default=evidence.run.began_at)


def timeline(evidence: Evidence) -> str:
    zero = origin(evidence)
    lines = [*_records(evidence.records, zero), *_client(evidence), *_lab(evidence)]
    lines.sort(key=lambda line: line.at)
    head = f"{evidence.run.scenario} ({evidence.run.use_case}), service {evidence.run.service}\n\n{LEGEND}\n"
    table = f"{'ms':>11}  {'who':<14} {'what':<8} \n"
    return head + table + "".join(_row(line, zero) for line in lines)


def _row(line: Line, zero: float) -> str:
    return f"{1000 * (line.at - zero):+11.3f}  {party(line.who):<14} {line.what:<8} {line.text}\n"


def _records(records: tuple[Record, ...], zero: float) -> Iterator[Line]:
    actions: dict[ActionId, Action] = {}
    for record in records:
        if isinstance(record, Decided) and (number := getattr(record.action, "id", None)):
            actions[number] = record.action
        if record.at < zero - BEFORE_S:
            continue
        match record:
            case Seen(event=AgentJoined() as joined):
                told = [f"{vnfc.vnfc} {vnfc.condition}" for vnfc in joined.vnfcs]
                told += [f"{vm.vm} {vm.condition}" for vm in joined.vms]
                yield Line(record.at, record.by, "saw", f"{happened(joined)}: {', '.join(told)}")
            case Seen(event=ActionDone() | ActionFailed() as ended):
                yield Line(record.at, record.by, "saw", f"{outcome(ended, actions.get(ended.action))} [{ended.action}]")
            case Seen():
                yield Line(record.at, record.by, "saw", plain(happened(record.event)))
            case Decided():
                number = getattr(record.action, "id", "")
                text = f"{ordered(record.action)}{number and f' [{number}]'}, because {because(record.reasons)}"
                yield Line(record.at, record.by, "decided", text)
            case Begun():
                yield Line(record.at, record.by, "begun", f"{work(record.what)} {record.about} [{record.action}]")
            case Ended():
                state = "done" if record.ok else "failed"
                detail = f": {record.detail}" if record.detail else ""
                text = f"{work(record.what)} {record.about} [{record.action}]{detail}"
                yield Line(record.at, record.by, state, text)
            case Marked(name="told"):
                yield Line(record.at, record.by, "told", record.detail)
            case Marked():
                words = (record.name.replace("-", " "), record.about, record.detail)
                yield Line(record.at, record.by, "noted", " ".join(words).strip())
            case Opened():
                yield Line(record.at, record.by, "noted", f"journal opened by process {record.pid}")


def outages(evidence: Evidence, at_least: float = 3.0) -> list[tuple[float, float, bool]]:
    """Silences that the client noticed from the first fault on: begin, end, whether it ended.

    Args:
        at_least: so many times the time between two requests; the longest is told in any case.
    """
    if evidence.probe is None:
        return []
    rate_s = evidence.probe.rate_s
    found = evidence.probe.gaps(origin(evidence) if evidence.faults else evidence.probe.began_at)
    longest = max((gap.length_s for gap in found), default=0.0)
    return [
        (g.begin, g.end, g.ended)
        for g in found
        if g.length_s >= min(at_least * rate_s, longest) and g.length_s > 1.5 * rate_s
    ]


def _client(evidence: Evidence) -> Iterator[Line]:
    for begin, end, ended in outages(evidence):
        yield Line(begin, "client", "saw", "last answer before a silence")
        text = f"answers again: outage {1000 * (end - begin):.1f} ms" if ended else "still no answer; the probe ends"
        yield Line(end, "client", "saw", text)


def _lab(evidence: Evidence) -> Iterator[Line]:
    for fault in evidence.run.faults:
        yield Line(fault.at, "lab", "did", " ".join((fault.kind, fault.entity, fault.detail)).strip())
