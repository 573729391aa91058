"""Small stand-ins that keep the same contracts: a core with visible moves, an agent without a world."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.lab.sim.loop import SimLoop
from holdfast.model.actions import (
    Action,
    AgentAction,
    ConfirmLoss,
    Decision,
    FenceHost,
    IsolateVnfc,
    NoteService,
    OpenIncident,
    Refuse,
    Send,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    DeadlinePassed,
    LossAccepted,
    Observed,
    Received,
    Silence,
    StandbyLost,
    SwitchoverAsked,
    VmDied,
    VnfcFact,
    VnfcFailed,
)
from holdfast.model.layout import Component, FenceDevice, Group, Host, Layout, Service, Vm, Vnf, Vnfc
from holdfast.model.messages import VmIsolated
from holdfast.model.names import (
    VIM,
    ActionId,
    GroupName,
    HostName,
    IncidentId,
    Party,
    ServiceName,
    VmName,
    VnfcName,
    VnfmName,
    VnfName,
)
from holdfast.model.reasons import Reason
from holdfast.runtime.agent_succession import CarryOut
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.own_lateness import OwnLateness
from holdfast.runtime.refusals import Refusals
from holdfast.runtime.seat import Core

H1 = HostName("h1")
DNS = VnfName("dns")
DNS_1 = VnfcName("dns-1")
DNS_2 = VnfcName("dns-2")
VM_1 = VmName("vm-1")
SERVICE = ServiceName("dns")
LIMIT_S = 5.0
"""Where time is simulated."""
PATIENT_S = 30.0
"""With a busy machine."""
STORY_S = 60.0
"""For a whole story."""
TURN_S = 0.0002


def small_layout(fence: FenceDevice | None = None) -> Layout:
    """One host, one VM, one redundant VNF of two VNFCs."""
    group = GroupName("dns")
    return Layout(
        name="small",
        hosts={H1: Host(H1, fence=((fence,),) if fence else ())},
        vms={VM_1: Vm(VM_1, H1, ())},
        vnfs={DNS: Vnf(DNS, VnfmName("main"), 1, True, (group,))},
        components={group: Component("dns", DNS, group)},
        groups={group: Group(group, DNS, "dns", "2N", "standby", "internal", (SERVICE,), (DNS_1, DNS_2))},
        services={SERVICE: Service(SERVICE, group, "10.77.0.100/24", 53, "udp")},
        vnfcs={name: Vnfc(name, DNS, "dns", group, H1, VM_1) for name in (DNS_1, DNS_2)},
    )


def make_folder(path: Path, layout: Layout) -> RunFolder:
    folder = RunFolder(path)
    folder.layout.write_bytes(msgspec.json.encode(layout))
    folder.key.touch(0o600)
    folder.key.write_bytes(b"k" * 32)
    return folder


class ToyState(Struct, frozen=True):
    party: Party
    next_id: int = 1
    waiting: tuple[Action, ...] = ()
    heard: tuple[str, ...] = ()
    clock: float | None = None


def toy_step(state: ToyState, seen: Observed, now: float) -> tuple[ToyState, tuple[Decision, ...]]:
    """Isolate what failed, fence on a dead VM, message on switchover, confirm a lost standby, fail on LossAccepted."""
    state = replace(state, heard=(*state.heard, type(seen.event).__name__))
    action_id = ActionId(f"{state.party}/{state.next_id}")
    action: Action | None = None
    match seen.event:
        case VnfcFailed(vnfc, run):
            action = IsolateVnfc(action_id, vnfc, run)
        case VmDied():
            action = FenceHost(action_id, H1)
        case StandbyLost(vnfc, run, _, standby):
            action = ConfirmLoss(action_id, vnfc, run, standby)
        case SwitchoverAsked(vnf, _, to):
            action = Refuse("switchover", vnf) if to else Send(action_id, VIM, VmIsolated(IncidentId("i1"), VM_1))
        case ActionDone(done) | ActionFailed(done):
            return replace(state, waiting=tuple(one for one in state.waiting if getattr(one, "id", "") != done)), ()
        case Received():
            state = replace(state, clock=now + 0.001)
        case DeadlinePassed():
            state = replace(state, clock=None)
        case LossAccepted():
            raise ZeroDivisionError("a fault in the core")
    if action is None:
        return state, ()
    why = (Reason("operator-asked", "dns", seen=(seen.n,)),)
    if isinstance(action, Refuse):
        return state, (Decision(action, why),)
    notes = (
        Decision(OpenIncident(IncidentId("i1"), "dns-1", SERVICE, "killed"), why),
        Decision(NoteService(SERVICE, "interrupted", None, 1), why),
    )
    return replace(state, next_id=state.next_id + 1, waiting=(*state.waiting, action)), (*notes, Decision(action, why))


def toy_core(layout: Layout, party: Party) -> Core:
    return Core(partial(ToyState, party), toy_step, lambda state: state.clock, lambda state: state.waiting)


class ToyAgent:
    """Carries everything out at once, or holds back while `hold` is not set."""

    def __init__(self, emit: Callable[..., None], mark: Callable[..., None]) -> None:
        self.emit = emit
        self.mark = mark
        self.performed: list[AgentAction] = []
        self.silent: tuple[Silence, ...] = ()
        self.hold = asyncio.Event()
        self.hold.set()
        self.closed: bool | None = None

    async def open(self) -> None:
        return

    async def perform(self, action: AgentAction) -> ActionDone | ActionFailed:
        self.performed.append(action)
        await self.hold.wait()
        return ActionDone(action.id, "confirmed")

    def measures_lateness(self, into: OwnLateness) -> None:
        return

    def counts_refusals(self, into: Refusals) -> None:
        self.refusals = into

    def carries_out_by(self, carry_out: CarryOut) -> None:
        self.by_itself = carry_out

    def when_over(self, told: Callable[[str], None]) -> None:
        """It never is."""

    def facts(self) -> AgentJoined:
        return AgentJoined(
            H1, (VnfcFact(DNS_1, 1, "ready", "active", 1), VnfcFact(DNS_2, 1, "ready", "standby", 2)), ()
        )

    def ask_silent(self, answer: Callable[[tuple[Silence, ...]], None]) -> None:
        answer(self.silent)

    async def close(self, *, end_all: bool = False) -> None:
        self.closed = end_all


async def until(holds: Callable[[], object], what: str) -> None:
    """Let the loop turn until it holds."""
    loop = asyncio.get_running_loop()
    limit_s = LIMIT_S if isinstance(loop, SimLoop) else PATIENT_S
    limit = loop.time() + limit_s
    while not holds():
        if loop.time() > limit:
            raise AssertionError(f"not within {limit_s} s: {what}")
        if isinstance(loop, SimLoop):
            # Its time stands still while anything runs.
            turn: asyncio.Future[None] = loop.create_future()
            loop.call_later(TURN_S, turn.set_result, None)
            await turn
        else:
            await asyncio.sleep(0)
