"""One host's process: a real Grantor, and what it has yet to do of what the Grantor wants done.

In:   events (a message, its time, a command), the clock. Out: what it sends, says to its kernel, writes to its disk.
Always: it does one thing at a time, in order, and can stop before each of them, for any time, or for ever. Keys are set
as docs/grants.md says: one after the other, each looked at before the other is touched.
"""

from typing import NamedTuple

from holdfast.core.grants import Grantor
from holdfast.lab.explore.kernels import Said
from holdfast.model.granting import (
    Arm,
    Close,
    CloseAll,
    Disown,
    Heard,
    Held,
    Output,
    Own,
    Persist,
    Profile,
    Regained,
    SendTo,
    Succession,
    VoterSet,
)
from holdfast.model.names import HostName, ServiceName

S = ServiceName("s")


class Key(NamedTuple):
    """One of the two keys on its way: read the clock, set it, look whether that took too long."""

    step: str
    name: str
    arm: Arm
    began: int = 0
    length_ns: int = 0


class Confirm(NamedTuple):
    """Something is done: the Grantor is to be told."""

    what: str
    about: Output


class Written(NamedTuple):
    """A voter set is on disk."""

    voter_set: VoterSet


class Keeps(NamedTuple):
    """The voter here promises the service to this life of this agent, under this epoch."""

    host: HostName
    epoch: int


class HoldsFrom(NamedTuple):
    """It is told to its agent that the service is held, under this epoch."""

    epoch: int


class Wrong(NamedTuple):
    text: str


Do = Output | Key | Confirm
Effect = SendTo | Said | Written | Keeps | HoldsFrom | Wrong


class Tell(NamedTuple):
    """A command: take or wait for the service, let go of it, follow an order, find a host failed, use a voter set."""

    what: str
    epoch: int = 0
    order: Succession | None = None
    host: HostName | None = None
    voter_set: VoterSet | None = None

    def __str__(self) -> str:
        if self.order is not None:
            heirs = ", ".join(f"{heir.host} under {heir.epoch}" for heir in self.order.successors)
            return f"an order: after {self.order.holder} comes {heirs}"
        if self.voter_set is not None:
            return f"voter set {self.voter_set.version}: {' '.join(self.voter_set.members)}"
        if self.host is not None:
            return f"{self.host} has failed"
        return f"{self.what} the service" + (f" under epoch {self.epoch}" if self.epoch else "")


Event = Heard | Tell | str
"""A message; a command; `tick`, `start` or `go on`."""


class Member:
    def __init__(self, grantor: Grantor) -> None:
        self.grantor = grantor
        self.todo: list[Do] = []

    def take(self, event: Event, now: int, highest: int) -> None:
        """Hand an event to the Grantor; what it wants done waits."""
        grantor = self.grantor
        if isinstance(event, Heard):
            grantor.receive(event, now)
        elif isinstance(event, Tell):
            self._told(event, now)
        elif event == "tick":
            grantor.tick(now)
        elif event == "start":
            grantor.set_floors({S: highest}, now)
        self.todo += grantor.take()

    def _told(self, told: Tell, now: int) -> None:
        grantor = self.grantor
        if told.order is not None:
            grantor.order(told.order, now)
        elif told.voter_set is not None:
            if told.what != "voters, once sealed" or self.is_sealed(now):
                grantor.set_voter_set(told.voter_set, now)
        elif told.host is not None:
            grantor.found_failed(told.host, now)
        elif told.what == "let go of":
            grantor.release(S, now)
        elif told.what == "seal":
            grantor.seal(S, told.epoch, now)
        else:
            grantor.claim(S, told.epoch, "take" if told.what == "take" else "wait", now)

    def is_sealed(self, now: int) -> bool:
        """Whether a manager that asks this agent may make the next voter set."""
        return self.grantor.may_change_voters(now)

    def do(self, now: int, highest: int) -> list[Effect]:
        """The next thing that is to be done."""
        doing = self.todo.pop(0)
        if isinstance(doing, Key):
            effects = self._key(doing, now)
        elif isinstance(doing, Confirm):
            effects = self._confirm(doing, now, highest)
        elif isinstance(doing, SendTo):
            effects = [doing]
        else:
            effects = self.carry_out(doing)
        self.todo += self.grantor.take()
        return effects

    def carry_out(self, output: Output) -> list[Effect]:
        match output:
            case Own():
                return [Said("own", output.epoch)]
            case Disown():
                return [Said("disown")]
            case Close():
                self._next(Confirm("closed", output))
                return [Said("disown")]
            case CloseAll():
                self._next(Confirm("empty", output))
                return [Said("no keys")]
            case Arm():
                if self.grantor.wants(output):
                    self._next(*self.arming(output))
            case Held():
                return [Said("note", output.epoch), HoldsFrom(output.epoch)]
            case Regained():
                return [Said("note", output.epoch)]
            case Persist():
                self._next(Confirm("written", output))
                return [Written(output.voter_set)]
        return []

    def _next(self, *doing: Do) -> None:
        self.todo[:0] = doing

    # Two keys.

    def arming(self, arm: Arm) -> list[Do]:
        return [Key("read", "key A", arm)]

    def _key(self, key: Key, now: int) -> list[Effect]:
        profile = self.profile
        if key.step == "read":
            length_ns = self.length_ns(key.arm.until_ns - now)
            if length_ns < 2 * profile.tick_ns:
                return self._give_up(key.arm)
            self._next(key._replace(step="set", began=now, length_ns=length_ns))
            return []
        if key.step == "set":
            self._next(*self.looking(key))
            return self.setting(key)
        if now - key.began > profile.slack_ns:
            return self._give_up(key.arm)
        self._next(Key("read", "key B", key.arm) if key.name == "key A" else Confirm("armed", key.arm))
        return []

    def setting(self, key: Key) -> list[Effect]:
        return [Said("key A" if key.name == "key A" else "key B", key.length_ns)]

    def looking(self, key: Key) -> list[Do]:
        return [key._replace(step="look")]

    @property
    def profile(self) -> Profile:
        return self.grantor.profile

    def length_ns(self, left_ns: int) -> int:
        tick_ns = self.profile.tick_ns
        return (left_ns - self.profile.slack_ns - self.profile.lag_ns) // tick_ns * tick_ns

    def _give_up(self, arm: Arm) -> list[Effect]:
        self._next(Confirm("given up", arm))
        return [Said("no keys")]

    def _confirm(self, confirm: Confirm, now: int, highest: int) -> list[Effect]:
        """What was done is done: the Grantor is told."""
        grantor, about = self.grantor, confirm.about
        match confirm.what:
            case "armed":
                assert isinstance(about, Arm)
                grantor.armed(about.until_ns, now)
            case "given up":
                grantor.arm_failed("it took too long", now)
            case "closed":
                grantor.closed(S, now)
            case "empty":
                self._next(Confirm("all closed", about))
                return [Said("disown"), Said("no keys")]
            case "all closed":
                grantor.all_closed(now)
            case "written":
                assert isinstance(about, Persist)
                grantor.set_floors({S: highest}, now)
                grantor.persisted(about.voter_set.version, now)
        return []
