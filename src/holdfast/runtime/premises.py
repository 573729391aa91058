"""What an agent finds on its host, as contracts: processes in sandboxes, and what the kernel forwards and answers.

In: names, folders, commands, addresses. Out: handles on processes, effects, and what became of them.
`premises_here.HERE` is the machine that this process runs on; `lab/sim` has another one. Both pass tests/contract.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from holdfast.drivers.process import ASK_LIMIT_S, STATUS_LIMIT_S, Surroundings
from holdfast.errors import WorldError
from holdfast.model.layout import OcfAgent
from holdfast.model.processor import ProcessorUse
from holdfast.runtime.streams import Streams


class Handle(Protocol):
    """One process, which no other can be mistaken for, also when its number is given to a new one."""

    @property
    def is_gone(self) -> bool:
        """It has ended; the first process of a sandbox is gone when all processes of the sandbox are."""

    @property
    def is_dying(self) -> bool:
        """It has begun to end. First processes end what is in their sandbox before they are gone."""

    @property
    def exit_status(self) -> int | None:
        """Its wait status when it has ended, as long as its parent has not taken it; then its keeper tells."""

    @property
    def processor(self) -> ProcessorUse | None:
        """What it has had of the processor; None where that cannot be known."""

    def kill(self) -> None:
        """SIGKILL; harmless when it is gone already."""

    def ask_to_end(self) -> None:
        """SIGTERM; harmless when it is gone already."""

    def when_over(self, told: Callable[[], None]) -> None:
        """Call `told` from the event loop, once, when it is gone. A handle watches once, until it is closed."""

    def copy(self) -> "Handle":
        """Another handle on the same process, watched and closed apart from this one."""

    def close(self) -> None:
        """Let go of it and watch no more; ends nothing. Harmless when done twice."""


class Child(Protocol):
    """A process in a sandbox."""

    @property
    def pid(self) -> int:
        """Its number in there."""

    @property
    def handle(self) -> Handle: ...

    @property
    def tag(self) -> str: ...

    def close(self) -> None: ...


class Keeper(Protocol):
    """The first process of a VM or of a VNFC's capsule: what it holds ends with it, and it outlives its agent.

    Each request has a time limit and fails as a WorldError, so that a frozen sandbox holds nobody up.
    """

    @property
    def name(self) -> str: ...

    @property
    def handle(self) -> Handle: ...

    @property
    def notes(self) -> dict[str, Any]:
        """What was left with it by this agent and those before."""

    async def spawn(self, argv: Sequence[str], around: Surroundings, tag: str = "") -> Child:
        """Start a program in a session of its own; a program that is missing is a WorldError that names it."""

    async def status(self, pid: int, limit_s: float = STATUS_LIMIT_S) -> int | None:
        """The wait status of a child that has ended; None when nobody is left to tell it."""

    def kill_group(self, pid: int) -> None:
        """SIGKILL to a spawned process with its group, without waiting for anything."""

    async def children(self) -> Sequence[Child]:
        """What stands directly below it now; the caller closes them."""

    def take_found(self) -> Sequence[Child]:
        """What stood there when we connected, once; the caller closes them."""

    def holds(self, pid: int) -> bool:
        """Whether the process of this number (as the agent sees it) lives in here."""

    @property
    def is_alone(self) -> bool:
        """Whether nothing runs in here but this first process, looked at now; False where that is not to be seen."""

    async def note(self, **notes: object) -> None:
        """Leave a note for the agent that comes after us."""

    async def enclose(self, name: str, folder: Path, first_pid: int = 0) -> "Keeper":
        """Make a capsule within."""

    def close(self) -> None:
        """Let go of it; ends nothing."""


class Zone(Protocol):
    """Where addresses of services are put: the interface of a VM, or the host's bridge itself.

    What the kernel refuses is a WorldError that names interface and address. None of it takes a millisecond.
    """

    def assign(self, address: str) -> None:
        """Add it (with prefix length), read it back, announce it once. Again is harmless, and announces again."""

    def place(self, address: str) -> None:
        """The same without announcing it: who has asked before goes on asking elsewhere."""

    def withdraw(self, address: str) -> None:
        """Take it away and confirm that it is gone. Absent already is fine; so is a zone whose interface is gone."""

    def announce(self, address: str) -> None:
        """Tell the neighbours where it is now."""

    def held(self) -> frozenset[str]:
        """All that is there, with prefix length, own ones of the interface among them."""

    def holds(self, address: str) -> bool:
        """Whether it is there and usable at this moment (prefix length ignored)."""

    def close(self) -> None:
        """Let go of it; what is there stays."""


class Gate(Protocol):
    """Which service addresses may be heard from the VM at a port and reach it; none, until opened for that port.

    Gates stay as they are when the agent ends; each change is read back, and repeating one is harmless.
    """

    def guard(self, port: str) -> None:
        """Put a closed gate on the port. One there already is closed."""

    def unguard(self, port: str) -> None:
        """Take the gate away; absent is fine."""

    def open(self, port: str, address: str) -> None:
        """Let the address pass. A port without a gate is a WorldError, and so is an address that is no service's."""

    def shut(self, port: str, address: str) -> None:
        """Let it pass no more. A port without a gate counts as shut."""

    def opened(self, port: str) -> frozenset[str]:
        """What is open there now (without prefix length). A port without a gate is a WorldError."""

    def guarded(self) -> frozenset[str]:
        """The ports that have a gate now."""

    def close_table(self) -> None:
        """Take all gates away."""

    def close(self) -> None:
        """Let go; the gates stay as they are."""


class Bridge(Protocol):
    """The bridge of the host, and the ports of VMs at it."""

    @property
    def exists(self) -> bool: ...

    def make(self, addresses: Iterable[str]) -> None:
        """Make it, up, with the host's own addresses (with prefix length)."""

    def remove(self) -> None:
        """Take it away and confirm it; absent is fine."""

    def has(self, port: str) -> bool: ...

    def passes(self, port: str) -> bool:
        """Whether the port is there and anything can pass it."""

    async def attach(self, port: str, first: Handle, addresses: Iterable[str], guard: Callable[[str], None]) -> Zone:
        """Give the VM with that first process a port, and in it an interface with these addresses.

        `guard` is called with the port's name before it lets anything pass. A port of that name left from an earlier
        boot is removed first. Awaited to its end also by whoever does not want it any more.
        """

    def cut(self, port: str) -> None:
        """Let nothing more pass in either direction, and confirm it; absent is fine."""

    async def remove_port(self, port: str, zone: Zone | None) -> None:
        """Take the port away and confirm that it is gone (absent is fine), and close the zone behind it."""

    def zone(self, first: Handle | None = None) -> Zone:
        """The interface of the VM with that first process, or (None) the bridge itself, which need not be there yet."""

    def close(self) -> None:
        """Let go; all stays as it is."""


class Disk(Protocol):
    """Where the folders of VNFCs are, and what is installed."""

    def make_folder(self, folder: Path) -> None:
        """With those above it; there already is fine. OSError when that cannot be."""

    def write_files(self, folder: Path, files: Mapping[str, str], values: Mapping[str, str]) -> None:
        """Write a component's files into its folder, placeholders filled in; WorldError when that cannot be."""

    def last_line(self, log: Path) -> str:
        """What a program that ended too early said about it; empty if nothing can be read."""

    def ocf_program(self, agent: OcfAgent) -> Path:
        """Where the agent is. WorldError when it is not installed."""


class Premises(Protocol):
    """All of it."""

    @property
    def disk(self) -> Disk: ...

    @property
    def streams(self) -> Streams:
        """Connections: to components, and of them."""

    def bridge(self, name: str) -> Bridge:
        """The bridge of that name, there or not."""

    def gate(self, services: Iterable[str], table: str, *, timed: bool) -> Gate:
        """The gates of these addresses, as they stand or as new ones.

        Args:
            table: one name per deployment and host.
            timed: what is open passes only while the agent's window owns the address and is open.
        """

    async def reach(self, folder: Path) -> Keeper | None:
        """Connect to what lives in this folder; None when nothing does. One that does not answer is a WorldError."""

    async def start_vm(self, name: str, folder: Path, keep: Path, limit_s: float) -> Keeper:
        """Start a VM, in which of /run only `keep` is seen. Broken off, it leaves nothing behind."""

    async def start_capsule(self, name: str, folder: Path, first_pid: int) -> Keeper:
        """Start a capsule on the host itself, with process numbers from there on. The same holds."""

    async def end_unreachable(self, folder: Path, limit_s: float) -> None:
        """End a first process that holds its folder but does not answer."""


# --- what is made of these alone


async def over_within(handle: Handle, limit_s: float) -> bool:
    """Wait until the process is gone, at most so long; whether it is."""
    if handle.is_gone:
        return True
    ended = asyncio.Event()
    own = handle.copy()  # which somebody else's letting go does not close
    own.when_over(ended.set)
    try:
        async with asyncio.timeout(limit_s):
            await ended.wait()
    except TimeoutError:
        return own.is_gone
    finally:
        own.close()
    return True


async def end(keeper: Keeper, limit_s: float) -> bool:
    """Kill everything in it. True when it is confirmed that nothing is left."""
    keeper.handle.kill()
    return await over_within(keeper.handle, limit_s)


async def run(keeper: Keeper, argv: Sequence[str], around: Surroundings, limit_s: float) -> int:
    """Run a command to its end and return its exit status (negative: the signal that killed it).

    Raises:
        WorldError: it cannot be started, or it had not ended within the limit and was killed with its group.
    """
    child = await keeper.spawn(argv, around, "command")
    try:
        if not await over_within(child.handle, limit_s):
            raise WorldError(f"{argv[0]} had not ended after {limit_s:g} s")
        status = await keeper.status(child.pid, ASK_LIMIT_S)
    finally:
        if not child.handle.is_gone:
            keeper.kill_group(child.pid)
        child.close()
    return -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
