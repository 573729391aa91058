"""A VNFM's state while a step is being made, and the few moves that both intake and plan need.

In: the frozen state. Out: the next one, and the decisions. Always holds: whatever changes is marked as
touched, so that the plan looks at it and at nothing else.
"""

from typing import Literal

import msgspec

from holdfast.core import escalation
from holdfast.core.book import Book, kept
from holdfast.core.ledger import Desk, Reasons
from holdfast.core.vnfm_charge import Charge, escalation_of
from holdfast.core.vnfm_state import Life, Need, State, VmView
from holdfast.model.actions import ClearAlarm, IsolateVnfc, NoteService, RaiseAlarm, Refuse, StartVnfc
from holdfast.model.layout import Layout
from holdfast.model.messages import ErrorOnVm, RepairRequest
from holdfast.model.names import GroupName, VmName, VnfcName
from holdfast.model.reasons import Code, Reason

Provision = Literal["provided", "interrupted", "held"]


class Draft:
    def __init__(self, layout: Layout, charge: Charge, state: State, n: int, now: float) -> None:
        self.layout = layout
        self.charge = charge
        self.desk = Desk(state.ledger, now)
        self.n = n
        self.now = now
        self._before = state
        self.lives = state.vnfcs
        self.views = state.vms
        self.epochs = dict(state.epochs)
        self.hosts = dict(state.hosts)
        self.lives_of_hosts = dict(state.lives_of_hosts)
        self.locked = state.locked
        self.reports = dict(state.reports)
        self.probations = dict(state.probations)
        self.touched_vnfcs: dict[VnfcName, None] = {}
        self.touched_vms: dict[VmName, None] = {}

    def state(self) -> State:
        before = self._before
        return State(
            self.desk.ledger(),
            self.lives,
            self.views,
            kept(before.epochs, self.epochs),
            kept(before.hosts, self.hosts),
            kept(before.lives_of_hosts, self.lives_of_hosts),
            self.locked,
            kept(before.reports, self.reports),
            kept(before.probations, self.probations),
        )

    def reason(self, code: Code, about: str, detail: str = "") -> Reason:
        """A reason that rests on what is being observed now."""
        return Reason(code, about, detail, (self.n,))

    def life(self, vnfc: VnfcName) -> Life:
        return self.lives.get(vnfc, Life())

    def change(self, vnfc: VnfcName, **fields: object) -> Life:
        changed = msgspec.structs.replace(self.life(vnfc), **fields)
        if self.lives is self._before.vnfcs:  # There may be thousands: copied only by a step that changes one.
            self.lives = Book(self.lives)
        self.lives[vnfc] = changed
        self.touched_vnfcs[vnfc] = None
        if vm := self.layout.vnfcs[vnfc].vm:
            self.touched_vms[vm] = None
        return changed

    def view(self, vm: VmName) -> VmView:
        return self.views.get(vm, VmView())

    def change_vm(self, vm: VmName, **fields: object) -> VmView:
        changed = msgspec.structs.replace(self.view(vm), **fields)
        self._set_view(vm, changed)
        self.touched_vms[vm] = None
        for vnfc in self.charge.in_vm.get(vm, ()):
            self.touched_vnfcs[vnfc] = None
        return changed

    def renew_vm(self, vm: VmName, renewed: VmView) -> None:
        """It has begun another life: nothing of the one before counts."""
        self._set_view(vm, renewed)
        self.end_probation(f"vm:{vm}")
        self.change_vm(vm)

    def _set_view(self, vm: VmName, view: VmView) -> None:
        if self.views is self._before.vms:
            self.views = Book(self.views)
        self.views[vm] = view

    def next_epoch(self, group: GroupName) -> int:
        self.epochs[group] = self.epochs.get(group, 0) + 1
        return self.epochs[group]

    # What becomes of a VNFC.

    def note_service(self, vnfc: VnfcName, state: Provision, reasons: Reasons) -> None:
        """Say how the VNFC's service stands, if that has changed."""
        life = self.life(vnfc)
        if life.noted == state or (state == "interrupted" and life.noted != "provided"):
            return
        if life.noted == "held":
            self.desk.note(ClearAlarm(f"vnfc:{vnfc}"), reasons, life.incident)
        service = self.charge.service_of.get(vnfc)
        if service is not None:
            provider = None if state == "held" else vnfc
            self.desk.note(NoteService(service, state, provider, life.epoch), reasons, life.incident)
        self.change(vnfc, noted=state)

    def hold(self, vnfc: VnfcName, text: str, reasons: Reasons) -> None:
        """Do not try this one again by itself; say so once."""
        life = self.life(vnfc)
        if life.noted != "held":
            self.desk.note(RaiseAlarm(f"vnfc:{vnfc}", f"{vnfc} is held: {text}"), reasons, life.incident)
            self.note_service(vnfc, "held", reasons)
        self.refuse(vnfc, reasons)

    def refuse(self, vnfc: VnfcName, reasons: Reasons) -> None:
        """Say once why the VNFC is not started; the last reason is the obstacle."""
        life = self.life(vnfc)
        code = reasons[-1].code
        if life.refused != code:
            self.desk.note(Refuse("start", vnfc), reasons, life.incident)
            self.change(vnfc, refused=code)

    def down(self, vnfc: VnfcName, reasons: Reasons, cause: str = "vm-gone") -> None:
        """Nothing of the VNFC can run any more: its VM has failed or begun a new life, or its host is off."""
        life = self.life(vnfc)
        if life.phase == "down":
            return
        self.forget_actions(vnfc)
        if life.phase in ("ready", "starting"):
            self.interrupted(vnfc, cause, reasons)
        self.change(vnfc, phase="down", why=reasons)

    def interrupted(self, vnfc: VnfcName, cause: str, reasons: Reasons) -> None:
        """The VNFC has failed: open its incident, unless one is open, and note its service."""
        if self.life(vnfc).incident is None:
            service = self.charge.service_of.get(vnfc)
            self.change(vnfc, incident=self.desk.open_incident(vnfc, service, cause, reasons))
        self.note_service(vnfc, "interrupted", reasons)

    def forget_actions(self, vnfc: VnfcName) -> None:
        """Whatever was asked of the agent for this VNFC has been overtaken."""
        self.desk.drop(vnfc, lambda action: isinstance(action, StartVnfc | IsolateVnfc))

    # Failures, counted, and what they point to.

    def count_failure(self, vnfc: VnfcName) -> None:
        """Count a failure of this VNFC (whoever is in charge of it) for its VM, or for itself where it has none."""
        rule = escalation_of(self.layout, vnfc)
        vm = self.layout.vnfcs[vnfc].vm
        before = self.life(vnfc).failures if vm is None else self.view(vm).failures
        counter = escalation.count(before, rule, self.now, vnfc, (self.n,))
        if vm is None:
            self.change(vnfc, failures=counter)
        else:
            self.change_vm(vm, failures=counter)
        if counter.failures == 1:
            self.probations[_counted(vm, vnfc)] = self.now + rule.probation_s

    def end_probation(self, counted: str) -> None:
        """Counting starts anew."""
        if self.probations.pop(counted, None) is None:
            return
        kind, name = counted.split(":", 1)
        if kind == "vm":
            self.change_vm(VmName(name), failures=escalation.Counter())
        else:
            self.change(VnfcName(name), failures=escalation.Counter())

    def point_to_vm(self, vnfc: VnfcName, is_certain: bool = False) -> None:
        """If the VM of this VNFC has seen too many failures, the fault is taken to be in it, and the VIM is told."""
        where = self.layout.vnfcs[vnfc]
        rule = escalation_of(self.layout, vnfc)
        if where.vm is None:
            return
        view = self.view(where.vm)
        if view.told or view.condition not in ("unknown", "up"):
            return
        if not (is_certain or escalation.exceeded(view.failures, rule, self.now)):
            return
        failures = view.failures
        detail = f"{failures.failures} failures in it within {rule.probation_s:g} s, {rule.maximum} allowed"
        reasons = (Reason("too-many-failures", where.vm, detail, failures.seen),)
        incident = view.incident or self.desk.open_incident(where.vm, None, "too-many-failures", reasons)
        vnfcs = tuple(VnfcName(name) for name in failures.about)
        error = ErrorOnVm(incident, where.vm, failures.failures, rule.probation_s, vnfcs, view.boot)
        need = Need(incident, where.vnf, error, reasons)
        self.change_vm(where.vm, condition="in-error", incident=incident, why=reasons, need=need)

    def need_repair(self, vnfc: VnfcName, why: str, reasons: Reasons, gone: bool = False) -> None:
        """The VM of this VNFC of ours must be repaired, by the VIM."""
        where = self.layout.vnfcs[vnfc]
        incident = self.life(vnfc).incident
        if where.vm and incident and self.view(where.vm).need is None:
            request = RepairRequest(incident, where.vm, why, boot=self.view(where.vm).boot, gone=gone)
            self.change_vm(where.vm, need=Need(incident, where.vnf, request, reasons))


def _counted(vm: VmName | None, vnfc: VnfcName) -> str:
    return f"vnfc:{vnfc}" if vm is None else f"vm:{vm}"
