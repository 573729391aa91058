"""What has to be known before something is started or taken over: that nothing of the former one is left, and leave.

In: the layout, facts in order of time. Out: violations. Always: what is known is counted from what agents, fence
devices and other managers have said, never from the reasons that a decision gives.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from holdfast.lab.judges.facts import Fact
from holdfast.lab.judges.words import Violation
from holdfast.model.layout import Layout, in_charge
from holdfast.model.names import VIM, HostName, VmName, VnfcName, vnfm_party

ENDS_VNFC = ("IsolateVnfc", "StopVnfc")
ASKED = ("RepairAck", "RepairRequest", "ErrorOnVm")
BY_THEMSELVES = "standing/"
"""What agents carry out by standing order has such a number: its proof is the grant."""


def gone_first(layout: Layout, all_facts: Sequence[Fact]) -> list[Violation]:
    """Nothing is started, or gets a service, before the former one is known to be gone."""
    judge = _Gone(layout)
    return [violation for fact in all_facts for violation in judge.sees(fact)]


class _Gone:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._gone: set[str] = set()
        """VNFCs and VMs of which nothing runs, as far as anybody has said."""
        self._begun: dict[str, int] = {}
        """Run, or boot, that was started last."""
        self._boots: dict[str, int] = {}
        """In which life of its VM the VNFC was started last."""
        self._holder: dict[str, str] = {}
        """Of each service, while it may still provide it."""
        self._in_vm: dict[str, list[str]] = defaultdict(list)
        self._on_host: dict[str, list[str]] = defaultdict(list)
        self._charge: dict[str, str] = {str(name): VIM for name in layout.vms}
        """Who decides: the same word of an agent reaches each manager at another time."""
        for vnfc in layout.vnfcs.values():
            self._charge[vnfc.name] = in_charge(layout, vnfc.vnf)
            self._on_host[vnfc.host].append(vnfc.name)
            if vnfc.vm is not None:
                self._in_vm[vnfc.vm].append(vnfc.name)
        for vm in layout.vms.values():
            self._on_host[vm.host].append(vm.name)

    def sees(self, fact: Fact) -> Iterator[Violation]:
        self._learn(fact)
        if fact.verb == "decided" and fact.kind in ("StartVnfc", "StartVm"):
            yield from self._started(fact)
        elif fact.verb in ("decided", "begun") and fact.kind == "Activate" and not self._is_by_order(fact):
            yield from self._given(fact)
        elif fact.verb == "sent" and fact.kind == "VmIsolated" and fact.by == VIM:
            vm = str(fact.fields["vm"])
            if vm not in self._gone and int(fact.fields["boot"]) == self._begun.get(vm):
                yield Violation(
                    "gone", f"VM {vm} is said to be isolated, and is not known to be ({fact.says()})", fact.at
                )

    def _is_by_order(self, fact: Fact) -> bool:
        return str(fact.fields.get("id", "")).startswith(BY_THEMSELVES)

    def _started(self, fact: Fact) -> Iterator[Violation]:
        is_vm = fact.kind == "StartVm"
        name = str(fact.fields["vm" if is_vm else "vnfc"])
        number = int(fact.fields["boot" if is_vm else "run"])
        boot = 0 if is_vm else int(fact.fields["boot"])
        former = self._begun.get(name, 0)
        if 0 < former < number and name not in self._gone and boot <= self._boots.get(name, 0):
            what = f"boot {number} of VM {name}" if is_vm else f"run {number} of {name}"
            yield Violation("gone", f"{what} is started, and {former} is not known to be gone ({fact.says()})", fact.at)
        self._begun[name] = number
        self._boots[name] = boot
        self._gone.discard(name)

    def _given(self, fact: Fact) -> Iterator[Violation]:
        service, name = str(fact.fields.get("service", "")), str(fact.fields.get("vnfc", ""))
        if fact.verb == "begun":
            # What was decided and reached nobody, its leader being lost with what the store never had, is nothing.
            if name not in self._gone:
                self._holder[service] = name
            return
        former = self._holder.get(service, name)
        if former != name:
            text = f"{service} is given to {name}, and {former} is not known to be gone ({fact.says()})"
            yield Violation("gone", text, fact.at)

    # --- what is known

    def _learn(self, fact: Fact) -> None:
        fields = fact.fields
        match fact.verb, fact.kind:
            case "ended" | "done", "IsolateVnfc" | "StopVnfc" | "IsolateVm":
                if fact.verb == "done" or fields["ok"]:
                    self._is_gone(str(fields.get("vnfc") or fields.get("vm") or ""))
            case "ended" | "done" | "undone", _ if fields.get("vm_gone"):
                self._is_gone(str(fields.get("vnfc", "")))
            case "ended", "StartVnfc" if not fields["ok"]:
                self._is_gone(str(fields.get("vnfc", "")))
            case "ended" | "done", "Quiesce":
                if fact.verb == "done" or fields["ok"]:
                    self._lets_go(str(fields.get("vnfc", "")))
            case "ended" | "done", "FenceHost":
                if fact.verb == "done" or fields["ok"]:
                    self._is_gone(*self._on_host[str(fields.get("host", ""))])
            case "seen", "VnfcFailed" if fields["cause"] == "vm-gone":
                self._is_gone(str(fields["vnfc"]))
            case "seen", "VnfcIsolated":
                self._is_gone(str(fields["vnfc"]))
            case "seen", "VmDied":
                self._vm_is_gone(str(fields["vm"]))
            case "seen" | "heard", "HostFailed":
                # Its grants end before anybody else's can begin; what is in its VMs may run on.
                self._lets_go(*self._on_host[str(fields["host"])])
            case "heard", "VmFailed" | "VmIsolated":
                # The VIM's word: proof for what is in the VM, and none for the VIM itself.
                self._is_gone(*self._in_vm[str(fields["vm"])])
            case ("seen", "HostLocked") | ("heard", "HostIsOff") if fields.get("by_person", True):
                # A person vouches for it.
                self._is_gone(*self._on_host[str(fields["host"])])
            case "seen", "AgentJoined" if "condition" in fields:
                self._joined(fact.by, fields)
            case "seen", "AgentJoined":
                # What an agent does not name when it joins is not there.
                self._is_gone(*(name for name in self._on_host[str(fields["host"])] if self._charge[name] == fact.by))
            case "seen", "ServiceTaken":
                self._holder[str(fields["service"])] = str(fields["vnfc"])
                self._gone.discard(str(fields["vnfc"]))
            case "decided", "NoteService" if fields["state"] == "provided" and fields["vnfc"]:
                self._holder[str(fields["service"])] = str(fields["vnfc"])
                self._gone.discard(str(fields["vnfc"]))

    def _is_gone(self, *names: str) -> None:
        self._gone.update(name for name in names if name)
        self._lets_go(*names)

    def _lets_go(self, *names: str) -> None:
        for service in [service for service, holder in self._holder.items() if holder in names]:
            del self._holder[service]

    def _vm_is_gone(self, vm: str) -> None:
        self._is_gone(vm, *self._in_vm[vm])

    def _joined(self, by: str, fields: dict[str, object]) -> None:
        name = str(fields.get("vnfc") or fields.get("vm") or "")
        if fields["condition"] != "absent" and self._charge.get(name) == by:
            self._gone.discard(name)
            number = fields.get("run") or fields.get("boot") or 0
            assert isinstance(number, int)
            self._begun[name] = max(self._begun.get(name, 0), number)


def acknowledged(layout: Layout, all_facts: Sequence[Fact]) -> list[Violation]:
    """A VM whose repair is negotiated is started again only when each VNFM that knew of it has said that it may."""
    wrong: list[Violation] = []
    asked: dict[str, set[str]] = defaultdict(set)
    """VM: VNFMs that have spoken of its present life."""
    knowing: dict[str, set[str]] = defaultdict(set)
    """VM: VNFMs that were told of its present life."""
    for fact in all_facts:
        vm = str(fact.fields.get("vm") or "")
        if fact.verb == "sent" and fact.kind in ASKED:
            asked[vm].add(fact.by)
        elif fact.verb == "sent" and fact.kind == "VmUp":
            knowing[vm].add(str(fact.fields["to"]))
        elif (fact.verb, fact.kind) in (("ended", "FenceHost"), ("done", "FenceHost"), ("seen", "HostLocked")):
            for name in (one for one, place in layout.vms.items() if place.host == fact.fields.get("host")):
                knowing.pop(name, None)  # Nobody has to be asked about what is off.
        elif (fact.verb, fact.kind) == ("decided", "StartVm"):
            if layout.vms[VmName(vm)].repair == "negotiated":
                missing = sorted((knowing[vm] & _concerned(layout, vm)) - asked[vm])
                if missing:
                    text = f"VM {vm} is started again, and {', '.join(missing)} has not agreed ({fact.says()})"
                    wrong.append(Violation("acknowledged", text, fact.at))
            asked.pop(vm, None)
            knowing.pop(vm, None)
    return wrong


def _concerned(layout: Layout, vm: str) -> set[str]:
    return {str(vnfm_party(layout.vnfs[one.vnf].vnfm)) for one in layout.vnfcs.values() if one.vm == vm}


def left_alone(all_facts: Sequence[Fact]) -> list[Violation]:
    """Nobody starts, stops or isolates the VNFC that provides a service which its manager knows to be provided."""
    wrong: list[Violation] = []
    provider: dict[tuple[str, str], str] = {}
    """Manager and service: who provides it."""
    for fact in all_facts:
        if fact.verb == "marked" and fact.kind == "leads":
            for key in [key for key in provider if key[0] == fact.by]:
                del provider[key]  # What its forerunner has noted it need not have heard of.
        if fact.verb != "decided":
            continue
        if fact.kind == "NoteService":
            provided = fact.fields["state"] == "provided"
            provider[fact.by, str(fact.fields["service"])] = str(fact.fields["vnfc"]) if provided else ""
        elif fact.kind in ("StartVnfc", "StopVnfc", "IsolateVnfc"):
            vnfc = str(fact.fields["vnfc"])
            held = [service for (by, service), name in provider.items() if by == fact.by and name == vnfc]
            if held:
                text = f"{fact.kind} of {vnfc}, which provides {', '.join(held)} ({fact.says()})"
                wrong.append(Violation("left-alone", text, fact.at))
    return wrong


def host_of(layout: Layout, entity: str) -> HostName | None:
    """The host that something is on: itself, a VM's, a VNFC's."""
    if entity in layout.hosts:
        return HostName(entity)
    if entity in layout.vms:
        return layout.vms[VmName(entity)].host
    if entity in layout.vnfcs:
        return layout.vnfcs[VnfcName(entity)].host
    return None
