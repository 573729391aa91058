"""Processes of one VM or VNFC, through the event loop's connection to their first process.

In: commands. Out: children with handles, exit statuses, notes. Each request has a time limit, so that a frozen sandbox
holds nobody up. What always holds: `end()` is true only when every process of the sandbox is gone, whatever it
forked away and whatever signals it ignores (see guest/init).
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.drivers import sandbox
from holdfast.drivers.pidfd import Pidfd
from holdfast.drivers.sandbox import Json, Sandbox
from holdfast.errors import WorldError

ASK_LIMIT_S = 1.0
STATUS_LIMIT_S = 0.1
"""A first process that has taken a status tells it next; longer than this only one takes that stands still itself."""
"""How long the word on how a process ended may lag behind the news that it has."""
STATUSES_KEPT = 64

Unwanted = Callable[[Json, Sequence[int]], None]


@dataclass(frozen=True)
class Surroundings:
    """What a command finds around it."""

    env: Mapping[str, str]
    cwd: Path
    log: Path


@dataclass(frozen=True)
class Child:
    """A process of a sandbox: its number in there, and a handle that is valid everywhere."""

    pid: int
    handle: Pidfd
    tag: str = ""

    def close(self) -> None:
        self.handle.close()


class Keeper:
    """The first process of a VM or of a VNFC's capsule, as an event loop speaks with it."""

    def __init__(self, name: str, connection: socket.socket) -> None:
        self.name = name
        self.handle = Pidfd(-1)
        self.notes: Json = {}
        self._found: tuple[Child, ...] = ()
        self._sock = connection
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._answers: dict[int, asyncio.Future[tuple[Json, list[int]]]] = {}
        self._unwanted: dict[int, Unwanted] = {}
        """What to do with the answers that nobody waits for any more, by request."""
        self._statuses: dict[int, int] = {}
        self._awaited: dict[int, asyncio.Future[int | None]] = {}
        self._open = True
        self._is_connected = True
        self._loop.add_reader(self._sock, self._readable)

    @classmethod
    async def reach(cls, folder: Path, limit_s: float = ASK_LIMIT_S) -> "Keeper | None":
        """Connect to what lives in this folder; None when nothing does. One that does not answer is a WorldError."""
        try:
            connection = sandbox.connect(folder)
        except OSError:
            return None
        keeper = cls(str(folder), connection)
        try:
            reply, handles = await keeper.ask({"op": "describe", "adopt": True}, limit_s)
        except WorldError:
            keeper.close()
            if sandbox.gone_at(folder):
                return None
            raise
        keeper.name, keeper.notes, keeper.handle = reply["name"], reply["notes"], Pidfd(handles[0])
        keeper._found = _children(reply, handles[1:])
        return keeper

    @classmethod
    async def start(
        cls,
        name: str,
        folder: Path,
        *,
        namespaces: Sequence[str],
        own_run: bool = False,
        keep: Sequence[Path] = (),
        first_pid: int = 0,
        limit_s: float = sandbox.ANSWER_LIMIT_S,
    ) -> "Keeper":
        """Start a sandbox (see Sandbox.start) and connect to it. Broken off, it leaves nothing behind."""
        starting = asyncio.ensure_future(
            asyncio.to_thread(
                Sandbox.start,
                name,
                folder,
                namespaces=namespaces,
                own_run=own_run,
                keep=keep,
                first_pid=first_pid,
                limit_s=limit_s,
            )
        )
        try:
            started = await asyncio.shield(starting)
        except asyncio.CancelledError:
            started = await starting
            started.kill()
            started.close()
            raise
        try:
            keeper = await cls.reach(folder)
        except BaseException:
            started.kill()
            raise
        finally:
            started.close()
        if keeper is None:
            raise WorldError(f"{name} was ended while it was being started")
        return keeper

    def _readable(self) -> None:
        try:
            received = sandbox.receive(self._sock)
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            self._disconnected()
            return
        message, handles = received
        if "ended" in message:
            self._note_end(message["ended"], message["status"])
            return
        answer = self._answers.pop(message["id"], None)
        unwanted = self._unwanted.pop(message["id"], None)
        if answer is not None and not answer.done():
            answer.set_result((message, handles))
            return
        if unwanted is not None and "error" not in message:
            unwanted(message, handles)
        for handle in handles:
            os.close(handle)

    def _note_end(self, pid: int, status: int) -> None:
        awaited = self._awaited.pop(pid, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(status)
            return
        self._statuses[pid] = status
        while len(self._statuses) > STATUSES_KEPT:
            del self._statuses[next(iter(self._statuses))]

    def _disconnected(self) -> None:
        self._is_connected = False
        self._loop.remove_reader(self._sock)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WorldError(f"{self.name} is gone"))
        self._answers.clear()
        self._unwanted.clear()
        for awaited in self._awaited.values():
            if not awaited.done():
                awaited.set_result(None)
        self._awaited.clear()

    async def ask(
        self, request: Json, limit_s: float = ASK_LIMIT_S, unwanted: Unwanted | None = None
    ) -> tuple[Json, list[int]]:
        """One request and its answer, with the handles that came along.

        What is asked for is done, once it has been sent: what comes of it when nobody waits any more is `unwanted`.
        """
        self._number += 1
        number = self._number
        answer: asyncio.Future[tuple[Json, list[int]]] = self._loop.create_future()
        self._answers[number] = answer
        try:
            self._sock.send(sandbox.packet({"id": number, **request}))
            async with asyncio.timeout(limit_s):
                message, handles = await answer
        except TimeoutError as error:
            raise WorldError(f"{self.name} did not answer within {limit_s:g} s") from error
        except OSError as error:
            raise WorldError(f"{self.name} is gone") from error
        finally:
            if self._answers.pop(number, None) is not None and unwanted is not None and self._is_connected:
                self._unwanted[number] = unwanted
        if "error" in message:
            for handle in handles:
                os.close(handle)
            raise WorldError(message["error"])
        return message, handles

    async def spawn(self, argv: Sequence[str], around: Surroundings, tag: str = "") -> Child:
        """Start a program in a session of its own; a program that is missing is a WorldError that names it."""
        reply, handles = await self.ask(
            {
                "op": "spawn",
                "argv": list(argv),
                "env": dict(around.env),
                "cwd": str(around.cwd),
                "log": str(around.log),
                "tag": tag,
            },
            unwanted=lambda late, _handles: self.kill_group(late["pid"]),
        )
        return Child(reply["pid"], Pidfd(handles[0]), tag)

    async def status(self, pid: int, limit_s: float = STATUS_LIMIT_S) -> int | None:
        """The wait status of a child; None when nobody is left to tell it."""
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
        """Kill a command with its group, without waiting for the answer."""
        try:
            self._sock.send(sandbox.packet({"id": 0, "op": "kill", "pid": pid}))
        except OSError:
            return

    def holds(self, pid: int) -> bool:
        """Whether the process of this number (as we see it) lives in here."""
        try:
            ours = os.stat(f"/proc/{self.handle.pid}/ns/pid")
            theirs = os.stat(f"/proc/{pid}/ns/pid")
        except OSError:
            return False
        return ours.st_ino == theirs.st_ino

    @property
    def is_alone(self) -> bool:
        return sandbox.is_alone(self.handle.number)

    def take_found(self) -> tuple[Child, ...]:
        """Processes that were there when we connected, once; the caller closes them."""
        found, self._found = self._found, ()
        return found

    async def children(self) -> tuple[Child, ...]:
        """What stands directly below the first process now; the caller closes them."""
        reply, handles = await self.ask({"op": "describe", "adopt": True})
        os.close(handles[0])
        return _children(reply, handles[1:])

    async def note(self, **notes: object) -> None:
        """Leave a note with the first process, for the agent that comes after us."""
        self.notes.update(notes)
        await self.ask({"op": "note", "notes": notes})

    async def enclose(self, name: str, folder: Path, first_pid: int = 0) -> "Keeper":
        """Make a capsule within this sandbox and connect to it."""
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"name": name, "folder": str(folder), "first_pid": first_pid}
        request = {"op": "enclose", "settings": settings}
        _reply, handles = await self.ask(request, unwanted=lambda _late, handles: _kill_all(handles))
        try:
            capsule = await Keeper.reach(folder)
            if capsule is None:
                raise WorldError(f"{name} was ended while it was being started")
        except BaseException:
            _kill_all(handles)
            raise
        finally:
            for handle in handles:
                os.close(handle)
        return capsule

    def close(self) -> None:
        """Let go of it; ends nothing."""
        if not self._open:
            return
        self._open = False
        self._disconnected()
        self._sock.close()
        self.handle.close()


def _kill_all(handles: Sequence[int]) -> None:
    for handle in handles:
        sandbox.kill(handle)


def _children(reply: Json, handles: list[int]) -> tuple[Child, ...]:
    return tuple(
        Child(child["pid"], Pidfd(handle), child["tag"])
        for child, handle in zip(reply["children"], handles, strict=True)
    )
