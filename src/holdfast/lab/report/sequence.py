"""A text sequence chart of a run, in the manner of the use cases' message charts.

In: the evidence. Out: text of at most 120 columns: a lane for the client, the VNFCs and VMs that took part, and the
managers; instructions, answers and messages as arrows, what is not worth an arrow folded away. Time runs downwards.
Agents have no lane: what they carry out is drawn between the manager and the VNFC or VM it is about.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast.lab.judges.evidence import Evidence
from holdfast.lab.judges.facts import Fact, facts
from holdfast.lab.report.timeline import origin, outages

WIDTH_MAX = 120
TIME_WIDTH = 11
LANES_MAX = 9
LABEL_MAX = 60
LANE_WIDTH_MAX = 22
SLOW_MESSAGE_S = 0.010
"""A message that took longer is drawn where it was sent and where it was heard."""

CLIENT = "client"
ORDERS = {
    "IsolateVnfc": "clean up",
    "StartVnfc": "start",
    "StopVnfc": "stop",
    "Activate": "set active",
    "StandBy": "set standby",
    "Quiesce": "quiesce",
    "ConfirmLoss": "loss recorded",
    "IsolateVm": "isolate",
    "StartVm": "restart",
    "FenceHost": "fence",
    "StartHost": "switch on",
}
LEGEND = """\
 ║ active, or service provided   │ there   ┊ gone (failed, isolated, not started)   ╳ the client gets no answer
 ──▶ instruction or message   ◀╌╌ its outcome   * done by the lab, or noted by a manager
"""


class Arrow(NamedTuple):
    at: float
    begin: str
    end: str
    """Lane it points to; the same as `begin` for a note."""
    label: str
    is_outcome: bool = False
    changes: tuple[tuple[str, str], ...] = ()
    """How lifelines look from here on."""


@dataclass
class Chart:
    lanes: list[str]
    titles: list[str]
    zero: float
    look: dict[str, str] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)

    @property
    def lane_width(self) -> int:
        return min(LANE_WIDTH_MAX, (WIDTH_MAX - TIME_WIDTH) // len(self.lanes))

    def centre(self, lane: str) -> int:
        return TIME_WIDTH + self.lanes.index(lane) * self.lane_width + self.lane_width // 2

    def empty(self, at: float | None = None) -> list[str]:
        row = [" "] * (TIME_WIDTH + self.lane_width * len(self.lanes))
        if at is not None:
            row[: TIME_WIDTH - 1] = f"{1000 * (at - self.zero):+10.1f}"
        for lane in self.lanes:
            row[self.centre(lane)] = self.look.get(lane, "│")
        return row

    def add(self, row: Sequence[str]) -> None:
        self.rows.append("".join(row).rstrip())

    def head(self) -> None:
        row = [" "] * (TIME_WIDTH + self.lane_width * len(self.lanes))
        row[:TIME_WIDTH] = f"{'ms':>10} "
        for lane, title in zip(self.lanes, self.titles, strict=True):
            text = title[: self.lane_width - 1]
            begin = self.centre(lane) - len(text) // 2
            row[begin : begin + len(text)] = text
        self.add(row)
        self.add(self.empty())

    def draw(self, arrow: Arrow) -> None:
        if arrow.begin != arrow.end:
            self._arrow(arrow)
        elif arrow.label:
            self._note(arrow)
        self.look.update({lane: look for lane, look in arrow.changes if lane in self.lanes})

    def _note(self, arrow: Arrow) -> None:
        row = self.empty(arrow.at)
        text = f"* {arrow.label}"
        begin = self.centre(arrow.begin) + 2
        if begin + len(text) > len(row):
            # To the left of its lane, so that the text never runs out of the chart.
            text = text[: self.centre(arrow.begin) - TIME_WIDTH - 2]
            begin = self.centre(arrow.begin) - 1 - len(text)
        row[begin : begin + len(text)] = text
        self.add(row)

    def _arrow(self, arrow: Arrow) -> None:
        a, b = self.centre(arrow.begin), self.centre(arrow.end)
        left, right = min(a, b), max(a, b)
        line = "╌" if arrow.is_outcome else "─"
        label = f" {arrow.label[:LABEL_MAX]} "
        room = right - left - 4
        row = self.empty(arrow.at)
        if len(label) > room:
            # Too long for its arrow: the label stands in a line of its own above it.
            above = self.empty(arrow.at)
            begin = min(left + 2, len(above) - len(label))
            above[begin : begin + len(label)] = label
            self.add(above[: max(begin + len(label), len(above))])
            row = self.empty()
            label = ""
        row[left + 1 : right] = line * (right - left - 1)
        begin = (left + right - len(label)) // 2 + 1
        row[begin : begin + len(label)] = label
        row[b + (1 if b < a else -1)] = "◀" if b < a else "▶"
        self.add(row)


def sequence(evidence: Evidence) -> str:
    """The chart, from just before the first fault to the end of the last incident."""
    all_facts = facts(evidence.records)
    arrows = _arrows(evidence, all_facts)
    lanes = _lanes(evidence, arrows)
    chart = Chart(lanes, [_title(lane) for lane in lanes], origin(evidence), _first_look(evidence, all_facts, lanes))
    chart.head()
    last = None
    for arrow in arrows:
        if arrow.begin not in lanes or arrow.end not in lanes:
            continue
        if last is not None and arrow.at - last > 0.02:
            chart.add(chart.empty())
        chart.draw(arrow)
        last = arrow.at
    chart.add(chart.empty())
    title = f"{evidence.run.scenario} ({evidence.run.use_case}), service {evidence.run.service}"
    return f"{title}\n\n" + "\n".join(chart.rows) + f"\n\n{LEGEND}"


def _title(lane: str) -> str:
    return {"ha": "HA manager", "vim": "VIM", CLIENT: "client"}.get(lane, lane.replace("vnfm:", "VNFM "))


def _lanes(evidence: Evidence, arrows: Iterable[Arrow]) -> list[str]:
    """Who took part, from left to right: client, VNFCs, VMs, hosts, HA manager, VNFMs, VIM."""
    layout = evidence.layout
    part = {lane for arrow in arrows for lane in (arrow.begin, arrow.end)}
    group = layout.groups[layout.services[evidence.run.service].group].vnfcs
    own = [str(name) for name in group if name in part]
    other = [str(name) for name in layout.vnfcs if name in part and name not in group]
    places = [str(name) for name in (*layout.vms, *layout.hosts) if name in part]
    managers = [name for name in ("ha", *sorted(n for n in part if n.startswith("vnfm:")), "vim") if name in part]
    room = LANES_MAX - 1 - len(managers)
    chosen = [*own, *places, *other][: max(room, 1)]
    in_order = [name for name in (*own, *other, *places) if name in chosen]
    return [CLIENT, *in_order, *managers]


def _first_look(evidence: Evidence, all_facts: Sequence[Fact], lanes: Sequence[str]) -> dict[str, str]:
    """How lifelines look just before the first fault."""
    zero = origin(evidence)
    look: dict[str, str] = {CLIENT: "║"}
    look |= {str(name): "┊" for name in evidence.layout.vnfcs}
    for fact in all_facts:
        if fact.at >= zero:
            break
        if fact.verb == "seen" and fact.kind == "VnfcReady":
            look[str(fact.fields["vnfc"])] = "│"
        elif fact.verb == "seen" and fact.kind == "VnfcFailed":
            look[str(fact.fields["vnfc"])] = "┊"
        elif fact.kind == "NoteService" and fact.fields["state"] == "provided" and fact.fields["vnfc"]:
            look = {name: "│" if mark == "║" and name != CLIENT else mark for name, mark in look.items()}
            look[str(fact.fields["vnfc"])] = "║"
    return {lane: look.get(lane, "│") for lane in lanes}


def _arrows(evidence: Evidence, all_facts: Sequence[Fact]) -> list[Arrow]:
    zero = origin(evidence)
    later = [fact for fact in all_facts if fact.at >= zero]
    heard = {fact.fields["id"]: fact for fact in reversed(later) if fact.verb == "heard"}
    found: list[Arrow] = []
    for fact in later:
        found += _of_fact(fact, heard)
    for fault in evidence.run.faults:
        lane = fault.entity
        gone = ((lane, "┊"),) if fault.kind.startswith("kill") else ()
        if lane not in evidence.layout.vnfcs and lane not in evidence.layout.vms and lane not in evidence.layout.hosts:
            lane = {"vnfm": "", "all": ""}.get(lane, lane)
            lane = lane if lane in ("ha", "vim") else CLIENT
        label = fault.kind if lane == fault.entity else f"{fault.kind} {fault.entity}"
        found.append(Arrow(fault.at, lane, lane, label, changes=gone))
    for begin, end, ended in outages(evidence):
        found.append(Arrow(begin, CLIENT, CLIENT, "last answer", changes=((CLIENT, "╳"),)))
        text = f"answers again: {1000 * (end - begin):.1f} ms" if ended else "still no answers"
        found.append(Arrow(end, CLIENT, CLIENT, text, changes=((CLIENT, "║"),) if ended else ()))
    return sorted(found, key=lambda arrow: arrow.at)


def _of_fact(fact: Fact, heard: dict[str, Fact]) -> Iterable[Arrow]:
    fields = fact.fields
    match fact.verb, fact.kind:
        case "seen", "VnfcFailed":
            vnfc = str(fields["vnfc"])
            yield Arrow(fact.at, vnfc, fact.by, f"failed ({fields['cause']})", True, ((vnfc, "┊"),))
        case "seen", "VnfcReady":
            vnfc = str(fields["vnfc"])
            yield Arrow(fact.at, vnfc, fact.by, "ready", True, ((vnfc, "│"),))
        case "done", "StartVnfc":
            # Told by `ready` already; here only what it looks like from now on.
            vnfc = str(fields["vnfc"])
            yield Arrow(fact.at, vnfc, vnfc, "", changes=((vnfc, "║"),) if fields["service"] else ())
        case "seen", "VmDied":
            vm = str(fields["vm"])
            yield Arrow(fact.at, vm, fact.by, "died", True, ((vm, "┊"),))
        case "seen", "StandbySynced" | "StandbyLost":
            what = "in sync" if fact.kind == "StandbySynced" else "lost"
            yield Arrow(fact.at, str(fields["vnfc"]), fact.by, f"{fields['standby']} {what}", True)
        case "seen", "SwitchoverAsked":
            yield Arrow(fact.at, fact.by, fact.by, "switchover asked")
        case "decided", kind if kind in ORDERS:
            yield Arrow(fact.at, fact.by, _target(fact), _order_label(fact))
        case (("done" | "undone"), kind) if kind in ORDERS:
            yield Arrow(fact.at, _target(fact), fact.by, _outcome_label(fact), True, _changes(fact))
        case "sent", _:
            received = heard.get(fields["id"])
            if received is None or received.at - fact.at > SLOW_MESSAGE_S:
                what = "never heard" if received is None else "under way"
                yield Arrow(fact.at, fact.by, fact.by, f"{_message(fact)} to {_title(str(fields['to']))} ({what})")
        case "heard", _ if heard.get(fields["id"]) is fact:
            yield Arrow(fact.at, str(fields["sender"]), fact.by, _message(fact))
        case "decided", "Refuse":
            yield Arrow(fact.at, fact.by, fact.by, f"not now: {fields['what']} {fields['about']}")
        case "decided", "RaiseAlarm":
            yield Arrow(fact.at, fact.by, fact.by, f"alarm {fields['alarm']}")


def _target(fact: Fact) -> str:
    return str(fact.fields.get("vnfc") or fact.fields.get("vm") or fact.fields.get("host"))


def _order_label(fact: Fact) -> str:
    text = ORDERS[fact.kind]
    return f"{text}, epoch {fact.fields['epoch']}" if fact.kind == "Activate" else text


def _outcome_label(fact: Fact) -> str:
    if fact.verb == "undone":
        return f"{ORDERS[fact.kind]}: failed"
    return "up" if fact.kind == "StartVm" else f"{ORDERS[fact.kind]}: ok"


def _changes(fact: Fact) -> tuple[tuple[str, str], ...]:
    if fact.verb == "undone":
        return ()
    target = _target(fact)
    if fact.kind == "Activate":
        return ((target, "║"),)
    if fact.kind in ("StartVm", "StandBy", "Quiesce", "StartHost"):
        return ((target, "│"),)
    if fact.kind in ("IsolateVnfc", "IsolateVm", "FenceHost", "StopVnfc"):
        return ((target, "┊"),)
    return ()


def _message(fact: Fact) -> str:
    fields = fact.fields
    match fact.kind:
        case "ErrorReport":
            asks = ", isolate VM" if fields["isolate_vm"] else ", repair VM" if fields["repair_vm"] else ""
            return f"report error on {fields['vnfc']}{asks}"
        case "ErrorCleared":
            return "clear error"
        case "RepairRequest":
            return f"{'isolate' if fields['isolate_only'] else 'repair'} {fields['vm']}"
        case "RepairAck":
            return f"ack: restart of {fields['vm']} is safe"
        case "ErrorOnVm":
            return f"error on {fields['vm']} ({fields['failures']} failures)"
        case "VmFailed":
            return f"{fields['vm']} failed"
        case "VmIsolated":
            return f"{fields['vm']} isolated"
        case "VmUp":
            return f"{fields['vm']} up"
        case _:
            return f"{fact.kind} {fields.get('vm', '')}".strip()
