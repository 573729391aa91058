"""All three managers as pure cores, a deployment of any size, and hosts that answer at once; unless they are to wait.

One event after the other, in the order in which they arise, so that what is decided is the same in every run.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast import descriptor
from holdfast.core import ha_manager, vim, vnfm
from holdfast.lab.bench.scale_hosts import Given
from holdfast.lab.bench.scale_words import descriptor as words
from holdfast.lab.bench.scale_words import host_name
from holdfast.model.actions import (
    Action,
    Activate,
    ConfirmLoss,
    FenceHost,
    HostAction,
    IsolateVm,
    Note,
    Send,
    SetVoters,
    StandBy,
    StartHost,
    StartVm,
    StartVnfc,
    VnfcAction,
)
from holdfast.model.events import (
    ActionDone,
    AgentJoined,
    AgentLost,
    DeadlinePassed,
    Event,
    HostFailed,
    ManagerStarted,
    Observed,
    Position,
    Received,
    StandbySynced,
    VmFact,
    VnfcFact,
    VnfcReady,
)
from holdfast.model.granting import VoterSet
from holdfast.model.layout import Layout, first_voters
from holdfast.model.names import HA, VIM, HostName, Party, ServiceName, VmName, VnfcName, VnfmName, vnfm_party
from holdfast.runtime.parts import Parts, named

VNFM = vnfm_party(VnfmName("default"))
PIECES = 4096


def layout_of(folder: Path, vnfs: int, hosts: int) -> Layout:
    file = folder / f"{vnfs}.yaml"
    file.write_text(words(vnfs, hosts))
    return descriptor.load(file)


def host(number: int) -> HostName:
    return HostName(host_name(number))


@dataclass
class Component:
    run: int
    boot: int
    role: str = "none"
    epoch: int = 0
    service: ServiceName | None = None
    in_sync: tuple[VnfcName, ...] = ()


@dataclass
class Stage:
    layout: Layout
    now: float = 100.0
    given: list[Given] = field(default_factory=list)
    waits: Callable[[Action], bool] = lambda action: False
    """Which instructions are not answered until `answer`."""
    unanswered: list[Action] = field(default_factory=list)
    parts_written: int = 0
    groups_changed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        layout = self.layout
        self.states: dict[Party, Any] = {
            HA: ha_manager.initial(layout),
            VIM: vim.initial(layout),
            VNFM: vnfm.initial(layout, VNFM),
        }
        self._cores: dict[Party, Any] = {HA: ha_manager, VIM: vim, VNFM: vnfm}
        self._stores = {party: Parts(PIECES, {}) for party in self.states}
        self._queue: deque[tuple[Party, Event]] = deque()
        self._n = 0
        self.lives = dict.fromkeys(layout.hosts, 1)
        self.dark: set[HostName] = set()
        self.vms: dict[VmName, int] = {}
        self.components: dict[VnfcName, Component] = {}
        self._voters: VoterSet | None = first_voters(layout)

    def begin(self) -> None:
        for party in self.states:
            self._queue.append((party, ManagerStarted()))
        for name in self.layout.hosts:
            self._join(name)
        self.settle()

    def begin_again(self) -> None:
        """The HA manager has started again from what was saved; all agents join it."""
        self._queue.append((HA, ManagerStarted()))
        for name in self.layout.hosts:
            self._join(name, (HA,))
        self.settle()

    # What happens to it.

    def lose(self, names: Iterable[HostName]) -> None:
        """They are gone; one of the others finds each of them failed, then their links end."""
        names = list(names)
        self.dark |= set(names)
        witness = next(name for name in self.layout.hosts if name not in self.dark)
        for name in names:
            for vm in [vm for vm in self.vms if self.layout.vms[vm].host == name]:
                del self.vms[vm]
            for vnfc in [vnfc for vnfc in self.components if self.layout.vnfcs[vnfc].host == name]:
                del self.components[vnfc]
        events: list[Event] = [HostFailed(name, witness, "silent", self.lives[name]) for name in names]
        events += [AgentLost(name) for name in names]
        for event in events:
            for party in self.states:
                self._queue.append((party, event))

    def tell(self, event: Event) -> None:
        self._queue.append((HA, event))

    def answer(self) -> None:
        """Whatever waited is carried out now."""
        waiting, self.unanswered = self.unanswered, []
        for action in waiting:
            self._carry_out(Party(getattr(action, "id", "").rpartition("/")[0]), action)

    def settle(self) -> None:
        while True:
            while self._queue:
                self._step(*self._queue.popleft())
            due = [party for party, state in self.states.items() if self._is_due(party, state)]
            if not due:
                return
            for party in due:
                self._queue.append((party, DeadlinePassed()))

    def _is_due(self, party: Party, state: Any) -> bool:
        due = self._cores[party].deadline(state)
        return due is not None and due <= self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.settle()

    # Steps.

    def _step(self, party: Party, event: Event) -> None:
        self._n += 1
        before = self.states[party]
        state, decisions = self._cores[party].step(self.layout, before, Observed(self._n, event), self.now)
        self.states[party] = state
        values = named("state", state)
        self.parts_written += len(self._stores[party].changes(values))
        if party == HA:
            self.groups_changed.update(name for name, one in state.groups.items() if before.groups[name] is not one)
        self._stores[party].kept(values)
        for decision in decisions:
            self._let_out(party, decision.action)

    def _let_out(self, party: Party, action: Action) -> None:
        if isinstance(action, Send):
            self._queue.append((action.to, Received(action.id, party, action.message)))
            self._queue.append((party, ActionDone(action.id)))
        elif not isinstance(action, Note):
            target = self._host_of(action)
            if target is not None and target in self.dark:
                return
            if target is not None:
                self.given.append(Given(self.now, target, action))  # type: ignore[arg-type]
            if self.waits(action):
                self.unanswered.append(action)
            else:
                self._carry_out(party, action)

    def _host_of(self, action: Action) -> HostName | None:
        if isinstance(action, FenceHost | StartHost):
            return None
        if isinstance(action, HostAction):
            return action.host
        if isinstance(action, StartVm | IsolateVm):
            return self.layout.vms[action.vm].host
        return self.layout.vnfcs[action.vnfc].host if isinstance(action, VnfcAction) else None

    def _carry_out(self, party: Party, action: Action) -> None:
        match action:
            case StartVm(_, vm, boot):
                self.vms[vm] = boot
            case IsolateVm(_, vm):
                self.vms.pop(vm, None)
            case StartVnfc(_, vnfc, run, epoch, _, boot):
                self.components[vnfc] = Component(run, boot, epoch=epoch)
                self.tell(VnfcReady(vnfc, run, Position()))
            case Activate(_, vnfc, _, service, epoch, in_sync):
                one = self.components[vnfc]
                one.role, one.epoch, one.service, one.in_sync = "active", epoch, service, in_sync
            case StandBy(_, vnfc, _, _, epoch, active):
                self.components[vnfc].role = "standby"
                leader = self.components[active]
                leader.in_sync = (*leader.in_sync, vnfc)
                self._queue.append((party, ActionDone(action.id)))
                self.tell(StandbySynced(active, leader.run, epoch, vnfc))
                return
            case ConfirmLoss(_, vnfc, _, standby):
                one = self.components[vnfc]
                one.in_sync = tuple(name for name in one.in_sync if name != standby)
            case SetVoters(_, _, voters):
                self._voters = voters
            case StartHost(_, name):
                self.dark.discard(name)
                self.lives[name] += 1
                self._queue.append((party, ActionDone(action.id)))
                self._join(name)
                return
            case _:
                pass
        self._queue.append((party, ActionDone(getattr(action, "id", ""))))  # type: ignore[arg-type]

    def _join(self, name: HostName, parties: tuple[Party, ...] = (HA, VIM, VNFM)) -> None:
        vnfcs = tuple(
            VnfcFact(
                vnfc, one.run, "ready", one.role, one.epoch,  # type: ignore[arg-type]
                (one.service,) if one.service else (), Position(), in_sync=one.in_sync,
            )
            for vnfc, one in self.components.items()
            if self.layout.vnfcs[vnfc].host == name
        )  # fmt: skip
        vms = tuple(VmFact(vm, boot, "up") for vm, boot in self.vms.items() if self.layout.vms[vm].host == name)
        for party in parties:
            self._queue.append((party, AgentJoined(name, vnfcs, vms, self.lives[name], self._voters)))

    # Looking.

    def actives(self) -> dict[ServiceName, VnfcName]:
        return {one.service: name for name, one in self.components.items() if one.service is not None}

    def standbys(self) -> list[VnfcName]:
        return [name for one in self.components.values() for name in one.in_sync]

    def since(self, mark: int) -> list[Given]:
        return self.given[mark:]
