"""The agent of one host: carries actions out, reports what it sees, decides nothing about roles.

In: actions. Out: their outcomes, events (through `emit`, as they happen), facts. What always holds: an action with an
id that was carried out before gets its old outcome; one with an id under way is awaited and not begun twice; isolation
breaks off whatever else is under way for the same entity; instructions of an older epoch are refused.
"""

import asyncio
import traceback
from collections.abc import Callable
from functools import partial
from typing import assert_never

from holdfast.errors import HoldfastError, PeerError, WorldError
from holdfast.model.actions import (
    Activate,
    AgentAction,
    ConfirmLoss,
    HostAction,
    IsolateVm,
    IsolateVnfc,
    Quiesce,
    RememberEpochs,
    SetVoters,
    StandBy,
    StandingOrder,
    StartVnfc,
    StopVnfc,
    VmAction,
    VnfcAction,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    Event,
    Silence,
)
from holdfast.model.layout import Layout
from holdfast.model.limits import OUTCOMES_KEPT
from holdfast.model.names import ActionId, HostName, ServiceName, VnfcName
from holdfast.model.reasons import Reason
from holdfast.runtime import agent_roles as roles
from holdfast.runtime.agent_announcing import Announcing
from holdfast.runtime.agent_components import ComponentDoor, Listener
from holdfast.runtime.agent_grants import HeldGrants
from holdfast.runtime.agent_network import HostNetwork, table_of
from holdfast.runtime.agent_succession import CarryOut, StandingTakeOver
from holdfast.runtime.agent_turns import Turns
from holdfast.runtime.agent_vm import VmOnHost
from holdfast.runtime.agent_vnfc import VnfcOnHost
from holdfast.runtime.exclusivity import Exclusivity, Unguarded
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.hot_door import SPAWNED_HOT, HotDoor
from holdfast.runtime.own_lateness import OwnLateness
from holdfast.runtime.premises import Premises
from holdfast.runtime.premises_here import HERE
from holdfast.runtime.refusals import COMPONENTS, HEARTBEATS, Refusals

Outcome = ActionDone | ActionFailed


class Agent:
    """All VMs and VNFCs of one host."""

    def __init__(
        self,
        layout: Layout,
        host: HostName,
        folder: RunFolder,
        emit: Callable[[Event], None],
        mark: Callable[[str, str, str], None],
        premises: Premises = HERE,
        hot: HotDoor = SPAWNED_HOT,
    ) -> None:
        """
        Args:
            emit: gets every event, synchronously and in order.
            mark: gets what else is worth a line in the journal: name, about, detail.
            premises: what it finds on the host; components reach it by the streams of these.
            hot: how it reaches the host's hot process.
        """
        self.host = host
        self._mark = mark
        self._exclusive: Exclusivity = (
            HeldGrants(layout, host, folder, table_of(layout, host), hot) if layout.grants is not None else Unguarded()
        )
        self._network = HostNetwork(layout, host, folder, mark, self._exclusive, premises)
        self._vms = {
            vm.name: VmOnHost(vm, folder, self._network, emit, mark, premises)
            for vm in layout.vms.values()
            if vm.host == host
        }
        self._vnfcs = {
            vnfc.name: VnfcOnHost(
                layout, vnfc, folder, self._network, self._vms[vnfc.vm] if vnfc.vm else None, emit, mark, premises
            )
            for vnfc in layout.vnfcs.values()
            if vnfc.host == host
        }
        self._announcing = Announcing(self._vnfcs, mark)
        self._own_decisions: CarryOut = self._unwritten
        self._standing = StandingTakeOver(
            host, self._vnfcs, self._exclusive, self._by_itself, emit, mark, self._announcing.again
        )
        self._refusals: Refusals | None = None
        self._refused_before: set[tuple[VnfcName, str]] = set()
        self._door = ComponentDoor(
            folder.component_socket(host), self._recognise, self._whose, self._refused, premises.streams
        )
        self._vm_turns = {name: Turns() for name in self._vms}
        self._vnfc_turns = {name: Turns() for name in self._vnfcs}
        self._outcomes: dict[ActionId, tuple[AgentAction, Outcome]] = {}
        """Of the last actions. A manager whose disk was full before it ended may give a number to another action."""
        self._under_way: dict[ActionId, asyncio.Task[Outcome]] = {}
        self._epochs: dict[ServiceName, int] = {}
        """The highest epoch seen of each service."""

    # --- life of the agent itself

    async def open(self) -> None:
        """Make what the host needs, and adopt the VMs and VNFCs that already run. What fails leaves nothing open."""
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> None:
        await self._exclusive.open(self._standing)
        self._network.open()
        for vm in self._vms.values():
            await vm.adopt()
        for life in self._vnfcs.values():
            await life.adopt()
            for service in life.provides:
                self._epochs[service] = max(life.epoch, self._epochs.get(service, 0))
        await self._door.open()
        self._standing.adopted()

    async def close(self, *, end_all: bool = False) -> None:
        """Let go of everything; with `end_all` end it first, confirmed, and take away what this agent made."""
        for task in tuple(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await self._standing.close()
        self._announcing.close()
        troubles = await self._end_all() if end_all else []
        await self._door.close()
        for life in self._vnfcs.values():
            await life.close()
        for vm in self._vms.values():
            await vm.close()
        await self._network.close(end_all=end_all)
        await self._exclusive.close(end_all=end_all)
        if troubles:
            raise WorldError(f"host {self.host}: not everything could be ended: {'; '.join(troubles)}")

    async def _end_all(self) -> list[str]:
        async def end(life: VnfcOnHost) -> None:
            await self._vnfc_turns[life.vnfc.name].at_once(lambda: life.isolate(life.run, clean_up=False))

        vnfcs = await asyncio.gather(*(end(life) for life in self._vnfcs.values()), return_exceptions=True)
        vms = await asyncio.gather(
            *(self._vm_turns[vm.vm.name].at_once(vm.isolate) for vm in self._vms.values()), return_exceptions=True
        )
        in_no_vm = [result for life, result in zip(self._vnfcs.values(), vnfcs, strict=True) if not life.vm_is_gone]
        return [str(result) for result in (*in_no_vm, *vms) if isinstance(result, BaseException)]

    def carries_out_by(self, carry_out: CarryOut) -> None:
        """What it decides by itself goes this way."""
        self._own_decisions = carry_out

    async def _by_itself(self, action: Activate, reasons: tuple[Reason, ...]) -> Outcome:
        return await self._own_decisions(action, reasons)

    def counts_refusals(self, into: Refusals) -> None:
        """Whatever it refuses to hear is counted there."""
        self._refusals = into
        self._exclusive.refused = partial(into.are, HEARTBEATS)

    def measures_lateness(self, into: OwnLateness) -> None:
        self._exclusive.began, self._exclusive.pulsed, self._exclusive.lapsed = into.began, into.pulse, into.lapsed

    async def _unwritten(self, action: Activate, reasons: tuple[Reason, ...]) -> Outcome:
        return await self.perform(action)

    def when_over(self, told: Callable[[str], None]) -> None:
        """Call `told`, with the reason, if it cannot go on and is to be started anew."""
        self._standing.when_over(told)

    def facts(self) -> AgentJoined:
        """How everything of this host is at this moment."""
        return AgentJoined(
            self.host,
            tuple(life.fact() for life in self._vnfcs.values()),
            tuple(vm.fact() for vm in self._vms.values()),
            self._exclusive.life,
            self._exclusive.voters,
        )

    def ask_silent(self, answer: Callable[[tuple[Silence, ...]], None]) -> None:
        """Answers which other hosts are found failed and are silent at this moment, or are so on a network."""
        self._exclusive.ask_silent(answer)

    # --- components

    def _recognise(self, name: str, pid: int) -> VnfcOnHost | None:
        life = self._vnfcs.get(VnfcName(name))
        return life if life is not None and life.is_process_of(pid) else None

    def _whose(self, pid: int) -> VnfcOnHost | None:
        return next((life for life in self._vnfcs.values() if life.is_process_of(pid)), None)

    def _refused(self, error: PeerError, whose: Listener | None) -> None:
        """Written down for each of the first of a kind only: whoever is refused may come again at once."""
        name = whose.vnfc.name if isinstance(whose, VnfcOnHost) else VnfcName("")
        if (name, error.kind) not in self._refused_before:
            self._refused_before.add((name, error.kind))
            self._mark("component-refused", name or self.host, error.message)
        if self._refusals is not None:
            self._refusals.add(COMPONENTS, error.kind)

    # --- actions

    async def perform(self, action: AgentAction) -> Outcome:
        """Carry an action out; whatever the world does, the outcome is a value."""
        known = self._outcomes.get(action.id)
        if known is not None and known[0] == action:
            return known[1]
        task = self._under_way.get(action.id)
        if task is None:
            task = asyncio.create_task(self._carry_out(action))
            self._under_way[action.id] = task
            task.add_done_callback(lambda _task: self._under_way.pop(action.id, None))
        return await asyncio.shield(task)

    async def _carry_out(self, action: AgentAction) -> Outcome:
        outcome: Outcome
        try:
            if isinstance(action, HostAction):
                detail = await self._as_host(action)
            elif isinstance(action, VmAction):
                detail = await self._with_vm(action)
            else:
                detail = await self._with_vnfc(action)
            outcome = ActionDone(action.id, detail)
        except HoldfastError as error:
            outcome = ActionFailed(action.id, error.message, self._vm_is_gone(action))
        except OSError as error:
            outcome = ActionFailed(action.id, str(error), self._vm_is_gone(action))
        except Exception as error:  # noqa: BLE001 - a mistake of ours in one action must not end all others
            traceback.print_exception(error)
            self._mark("bug", action.id, repr(error))
            outcome = ActionFailed(action.id, f"bug in the agent: {error!r}")
        self._outcomes.pop(action.id, None)
        self._outcomes[action.id] = action, outcome
        while len(self._outcomes) > OUTCOMES_KEPT:
            del self._outcomes[next(iter(self._outcomes))]
        return outcome

    def _vm_is_gone(self, action: AgentAction) -> bool:
        if isinstance(action, VmAction | HostAction):
            return False
        life = self._vnfcs.get(action.vnfc)
        if life is None:
            return False
        return life.vm_is_gone or (isinstance(action, StartVnfc) and life.is_of_another_boot(action.boot))

    async def _as_host(self, action: HostAction) -> str:
        match action:
            case StandingOrder():
                return await self._standing.order(action)
            case RememberEpochs():
                await self._exclusive.take_epochs(action.epochs)
                return "known to its voter"
            case SetVoters():
                return await self._exclusive.set_voters(action.voters, use=action.use)
            case _:
                assert_never(action)

    async def _with_vm(self, action: VmAction) -> str:
        vm = self._vms.get(action.vm)
        if vm is None:
            raise WorldError(f"VM {action.vm} does not belong to host {self.host}")
        turns = self._vm_turns[action.vm]
        if isinstance(action, IsolateVm):
            if action.boot < vm.boot:
                return f"boot {action.boot} is over; the present one is {vm.boot}"
            await turns.at_once(vm.isolate)
            return "processes and port gone"
        if action.how == "snapshot":
            raise WorldError("sandboxes have no snapshots")
        await turns.in_turn(lambda: vm.start(action.boot))
        return "no standby VM for sandboxes: started anew" if action.how == "standby-vm" else "up"

    async def _with_vnfc(self, action: VnfcAction) -> str:
        life = self._vnfcs.get(action.vnfc)
        if life is None:
            raise WorldError(f"VNFC {action.vnfc} does not belong to host {self.host}")
        turns = self._vnfc_turns[action.vnfc]
        if isinstance(action, IsolateVnfc):
            return await turns.at_once(lambda: life.isolate(action.run))
        return await turns.in_turn(lambda: self._in_turn(life, action))

    async def _in_turn(self, life: VnfcOnHost, action: VnfcAction) -> str:
        if isinstance(action, Activate | StandBy | Quiesce):
            self._refuse_older(action)
        match action:
            case StartVnfc():
                if life.is_of_another_boot(action.boot):
                    raise WorldError(f"boot {action.boot} of its VM is over")
                return await life.start(action.run, action.epoch, lambda: self._serve_at_once(life, action))
            case StopVnfc() | IsolateVnfc():
                return await life.stop(action.run)
            case Activate():
                return await roles.activate(life, action)
            case StandBy():
                return await roles.stand_by(life, action)
            case Quiesce():
                return await roles.quiesce(life, action)
            case ConfirmLoss():
                return await roles.confirm_loss(life, action)
            case _:
                assert_never(action)

    async def _serve_at_once(self, life: VnfcOnHost, action: StartVnfc) -> None:
        """Where the group assigns no roles, starting means serving."""
        if action.service is not None:
            await roles.serve(life, life.layout.services[action.service], action.epoch)

    def _refuse_older(self, action: Activate | StandBy | Quiesce) -> None:
        highest = self._epochs.get(action.service, 0)
        if action.epoch < highest:
            raise WorldError(f"older epoch: {action.epoch} for {action.service}, which is at {highest}")
        self._epochs[action.service] = action.epoch
