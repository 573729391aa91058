"""A text sequence chart of a run, in the manner of the use cases' message charts.

In: the evidence. Out: text of at most 132 columns: a lane for the client, the VNFCs and VMs that took part, the agents
of their hosts, and the managers (also one that hears nothing: that is part of some use cases). Instructions, answers
and messages are arrows, what is not worth one is folded away. Time runs downwards. An agent stands on the way of what
it carries out and of what it has seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from holdfast.lab.judges.evidence import Evidence, Fault
from holdfast.lab.judges.facts import Fact, facts
from holdfast.lab.report.timeline import origin, outages
from holdfast.model.layout import Layout, in_charge
from holdfast.model.names import VIM, VmName, VnfcName, agent_party, vnfm_party

WIDTH_MAX = 132
TIME_WIDTH = 11
LANES_MAX = 10
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
FAULTS = {
    "kill-vnfc": "killed",
    "wear-out": "killed",
    "kill-vm": "killed",
    "kill-manager": "killed",
    "freeze-vnfc": "frozen",
    "hold": "stopped",
    "release": "goes on",
    "down-and-up": "everything down and up again",
}
"""What the lab does, in a lane of its own."""
LEGEND = """\
 ║ active, or service provided   │ there   ┊ gone (failed, isolated, not started)   ╳ the client gets no answer
 ──▶ instruction or message   ◀╌╌ outcome, or news   o by way of this agent
 * done by the lab, or noted by whose lane it is
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
    by_way_of: str = ""
    """Lane of the agent that carries it out, or has seen it."""


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
        row = self.empty(arrow.at)
        between = [left, right]
        if arrow.by_way_of in self.lanes and left < self.centre(arrow.by_way_of) < right:
            between.insert(1, self.centre(arrow.by_way_of))
        widest = max(pairwise(between), key=lambda part: part[1] - part[0])
        if len(label) > widest[1] - widest[0] - 4:
            # Too long for its arrow: the label stands in a line of its own above it.
            above = self.empty(arrow.at)
            begin = min(left + 2, len(above) - len(label))
            above[begin : begin + len(label)] = label
            self.add(above[: max(begin + len(label), len(above))])
            row = self.empty()
            label = ""
        row[left + 1 : right] = line * (right - left - 1)
        begin = (widest[0] + widest[1] - len(label)) // 2 + 1
        row[begin : begin + len(label)] = label
        for middle in between[1:-1]:
            row[middle] = "o"
        row[b + (1 if b < a else -1)] = "◀" if b < a else "▶"
        self.add(row)


def sequence(evidence: Evidence) -> str:
    """The chart, from just before the first fault to the end of the last incident."""
    all_facts = facts(evidence.records)
    arrows = _arrows(evidence, all_facts)
    lanes = _lanes(evidence, arrows)
    vnfms = sum(lane.startswith("vnfm:") for lane in lanes)
    titles = ["VNFM" if lane.startswith("vnfm:") and vnfms == 1 else _title(lane) for lane in lanes]
    chart = Chart(lanes, titles, origin(evidence), _first_look(evidence, all_facts, lanes))
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
    kind, _, which = lane.partition(":")
    return {"ha": "HA manager", "vim": "VIM", "vnfm": f"VNFM {which}", "agent": f"agent {which}"}.get(kind, lane)


def _lanes(evidence: Evidence, arrows: Iterable[Arrow]) -> list[str]:
    """From left to right: client, VNFCs, VMs, agents that took part; HA manager, VNFMs, VIM."""
    layout = evidence.layout
    part = {lane for arrow in arrows for lane in (arrow.begin, arrow.end, arrow.by_way_of)}
    group = layout.groups[layout.services[evidence.run.service].group]
    own = [str(name) for name in group.vnfcs if name in part]
    other = [str(name) for name in layout.vnfcs if name in part and name not in group.vnfcs]
    vms = [str(name) for name in layout.vms if name in part]
    agents = [agent for host in layout.hosts if (agent := str(agent_party(host))) in part]
    part |= {in_charge(layout, group.vnf), vnfm_party(layout.vnfs[group.vnf].vnfm), VIM}
    managers = [name for name in ("ha", *sorted(n for n in part if n.startswith("vnfm:")), "vim") if name in part]
    room = LANES_MAX - 1 - len(managers)
    chosen = [*own, *agents, *vms, *other][: max(room, 1)]
    in_order = [name for name in (*own, *other, *vms, *agents) if name in chosen]
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
        found += (_by_way_of_agents(evidence.layout, arrow) for arrow in _of_fact(fact, heard))
    found += (_of_fault(evidence, fault) for fault in evidence.run.faults)
    for begin, end, ended in outages(evidence):
        found.append(Arrow(begin, CLIENT, CLIENT, "last answer", changes=((CLIENT, "╳"),)))
        text = f"answers again: {1000 * (end - begin):.1f} ms" if ended else "still no answers"
        found.append(Arrow(end, CLIENT, CLIENT, text, changes=((CLIENT, "║"),) if ended else ()))
    return sorted(found, key=lambda arrow: arrow.at)


def _of_fault(evidence: Evidence, fault: Fault) -> Arrow:
    """What the lab did, in the lane of whom it was done to."""
    layout = evidence.layout
    lane = fault.entity
    if lane == "vnfm":
        vnf = layout.groups[layout.services[evidence.run.service].group].vnf
        lane = str(vnfm_party(layout.vnfs[vnf].vnfm))
    is_known = lane in layout.vnfcs or lane in layout.vms or lane in ("ha", "vim") or lane.startswith("vnfm:")
    label = FAULTS.get(fault.kind, fault.kind)
    gone: list[str] = []
    if fault.kind in ("kill-vnfc", "kill-vm", "wear-out"):
        gone = [lane, *(str(vnfc.name) for vnfc in layout.vnfcs.values() if vnfc.vm == lane)]
    changes = tuple((name, "┊") for name in gone)
    if not is_known:
        return Arrow(fault.at, CLIENT, CLIENT, f"{label} {fault.entity}", changes=changes)
    return Arrow(fault.at, lane, lane, label, changes=changes)


def _by_way_of_agents(layout: Layout, arrow: Arrow) -> Arrow:
    """Between a manager and a VNFC or VM there is the agent of its host."""
    for lane in (arrow.begin, arrow.end):
        place = layout.vnfcs.get(VnfcName(lane)) or layout.vms.get(VmName(lane))
        if place is not None and arrow.begin != arrow.end:
            return arrow._replace(by_way_of=str(agent_party(place.host)))
    return arrow


def _of_fact(fact: Fact, heard: dict[str, Fact]) -> Iterable[Arrow]:
    fields = fact.fields
    match fact.verb, fact.kind:
        case "seen", "VnfcFailed":
            vnfc = str(fields["vnfc"])
            yield Arrow(fact.at, vnfc, fact.by, f"failed ({fields['cause']})", True, ((vnfc, "┊"),))
        case "seen", "VnfcIsolated":
            yield Arrow(fact.at, str(fields["vnfc"]), fact.by, "isolated", True)
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
        case "marked", "gate-opened" | "address-assigned":
            yield Arrow(fact.at, fact.by, fact.by, fact.kind.replace("-", " "))
        case "decided", "RaiseAlarm":
            yield Arrow(fact.at, fact.by, fact.by, f"alarm {fields['alarm']}")
        case "decided", "NoteVoters" if fields["state"] == "used":
            yield Arrow(fact.at, fact.by, fact.by, f"voters {', '.join(fields['voters'].members)}")


def _target(fact: Fact) -> str:
    host = fact.fields.get("host")
    return str(fact.fields.get("vnfc") or fact.fields.get("vm") or (host and agent_party(host)))


def _order_label(fact: Fact) -> str:
    text = ORDERS[fact.kind]
    if fact.kind in ("FenceHost", "StartHost"):
        return f"{text} {fact.fields['host']}"
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
        case "HostsAre":
            return f"voters {', '.join(fields['members'])}; locked {', '.join(fields['locked']) or 'none'}"
        case "HostIsOff":
            return f"{fields['host']} is off"
        case "VmUp":
            return f"{fields['vm']} up"
        case _:
            return f"{fact.kind} {fields.get('vm', '')}".strip()
