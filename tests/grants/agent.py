"""An agent's process, step by step: it hands messages and time to its Grantor, and does what that wants done.

It can stop before each of its steps (`label`), for any time, or for ever. What it does with the kernel is the order of
two keys of docs/grants.md. Mistakes that an agent can make around its Grantor are planted by changing these methods.
"""

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from holdfast.core.grants import Grantor
from holdfast.model.granting import (
    Arm,
    Close,
    CloseAll,
    Disown,
    Doubt,
    Heard,
    Held,
    Output,
    Own,
    Persist,
    Profile,
    Regained,
    SendTo,
    VoterSet,
)
from holdfast.model.names import ServiceName
from tests.grants.kernel import A, B, Kernel

if TYPE_CHECKING:
    from tests.grants.world import Host, World

Steps = Generator[str, None, None]
Command = Callable[[Grantor, int], None]
INBOX_MAX = 400


class Agent:
    def __init__(self, world: "World", host: "Host") -> None:
        self.world = world
        self.host = host
        self.incarnation = int(host.name.strip("h")) * 1000 + host.lives if host.name[1:].isdigit() else host.lives
        self.inbox: deque[Heard] = deque()
        self.commands: deque[Command] = deque()
        self.is_stopped = False
        self.stop_before: str | None = None
        self._is_idle = False
        self._label = "begin"
        self._round = 0
        wait = (world.asks_ns,) if world.asks_ns else ()
        self.grantor = world.grantor(host.name, self.incarnation, world.profile, self.voter_set(), self.clock(), *wait)
        self._steps = self._live()
        self.is_dead = False
        self.woken_ns = 0
        """The clock, when the process was woken last."""

    @property
    def kernel(self) -> Kernel:
        return self.host.kernel

    @property
    def profile(self) -> Profile:
        return self.world.profile

    def voter_set(self) -> VoterSet:
        """What it begins with."""
        return self.host.disk

    def floors(self) -> dict[ServiceName, int]:
        """What it reads from the store at its start."""
        return {} if self.world.asks_ns else dict(self.world.judge.epochs)

    def clock(self) -> int:
        return self.host.clock.at(self.world.true_ns)

    def when(self, own_ns: int) -> int:
        """The true time at which its clock shows that."""
        return self.host.clock.when(own_ns)

    # How its steps come about.

    def begin(self) -> None:
        self._next()

    def end(self) -> None:
        self.is_dead = True
        self._steps.close()

    def hear(self, heard: Heard) -> None:
        if len(self.inbox) < INBOX_MAX:
            self.inbox.append(heard)
        self._wake()

    def do(self, command: Command) -> None:
        """The agent is told something."""
        self.commands.append(command)
        self._wake()

    def stop(self, before: str | None = None) -> None:
        """Stop now, or before the next step of that name."""
        self.is_stopped, self.stop_before = before is None, before

    def go(self) -> None:
        was, self.is_stopped, self.stop_before = self.is_stopped, False, None
        if was:
            self._is_idle = False
            self._schedule(self.world.step_ns(self.host.name, self._label))

    def _wake(self) -> None:
        if self._is_idle and not self.is_stopped:
            self._is_idle = False
            self._schedule(self.world.step_ns(self.host.name, "wake"))

    def _schedule(self, delay_ns: int) -> None:
        self._round += 1
        number = self._round
        self.world.at(self.world.true_ns + delay_ns, lambda: self._due(number))

    def _due(self, number: int) -> None:
        if number == self._round and not self.is_dead and not self.is_stopped:
            self._is_idle = False
            self._next()

    def _next(self) -> None:
        """Do what was about to be done, up to the next point where it may stop."""
        label = self._label = next(self._steps)
        if self.stop_before is not None and label.startswith(self.stop_before):
            self.is_stopped, self.stop_before = True, None
        elif label == "idle":
            self._is_idle = True
            deadline = self.grantor.deadline()
            if deadline is not None:
                self._schedule(max(0, self.when(deadline) - self.world.true_ns))
        else:
            self._schedule(self.world.step_ns(self.host.name, label))

    # Its life.

    def _live(self) -> Steps:
        yield "begin"
        grantor = self.grantor
        grantor.set_floors(self.floors(), self.clock())
        yield from self._carry_out()
        while True:
            deadline = grantor.deadline()
            if self.commands:
                yield "command"
                self.commands.popleft()(grantor, self.clock())
            elif self.inbox:
                heard = self.inbox.popleft()
                yield "receive"
                grantor.receive(heard, self.stamp())
            elif deadline is not None and self.clock() >= deadline:
                yield "tick"
                grantor.tick(self.clock())
            else:
                yield "idle"
                self.woken_ns = self.clock()
                continue
            yield from self._carry_out()

    def stamp(self) -> int:
        """The clock, read after a message was received."""
        return self.clock()

    def _carry_out(self) -> Steps:
        todo = deque(self.grantor.take())
        while todo:
            output = todo.popleft()
            self.world.saw(self.host.name, output)
            yield from self.carry_out(output)
            todo.extend(self.grantor.take())

    def carry_out(self, output: Output) -> Steps:
        """Do one thing that the Grantor wants done, and say so."""
        name, true = self.host.name, self.world
        if isinstance(output, Own | Disown | Close | CloseAll) and true.kernel_fails(name):
            yield "kernel fails"
            own = output.service if isinstance(output, Own) else None
            self.grantor.kernel_failed("the kernel refused", self.clock(), own)
        elif isinstance(output, SendTo):
            yield f"send {type(output.message).__name__}"
            true.send(name, self.incarnation, output)
        elif isinstance(output, Own):
            yield "own"
            self.kernel.own(output.service, output.epoch, true.true_ns)
        elif isinstance(output, Disown):
            yield "disown"
            self.kernel.disown(output.service, true.true_ns)
        elif isinstance(output, Close):
            yield "close"
            yield from self.close(output)
        elif isinstance(output, CloseAll):
            yield "close all"
            self.kernel.delete_keys(true.true_ns)
            yield "empty"
            self.kernel.owned.clear()
            self.kernel.delete_keys(true.true_ns)
            yield "all closed"
            self.grantor.all_closed(self.clock())
        elif isinstance(output, Arm):
            if self.grantor.wants(output):
                yield from self.arm(output)
        elif isinstance(output, Held | Regained):
            self.kernel.note(output.service, output.epoch, true.true_ns)
        elif isinstance(output, Doubt) and "may come back" in output.reason:
            true.doubts.append(true.true_ns)
        elif isinstance(output, Persist):
            yield "write"
            self.grantor.set_floors(self.floors(), self.clock())
            self.host.disk = output.voter_set
            yield "written"
            self.grantor.persisted(output.voter_set.version, self.clock())

    def close(self, output: Close) -> Steps:
        self.kernel.disown(output.service, self.world.true_ns)
        yield "closed"
        self.grantor.closed(output.service, self.clock())

    def arm(self, output: Arm) -> Steps:
        """Two keys, one after the other, each looked at before the other is touched."""
        for key, label in ((A, "A"), (B, "B")):
            yield f"read {label}"
            began = self.clock()
            length = self.length_ns(output.until_ns - began)
            if length < 2 * self.profile.tick_ns:
                yield from self.give_up("too little is left of the grant")
                return
            yield f"arm {label}"
            self.kernel.arm(key, length, self.world.true_ns)
            yield f"check {label}"
            if self.is_late(began):
                yield from self.give_up("setting a key took too long")
                return
        yield "armed"
        self.grantor.armed(output.until_ns, self.clock())

    def length_ns(self, left_ns: int) -> int:
        tick = self.profile.tick_ns
        return (left_ns - self.profile.slack_ns - self.profile.lag_ns) // tick * tick

    def is_late(self, began: int) -> bool:
        return self.clock() - began > self.profile.slack_ns

    def give_up(self, reason: str) -> Steps:
        yield "delete keys"
        self.kernel.delete_keys(self.world.true_ns)
        yield "arm failed"
        self.grantor.arm_failed(reason, self.clock())
