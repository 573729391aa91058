"""A world of VNFMs, a VIM, their agents and fence devices, in which the order of everything is chosen by the test.

Agents and devices keep the contract of the real ones as far as managers can tell: in order on each link, an
answer to each action, the old answer to a repeated id, complete facts when they join. Messages between
managers may overtake each other and come twice. The world also judges, knowing nothing of the cores: no VM
is started over one that may still run, or before all who knew it have spoken; no VNFC beside its earlier run.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec

from holdfast.core import vim, vnfm
from holdfast.model.actions import (
    Action,
    ClearAlarm,
    CloseIncident,
    Decision,
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
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    DeadlinePassed,
    Event,
    HostFailed,
    ManagerStarted,
    Observed,
    Received,
    VmDied,
    VmFact,
    VnfcFact,
    VnfcFailed,
)
from holdfast.model.layout import Layout, in_charge, vnfms_of
from holdfast.model.messages import ErrorOnVm, Message, RepairAck, RepairRequest, VmUp
from holdfast.model.names import (
    HA,
    VIM,
    ActionId,
    HostName,
    IncidentId,
    Party,
    VmName,
    VnfcName,
    agent_party,
)
from tests.unit.managers_layout import short

POWER = Party("power")


@dataclass
class World:
    layout: Layout
    now: float = 0.0
    lines: list[str] = field(default_factory=list)
    """What the managers did, and what was done to the world, one short line each."""
    decisions: list[tuple[Party, Decision]] = field(default_factory=list)
    stopped: set[Party] = field(default_factory=set)
    """Managers that are frozen: what is for them waits."""
    broken: dict[str, str] = field(default_factory=dict)
    """`<action>:<entity>` to what comes of it: `fails`, or `hangs`."""

    def __post_init__(self) -> None:
        self.n = 0
        self.states: dict[Party, vim.State | vnfm.State] = {VIM: vim.initial(self.layout)}
        for party in vnfms_of(self.layout):
            self.states[party] = vnfm.initial(self.layout, party)
        self.links: dict[tuple[Party, Party], deque[Event | Action]] = {}
        self.bag: list[tuple[Party, Received]] = []
        self.boots: dict[VmName, int] = {}
        self.vm_up: set[VmName] = set()
        self.host_on: set[HostName] = set(self.layout.hosts)
        self.lives = dict.fromkeys(self.layout.hosts, 1 if self.layout.grants is not None else 0)
        self.runs: dict[VnfcName, int] = {}
        self.running: set[VnfcName] = set()
        self.outcomes: dict[ActionId, ActionDone | ActionFailed] = {}
        self.started_boots: set[tuple[VmName, int]] = set()
        self.known_by: dict[tuple[VmName, int], set[Party]] = {}
        self.spoken: dict[tuple[VmName, int], set[Party]] = {}
        self.for_ha: list[Message] = []

    # Beginning, and time.

    def begin(self) -> None:
        """All managers and agents start, and everything comes up."""
        for party in self.states:
            self.observe(party, ManagerStarted())
        for host in self.layout.hosts:
            self.join(host)
        self.settle()

    def settle(self) -> None:
        """Deliver all there is, oldest first, until nothing moves."""
        for _ in range(10_000):
            if not self.deliver_next():
                return
        raise AssertionError("the managers never come to rest")

    def wait(self, seconds: float) -> None:
        """Let time pass, with every deadline on the way."""
        end = self.now + seconds
        while True:
            self.settle()
            dues = [due for party in self.states if party not in self.stopped and (due := self.due(party)) is not None]
            due = min(dues, default=None)
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            for party in self.states:
                own = self.due(party)
                if own is not None and own <= self.now and party not in self.stopped:
                    self.observe(party, DeadlinePassed())
        self.now = end

    def due(self, party: Party) -> float | None:
        state = self.states[party]
        return vim.deadline(state) if isinstance(state, vim.State) else vnfm.deadline(state)

    # What the managers do.

    def observe(self, party: Party, event: Event) -> None:
        self.n += 1
        observed = Observed(self.n, event)
        state = self.states[party]
        after: vim.State | vnfm.State
        if isinstance(state, vim.State):
            after, decisions = vim.step(self.layout, state, observed, self.now)
        else:
            after, decisions = vnfm.step(self.layout, state, observed, self.now)
        # What is saved must be all there is.
        self.states[party] = msgspec.json.decode(msgspec.json.encode(after), type=type(after))
        for decision in decisions:
            assert any(reason.seen for reason in decision.reasons), decision
            self.decisions.append((party, decision))
            self.lines.append(f"{party}: {short(decision.action)}")
            self._let_out(party, decision.action)

    def restart(self, party: Party) -> None:
        """The manager is killed, loses what was on its way to it, and starts again from its saved state."""
        for link in [link for link in self.links if party in link]:
            self.links[link].clear()
        self.lines.append(f"{party} starts again")
        self.observe(party, ManagerStarted())
        for action in self.outstanding(party):
            self._let_out(party, action)
        for host in self.host_on:
            self._to(agent_party(host), party, self._facts(host))

    def _let_out(self, party: Party, action: Action) -> None:
        if isinstance(action, Send):
            self.bag.append((action.to, Received(action.id, party, action.message)))
        elif isinstance(action, StartVm | IsolateVm):
            self._judge_vm(action)
            self._to(party, agent_party(self.layout.vms[action.vm].host), action)
        elif isinstance(action, StartVnfc | IsolateVnfc):
            self._to(party, agent_party(self.layout.vnfcs[action.vnfc].host), action)
        elif isinstance(action, FenceHost | StartHost):
            self._to(party, POWER, action)

    def _to(self, sender: Party, to: Party, what: Event | Action) -> None:
        self.links.setdefault((sender, to), deque()).append(what)

    # Deliveries.

    def moves(self) -> list[Callable[[], None]]:
        """Everything that may happen next."""
        links = [link for link, queue in self.links.items() if queue and link[1] not in self.stopped]
        items = [item for item in self.bag if item[0] not in self.stopped]
        return [
            *(partial(self._deliver_link, link) for link in links),
            *(partial(self._deliver_message, one) for one in items),
        ]

    def deliver_next(self) -> bool:
        moves = self.moves()
        if moves:
            moves[0]()
        return bool(moves)

    def _deliver_link(self, link: tuple[Party, Party]) -> None:
        what = self.links[link].popleft()
        to = link[1]
        if to in self.states:
            self.observe(to, what)  # type: ignore[arg-type]
        elif to == POWER:
            self._power(link[0], what)  # type: ignore[arg-type]
        else:
            self._perform(to, link[0], what)  # type: ignore[arg-type]

    def _deliver_message(self, item: tuple[Party, Received], keep: bool = False) -> None:
        if not keep:
            self.bag.remove(item)
        to, received = item
        if to == HA:
            self.for_ha.append(received.message)
        else:
            self._note_words(to, received)
            self.observe(to, received)
        self.observe(received.sender, ActionDone(received.id))

    def repeat(self, which: int) -> None:
        """Deliver a message and keep it on its way: it will come once more."""
        waiting = [item for item in self.bag if item[0] not in self.stopped and item[1].sender not in self.stopped]
        if waiting:
            self._deliver_message(waiting[which % len(waiting)], keep=True)

    # Agents and power.

    def join(self, host: HostName) -> None:
        """The link starts (again): the facts first, and what is outstanding once more."""
        for party in self.states:
            self._to(agent_party(host), party, self._facts(host))
            for action in self.outstanding(party):
                if not isinstance(action, Send | FenceHost | StartHost) and self._host_of(action) == host:
                    self._to(party, agent_party(host), action)

    def _host_of(self, action: Action) -> HostName | None:
        if isinstance(action, StartVm | IsolateVm):
            return self.layout.vms[action.vm].host
        return self.layout.vnfcs[action.vnfc].host if isinstance(action, StartVnfc | IsolateVnfc) else None

    def outstanding(self, party: Party) -> tuple[Action, ...]:
        state = self.states[party]
        return vim.outstanding(state) if isinstance(state, vim.State) else vnfm.outstanding(state)

    def lose(self, host: HostName) -> None:
        for party in self.states:
            self._to(agent_party(host), party, AgentLost(host))

    def _facts(self, host: HostName) -> AgentJoined:
        vnfcs = tuple(
            VnfcFact(name, self.runs.get(name, 0), "ready" if name in self.running else "absent")
            for name, vnfc in self.layout.vnfcs.items()
            if vnfc.host == host
        )
        vms = tuple(
            VmFact(name, self.boots.get(name, 0), "up" if name in self.vm_up else "absent")
            for name, vm in self.layout.vms.items()
            if vm.host == host
        )
        return AgentJoined(host, vnfcs, vms, self.lives[host])

    def _perform(self, agent: Party, party: Party, action: Action) -> None:
        host = HostName(agent.removeprefix("agent:"))
        if host not in self.host_on or isinstance(action, Send):
            return
        outcome = self.outcomes.get(action.id)  # type: ignore[union-attr]
        if outcome is None:
            about = action.vm if isinstance(action, StartVm | IsolateVm) else action.vnfc  # type: ignore[union-attr]
            trouble = self.broken.get(f"{type(action).__name__}:{about}")
            if trouble == "hangs":
                return
            outcome = self._do(action) if trouble is None else ActionFailed(action.id, "it would not")  # type: ignore[union-attr]
            self.outcomes[outcome.action] = outcome
        self._to(agent, party, outcome)

    def _do(self, action: Action) -> ActionDone | ActionFailed:
        match action:
            case StartVm():
                self.boots[action.vm] = action.boot
                self.vm_up.add(action.vm)
                return ActionDone(action.id)
            case IsolateVm():
                self._end_vm(action.vm)
                return ActionDone(action.id)
            case StartVnfc():
                vm = self.layout.vnfcs[action.vnfc].vm
                if vm is not None and (vm not in self.vm_up or self.boots[vm] != action.boot):
                    return ActionFailed(action.id, f"{vm} is gone", vm_gone=True)
                assert action.vnfc not in self.running, f"two of {action.vnfc}"
                self.running.add(action.vnfc)
                self.runs[action.vnfc] = action.run
                return ActionDone(action.id)
            case IsolateVnfc():
                vm = self.layout.vnfcs[action.vnfc].vm
                if vm is not None and vm not in self.vm_up:
                    return ActionFailed(action.id, f"{vm} is gone", vm_gone=True)
                self.running.discard(action.vnfc)
                return ActionDone(action.id)
        raise AssertionError(f"no agent does {action}")

    def _end_vm(self, vm: VmName) -> None:
        self.vm_up.discard(vm)
        self.running -= {name for name, vnfc in self.layout.vnfcs.items() if vnfc.vm == vm}

    def _power(self, party: Party, action: FenceHost | StartHost) -> None:
        trouble = self.broken.get(f"{type(action).__name__}:{action.host}")
        if trouble == "hangs":
            return
        if trouble == "fails":
            self._to(POWER, party, ActionFailed(action.id, "no answer from the device"))
            return
        if isinstance(action, FenceHost):
            self.turn_off(action.host)
        self._to(POWER, party, ActionDone(action.id))
        if isinstance(action, StartHost) and action.host not in self.host_on:
            self.host_on.add(action.host)
            self.join(action.host)

    # Faults.

    def turn_off(self, host: HostName) -> None:
        self.host_on.discard(host)
        for link in [link for link in self.links if agent_party(host) in link]:
            self.links[link].clear()
        for name, vm in self.layout.vms.items():
            if vm.host == host:
                self._end_vm(name)
        self.running -= {name for name, vnfc in self.layout.vnfcs.items() if vnfc.host == host}
        self.lives[host] += 1 if self.layout.grants is not None else 0
        self.lose(host)

    def found_silent(self, host: HostName, by: HostName, life: int) -> None:
        """The agent of another host tells it, whether it is so (or still so) or not."""
        for party in self.states:
            self._to(agent_party(by), party, HostFailed(host, by, "silent for 45 ms", life))

    def kill_vm(self, vm: VmName, seen_by_vnf: bool = True, seen_by_vim: bool = True) -> None:
        """Both levels see it, each on its own link; or one of them not (yet)."""
        self.lines.append(f"kill {vm}")
        lost = [name for name in self.running if self.layout.vnfcs[name].vm == vm]
        self._end_vm(vm)
        agent = agent_party(self.layout.vms[vm].host)
        if seen_by_vim:
            self._to(agent, VIM, VmDied(vm, self.boots[vm], "killed"))
        for name in sorted(lost if seen_by_vnf else []):
            self._tell_failed(name)

    def kill(self, vnfc: VnfcName) -> None:
        self.lines.append(f"kill {vnfc}")
        self.running.discard(vnfc)
        self._tell_failed(vnfc)

    def hang(self, vnfc: VnfcName) -> None:
        """It answers its checks no more, and still runs."""
        self.lines.append(f"hang {vnfc}")
        self._tell_failed(vnfc, "check")

    def _tell_failed(self, vnfc: VnfcName, cause: str = "killed") -> None:
        place = self.layout.vnfcs[vnfc]
        to = in_charge(self.layout, place.vnf)
        failed = VnfcFailed(vnfc, self.runs[vnfc], cause)  # type: ignore[arg-type]
        self._to(agent_party(place.host), to, failed)

    def message(self, sender: Party, to: Party, message: Message) -> None:
        """A message of a manager that is not in this world."""
        self.n += 1
        self.observe(to, Received(ActionId(f"{sender}/m{self.n}"), sender, message))

    # Judging.

    def _note_words(self, to: Party, received: Received) -> None:
        """Who knows of which life of a VM, and who has said that it may be repaired."""
        match received.message:
            case VmUp() as up:
                self.known_by.setdefault((up.vm, up.boot), set()).add(to)
            case RepairRequest() | ErrorOnVm() as asked:
                self.spoken.setdefault((asked.vm, asked.boot), set()).add(received.sender)
            case RepairAck() as ack:
                boot = self.boots.get(ack.vm, 0)
                self.spoken.setdefault((ack.vm, boot), set()).add(received.sender)

    def _judge_vm(self, action: StartVm | IsolateVm) -> None:
        boot = action.boot if isinstance(action, IsolateVm) else action.boot - 1
        host = self.layout.vms[action.vm].host
        if self.layout.vms[action.vm].repair == "negotiated" and boot and host in self.host_on:
            silent = self.known_by.get((action.vm, boot), set()) - self.spoken.get((action.vm, boot), set())
            assert not silent or self.was_fenced(host), f"{short(action)} before {silent} had spoken"
        if isinstance(action, StartVm):
            assert action.vm not in self.vm_up or (action.vm, action.boot) in self.started_boots, f"two of {action.vm}"
            self.started_boots.add((action.vm, action.boot))

    def was_fenced(self, host: HostName) -> bool:
        return any(f"vim: FenceHost {host}" in line for line in self.lines)

    # Looking back.

    def acts(self, *kinds: type[Action]) -> list[str]:
        """What was decided, in order; without the kinds that are mere notes, unless asked for."""
        notes = (OpenIncident, CloseIncident, RaiseAlarm, ClearAlarm, NoteService, Refuse)
        return [
            f"{party}: {short(one.action)}"
            for party, one in self.decisions
            if (isinstance(one.action, kinds) if kinds else not isinstance(one.action, notes))
        ]

    def count(self, line: str) -> int:
        return sum(one == line for one in self.acts())

    def open_incidents(self) -> set[IncidentId]:
        opened = {one.action.incident for _, one in self.decisions if isinstance(one.action, OpenIncident)}
        return opened - {one.action.incident for _, one in self.decisions if isinstance(one.action, CloseIncident)}

    def alarms(self) -> set[str]:
        raised: set[str] = set()
        for _, one in self.decisions:
            if isinstance(one.action, RaiseAlarm):
                raised.add(one.action.alarm)
            elif isinstance(one.action, ClearAlarm):
                assert one.action.alarm in raised, f"{one.action.alarm} was cleared and never raised"
                raised.discard(one.action.alarm)
        return raised

    def all_is_well(self) -> bool:
        own = {name for name, vnfc in self.layout.vnfcs.items() if in_charge(self.layout, vnfc.vnf) != HA}
        return self.running == own and self.vm_up == set(self.layout.vms) and not self.alarms()
