"""Handles and keepers of the simulated world: the contracts of `runtime/premises.py` over `sandbox.py`.

In:   what an agent asks of the first process of a sandbox. Out: its answers, in the agent's own loop.
Always: an agent that has ended hears nothing any more; what it asked for is done all the same, once it has arrived.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from holdfast.drivers.process import ASK_LIMIT_S, STATUS_LIMIT_S, STATUSES_KEPT, Surroundings
from holdfast.errors import WorldError
from holdfast.lab.sim.loop import SimLoop
from holdfast.lab.sim.network import Namespace
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.sandbox import Child, SimInit
from holdfast.lab.sim.streams import LOCAL_NS
from holdfast.model.processor import ProcessorUse

ENCLOSE_NS = (3_000_000, 8_000_000)
Answer = TypeVar("Answer")


class SimHandle:
    """Keeps the contract of Handle, for a first process or for a child of one."""

    def __init__(self, loop: SimLoop, init: SimInit, process: Process) -> None:
        self._loop = loop
        self._init = init
        self.process = process
        self._watch: int | None = None

    @property
    def namespace(self) -> Namespace:
        """The network that it is in."""
        return self._init.namespace

    @property
    def _is_first(self) -> bool:
        return self.process is self._init.process

    @property
    def is_gone(self) -> bool:
        return not self.process.is_alive

    @property
    def is_dying(self) -> bool:
        return self.is_gone or (self._is_first and self._init.is_dying)

    @property
    def exit_status(self) -> int | None:
        """Not to be seen here: the first process takes it in the same instant, and tells."""
        return None

    @property
    def processor(self) -> ProcessorUse | None:
        """Nobody counts here what a process has had of the processor."""
        return None

    def kill(self) -> None:
        if self._is_first:
            self._init.kill()
        else:
            self._init.kill_child(self.process)

    def ask_to_end(self) -> None:
        self.process.timeline.after(LOCAL_NS, self.process.ask_to_end)

    def when_over(self, told: Callable[[], None]) -> None:
        def tell() -> None:
            if self._watch is not None:
                self._watch = None
                told()

        self._watch = 0
        self._watch = self.process.when_over(lambda: self._loop.call_soon(tell))

    def copy(self) -> "SimHandle":
        return SimHandle(self._loop, self._init, self.process)

    def close(self) -> None:
        if self._watch is not None:
            self.process.forget(self._watch)
            self._watch = None


class SimChild:
    """Keeps the contract of Child."""

    def __init__(self, handle: SimHandle, pid: int, tag: str) -> None:
        self.handle = handle
        self.pid = pid
        self.tag = tag

    def close(self) -> None:
        self.handle.close()


class SimKeeper:
    """Keeps the contract of Keeper."""

    @property
    def is_alone(self) -> bool:
        return not self._init.children and not self._init.capsules

    def __init__(self, loop: SimLoop, init: SimInit) -> None:
        self.name = init.name
        self.handle = SimHandle(loop, init, init.process)
        self.notes: dict[str, Any] = {}
        self._loop = loop
        self._init = init
        self._found: tuple[SimChild, ...] = ()
        self._answers: dict[asyncio.Future[Any], None] = {}
        self._statuses: dict[int, int] = {}
        self._awaited: dict[int, asyncio.Future[int | None]] = {}
        self._is_connected = True
        self._watches = [
            (init.process, init.process.when_over(lambda: loop.call_soon(self._disconnected))),
            (loop.process, loop.process.when_over(self._leave)),
        ]

    @classmethod
    async def reach(cls, loop: SimLoop, init: SimInit, limit_s: float = ASK_LIMIT_S) -> "SimKeeper":
        keeper = cls(loop, init)
        try:
            keeper._found = await keeper._described(limit_s)
        except BaseException:
            keeper.close()
            raise
        keeper.notes = dict(init.notes)
        return keeper

    # --- asking

    async def _ask(
        self,
        operation: Callable[[], tuple[Answer, int]],
        limit_s: float = ASK_LIMIT_S,
        unwanted: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Have it done by the first process; it answers what it is, and how many nanoseconds it took.

        What comes when nobody waits for it any more is `unwanted`.
        """
        if not self._is_connected or self.handle.is_gone:
            raise WorldError(f"{self.name} is gone")
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._answers[answer] = None
        self._init.put(lambda: self._carry_out(operation, answer, unwanted))
        try:
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError as error:
            raise WorldError(f"{self.name} did not answer within {limit_s:g} s") from error
        finally:
            self._answers.pop(answer, None)

    def _carry_out(
        self,
        operation: Callable[[], tuple[Answer, int]],
        answer: "asyncio.Future[Answer]",
        unwanted: Callable[[Answer], None] | None,
    ) -> None:
        def answered() -> None:
            if not answer.done():
                answer.set_result(result)
            elif unwanted is not None and self._is_connected:
                unwanted(result)

        timeline = self._init.host.timeline
        try:
            result, takes_ns = operation()
        except WorldError as error:
            refusal = error  # the name is taken away behind the block
            timeline.after(LOCAL_NS, lambda: self._loop.call_soon(refuse, answer, refusal))
            return
        timeline.after(takes_ns + LOCAL_NS, lambda: self._loop.call_soon(answered))

    def _disconnected(self) -> None:
        """The first process is gone, or we have let go of it."""
        self._is_connected = False
        for answer in self._answers:
            refuse(answer, WorldError(f"{self.name} is gone"))
        self._answers.clear()
        for awaited in self._awaited.values():
            settle(awaited, None)
        self._awaited.clear()

    def _leave(self) -> None:
        """Nobody hears of the ends of our children any more."""
        for child in self._init.children.values():
            if child.owner == self._ended:
                child.owner = None

    # --- contract

    async def spawn(self, argv: Sequence[str], around: Surroundings, tag: str = "") -> SimChild:
        def spawn() -> tuple[Child, int]:
            return self._init.spawn(argv, around.env, around.cwd, around.log, tag, self._ended)

        def end(child: Child) -> None:
            self._init.kill_group(child.pid)

        return self._seen(await self._ask(spawn, unwanted=end))

    def _seen(self, child: Child) -> SimChild:
        return SimChild(SimHandle(self._loop, self._init, child.process), child.pid, child.tag)

    def _ended(self, pid: int, status: int) -> None:
        timeline = self._init.host.timeline
        timeline.after(LOCAL_NS, lambda: self._loop.call_soon(self._note_end, pid, status))

    def _note_end(self, pid: int, status: int) -> None:
        awaited = self._awaited.pop(pid, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(status)
            return
        self._statuses[pid] = status
        while len(self._statuses) > STATUSES_KEPT:
            del self._statuses[next(iter(self._statuses))]

    async def status(self, pid: int, limit_s: float = STATUS_LIMIT_S) -> int | None:
        if pid in self._statuses or not self._is_connected:
            return self._statuses.pop(pid, None)
        awaited = self._awaited.setdefault(pid, self._loop.create_future())
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(awaited)
        except TimeoutError:
            return None
        finally:
            self._awaited.pop(pid, None)

    def kill_group(self, pid: int) -> None:
        self._init.put(lambda: self._init.kill_group(pid))

    async def children(self) -> tuple[SimChild, ...]:
        return await self._described(ASK_LIMIT_S)

    async def _described(self, limit_s: float) -> tuple[SimChild, ...]:
        """What is in it; from now on their ends are told to us."""

        def describe() -> tuple[tuple[Child, ...], int]:
            children = tuple(self._init.children.values())
            for child in children:
                child.owner = self._ended
            return children, 0

        return tuple(self._seen(child) for child in await self._ask(describe, limit_s))

    def take_found(self) -> tuple[SimChild, ...]:
        found, self._found = self._found, ()
        return found

    def holds(self, pid: int) -> bool:
        return any(child.process.pid == pid for child in self._init.children.values())

    async def note(self, **notes: object) -> None:
        self.notes.update(notes)

        def note() -> tuple[None, int]:
            self._init.notes.update(notes)
            return None, 0

        await self._ask(note)

    async def enclose(self, name: str, folder: Path, first_pid: int = 0) -> "SimKeeper":
        folder.mkdir(parents=True, exist_ok=True)
        outer = self._init

        def enclose() -> tuple[SimInit, int]:
            takes_ns = outer.host.troubles.slowness * outer.host.timeline.chance.randint(*ENCLOSE_NS)
            return SimInit(outer.host, name, folder, outer.programs, first_pid, outer), takes_ns

        inner = await self._ask(enclose, unwanted=SimInit.kill)
        try:
            if not inner.process.is_alive:
                raise WorldError(f"{name} was ended while it was being started")
            return await SimKeeper.reach(self._loop, inner)
        except BaseException:
            inner.kill()
            raise

    def close(self) -> None:
        for process, watch in self._watches:
            process.forget(watch)
        self._leave()
        self._disconnected()
        self.handle.close()


def settle(answer: "asyncio.Future[Any]", result: Any) -> None:
    if not answer.done():
        answer.set_result(result)


def refuse(answer: "asyncio.Future[Any]", error: WorldError) -> None:
    if not answer.done():
        answer.set_exception(error)
