"""The VIM's state while a step is being made, and the index of the layout that it works with.

In: the frozen state. Out: the next one, and the decisions. Always holds: whatever changes is marked as
touched, so that the plan looks at it and at nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from holdfast.core.book import Book, kept
from holdfast.core.ledger import Desk, Reasons
from holdfast.core.vim_state import HostLife, Repair, State, VmLife
from holdfast.model.actions import ClearAlarm, IsolateVm, Send, StartVm
from holdfast.model.layout import Layout
from holdfast.model.messages import HostIsOff, VmFailed, VmIsolated, VmNotRepaired, VmUp
from holdfast.model.names import HostName, Party, VmName, vnfm_party
from holdfast.model.reasons import Code, Reason

LAYOUTS_KEPT = 8
SAL_OF_NOTHING = 1000
NO_INCIDENT = ""
"""A VM that starts for the first time belongs to no incident."""


@dataclass(frozen=True)
class Region:
    vms_on: dict[HostName, tuple[VmName, ...]]
    vnfms_of: dict[VmName, tuple[Party, ...]]
    """VNFMs with VNFCs in the VM, in the order of the descriptor."""
    sal_of: dict[VmName, int]
    """The best service availability level of what is in the VM; VMs that hold nothing are not named."""
    vnfms_on: dict[HostName, tuple[Party, ...]]
    """VNFMs with VNFCs on the host that are in no VM."""


_KNOWN: list[tuple[Layout, Region]] = []


def region_of(layout: Layout) -> Region:
    """The index; worked out once for each layout."""
    for known, region in _KNOWN:
        if known is layout:
            return region
    vms_on: dict[HostName, list[VmName]] = {}
    vnfms: dict[VmName, dict[Party, None]] = {}
    bare: dict[HostName, dict[Party, None]] = {}
    sals: dict[VmName, int] = {}
    for vm in layout.vms.values():
        vms_on.setdefault(vm.host, []).append(vm.name)
    for vnfc in layout.vnfcs.values():
        if vnfc.vm is not None:
            vnfms.setdefault(vnfc.vm, {})[vnfm_party(layout.vnfs[vnfc.vnf].vnfm)] = None
            sals[vnfc.vm] = min(layout.vnfs[vnfc.vnf].sal, sals.get(vnfc.vm, SAL_OF_NOTHING))
        else:
            bare.setdefault(vnfc.host, {})[vnfm_party(layout.vnfs[vnfc.vnf].vnfm)] = None
    region = Region(
        {host: tuple(names) for host, names in vms_on.items()},
        {vm: tuple(names) for vm, names in vnfms.items()},
        sals,
        {host: tuple(names) for host, names in bare.items()},
    )
    _KNOWN.append((layout, region))
    del _KNOWN[:-LAYOUTS_KEPT]
    return region


class Draft:
    def __init__(self, layout: Layout, state: State, n: int, now: float) -> None:
        self.layout = layout
        self.region = region_of(layout)
        self.desk = Desk(state.ledger, now)
        self.n = n
        self.now = now
        self._before = state
        self.vms = state.vms
        self.hosts = state.hosts
        self.reports = dict(state.reports)
        self.timers = dict(state.timers)
        self.voters = state.voters
        self.told = state.told
        self.alarmed_voters = dict.fromkeys(state.alarmed_voters)
        self.unheard = state.unheard
        self.networks = dict(state.networks)
        self.store_on, self.store_members = state.store_on, state.store_members
        self.touched_vms: dict[VmName, None] = {}
        self.touched_hosts: dict[HostName, None] = {}

    def state(self) -> State:
        before = self._before
        return State(
            self.desk.ledger(),
            self.vms,
            self.hosts,
            kept(before.reports, self.reports),
            kept(before.timers, self.timers),
            self.voters,
            self.told,
            kept(before.alarmed_voters, tuple(self.alarmed_voters)),
            self.unheard,
            kept(before.networks, self.networks),
            self.store_on,
            self.store_members,
        )

    def reason(self, code: Code, about: str, detail: str = "") -> Reason:
        """A reason that rests on what is being observed now."""
        return Reason(code, about, detail, (self.n,))

    def vm(self, vm: VmName) -> VmLife:
        return self.vms.get(vm, VmLife())

    def change(self, vm: VmName, **fields: object) -> VmLife:
        changed = msgspec.structs.replace(self.vm(vm), **fields)
        if self.vms is self._before.vms:  # There may be thousands: copied only by a step that changes one.
            self.vms = Book(self.vms)
        self.vms[vm] = changed
        self.touched_vms[vm] = None
        self.touched_hosts[self.layout.vms[vm].host] = None
        return changed

    def change_repair(self, vm: VmName, **fields: object) -> Repair:
        repair = self.vm(vm).repair
        assert repair is not None, f"{vm} is not in repair"
        changed = msgspec.structs.replace(repair, **fields)
        self.change(vm, repair=changed)
        return changed

    def host(self, host: HostName) -> HostLife:
        return self.hosts.get(host, HostLife())

    def change_host(self, host: HostName, **fields: object) -> HostLife:
        changed = msgspec.structs.replace(self.host(host), **fields)
        if self.hosts is self._before.hosts:
            self.hosts = Book(self.hosts)
        self.hosts[host] = changed
        self.touched_hosts[host] = None
        for vm in self.region.vms_on.get(host, ()):
            self.touched_vms[vm] = None
        return changed

    def concerned(self, vm: VmName) -> tuple[Party, ...]:
        return self.region.vnfms_of.get(vm, ())

    def concerns_hosts(self) -> bool:
        """Whether anything has changed that who votes can depend on: most news are of VMs, and nothing to voters."""
        before = self._before
        same_hosts = self.hosts is before.hosts and self.timers == before.timers
        return not same_hosts or self.voters is None or self.voters is not before.voters

    def by_sal(self, vms: Iterable[VmName]) -> list[VmName]:
        """What holds the better services comes first."""
        return sorted(vms, key=lambda vm: self.region.sal_of.get(vm, SAL_OF_NOTHING))

    def is_known(self, vm: VmName) -> bool:
        """Whether the VNFMs know of the VM's present life, and may have something in it."""
        life = self.vm(vm)
        return life.boot > 0 and life.announced == life.boot

    def have_reported(self, vm: VmName) -> set[Party]:
        """VNFMs that have asked for a repair of the VM's present life, or reported an error on it."""
        boot = self.vm(vm).boot
        return {report.sender for report in self.reports.values() if report.vm == vm and report.boot == boot}

    def tell(
        self, to: tuple[Party, ...], message: VmFailed | VmIsolated | VmUp | VmNotRepaired | HostIsOff, reasons: Reasons
    ) -> None:
        for vnfm in to:
            self.desk.send(vnfm, message, reasons, message.incident or None)

    def is_telling(self, to: Party, vm: VmName, kind: type[VmFailed] | type[VmUp]) -> bool:
        """Whether such a message is on its way and not taken yet."""
        return any(
            isinstance(action, Send) and action.to == to and isinstance(action.message, kind)
            for action in self.desk.awaited(vm)
        )

    def forget_actions(self, vm: VmName) -> None:
        self.desk.drop(vm, lambda action: isinstance(action, StartVm | IsolateVm))

    def clear_alarm(self, alarm: str, reasons: Reasons) -> None:
        self.desk.note(ClearAlarm(alarm), reasons)

    def is_heard(self, host: HostName) -> bool:
        return self.host(host).joined and not self.host(host).is_silent

    def has_fence(self, host: HostName) -> bool:
        return bool(self.layout.hosts[host].fence)
