"""One VNFC of this host: its present run, if any.

In: start, stop, isolate (roles: agent_roles), and what detectors see. Out: VnfcReady, VnfcFailed, VnfcIsolated,
StandbyLost, StandbySynced. The processes of a run live in a capsule (a PID namespace), so that ending it is complete.

What always holds: a failure is reported once a run; an end that was asked for is not reported as a failure; the death
of the VNFC is seen on its own processes and never concluded from its VM's.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from holdfast.detect import checks
from holdfast.detect.death import how_it_ended
from holdfast.errors import HoldfastError, WorldError
from holdfast.model.events import (
    Event,
    FailureCause,
    Position,
    StandbyLost,
    StandbySynced,
    VnfcFact,
    VnfcFailed,
    VnfcIsolated,
    VnfcReady,
)
from holdfast.model.layout import Check, Layout, Operation, Service, Vnfc, grant_suffices
from holdfast.model.names import Role, ServiceName, VnfcName
from holdfast.model.processor import ProcessorUse
from holdfast.runtime.agent_capsule import Capsule, end_left
from holdfast.runtime.agent_checks import listener
from holdfast.runtime.agent_components import Asked, Session
from holdfast.runtime.agent_network import HostNetwork, Mark
from holdfast.runtime.agent_setting import Setting
from holdfast.runtime.agent_vm import VmOnHost
from holdfast.runtime.agent_waiting import Result, unless_over
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.premises import Premises
from holdfast.runtime.sockets import Endpoint
from holdfast.wire import component as wire

ENDED: frozenset[FailureCause] = frozenset({"exited", "killed"})


class VnfcOnHost:
    """Starts, watches, asks and ends one VNFC."""

    def __init__(
        self,
        layout: Layout,
        vnfc: Vnfc,
        folder: RunFolder,
        network: HostNetwork,
        vm: VmOnHost | None,
        emit: Callable[[Event], None],
        mark: Mark,
        premises: Premises,
    ) -> None:
        self.vnfc = vnfc
        self.component = layout.components[vnfc.group]
        self.services = [layout.services[name] for name in layout.groups[vnfc.group].services]
        self._others = frozenset(layout.groups[vnfc.group].vnfcs) - {vnfc.name}
        self.layout = layout
        self.network = network
        self.run = 0
        self.epoch = 0
        self.condition: Literal["absent", "starting", "ready", "failed"] = "absent"
        self.role: Role = "none"
        self.provides: tuple[ServiceName, ...] = ()
        """Services that it was made active for."""
        self.position: Position | None = None
        self.in_sync: set[VnfcName] | None = None
        """As the active: standbys for which each update waits; None while it has not said so to this agent."""
        self.losing: set[VnfcName] = set()
        """Standbys that it has asked leave to go on without, and not been answered."""
        self.setting = Setting.of_run(layout, folder, vnfc, 0, 0)
        self.session: Session | None = None
        self._folder = folder
        self._vm = vm
        self._emit = emit
        self.mark = mark
        self._premises = premises
        self._capsule: Capsule | None = None
        self._checks: list[asyncio.Task[None]] = []
        self._reports: dict[asyncio.Task[None], None] = {}
        self._end_is_wanted, self._detail = False, ""
        self._over = asyncio.Event()
        self._connected = asyncio.Event()
        self._troubles: dict[str, str] = {}

    # --- what others ask

    @property
    def vm_is_gone(self) -> bool:
        if self._vm is None:
            return False
        self._vm.look()
        return self._vm.is_gone

    def is_of_another_boot(self, boot: int) -> bool:
        """Whether an instruction for that boot of the VM comes too late (0: for any)."""
        return self._vm is not None and boot != 0 and self._vm.boot != boot

    def fact(self) -> VnfcFact:
        return VnfcFact(
            self.vnfc.name,
            self.run,
            self.condition,
            self.role,
            self.epoch,
            tuple(service.name for service in self.services if self._serves(service)),
            self.position,
            self._detail,
            tuple(sorted(self.in_sync)) if self.role == "active" and self.in_sync is not None else None,
            tuple(sorted(self.losing)) if self.role == "active" else (),
        )

    def _serves(self, service: Service) -> bool:
        if not service.address:
            return service.name in self.provides
        try:
            return self._capsule is not None and self.network.holds(self.vnfc, service)
        except WorldError as error:
            self.mark("address-not-read", service.name, error.message)
            return False

    @property
    def capsule(self) -> Capsule:
        """Where its processes are; WorldError when there is nothing of it."""
        if self._capsule is None:
            raise WorldError(f"nothing of {self.vnfc.name} runs")
        return self._capsule

    def must_be_ready(self, run: int) -> None:
        """WorldError unless this run is the present one, and well."""
        if run != self.run:
            raise WorldError(f"run {run} of {self.vnfc.name} is not its present one ({self.run})")
        if self.condition != "ready":
            raise WorldError(f"{self.vnfc.name} is {self.condition}{self._detail and f': {self._detail}'}")

    def is_process_of(self, pid: int) -> bool:
        """Whether a process of this number belongs to the present run."""
        return self._capsule is not None and self._capsule.holds(pid)

    # --- starting

    async def start(self, run: int, epoch: int, then: Callable[[], Coroutine[Any, Any, None]]) -> str:
        """Start it, wait until it is well, do `then`, report it ready. Otherwise HoldfastError, and it is ended."""
        if self.condition == "ready" and run == self.run:
            self._emit(VnfcReady(self.vnfc.name, run, self.position))
            return "ran already"
        if run < self.run:
            raise WorldError(f"run {run} of {self.vnfc.name} is older than its present one ({self.run})")
        await self.isolate(run, clean_up=False)
        begun = asyncio.get_running_loop().time()
        self._begin(run, epoch)
        try:
            await self._within_limit(then)
        except (HoldfastError, OSError):
            await self.isolate(run, clean_up=False)
            raise
        took_s = asyncio.get_running_loop().time() - begun
        self.condition = "ready"
        self._emit(VnfcReady(self.vnfc.name, run, self.position, took_s))
        self._start_checks()
        return f"took {took_s * 1000:.0f} ms"

    def _begin(self, run: int, epoch: int) -> None:
        self.run, self.epoch, self.condition = run, epoch, "starting"
        self.setting = Setting.of_run(self.layout, self._folder, self.vnfc, run, epoch)
        self.role, self.provides, self.position, self._detail = "none", (), None, ""
        self.in_sync, self._end_is_wanted = None, False
        for known in (self.losing, self._over, self._troubles):
            known.clear()

    async def _within_limit(self, then: Callable[[], Coroutine[Any, Any, None]]) -> None:
        limit_s = self.component.start_limit_s
        try:
            async with asyncio.timeout(limit_s):
                await self._bring_up()
                await self.while_it_lives(self._until_ready())
                await then()
                await self.leave_notes(ready=True)
        except TimeoutError:
            trouble = "; ".join(f"{check} {trouble}" for check, trouble in self._troubles.items())
            raise WorldError(f"not ready within {limit_s:g} s: {trouble or 'its start had not ended'}") from None
        if self._over.is_set():
            raise WorldError(self._detail)

    async def _bring_up(self) -> None:
        """Make the capsule and start the component in it."""
        self._capsule = await self._new_capsule()
        await self.leave_notes(ready=False)
        await self._capsule.bring_up()

    async def _new_capsule(self) -> Capsule:
        return await Capsule.make(self.component, self.setting, self.run, self._vm, self._premises, self._root_ended)

    async def _until_ready(self) -> None:
        if self.component.speaks:
            self._troubles["component protocol"] = "said no hello"
            await self._connected.wait()
            del self._troubles["component protocol"]
        target = self._target()
        asking = (checks.until_well(check, target, self._still_wrong) for check in self.component.checks)
        await asyncio.gather(*asking)

    def _still_wrong(self, check: Check, trouble: str) -> None:
        self._troubles[checks.words(check)] = trouble

    def _target(self) -> checks.Target:
        async def run(command: tuple[str, ...], limit_s: float) -> int:
            return await self.capsule.run(command, limit_s)

        async def ask(limit_s: float) -> None:
            await self.tell(wire.Check, limit_s)

        async def call(address: str, port: int, made: Callable[[], checks.Asking], limit_s: float) -> checks.Asking:
            return await self._premises.streams.call(Endpoint(address, port), made, limit_s)

        def processor() -> ProcessorUse | None:
            return self._capsule.processor() if self._capsule is not None else None

        return checks.Target(self.setting.values["own_address"], run, ask, call, processor)

    # --- while it runs

    def _start_checks(self) -> None:
        heard = listener(self.vnfc.name, self.mark, lambda what: self._failed(self.run, "check", what))
        target = self._target()
        for check in self.component.checks:
            if check.kind != "process":
                self._checks.append(asyncio.create_task(checks.keep_asking(check, target, heard)))

    def _root_ended(self, root: int) -> None:
        self.beside(self._report_end(self.run, root))

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it without anybody waiting for it."""
        task = asyncio.create_task(work)
        self._reports[task] = None
        task.add_done_callback(self._reports.pop)

    async def _report_end(self, run: int, root: int) -> None:
        capsule = self._capsule
        if capsule is None or run != self.run:
            return  # isolated meanwhile
        if self.condition == "starting" and capsule.forget_root(root):
            return  # it only helped at the start
        status = await capsule.status_of(root)
        cause, detail = how_it_ended(status, is_whole=capsule.is_ending)
        if self.condition == "starting":
            said = self._premises.disk.last_line(self.setting.around.log)
            detail += f" before it was ready{said and f'; it said: {said}'}"
        self._failed(run, cause, f"ended {detail}" if status is None or cause == "exited" else f"killed {detail}")

    def _failed(self, run: int, cause: FailureCause, detail: str) -> None:
        """The first thing that goes wrong in a run; all later ones follow from it."""
        if run != self.run or self.condition not in ("starting", "ready") or self._over.is_set():
            return
        self._detail = detail
        self._over.set()
        if self.condition == "ready" and not self._end_is_wanted:
            self.condition = "failed"
            self._failed_when_ready(run, cause, detail)
        self._stop_checks()

    def _failed_when_ready(self, run: int, cause: FailureCause, detail: str) -> None:
        """Tell it; and of one whose process has ended there is nothing to keep: it is isolated before anybody asks."""
        capsule = self._capsule if cause in ENDED and self.component.cleanup is None else None
        lets_go_first = self.network.exclusive.is_shared and bool(self.provides)
        # Where grants are held nobody need be asked: what it held is let go now, so that a successor need not wait for
        # the end of one. What could not be withdrawn is found again when it is isolated.
        troubles = self._cut_off() if lets_go_first else []
        self._emit(VnfcFailed(self.vnfc.name, run, cause, detail))
        if cause in ENDED and not lets_go_first:
            troubles = self._cut_off()
        if capsule is not None:
            # Where a standing order gives the service to somebody, the manager's word would only come in between.
            if not troubles and not (lets_go_first and grant_suffices(self.layout, self.vnfc.group)):
                self.beside(self._tell_isolated(run, capsule))
            capsule.begin_end()

    async def _tell_isolated(self, run: int, capsule: Capsule) -> None:
        """The manager has it isolated meanwhile, and need not wait until its order has come here and an answer back."""
        is_over = capsule.is_empty or await capsule.is_over_within(self.component.cleanup_limit_s)
        if is_over and self._capsule is capsule and not (self._vm is not None and self._vm.is_ending):
            self._emit(VnfcIsolated(self.vnfc.name, run, "confirmed"))

    def _stop_checks(self) -> None:
        for task in self._checks:
            task.cancel()
        self._checks.clear()

    async def while_it_lives(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something with it; WorldError as soon as it has failed."""
        return await unless_over(work, self._over, lambda: self._detail)

    async def leave_notes(self, **more: object) -> None:
        """Tell the capsule what the next agent has to know."""
        await self.capsule.note(run=self.run, epoch=self.epoch, role=self.role, provides=self.provides, **more)

    # --- what it is told and says (Listener of its session)

    def tell(self, make: Callable[[int], wire.Request], limit_s: float) -> Coroutine[Any, Any, None]:
        """Say something to the component, at once; to be awaited until it is answered with ok."""
        if self.session is None:
            raise WorldError("the component is not connected")
        return self._answered(self.session, self.session.ask(make), limit_s)

    async def _answered(self, session: Session, asked: Asked, limit_s: float) -> None:
        answer = await session.answer_to(asked, limit_s)
        if answer.position is not None:
            self.position = Position(*answer.position)

    def joined(self, session: Session, hello: wire.Hello) -> None:
        if self.session is not None and self.session is not session:
            self.session.close()
        self.session = session
        if hello.position is not None:
            self.position = Position(*hello.position)
        if hello.role == "active" and self.role != "active":
            claimed = f"says that it is active for {hello.service[:60]!r} under epoch {hello.epoch}"
            self.mark("role-not-given", self.vnfc.name, f"{claimed}; it was told {self.role}, and its gate stays shut")
        if self.in_sync is None:
            self.in_sync = set()  # Adopted: the next that it says is with whom it is in sync.
        self._connected.set()

    def left(self, session: Session) -> None:
        if self.session is session:
            self.session = None
            self._connected.clear()

    def heard(self, message: wire.Unwell | wire.Lost | wire.Synced) -> None:
        if isinstance(message, wire.Lost | wire.Synced) and message.standby not in self._others:
            self.broke_protocol(f"speaks of {message.standby[:60]!r}, which is none of {self.vnfc.group}")
            return  # Managers would write down whatever name it makes up.
        match message:
            case wire.Unwell(reason):
                self._failed(self.run, "check", f"says that it is unwell: {reason}")
            case wire.Lost(standby, epoch):
                self.losing.add(VnfcName(standby))
                self._emit(StandbyLost(self.vnfc.name, self.run, epoch, VnfcName(standby)))
            case wire.Synced(standby, epoch):
                self.losing.discard(VnfcName(standby))
                if self.in_sync is not None and epoch >= self.epoch:
                    self.in_sync.add(VnfcName(standby))
                self._emit(StandbySynced(self.vnfc.name, self.run, epoch, VnfcName(standby)))

    def broke_protocol(self, why: str) -> None:
        self._failed(self.run, "role", f"broke the component protocol: {why}")

    # --- ending

    async def stop(self, run: int) -> str:
        """End it in good order, or by isolation when it does not end by itself."""
        if run < self.run or self._capsule is None:
            return await self.isolate(run)
        self._end_is_wanted = True
        self._stop_checks()
        self._cut_off()  # isolation below does it again and tells what went wrong
        limit_s = self._stop_limit_s()
        try:
            async with asyncio.timeout(limit_s):
                await self._ask_to_end(limit_s)
                await self.capsule.roots_over_within(limit_s)
        except (WorldError, TimeoutError) as error:
            self.mark("stop-failed", self.vnfc.name, str(error) or f"had not ended after {limit_s:g} s")
            return await self.isolate(run)
        return await self.isolate(run, clean_up=False)

    def _stop_limit_s(self) -> float:
        if self.component.stop is not None:
            return self.component.stop.limit_s
        return self.component.start_limit_s if self.component.ocf is not None else self.component.role_limit_s

    async def _ask_to_end(self, limit_s: float) -> None:
        if self.component.stop is not None:
            await self.capsule.operate(self.component.stop)
        elif self.component.ocf is not None:
            await self.capsule.ask_ocf("stop", limit_s)
        elif self.session is not None:
            await self.tell(wire.Stop, limit_s)
        else:
            self.capsule.ask_roots_to_end()

    async def isolate(self, run: int, *, clean_up: bool = True) -> str:
        """Gates shut, addresses gone, cleanup done, every process gone: all confirmed, or HoldfastError."""
        if run < self.run:
            return f"run {run} is over; the present one is {self.run}"
        self._end_is_wanted = True
        self._stop_checks()
        troubles = self._cut_off()
        was_there = self._capsule is not None
        if was_there and clean_up and not self.vm_is_gone:
            troubles += await self._clean_up()
        if self._capsule is None:
            ended = await end_left(self.setting.folder, self._premises, self.component.cleanup_limit_s)
        else:
            ended = await self._capsule.end(self.component.cleanup_limit_s)
        if not ended:
            raise WorldError(f"not gone within {self.component.cleanup_limit_s:g} s of SIGKILL")
        self._forget()
        if self._vm is not None:
            await self._vm.see_it_through()
        if self._vm is not None and self.vm_is_gone:
            raise WorldError(f"VM {self._vm.vm.name} is gone")
        if troubles:
            raise WorldError("; ".join(troubles))
        return "confirmed" if was_there else "nothing of it ran"

    def is_claimed_for(self, service: ServiceName) -> None:
        """The host has claimed the service, and this one is to provide it."""
        self.network.is_claimed_for(self.vnfc, service)

    def is_lost(self, why: str) -> None:
        """Nobody knows what it does with its role: it counts as failed."""
        self._failed(self.run, "role", why)

    def lose(self, why: str) -> None:
        """Its claim is over: nobody reaches it from here on, and it counts as failed."""
        troubles = self._cut_off()
        self._failed(self.run, "grant", "; ".join([why, *troubles]))

    def _cut_off(self, take: Callable[[Vnfc, Service], None] | None = None) -> list[str]:
        """From here on nobody reaches it, whatever it still does."""
        take, troubles = take or self.network.take, []
        for service in self.services:
            try:
                take(self.vnfc, service)
            except HoldfastError as error:
                troubles.append(error.message)
        self.provides = ()
        return troubles

    async def _clean_up(self) -> list[str]:
        operation = self.component.cleanup
        if operation is None:
            return []
        limit_s = min(operation.limit_s, self.component.cleanup_limit_s)
        try:
            if self.capsule.is_over:
                self._forget()
                self._capsule = await self._new_capsule()
            await self.capsule.operate(Operation(operation.command, limit_s))
        except HoldfastError as error:
            return [f"cleanup: {error.message}"]
        return []

    def _forget(self) -> None:
        """Nothing of it is left, so nothing is remembered but the number of its last run."""
        self._let_go()
        self.condition, self.role, self.provides, self.position = "absent", "none", (), None
        self._over.set()

    def _let_go(self) -> None:
        self._stop_checks()
        if self.session is not None:
            self.session.close()
            self.session = None
        if self._capsule is not None:
            self._capsule.close()
            self._capsule = None

    async def close(self) -> None:
        """Let go of it; ends nothing."""
        waited_for = [*self._checks, *self._reports]
        self._let_go()
        for task in waited_for:
            task.cancel()
        await asyncio.gather(*waited_for, return_exceptions=True)

    # --- taking over from an earlier agent

    async def adopt(self) -> None:
        """Take over a run that an earlier agent started; where none is left, its addresses are taken away."""
        adopted = await Capsule.adopt(self.component, self.setting, self._premises, self._root_ended)
        if adopted is None:
            # Its claim may be another one's by now: what is left over is given up when all are known.
            self._cut_off(self.network.withdraw)
            return
        capsule, notes, lives = adopted
        self._begin(int(notes["run"]), int(notes["epoch"]))
        self._capsule = capsule
        capsule.surround(self.setting)
        self.role, self.provides = notes["role"], tuple(notes["provides"])
        for service in self.provides:
            self.network.is_claimed_for(self.vnfc, service)
        self.mark("vnfc-adopted", self.vnfc.name, f"run {self.run}")
        if lives:
            self.condition = "ready"
            self._start_checks()
        else:
            self.condition, self._detail = "failed", "ended while no agent watched it"
            self._over.set()
