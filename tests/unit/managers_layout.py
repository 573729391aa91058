"""Layouts for the tests of VNFM and VIM, and actions as short lines."""

from holdfast.model.actions import (
    Action,
    ClearAlarm,
    CloseIncident,
    FenceHost,
    IsolateVm,
    IsolateVnfc,
    NoteService,
    OpenIncident,
    RaiseAlarm,
    Refuse,
    Send,
    StartHost,
    StartVm,
    StartVnfc,
)
from holdfast.model.layout import (
    Component,
    Escalation,
    FenceDevice,
    Group,
    Host,
    Layout,
    RepairPolicy,
    Service,
    Vm,
    Vnf,
    Vnfc,
)
from holdfast.model.names import GroupName, HostName, Redundancy, ServiceName, VmName, VnfcName, VnfmName, VnfName


class Plan:
    """Puts a layout together, an entity a line."""

    def __init__(self) -> None:
        self.layout = Layout("test")

    def host(self, name: str, fence: bool = False, maximum: int = 1) -> "Plan":
        levels = ((FenceDevice("fence_test", limit_s=20.0),),) if fence else ()
        host = Host(HostName(name), fence=levels, escalation=Escalation(maximum, 300.0))
        self.layout.hosts[host.name] = host
        return self

    def vm(self, name: str, host: str = "h1", repair: RepairPolicy = "negotiated", maximum: int = 3) -> "Plan":
        vm = Vm(VmName(name), HostName(host), (), repair, escalation=Escalation(maximum, 300.0))
        self.layout.vms[vm.name] = vm
        return self

    def vnf(
        self,
        name: str,
        vm: str | None = "vm1",
        vnfm: str = "core",
        host: str = "h1",
        after: tuple[str, ...] = (),
        redundant: bool = False,
        maximum: int = 3,
    ) -> "Plan":
        """One VNFC `<name>-1`, providing the service of the VNF's name."""
        layout = self.layout
        vnf, group, service = VnfName(name), GroupName(name), ServiceName(name)
        vnfc = VnfcName(f"{name}-1")
        redundancy: Redundancy = "2N" if redundant else "no-redundancy"
        if vm is not None:
            host = layout.vms[VmName(vm)].host
        layout.vnfs[vnf] = Vnf(vnf, VnfmName(vnfm), 1, redundant, (group,), Escalation(maximum, 60.0))
        layout.components[group] = Component(name, vnf, group)
        layout.services[service] = Service(service, group)
        before = tuple(GroupName(one) for one in after)
        layout.groups[group] = Group(
            group,
            vnf,
            name,
            redundancy,
            "standby",
            "none",
            (service,),
            (vnfc,),
            before,
        )
        layout.vnfcs[vnfc] = Vnfc(vnfc, vnf, name, group, HostName(host), None if vm is None else VmName(vm))
        return self


def one_vm(repair: RepairPolicy = "negotiated", fence: bool = False) -> Layout:
    return Plan().host("h1", fence).vm("vm1", repair=repair).vnf("dns").layout


def short(action: Action) -> str:
    """The action as a line that is easy to read and to compare."""
    match action:
        case StartVm():
            return f"StartVm {action.vm} {action.boot}" + ("" if action.how == "initial" else f" {action.how}")
        case IsolateVm():
            return f"IsolateVm {action.vm} {action.boot}"
        case StartVnfc() | IsolateVnfc():
            return f"{type(action).__name__} {action.vnfc} {action.run}"
        case FenceHost() | StartHost():
            return f"{type(action).__name__} {action.host}"
        case Send():
            about = getattr(action.message, "vm", None) or getattr(action.message, "incident", "")
            return f"{type(action.message).__name__} {about} to {action.to}"
        case NoteService():
            return f"NoteService {action.service} {action.state}"
        case OpenIncident():
            return f"OpenIncident {action.about}"
        case CloseIncident():
            return f"CloseIncident {action.incident} {action.outcome}"
        case RaiseAlarm() | ClearAlarm():
            return f"{type(action).__name__} {action.alarm}"
        case Refuse():
            return f"Refuse {action.what} {action.about}"
        case _:
            return type(action).__name__
