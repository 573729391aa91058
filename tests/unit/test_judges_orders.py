"""The orders: what the cores do keeps them, and every single rule of orders.yaml is broken once and noticed."""

from collections.abc import Iterator
from dataclasses import replace as changed
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from holdfast.lab.judges.evidence import Evidence, merged
from holdfast.lab.judges.facts import facts
from holdfast.lab.judges.marks import Episode, Mark, episodes, find_marks
from holdfast.lab.judges.orders import Before, Order, judge_order, judge_orders, load_orders
from holdfast.model.actions import Activate, Send, StartHost, StartVm, StartVnfc
from holdfast.model.events import HostFailed, Position, Received, VnfcFailed, VnfcReady
from holdfast.model.messages import ErrorOnVm, ErrorReport, RepairAck, RepairRequest, VmFailed
from holdfast.model.names import HA, VIM, ActionId, HostName, IncidentId, Party, VmName, VnfcName, VnfName
from holdfast.model.reasons import Reason
from holdfast.model.records import Begun, Decided, Marked, Record, Seen
from tests.unit.judged_runs import RUNS, good_run

LITTLE = 1e-5
WHY = (Reason("operator-asked", "a test"),)
Key = tuple[str, int]


class Scene(NamedTuple):
    """One episode of a run, with everything a rule can be broken with."""

    evidence: Evidence
    order: Order
    within: Episode
    marks: dict[str, list[Mark]]

    def broken_by(self, records: list[Record]) -> set[str]:
        """The rules that are broken if these were the records."""
        all_facts = facts(records)
        marks = find_marks(load_orders().marks, all_facts, self.evidence.probe, self.within)
        return {violation.rule for violation in judge_order(self.order, marks, self.within, all_facts)}

    def without(self, name: str) -> list[Record]:
        keys = self.keys(name)
        return [record for record in self.evidence.records if (record.by, record.n) not in keys]

    def keys(self, name: str) -> set[Key]:
        return {(mark.fact.by, mark.fact.n) for mark in self.marks.get(name, [])}

    def moved(self, name: str, at: float, but: str) -> list[Record]:
        keys = self.keys(name) - self.keys(but)
        return [replace(r, at=at) if (r.by, r.n) in keys else r for r in self.evidence.records]

    def with_more(self, *more: Record) -> list[Record]:
        return [*self.evidence.records, *more]


def scenes(order: str) -> Iterator[Scene]:
    """All episodes, of all good runs, that are judged by this order."""
    for name, (_, _, of, _) in RUNS.items():
        evidence = good_run(name)
        main = load_orders().orders[of]
        all_facts = facts(evidence.records)
        cut = episodes(evidence, all_facts)
        for number, within in enumerate(cut):
            judged_by = (of,) if number == len(cut) - 1 else main.earlier or (of,)
            if order not in judged_by:
                continue
            chosen = load_orders().orders[order]
            found: dict[str, list[Mark]] = {}
            for mark in find_marks(load_orders().marks, all_facts, evidence.probe, within):
                found.setdefault(mark.name, []).append(mark)
            scene = Scene(evidence, chosen, within, found)
            if not scene.broken_by(list(evidence.records)):
                yield scene


@pytest.mark.parametrize("name", RUNS)
def test_what_the_cores_do_keeps_the_order(name: str) -> None:
    assert judge_orders(good_run(name)) == []


def rules(kind: str) -> list[tuple[str, str]]:
    return [(order.name, item) for order in load_orders().orders.values() for item in getattr(order, kind)]


@pytest.mark.parametrize(("order", "name"), rules("must"))
def test_what_must_happen_is_missed(order: str, name: str) -> None:
    scene = next(scenes(order))
    if name == "service-back":
        probe = scene.evidence.probe
        assert probe is not None
        dead = changed(probe, answered_at=type(probe.answered_at)("d", [-1.0] * probe.sent))
        scene = scene._replace(evidence=changed(scene.evidence, probe=dead))
    assert f"must {name}" in scene.broken_by(scene.without(name))


@pytest.mark.parametrize(
    ("order", "before"),
    [(order.name, before) for order in load_orders().orders.values() for before in order.before],
    ids=lambda value: value.rule if isinstance(value, Before) else value,
)
def test_the_wrong_order_of_two_is_noticed(order: str, before: Before) -> None:
    broken = [
        before.rule in scene.broken_by(wrong_order(scene, before))
        for scene in scenes(order)
        if before.a in scene.marks and before.b in scene.marks
    ]
    assert broken, "no good run has both marks"
    assert any(broken)


def wrong_order(scene: Scene, before: Before) -> list[Record]:
    a, b = scene.marks[before.a], scene.marks[before.b]
    if a[0].since == float("-inf"):
        return scene.without(before.a)  # its time is only an upper bound: it can be missing, not late
    if before.b == "service-back":
        return scene.moved(before.a, b[0].at + LITTLE, but=before.b)
    return scene.moved(before.b, min(mark.since for mark in a) - LITTLE, but=before.a)


@pytest.mark.parametrize(("order", "pair"), rules("iff"))
def test_a_report_without_an_end_and_an_end_without_report_are_noticed(order: str, pair: tuple[str, str]) -> None:
    a, b = pair
    scene = next(scene for scene in scenes(order) if a in scene.marks)
    assert f"{a} iff {b}" in scene.broken_by(scene.without(b))
    assert f"{a} iff {b}" in scene.broken_by(scene.without(a))


def send(by: str, to: str, message: object, at: float) -> Decided:
    action = Send(ActionId(f"{by}/9999"), Party(to), message)  # type: ignore[arg-type]
    return Decided(at, Party(by), 99_999, 0, action, WHY)


def forbidden(name: str, scene: Scene) -> Record:
    """A record that makes this mark."""
    layout = scene.evidence.layout
    at, failed = scene.within.begin + 5 * LITTLE, VnfcName(min(scene.within.failed or layout.vnfcs))
    vm, vnf = VmName(min(scene.within.vms or layout.vms)), VnfName(scene.within.vnf)
    match name:
        case "vim-hears":
            event = Received(ActionId("vnfm:core/9999"), Party("vnfm:core"), RepairRequest(IncidentId("x"), vm, "why"))
            return Seen(at, VIM, 99_999, event)
        case "taken-back" | "set-active":
            return Decided(at, HA, 99_999, 0, Activate(ActionId("ha/9999"), failed, 9, scene.within.service, 9), WHY)
        case "activation-begun":
            return Marked(at, Party("agent:host2"), 99_999, "taking-over", scene.within.service, "epoch 9")
        case "any-host-failed":
            return Seen(at, VIM, 99_999, HostFailed(HostName("host2"), HostName("host1")))
        case "another-active":
            other = min(scene.within.variables["$unnamed"])
            return Begun(at, Party("agent:host2"), 99_999, ActionId("standing/x/9"), "Activate", other)
        case "vnfc-start":
            return Decided(at, HA, 99_999, 0, StartVnfc(ActionId("ha/9999"), failed, 9, 9), WHY)
        case "error-on-vm":
            message = ErrorOnVm(IncidentId("x"), vm, 9, 60.0, (failed,))
            return send(min(scene.within.vnfms), "vim", message, at)
        case "report":
            report = ErrorReport(IncidentId("x"), vnf, failed, vm, None, "killed")
            return send("ha", "vnfm:core", report, at)
        case _:
            raise AssertionError(f"no example of {name}")


@pytest.mark.parametrize(("order", "name"), rules("never"))
def test_what_must_never_happen_is_noticed(order: str, name: str) -> None:
    scene = next(scenes(order))
    assert f"never {name}" in scene.broken_by(scene.with_more(forbidden(name, scene)))


@pytest.mark.parametrize(("order", "name"), rules("once"))
def test_a_second_repair_is_noticed(order: str, name: str) -> None:
    scene = next(scenes(order))
    first = scene.marks[name][0]
    number = ActionId("vim/9999")
    again = (
        StartHost(number, HostName(first.field("host")))
        if name == "restart-host"
        else StartVm(number, VmName(first.field("vm")), 9)
    )
    more = Decided(first.at + LITTLE, VIM, 99_999, 0, again, WHY)
    assert f"once {name}" in scene.broken_by(scene.with_more(more))


@pytest.mark.parametrize(("order", "pair"), rules("one_of"))
def test_neither_request_nor_report_is_noticed(order: str, pair: tuple[str, str]) -> None:
    scene = next(scenes(order))
    keys = scene.keys(pair[0]) | scene.keys(pair[1])
    left = [record for record in scene.evidence.records if (record.by, record.n) not in keys]
    assert f"one of {pair[0]}, {pair[1]}" in scene.broken_by(left)


@pytest.mark.parametrize(("order", "pair"), rules("one_of"))
def test_request_and_report_that_did_not_cross_are_noticed(order: str, pair: tuple[str, str]) -> None:
    scene = next(scene for scene in scenes(order) if pair[0] in scene.marks)
    heard = scene.marks[f"{pair[0]}-heard"][0]
    vnfm, vm = heard.field("sender"), heard.field("vm")
    # The VIM reports after it has heard the request.
    report = send("vim", vnfm, VmFailed(IncidentId("x"), vm, "died", True), heard.at + LITTLE)
    others = scene.without(pair[1])
    assert f"one of {pair[0]}, {pair[1]}" in scene.broken_by([*others, report])


def test_request_and_report_that_crossed_make_one_repair() -> None:
    evidence = good_run("uc8 crossing")
    kinds = {fact.kind for fact in facts(evidence.records) if fact.verb == "sent"}
    assert {"RepairRequest", "VmFailed"} <= kinds
    assert judge_orders(evidence) == []


@pytest.mark.parametrize(("order", "name"), rules("all_agree"))
def test_a_restart_that_nobody_agreed_to_is_noticed(order: str, name: str) -> None:
    scene = next(scenes(order))
    assert f"all agree before {name}" in scene.broken_by(scene.without("agreed"))


def test_a_restart_that_one_of_two_vnfms_agreed_to_is_noticed() -> None:
    scene = next(scene for scene in scenes("uc2") if len(scene.within.vnfms) == 2)
    left = [
        record
        for record in scene.evidence.records
        if not (
            isinstance(record, Decided)
            and record.by == "vnfm:edge"
            and isinstance(record.action, Send)
            and isinstance(record.action.message, RepairAck | RepairRequest)
        )
    ]
    assert scene.broken_by(left) == {"all agree before restart-vm"}


@pytest.mark.parametrize(("order", "name"), rules("told"))
def test_a_vnfm_that_is_not_told_is_noticed(order: str, name: str) -> None:
    scene = next(scenes(order))
    assert f"told {name}" in scene.broken_by(scene.without(name))


@pytest.mark.parametrize(("order", "name"), rules("prompt"))
def test_a_take_over_that_waited_for_the_vim_is_noticed(order: str, name: str) -> None:
    scene = next(scene for scene in scenes(order) if "own-proof" in scene.marks)
    proof = scene.marks["own-proof"][0]
    news = Received(ActionId("vnfm:core/9"), Party("vnfm:core"), VmFailed(IncidentId("x"), VmName("vm1"), "died", True))
    heard = Seen(proof.at + LITTLE, HA, 88_888, news)
    keys = scene.keys(name)
    late = [
        replace(record, at=heard.at + LITTLE, on=heard.n)
        if isinstance(record, Decided) and (record.by, record.n) in keys
        else record
        for record in scene.evidence.records
    ]
    assert f"prompt {name}" in scene.broken_by([*late, heard])


@pytest.mark.parametrize(("order", "name"), rules("counted"))
def test_an_error_on_the_vm_after_too_few_failures_is_noticed(order: str, name: str) -> None:
    scene = next(scenes(order))
    failures = [r for r in scene.evidence.records if isinstance(r, Seen) and isinstance(r.event, VnfcFailed)]
    fewer = [record for record in scene.evidence.records if record not in failures[:-1]]
    assert f"counted {name}" in scene.broken_by(fewer)


@pytest.mark.parametrize(("order", "name"), rules("newest"))
def test_a_cold_start_with_older_state_is_noticed(order: str, name: str) -> None:
    scene = next(scenes(order))
    chosen = scene.marks[name][0].field("vnfc")
    newer = [
        replace(record, event=replace(record.event, position=Position(9, 9)))
        if isinstance(record, Seen) and isinstance(record.event, VnfcReady) and record.event.vnfc != chosen
        else record
        for record in scene.evidence.records
    ]
    at = scene.marks[name][0].at - LITTLE
    other = next(vnfc for vnfc in scene.within.group if vnfc != chosen)
    told = Seen(at, HA, 77_777, VnfcReady(VnfcName(other), 2, Position(9, 9)))
    assert f"newest {name}" in scene.broken_by([*merged([newer]), told])


def test_every_kind_of_rule_is_broken_above() -> None:
    kinds = {"must", "before", "iff", "never", "once", "one_of", "all_agree", "told", "prompt", "counted", "newest"}
    assert kinds | {"name", "says", "optional", "earlier"} == set(Order.__dataclass_fields__)


def test_every_order_is_played_by_a_good_run() -> None:
    unplayed = [name for name in load_orders().orders if not any(scenes(name))]
    assert unplayed == []


def test_a_use_case_without_an_order_is_not_judged() -> None:
    evidence = good_run("uc1")
    run = replace(evidence.run, scenario="new", use_case="UC77")
    assert judge_orders(changed(evidence, run=run)) is None


def test_a_violation_says_what_was_seen_and_when() -> None:
    scene = next(scenes("uc1"))
    all_facts = facts(scene.moved("set-active", scene.within.begin + LITTLE, but="detect"))
    marks = find_marks(load_orders().marks, all_facts, scene.evidence.probe, scene.within)
    texts = [violation.text for violation in judge_order(scene.order, marks, scene.within, all_facts)]
    assert any("set-active at +0.0 ms (ha decided Activate registry-2" in text for text in texts)
    assert any("came before cleanup-ok at" in text for text in texts)
