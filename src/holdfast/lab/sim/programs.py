"""Programs of the simulated world: what runs in a process that an agent has started, found by the words of its command.

In:   a command. Out: a program, which is called once in its new process and does from there what it likes.
Always: a program touches the world through `Running` only. One that nobody knows is not there, as live.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.lab.sim.process import Process

if TYPE_CHECKING:
    from holdfast.lab.sim.host import SimHost
    from holdfast.lab.sim.sandbox import Child, SimInit

COMMAND_NS = (1_000_000, 3_000_000)
"""How long a command of the default kind takes."""


class Running:
    """A program in its process, and what it finds around it."""

    def __init__(
        self, init: "SimInit", child: "Child", argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.init = init
        """The first process of the sandbox that it is in."""
        self.process = child.process
        self._group = child.group
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.log = log

    @property
    def host(self) -> "SimHost":
        return self.init.host

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of its VM, or its machine, without prefix lengths."""
        inner = self.init.namespace.interface
        interfaces = [inner] if inner is not None else self.host.network.bridges.values()
        return tuple(address for interface in interfaces for address in interface.addresses)

    def say(self, text: str) -> None:
        """Into its log."""
        with self.log.open("a") as log:
            log.write(text + "\n")

    def exit(self, status: int = 0) -> None:
        self.process.end(status << 8)

    def after(self, wait_ns: int, call: Callable[[], None]) -> None:
        """Call it then, unless the process has ended; when it goes on, if it stands still."""
        self.process.run = call
        self.process.timeline.after(wait_ns, self.process.wake)

    def fork(self, program: "Program", argv: Sequence[str], *, away: bool = False) -> Process:
        """Another process, which goes on when this one ends; with `away` in a group of its own."""
        return self.init.begin(program, argv, self.env, self.cwd, self.log, 0 if away else self._group)

    def open_door(self, port: int, door: "Callable[..., None]") -> None:
        """Take datagrams that arrive at that port, until it ends."""
        doors = self.init.namespace.doors
        doors[port] = door

        def shut() -> None:
            if doors.get(port) is door:
                del doors[port]

        self.process.when_over(shut)


Program = Callable[[Running], None]


def runs(running: Running) -> None:
    """Until it is ended."""


def command(status: int = 0, takes_ns: tuple[int, int] = COMMAND_NS, said: str = "") -> Program:
    """Does something, and ends."""

    def begin(running: Running) -> None:
        def done() -> None:
            if said:
                running.say(said)
            running.exit(status)

        running.after(running.process.timeline.chance.randint(*takes_ns), done)

    return begin


def ocf_agent(daemon: Program = runs, takes_ns: tuple[int, int] = COMMAND_NS) -> Program:
    """An OCF resource agent that leaves a daemon behind: start, stop, monitor."""

    def begin(running: Running) -> None:
        name = f"{running.argv[0]} daemon"
        action = running.argv[1]

        def done() -> None:
            there = [child for child in running.init.children.values() if child.argv[0] == name]
            if action == "start" and not there:
                running.fork(daemon, [name], away=True)
            elif action == "stop":
                for child in there:
                    child.process.end()
            running.exit(NOT_RUNNING if action == "monitor" and not there else 0)

        running.after(running.process.timeline.chance.randint(*takes_ns), done)

    return begin


NOT_RUNNING = 7


class Programs:
    """All there are on a machine."""

    def __init__(self, by_word: Mapping[str, Program], otherwise: Program | None = None) -> None:
        """
        Args:
            by_word: the first word of a command that is in here names its program.
            otherwise: what all other commands do; None: they are not there.
        """
        self._by_word = dict(by_word)
        self._otherwise = otherwise

    def find(self, argv: Sequence[str]) -> Program | None:
        for word in argv:
            program = self._by_word.get(word)
            if program is not None:
                return program
        return self._otherwise

    def has(self, word: str) -> bool:
        return word in self._by_word
