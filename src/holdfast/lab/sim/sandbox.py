"""Sandboxes of the simulated world: VMs and capsules, with a first process that does what `guest/init` does.

In:   requests of agents (keeper.py), signals, the end of their machine.
Out:  processes, their ends, notes; a network of its own where it is a VM.
Always: a first process that is killed ends everything in its sandbox, and is gone only after it. It outlives whoever
started it, and answers only while it is not stopped.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import WorldError
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.network import Namespace
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.programs import Program, Programs, Running, runs

KILL_NS = (20_000, 150_000)
"""From SIGKILL to the end of a process."""
SPAWN_NS = (1_000_000, 3_000_000)
LATER_PIDS = 2

Told = Callable[[int, int], None]
"""Of the end of a child: its number and wait status."""


class Child:
    """A process directly below the first one."""

    __slots__ = ("argv", "group", "owner", "pid", "process", "tag")

    def __init__(
        self, pid: int, process: Process, tag: str, argv: Sequence[str], owner: Told | None, group: int
    ) -> None:
        self.pid = pid
        self.group = group or pid
        self.process = process
        self.tag = tag
        self.argv = argv
        self.owner = owner


class SimInit:
    """The first process of a sandbox."""

    def __init__(
        self,
        host: SimHost,
        name: str,
        folder: Path,
        programs: Programs,
        first_pid: int = 0,
        outer: "SimInit | None" = None,
        namespace: Namespace | None = None,
    ) -> None:
        """
        Args:
            outer: the one of the sandbox that it is in.
            namespace: of its own, if it is a VM.
        """
        self.host = host
        self.name = name
        self.folder = folder
        self.programs = programs
        self.outer = outer
        self.notes: dict[str, Any] = {}
        self.children: dict[int, Child] = {}
        self.capsules: list[SimInit] = []
        self.is_dying = False
        self.process = host.spawn(name)
        self.process.run = self._serve
        self.process.when_over(self._over)
        self._is_vm = namespace is not None
        self.namespace: Namespace = namespace or (outer.namespace if outer is not None else host.network.own)
        self.namespace.use()
        self._spared: list[Process] = []
        """Killed, but stuck."""
        self._next_pid = max(first_pid, LATER_PIDS)
        self._requests: deque[Callable[[], None]] = deque()
        if outer is not None:
            outer.capsules.append(self)
        host.sandboxes[str(folder)] = self

    # --- serving

    def put(self, request: Callable[[], None]) -> None:
        """To be carried out when it runs."""
        self._requests.append(request)
        self.process.wake()

    def _serve(self) -> None:
        # One that was killed runs no line any more, though it is gone only after all that is in its sandbox.
        while self._requests and self.process.is_alive and not self.is_dying:
            self._requests.popleft()()

    def spawn(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path, tag: str, owner: Told | None
    ) -> tuple[Child, int]:
        """The child, and after how many nanoseconds it runs its program; WorldError where it cannot."""
        troubles = self.host.troubles
        if not argv:
            raise WorldError("no command")
        if not cwd.is_dir():
            raise WorldError(f"{cwd}: No such file or directory")
        if troubles.is_read_only:
            raise WorldError(f"{log}: Read-only file system")
        program = self.programs.find(argv)
        if program is None or not troubles.unstartable.isdisjoint(argv):
            raise WorldError(f"{argv[0]}: No such file or directory")
        if not troubles.hanging.isdisjoint(argv):
            program = runs
        takes_ns = troubles.slowness * self.host.timeline.chance.randint(*SPAWN_NS)
        child = self._child(argv, tag, owner)
        self._run_after(takes_ns, child.process, program, Running(self, child, argv, env, cwd, log))
        return child, takes_ns

    def begin(
        self, program: Program, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path, group: int
    ) -> Process:
        """A process that a program in here starts, in that group or (0) in one of its own."""
        child = self._child(argv, "", None, group)
        self._run_after(0, child.process, program, Running(self, child, argv, env, cwd, log))
        return child.process

    def _child(self, argv: Sequence[str], tag: str, owner: Told | None, group: int = 0) -> Child:
        process = self.host.spawn(f"{self.name}/{argv[0]}")
        child = Child(self._next_pid, process, tag, argv, owner, group)
        self._next_pid += 1
        self.children[child.pid] = child
        process.when_over(lambda: self._child_over(child))
        return child

    def _run_after(self, wait_ns: int, process: Process, program: Program, running: Running) -> None:
        def begin() -> None:
            process.run = _nothing
            program(running)

        process.run = begin
        self.host.timeline.after(wait_ns, process.wake)

    def _child_over(self, child: Child) -> None:
        del self.children[child.pid]
        status = child.process.status
        if child.owner is not None and status is not None:
            owner = child.owner
            self.put(lambda: owner(child.pid, status))
        self._finish()

    # --- the end

    def kill(self) -> None:
        """SIGKILL to it: what is in it ends first."""
        self.host.timeline.after(self._kill_takes(), self._die)

    def _kill_takes(self) -> int:
        return self.host.troubles.slowness * self.host.timeline.chance.randint(*KILL_NS)

    def kill_group(self, leader: int) -> None:
        if leader in self.children:
            for child in self.children.values():
                if child.group == leader:
                    self.kill_child(child.process)

    def kill_child(self, process: Process) -> None:
        if self.name in self.host.troubles.stuck:
            self._spared.append(process)
        else:
            silently = self.is_dying and self._is_silent
            self.host.timeline.after(self._kill_takes(), lambda: process.end(silently=silently))

    @property
    def _is_silent(self) -> bool:
        """Whether no kernel is left that would close the connections of what is in it."""
        return self._is_vm or (self.outer is not None and self.outer.is_dying and self.outer._is_silent)

    def _die(self) -> None:
        if not self.process.is_alive:
            return
        self.is_dying = True
        for child in tuple(self.children.values()):
            self.kill_child(child.process)
        for capsule in tuple(self.capsules):
            capsule.kill()
        self._finish()

    def _finish(self) -> None:
        if self.is_dying and not self.children and not self.capsules:
            self.host.timeline.after(self._kill_takes(), self.process.end)

    def release(self) -> None:
        """What hung in the kernel comes out of it; a kill that waited takes effect."""
        self.host.troubles.stuck.discard(self.name)
        spared, self._spared = self._spared, []
        for process in spared:
            self.kill_child(process)

    def _over(self) -> None:
        self.is_dying = True
        for process in self.members():  # None, unless it was ended in another way than by a signal.
            process.end(silently=True)
        sandboxes = self.host.sandboxes
        if sandboxes.get(str(self.folder)) is self:
            del sandboxes[str(self.folder)]
        if self.outer is not None:
            self.outer.capsules.remove(self)
            self.outer._finish()
        self.namespace.leave()

    # --- freezing

    def freeze(self) -> None:
        """Everything in it stands still; its network goes on."""
        for process in self.members():
            process.stop()

    def thaw(self) -> None:
        for process in self.members():
            process.go_on()

    def members(self) -> list[Process]:
        """All processes in it, the first one first."""
        inner = [process for capsule in self.capsules for process in capsule.members()]
        return [self.process, *(child.process for child in self.children.values()), *inner]


def _nothing() -> None:
    return
