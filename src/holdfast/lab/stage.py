"""What a scenario's steps stand on: the world they are done to, the probe, the journals, and what was done so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import structs

from holdfast.lab.acts import Acts, FaultFailed, Stuck
from holdfast.lab.judges.evidence import Fault
from holdfast.lab.scenario import Scenario, Step
from holdfast.lab.tail import JournalTail
from holdfast.model.layout import Group, Layout
from holdfast.model.names import GroupName, HostName, ServiceName, VmName, VnfcName

AWAIT_LIMIT_S = 30.0
LOOK_EVERY_S = 0.004


class Client(Protocol):
    """The probe, as far as steps ask it."""

    def is_up(self, since: float) -> bool:
        """Whether the service answers now; if it was asked about a fault, only once it has noticed an end of it."""


@dataclass
class Stage:
    """Everything a step can use."""

    scenario: Scenario
    layout: Layout
    acts: Acts
    tail: JournalTail
    probe: Client
    mark: Callable[[str, str, str], float]
    """Writes to the lab's journal (name, about, detail); returns the time of the record."""
    say: Callable[[str], None]
    faults: list[Fault] = field(default_factory=list)
    last_fault_at: float = 0.0

    def until(self, what: str, condition: Callable[[], bool], limit_s: float = AWAIT_LIMIT_S) -> None:
        end = self.acts.now() + limit_s
        while True:
            self.tail.read()
            if condition():
                return
            if self.acts.now() > end:
                raise Stuck(f"{what} did not happen within {limit_s:g} s")
            self.acts.let_pass(LOOK_EVERY_S)

    # --- names --------------------------------------------------------------------------------------------------

    def group(self) -> Group:
        return self.layout.groups[GroupName(self.layout.services[ServiceName(self.scenario.service)].group)]

    def vnfc(self, word: str) -> VnfcName:
        """`active`, `standby` of the scenario's service, `same` as in the last step with a file, or a VNFC's name."""
        if word == "same":
            return VnfcName(next(fault.entity for fault in reversed(self.faults) if fault.kind == "put-file"))
        self.tail.read()
        active = self.tail.providers.get(ServiceName(self.scenario.service))
        if word == "active":
            if active is None:
                raise Stuck(f"nobody is active for {self.scenario.service}")
            return active
        if word in ("standby", "third"):
            return [name for name in self.group().vnfcs if name != active][word == "third"]
        return VnfcName(word)

    def vm(self, word: str) -> VmName:
        """A VM's own name, or the VM of that VNFC."""
        if word in self.layout.vms:
            return VmName(word)
        vm = self.layout.vnfcs[self.vnfc(word)].vm
        if vm is None:
            raise Stuck(f"{word} is not in a VM")
        return vm

    def host(self, word: str) -> HostName:
        """A host's own name, the host of that VNFC, or `same`: the host of the last such step."""
        if word == "same":
            return HostName(next(fault.entity for fault in reversed(self.faults) if fault.entity in self.layout.hosts))
        if word in self.layout.hosts:
            return HostName(word)
        return self.layout.vnfcs[self.vnfc(word)].host

    # --- what is written down -----------------------------------------------------------------------------------

    def note(self, kind: str, entity: str, at: float, *, starts: bool, order: str = "", detail: str = "") -> None:
        self.faults.append(Fault(at=at, kind=kind, entity=entity, starts=starts, order=order, detail=detail))
        if starts:
            self.last_fault_at = at

    def hurt(
        self, step: Step, entity: str, act: Callable[[], object], *, starts: bool = True, detail: str = ""
    ) -> None:
        """Write down what is about to be done, do it, and check that it took effect."""
        at = self.mark("fault" if starts else "staged", entity, step.verb)
        self.note(step.verb, entity, at, starts=starts, detail=detail)
        try:
            act()
        except FaultFailed as error:
            self.faults[-1] = structs.replace(self.faults[-1], took_effect=False, detail=error.message)
            raise
