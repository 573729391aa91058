"""Did everything happen in the right order? Marks of a run against the partial orders of data/orders.yaml.

In: the evidence of a run. Out: violations, each with the rule it breaks and what was seen instead; none means that the
order was kept. What the rules mean is written in orders.yaml, above the orders.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from holdfast.lab.judges.evidence import Evidence
from holdfast.lab.judges.facts import Fact, facts
from holdfast.lab.judges.marks import Episode, Mark, MarkRule, episodes, find_marks
from holdfast.model.layout import Layout
from holdfast.model.names import VmName, VnfcName, vnfm_party

DATA = Path(__file__).parents[1] / "data" / "orders.yaml"
VIM_NEWS = ("VmFailed", "VmIsolated", "VmUp")


class Violation(NamedTuple):
    rule: str
    text: str
    at: float


class Before(NamedTuple):
    a: str
    b: str
    strict: bool

    @property
    def rule(self) -> str:
        return f"{self.a} {'<' if self.strict else '<='} {self.b}"


@dataclass(frozen=True)
class Order:
    name: str
    says: str = ""
    must: tuple[str, ...] = ()
    before: tuple[Before, ...] = ()
    optional: tuple[str, ...] = ()
    iff: tuple[tuple[str, str], ...] = ()
    never: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    one_of: tuple[tuple[str, str], ...] = ()
    all_agree: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    newest: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True)
class Orders:
    """The whole file."""

    marks: tuple[MarkRule, ...]
    orders: Mapping[str, Order]

    def named(self, *names: str) -> Order | None:
        """The first of these that has an order of its own."""
        return next((self.orders[name.lower()] for name in names if name.lower() in self.orders), None)

    def says(self, mark: str) -> str:
        return next((rule.says for rule in self.marks if rule.name == mark), mark)


@cache
def load_orders(path: Path = DATA) -> Orders:
    data = yaml.safe_load(path.read_text())
    rules = tuple(
        MarkRule(name, entry["says"], tuple(entry["from"]), entry.get("late", False))
        for name, entry in data["marks"].items()
    )
    known = {rule.name for rule in rules}
    orders = {name: _order(name, data["orders"]) for name in data["orders"]}
    for order in orders.values():
        unknown = _names(order) - known
        if unknown or set(order.earlier) - set(orders):
            raise ValueError(f"order {order.name}: unknown {sorted(unknown | (set(order.earlier) - set(orders)))}")
    return Orders(rules, orders)


def _names(order: Order) -> set[str]:
    pairs = [name for pair in (*order.iff, *order.one_of) for name in pair]
    ends = [name for before in order.before for name in (before.a, before.b)]
    single = (order.must, order.optional, order.never, order.once, order.all_agree, order.told, order.prompt)
    return {*pairs, *ends, *(name for names in (*single, order.counted, order.newest) for name in names)}


def _order(name: str, data: Mapping[str, Any]) -> Order:
    entry = data[name]
    base = _order(entry["like"], data) if "like" in entry else Order(name)
    without = entry.get("without", [])

    def more(key: str, before: tuple[Any, ...]) -> tuple[Any, ...]:
        added = tuple(tuple(item) if isinstance(item, list) else item for item in entry.get(key, ()))
        return tuple(item for item in dict.fromkeys((*before, *added)) if item not in without)

    optional = more("optional", base.optional)
    chains = [relation for chain in entry.get("before", ()) for relation in _chain(chain, optional)]
    return Order(
        name=name,
        says=entry.get("says", ""),
        must=more("must", base.must),
        before=tuple(b for b in dict.fromkeys((*base.before, *chains)) if b.rule not in without),
        optional=optional,
        iff=more("iff", base.iff),
        never=more("never", base.never),
        once=more("once", base.once),
        one_of=more("one-of", base.one_of),
        all_agree=more("all-agree", base.all_agree),
        told=more("told", base.told),
        prompt=more("prompt", base.prompt),
        counted=more("counted", base.counted),
        newest=more("newest", base.newest),
        earlier=tuple(entry.get("earlier", base.earlier)),
    )


def _chain(text: str, optional: Sequence[str]) -> list[Before]:
    """`a < b <= c` as pairs; around a mark that may be missing its neighbours are held together as well."""
    words = text.split()
    names, signs = words[::2], words[1::2]
    if len(names) != len(signs) + 1 or set(signs) - {"<", "<="}:
        raise ValueError(f"expected marks with `<` or `<=` between them, found {text!r}")
    found: list[Before] = []
    for i, a in enumerate(names[:-1]):
        for j in range(i + 1, len(names)):
            found.append(Before(a, names[j], "<" in signs[i:j]))
            if names[j] not in optional:
                break
    return found


@dataclass(frozen=True)
class Case:
    """What one order is judged from."""

    order: Order
    within: Episode
    marks: Mapping[str, Sequence[Mark]]
    """By name, each in order of time."""
    all_facts: Sequence[Fact]
    says: Callable[[str], str] = field(default=str)

    @property
    def layout(self) -> Layout:
        return self.within.layout

    def all(self, name: str) -> Sequence[Mark]:
        return self.marks.get(name, ())

    def when(self, at: float) -> str:
        return f"{1000 * (at - self.within.begin):+.1f} ms"

    def tell(self, mark: Mark) -> str:
        return f"{mark.name} at {self.when(mark.at)} ({mark.fact.says()})"


def judge_orders(evidence: Evidence) -> list[Violation] | None:
    """The violations of a whole run, episode by episode; None where there is no order for it."""
    orders = load_orders()
    main = orders.named(evidence.run.scenario, evidence.run.use_case)
    if main is None:
        return None
    all_facts = facts(evidence.records)
    found: list[Violation] = []
    cut = episodes(evidence, all_facts)
    for number, within in enumerate(cut):
        marks = find_marks(orders.marks, all_facts, evidence.probe, within)
        is_last = number == len(cut) - 1
        names = (within.fault.order,) if within.fault.order else (main.name,) if is_last else main.earlier
        candidates = [order for name in names or (main.name,) if (order := orders.named(name)) is not None]
        results: list[list[Violation]] = [judge_order(order, marks, within, all_facts) for order in candidates]
        found += sorted(results, key=len)[0] if results else []
    return found


def judge_order(order: Order, marks: Iterable[Mark], within: Episode, all_facts: Sequence[Fact]) -> list[Violation]:
    """The violations of one order in one episode."""
    by_name: dict[str, list[Mark]] = {}
    for mark in marks:
        by_name.setdefault(mark.name, []).append(mark)
    case = Case(order, within, by_name, all_facts, load_orders().says)
    found = [violation for rule in RULES for violation in rule(case)]
    return sorted(found, key=lambda violation: violation.at)


def _must(case: Case) -> Iterator[Violation]:
    for name in case.order.must:
        if name == "service-back" and not case.within.is_probed:
            continue
        if not case.all(name):
            yield Violation(f"must {name}", f"never happened: {name}, {case.says(name)}", case.within.begin)


def _before(case: Case) -> Iterator[Violation]:
    for before in case.order.before:
        after, first = case.all(before.b), case.all(before.a)
        if not after:
            continue
        b = after[0]
        if not first:
            excused = before.a in case.order.optional or (before.a == "service-back" and not case.within.is_probed)
            if not excused:
                yield Violation(before.rule, f"{case.tell(b)} without {before.a}, {case.says(before.a)}", b.at)
            continue
        a = min(first, key=lambda mark: (mark.since, mark.fact.n))
        if _is_earlier(b, a, before.strict):
            yield Violation(before.rule, f"{case.tell(b)} came before {case.tell(a)}", b.at)


def _is_earlier(b: Mark, a: Mark, strict: bool) -> bool:
    """Whether b certainly came before a. Within one moment a journal's own numbers decide."""
    if b.at != a.since:
        return b.at < a.since
    return strict and b.fact.by == a.fact.by and b.fact.n < a.fact.n


def _iff(case: Case) -> Iterator[Violation]:
    for a, b in case.order.iff:
        ones, others = case.all(a), case.all(b)
        known = {fact.fields.get("incident") for fact in case.all_facts if fact.at < case.within.begin}
        rule = f"{a} iff {b}"
        for mark in ones:
            if all(other.field("incident") != mark.field("incident") for other in others):
                yield Violation(rule, f"{case.tell(mark)} was never followed by {b}, {case.says(b)}", mark.at)
        for mark in others:
            incident = mark.field("incident")
            if incident not in known and all(one.field("incident") != incident for one in ones):
                yield Violation(rule, f"{case.tell(mark)} without {a}, {case.says(a)}", mark.at)


def _never(case: Case) -> Iterator[Violation]:
    for name in case.order.never:
        for mark in case.all(name)[:1]:
            yield Violation(f"never {name}", f"{case.tell(mark)} must not happen here", mark.at)


def _once(case: Case) -> Iterator[Violation]:
    for name in case.order.once:
        seen: dict[str, Mark] = {}
        for mark in case.all(name):
            entity = mark.field("vm") or mark.field("vnfc") or mark.field("host") or ""
            first = seen.setdefault(entity, mark)
            if first.field("id") != mark.field("id"):
                yield Violation(f"once {name}", f"{case.tell(mark)}, and before {case.tell(first)}", mark.at)


def _vnfms_in(layout: Layout, vm: str) -> list[str]:
    return sorted({vnfm_party(layout.vnfs[c.vnf].vnfm) for c in layout.vnfcs.values() if c.vm == vm})


def _one_of(case: Case) -> Iterator[Violation]:
    """`a` goes from a VNFM to the VIM, `b` from the VIM to a VNFM."""
    for a, b in case.order.one_of:
        rule = f"one of {a}, {b}"
        if not case.all(a) and not case.all(b):
            yield Violation(rule, f"neither {a} nor {b} happened", case.within.begin)
        for vnfm in case.within.vnfms:
            ours = [mark for mark in case.all(a) if mark.fact.by == vnfm]
            theirs = [mark for mark in case.all(b) if mark.field("to") == vnfm]
            if not ours or not theirs:
                continue
            at_vim = [mark.at for mark in case.all(f"{a}-heard") if mark.field("sender") == vnfm]
            at_vnfm = [mark.at for mark in case.all(f"{b}-heard") if mark.fact.by == vnfm]
            crossed = theirs[0].at <= min(at_vim, default=float("inf")) and ours[0].at <= min(
                at_vnfm, default=float("inf")
            )
            if not crossed:
                text = f"{case.tell(ours[0])} and {case.tell(theirs[0])}, which did not cross each other"
                yield Violation(rule, text, max(ours[0].at, theirs[0].at))


def _all_agree(case: Case) -> Iterator[Violation]:
    for name in case.order.all_agree:
        for mark in case.all(name):
            vm = str(mark.field("vm"))
            if vm not in case.layout.vms or case.layout.vms[VmName(vm)].repair != "negotiated":
                continue
            for vnfm in _vnfms_in(case.layout, vm):
                agreed = [m for m in case.all("agreed") if m.fact.by == vnfm and m.field("vm") == vm]
                if not agreed or mark.at < agreed[0].at:
                    text = f"{case.tell(mark)} before {vnfm} had said that it is safe"
                    yield Violation(f"all agree before {name}", text, mark.at)


def _told(case: Case) -> Iterator[Violation]:
    inside = [fact for fact in case.all_facts if case.within.holds(fact.at)]
    restarted = {f.fields["vm"]: f for f in inside if f.verb == "decided" and f.kind == "StartVm"}
    for name in case.order.told:
        for vm, start in restarted.items():
            told = {f.fields["to"] for f in inside if f.verb == "sent" and f.kind == "VmUp" and f.fields["vm"] == vm}
            for vnfm in _vnfms_in(case.layout, vm):
                if vnfm not in told:
                    yield Violation(f"told {name}", f"{vnfm} was not told that VM {vm} is up again", start.at)


def _prompt(case: Case) -> Iterator[Violation]:
    for name in case.order.prompt:
        for mark in case.all(name)[:1]:
            answered = [
                fact
                for fact in case.all_facts
                if fact.by == mark.fact.by and fact.n == mark.fact.on and fact.at <= mark.at and fact.verb == "heard"
            ]
            proof = case.all("own-proof")
            if answered and answered[-1].kind in VIM_NEWS and proof and proof[0].at < answered[-1].at:
                text = f"{case.tell(mark)} waited for {answered[-1].says()}, although {case.tell(proof[0])}"
                yield Violation(f"prompt {name}", text, mark.at)


def _counted(case: Case) -> Iterator[Violation]:
    layout = case.layout
    for name in case.order.counted:
        for mark in case.all(name):
            vm = mark.field("vm")
            own = [c for c in layout.vnfcs.values() if c.vm == vm and _vnfm_of(layout, c.name) == mark.fact.by]
            rules = [layout.vnfs[c.vnf].vnfc_escalation for c in own]
            if not rules:
                continue
            rule = min(rules, key=lambda one: one.maximum)
            since = mark.at - rule.probation_s
            failures = [
                fact
                for fact in case.all_facts
                if fact.by == mark.fact.by
                and (fact.verb, fact.kind) in (("seen", "VnfcFailed"), ("heard", "ErrorReport"))
                and fact.fields["vnfc"] in {c.name for c in own}
                and fact.fields["cause"] != "vm-gone"
                and since <= fact.at <= mark.at
            ]
            if len(failures) <= rule.maximum:
                text = f"{case.tell(mark)} after {len(failures)} failures; {rule.maximum} are allowed"
                yield Violation(f"counted {name}", text, mark.at)


def _vnfm_of(layout: Layout, vnfc: VnfcName) -> str:
    return vnfm_party(layout.vnfs[layout.vnfcs[vnfc].vnf].vnfm)


def _newest(case: Case) -> Iterator[Violation]:
    for name in case.order.newest:
        for mark in case.all(name)[:1]:
            positions = {
                str(fact.fields["vnfc"]): fact.fields["position"]
                for fact in case.all_facts
                if case.within.holds(fact.at)
                and fact.at <= mark.at
                and fact.kind in ("VnfcReady", "AgentJoined")
                and fact.fields.get("position") is not None
                and fact.fields.get("vnfc") in case.within.group
            }
            chosen = positions.get(str(mark.field("vnfc")))
            newest = max(positions.items(), key=lambda item: item[1], default=None)
            if newest is not None and (chosen is None or chosen < newest[1]):
                text = f"{case.tell(mark)}, but {newest[0]} holds newer state"
                yield Violation(f"newest {name}", text, mark.at)


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    _must, _before, _iff, _never, _once, _one_of, _all_agree, _told, _prompt, _counted, _newest,
)  # fmt: skip
