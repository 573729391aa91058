"""Our own mistakes in HA manager, VNFM and VIM, each as a change of the real core."""

import itertools
from typing import Any

from msgspec.structs import replace

from holdfast.core import (
    ha_incidents,
    ha_planning,
    ha_roles,
    ha_standing,
    ha_successor,
    vim_plan,
    vim_repair,
    vnfm_draft,
    vnfm_messages,
    vnfm_plan,
)
from holdfast.core.ha_state import Move, ServiceNow
from holdfast.core.ha_turn import Turn
from holdfast.core.vim_draft import Draft as VimDraft
from holdfast.core.vnfm_draft import Draft
from holdfast.model import records
from holdfast.model.actions import IsolateVm, StartVnfc
from holdfast.model.messages import ErrorCleared, ErrorReport
from holdfast.model.names import GroupName, Party, VmName, VnfcName
from holdfast.model.reasons import Reason
from holdfast.runtime import seat
from tests.plants.planting import Defect, Ground

# HA manager


def isolation_skipped(ground: Ground) -> None:
    """What has failed counts as gone."""
    right = ha_planning._plan_isolation

    def plan_isolation(turn: Turn, group: GroupName, name: VnfcName) -> None:
        now = turn.vnfc(name)
        if now.phase == "failed" and now.failure is not None and not now.stuck and now.doing is None:
            ha_incidents.isolated(turn, name, Reason("vnfc-isolated", name, "it has failed", turn.seen))
        else:
            right(turn, group, name)

    ground.change(ha_planning, "_plan_isolation", plan_isolation)


def stale_promoted(ground: Ground) -> None:
    """Whoever is ready holds the newest state."""

    def certain(turn: Turn, name: str, vnfc: VnfcName) -> bool:
        return True

    def heirs(turn: Turn, service: ServiceNow, vnfc: VnfcName) -> tuple[VnfcName, ...]:
        return ()

    ground.change(ha_successor, "_is_certain", certain)
    ground.change(ha_successor, "_heirs_without", heirs)
    ground.around(
        ha_standing,
        "_successors",
        lambda right: (
            lambda turn, group, name, service: right(
                turn, group, name, replace(service, in_sync=turn.wanted(group).vnfcs)
            )
        ),
    )


def error_never_cleared(ground: Ground) -> None:
    """The HA manager forgets to take back what it has reported."""

    def clear(turn: Turn, group: GroupName, incident: Any, reasons: Any) -> None:
        known = turn.groups[group].incidents[incident]
        turn.put_incident(group, incident, replace(known, reported=False))

    ground.change(ha_incidents, "_clear_report", clear)


def active_restarted(ground: Ground) -> None:
    """A standby has failed, and it is the active that is started again."""
    right = ha_roles.outdated_reserve

    def reserve(turn: Turn, group: GroupName) -> tuple[VnfcName, Reason] | None:
        found = right(turn, group)
        vnfcs = turn.groups[group].vnfcs
        broken = next((name for name, now in vnfcs.items() if now.phase == "failed" and not turn.held_by(name)), None)
        active = next((name for name, now in vnfcs.items() if now.phase == "ready" and turn.held_by(name)), None)
        if broken is None or active is None or vnfcs[active].doing is not None:
            return found
        return active, vnfcs[broken].failure or Reason("declared", active, "", turn.seen)

    ground.change(ha_planning, "outdated_reserve", reserve)


def epoch_not_raised(ground: Ground) -> None:
    """The same number is given out again and again."""

    def next_epoch(self: Turn, group: GroupName) -> int:
        return max(1, self.groups[group].epoch)

    ground.change(Turn, "next_epoch", next_epoch)


def hidden_memory(ground: Ground) -> None:
    """The choice of a successor depends on something that is not in the state."""
    calls = itertools.count()
    right = ha_successor._able

    def able(turn: Turn, group: GroupName, name: Any) -> Any:
        found, unable = right(turn, group, name)
        return (found[::-1] if next(calls) % 2 else found), unable

    ground.change(ha_successor, "_able", able)


def reasons_left_out(ground: Ground) -> None:
    """Starts are journaled without what led to them."""
    right = records.Decided

    def decided(at: float, by: Party, n: int, on: int, action: Any, reasons: Any, incident: Any) -> Any:
        is_start = type(action).__name__ == "StartVnfc"
        return right(at, by, n, on, action, () if is_start else reasons, incident)

    ground.change(seat, "Decided", decided)


def reasons_made_up(ground: Ground) -> None:
    """A failure's reasons name observations that the HA manager has not made."""
    right = ha_incidents.fail

    def fail(turn: Turn, name: VnfcName, cause: Any, detail: str) -> None:
        seen, turn.seen = turn.seen, (turn.seen[0] + 1_000_000,)
        right(turn, name, cause, detail)
        turn.seen = seen

    ground.everywhere(right, fail)


def alarm_left(ground: Ground) -> None:
    """An alarm is raised and never taken back."""
    ground.change(ha_incidents, "_clear_alarm", lambda turn, group, alarm, reasons: None)


def lost_standby_kept(ground: Ground) -> None:
    """A standby that was lost still counts as in sync, although the active was told to go on without it."""
    right = ha_incidents.leave_sync

    def leave(turn: Turn, name: VnfcName, reasons: Any) -> None:
        before = {service: now.in_sync for service, now in turn.groups[turn.group_of(name)].services.items()}
        right(turn, name, reasons)
        for service, in_sync in before.items():
            turn.put_service(service, replace(turn.service(service), in_sync=in_sync))

    ground.everywhere(right, leave)


def takes_back(ground: Ground) -> None:
    """As soon as a repaired VNFC is ready, the service is moved to the first in the descriptor."""
    right = ha_roles.plan_services

    def plan_services(turn: Turn, group: GroupName) -> None:
        right(turn, group)
        first = turn.wanted(group).vnfcs[0]
        for name, service in turn.groups[group].services.items():
            if service.state != "provided" or service.holder in (None, first) or service.move is not None:
                continue
            if turn.vnfc(first).phase == "ready" and not turn.held_by(first):
                move = Move(first, Reason("declared", first, "", turn.seen))
                turn.put_service(name, replace(turn.service(name), move=move))

    ground.everywhere(right, plan_services)


# VNFM


def two_repairers(ground: Ground) -> None:
    """What is reported to the VNFM it repairs as well."""
    right = vnfm_messages._error_reported

    def reported(draft: Draft, report: ErrorReport) -> None:
        is_news = report.incident not in draft.reports
        right(draft, report)
        if is_news:
            # It knows the number of the present run as well as the HA manager does.
            run = draft.change(report.vnfc, run=max(1, draft.life(report.vnfc).run) + 1).run
            epoch = draft.next_epoch(draft.layout.vnfcs[report.vnfc].group)
            start = StartVnfc(draft.desk.number(), report.vnfc, run, epoch, None, report.boot)
            draft.desk.order(start, (draft.reason("error-reported", report.vnfc, report.cause),))

    ground.change(vnfm_messages, "_error_reported", reported)


def counter_not_reset(ground: Ground) -> None:
    """Failures of a VM's former lives count on."""
    right = vnfm_draft.Draft.end_probation

    def end_probation(self: Draft, counted: str) -> None:
        if counted not in self.probations:
            return
        kind, name = counted.split(":", 1)
        failures = self.view(VmName(name)).failures if kind == "vm" else self.life(VnfcName(name)).failures
        right(self, counted)
        if kind == "vm":
            self.change_vm(VmName(name), failures=replace(failures, began=self.now))
        else:
            self.change(VnfcName(name), failures=replace(failures, began=self.now))

    def up(right_up: Any) -> Any:
        def vm_up(draft: Draft, message: Any) -> None:
            failures = draft.view(message.vm).failures
            before = draft.view(message.vm).boot
            right_up(draft, message)
            if draft.view(message.vm).boot != before:
                draft.change_vm(message.vm, failures=replace(failures, began=draft.now))

        return vm_up

    ground.change(vnfm_draft.Draft, "end_probation", end_probation)
    ground.around(vnfm_messages, "_vm_up", up)


def never_escalates(ground: Ground) -> None:
    """What fails again and again is started again and again."""
    ground.change(vnfm_draft.Draft, "point_to_vm", lambda self, vnfc, is_certain=False: None)


def claims_not_cleared(ground: Ground) -> None:
    """The VNFM closes its incident and does not tell the VIM that the error on the VM is over."""
    right = vnfm_plan._clear_reported

    def clear(draft: Draft, vm: VmName) -> None:
        send = draft.desk.send
        draft.desk.send = lambda to, message, *more: (  # type: ignore[method-assign]
            None if isinstance(message, ErrorCleared) else send(to, message, *more)
        )
        right(draft, vm)
        draft.desk.send = send  # type: ignore[method-assign]

    ground.change(vnfm_plan, "_clear_reported", clear)


# VIM


def not_acknowledged(ground: Ground) -> None:
    """A VM is repaired without asking those whose VNFCs are in it."""
    right = vim_repair.begin_repair

    def begin(draft: VimDraft, vm: VmName, *args: Any, **more: Any) -> None:
        right(draft, vm, *args, **{**more, "negotiate": False})
        if draft.vm(vm).repair is not None:
            draft.change_repair(vm, allowed=(Reason("repair-acknowledged", vm, "by all", (draft.n,)),))

    ground.everywhere(right, begin)


def vm_not_isolated(ground: Ground) -> None:
    """A VM that has failed counts as gone."""
    right = vim_plan._isolate_when_allowed

    def isolate(draft: VimDraft, vm: VmName) -> None:
        right(draft, vm)
        if draft.vm(vm).phase == "isolating":
            draft.desk.decisions[:] = [
                one for one in draft.desk.decisions if not (isinstance(one.action, IsolateVm) and one.action.vm == vm)
            ]
            draft.desk.drop(vm, lambda action: isinstance(action, IsolateVm))
            draft.change(vm, phase="down", why=(draft.reason("vm-isolated", vm),))
            vim_plan._start_when_allowed(draft, vm)

    ground.change(vim_plan, "_isolate_when_allowed", isolate)


def vm_incident_open(ground: Ground) -> None:
    """The VM is up again, and nobody closes its incident."""
    right = vim_plan._announce

    def announce(draft: VimDraft, vm: VmName) -> None:
        close = draft.desk.close_incident
        draft.desk.close_incident = lambda *args, **more: None  # type: ignore[method-assign]
        right(draft, vm)
        draft.desk.close_incident = close  # type: ignore[method-assign]

    ground.change(vim_plan, "_announce", announce)


MANAGERS: tuple[Defect, ...] = (
    Defect("isolation-skipped", "what has failed counts as isolated", "core/ha_planning", isolation_skipped, ("gone",)),
    Defect(
        "stale-promoted",
        "a standby that is not in sync is promoted",
        "core/ha_successor",
        stale_promoted,
        ("updates",),
        script="standby-left-behind",
        is_rare=True,
    ),
    Defect(
        "lost-standby-kept",
        "a standby that was lost still counts as in sync",
        "core/ha_incidents",
        lost_standby_kept,
        ("updates",),
        script="standby-left-behind",
        is_rare=True,
    ),
    Defect(
        "error-never-cleared",
        "what was reported is not taken back",
        "core/ha_incidents",
        error_never_cleared,
        ("cleared",),
    ),
    Defect(
        "active-restarted",
        "the active is started again in place of a standby",
        "core/ha_planning",
        active_restarted,
        ("left-alone",),
        script="standby-cut-off",
    ),
    Defect("epoch-not-raised", "one epoch is given out twice", "core/ha_turn", epoch_not_raised, ("service", "moved")),
    Defect(
        "hidden-memory", "a choice rests on what is not in the state", "core/ha_successor", hidden_memory, ("replay",)
    ),
    Defect("reasons-left-out", "a start is decided without reasons", "runtime/seat", reasons_left_out, ("reasons",)),
    Defect(
        "reasons-made-up", "reasons name what was never observed", "core/ha_incidents", reasons_made_up, ("reasons",)
    ),
    Defect(
        "alarm-left",
        "an alarm is not taken back",
        "core/ha_incidents",
        alarm_left,
        ("cleared",),
        script="standby-left-behind",
    ),
    Defect("taken-back", "a service is moved back for nothing", "core/ha_roles", takes_back, ("cleared", "moved")),
    Defect(
        "two-repairers",
        "VNFM and HA manager repair the same VNFC",
        "core/vnfm_messages",
        two_repairers,
        ("repairs", "gone"),
    ),
    Defect(
        "counter-not-reset",
        "failures of former lives of a VM count on",
        "core/vnfm_draft",
        counter_not_reset,
        ("counted",),
        script="fails-again",
        is_rare=True,
    ),
    Defect(
        "never-escalates",
        "what fails again and again is only started again",
        "core/vnfm_draft",
        never_escalates,
        ("counted",),
        script="fails-again",
        is_rare=True,
    ),
    Defect(
        "claim-not-cleared",
        "the VIM is not told that an error on a VM is over",
        "core/vnfm_plan",
        claims_not_cleared,
        ("cleared",),
        script="fails-again",
        is_rare=True,
    ),
    Defect(
        "not-acknowledged",
        "a VM is repaired and nobody was asked",
        "core/vim_repair",
        not_acknowledged,
        ("acknowledged",),
        script="vm-killed",
    ),
    Defect(
        "vm-not-isolated",
        "a VM that is in error counts as gone",
        "core/vim_plan",
        vm_not_isolated,
        ("gone",),
        script="fails-again",
        is_rare=True,
    ),
    Defect(
        "vm-incident-open",
        "the incident of a repaired VM stays open",
        "core/vim_plan",
        vm_incident_open,
        ("cleared",),
        script="vm-killed",
    ),
)
