"""Real Grantors that contend for one service, as a model: all that can happen next, and what it leads to.

Time goes by steps. In each, what is due comes first, in any order; then messages are received in any order, and take no
time. A message stays on its way until it is received or lost; how many may still be on their way when time goes on is
`Scope.late`. A process that runs does what is due before time goes on: one that does not is stopped, which is a move of
its own. Whatever a process does because of one event it does at once, unless it is stopped or killed meanwhile.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Literal, NamedTuple, TypeVar

import msgspec

from holdfast.core.grants import Grantor
from holdfast.lab.explore import kernels
from holdfast.lab.explore.kernels import Kernel, Said
from holdfast.lab.explore.lives import DEAD, QUIET_NS, Came, Lives
from holdfast.lab.explore.member import Effect, Event, HoldsFrom, Keeps, Member, Written, Wrong
from holdfast.lab.explore.scope import HOSTS, STEP_NS, Scope
from holdfast.model.granting import PPM, Ack, Ask, Heard, Nak, SendTo
from holdfast.model.names import HostName

BEFORE = 8
"""Steps of the prologue."""
OFFSET_NS = 1_000_000_000_000
"""Clocks are so far apart that an instant of one means nothing on another."""

T = TypeVar("T")
Fault = Literal["lost", "twice", "pause", "crash", "restart", "cut", "heal"]
NOBODY = -1


class Budget(NamedTuple):
    """How many faults may still happen."""

    lost: int = 0
    twice: int = 0
    pause: int = 0
    crash: int = 0
    restart: int = 0
    cut: int = 0
    heal: int = 0


class Whole(NamedTuple):
    """The whole at one moment, in plain values."""

    step: int
    lives: tuple[int, ...]
    """Of each host the process, by its number in `Lives`; DEAD if there is none."""
    stopped: tuple[bool, ...]
    kernels: tuple[Kernel, ...]
    mail: tuple[int, ...]
    """Messages on their way, by number, in order."""
    budget: Budget
    told: tuple[int, ...]
    """How many of its commands each host has been told."""
    born: tuple[int, ...]
    """How many lives each host has begun."""
    disks: tuple[int, ...]
    """Version of the voter set on each host's disk."""
    highest: int
    """Epoch under which the service was ever answered."""
    kept: tuple[tuple[int, int], ...]
    """For each epoch the voters, as bits, that ever promised it."""
    cut: int = NOBODY
    """The host that nobody hears, and that hears nobody."""
    wrong: str | None = None


class Move(NamedTuple):
    """What happens, to whom; `upto` is how many things a process does before it stops or ends, -1 if all."""

    what: str
    host: int
    detail: int = 0
    upto: int = -1


class Letter(NamedTuple):
    sender: HostName
    life: int
    letter: SendTo


class Contest:
    def __init__(self, scope: Scope, grantor: type[Grantor] = Grantor, member: type[Member] = Member) -> None:
        assert (BEFORE + scope.steps + 1) * STEP_NS < QUIET_NS
        self.scope = scope
        self.lives = Lives(scope.profile, grantor, member)
        self.letters: list[Letter] = []
        self.voter_sets = {voter_set.version: voter_set for voter_set in scope.voter_sets}
        self._numbers: dict[Letter, int] = {}
        self._heard: list[Heard] = []
        self._to: list[int] = []
        self._clocks = [
            [OFFSET_NS * (at + 1) + step * STEP_NS * (PPM + ppm) // PPM for step in range(BEFORE + scope.steps + 1)]
            for at, ppm in enumerate(scope.ppm)
        ]
        self._start = self._begin()

    # A model.

    def start(self) -> Whole:
        return self._start

    def judge(self, state: Whole) -> str | None:
        return state.wrong

    def key(self, state: Whole) -> bytes:
        return msgspec.msgpack.encode(state)

    def moves(self, state: Whole) -> Iterator[tuple[Move, Whole]]:
        if state.wrong is not None:
            return
        is_quiet = self._is_quiet(state)
        is_due = any(self._is_running(state, at) and self._is_due(state, at) for at in range(len(state.lives)))
        for at, life in enumerate(state.lives):
            if life == DEAD:
                if is_quiet and state.budget.restart:
                    yield Move("starts again", at), self._restart(state, at)
            elif state.stopped[at]:
                if not is_quiet:
                    continue
                yield from self._happens(state, at, Move("goes on", at), "go on")
            else:
                yield from self._of_running(state, at, is_due, is_quiet)
        if not is_due:
            if is_quiet:
                yield from self._cuts(state)
            yield from self._losses(state)
            yield from self._time(state)

    # What can happen to a process.

    def _of_running(self, state: Whole, at: int, is_due: bool, is_quiet: bool) -> Iterator[tuple[Move, Whole]]:
        if self._is_due(state, at):
            yield from self._happens(state, at, Move("ticks", at), "tick")
        commands = self.scope.commands[at]
        is_time = state.step - BEFORE <= self.scope.told_until
        if is_quiet and is_time and state.told[at] < len(commands):
            told = state._replace(told=_with(state.told, at, state.told[at] + 1))
            yield from self._happens(told, at, Move("is told", at, state.told[at]), commands[state.told[at]])
        for number in dict.fromkeys(() if is_due else state.mail):
            if self._to[number] != at:
                continue
            received = state._replace(mail=_less(state.mail, number))
            yield from self._happens(received, at, Move("receives", at, number), self._heard[number])
            if state.budget.twice:
                again = state._replace(budget=_spent(state.budget, "twice"))
                yield from self._happens(again, at, Move("receives, and will again,", at, number), self._heard[number])
        if is_quiet and self._may_pause(state, at):
            yield Move("stops", at), self._stop(state, at, life=state.lives[at])
        if is_quiet and self._may_crash(state, at):
            yield Move("is killed", at), self._kill(state, at)

    def _happens(self, state: Whole, at: int, move: Move, event: Event) -> Iterator[tuple[Move, Whole]]:
        """An event, and all that follows from it there; or a part of it, because the process is stopped or ends."""
        now, life = self._clock(state, at), state.lives[at]
        yield move, self._apply(state, at, self.lives.come_of(life, event, now, state.highest), is_stopped=False)
        may_pause, may_crash = self._may_pause(state, at), self._may_crash(state, at)
        if not (may_pause or may_crash):
            return
        for upto, came in enumerate(self.lives.come_to(life, event, now, state.highest)):
            so_far = self._apply(state, at, came, is_stopped=False)
            if may_pause:
                yield move._replace(upto=upto), self._stop(so_far, at, came.life)
            if may_crash and (upto == 0 or came.effects):
                yield Move(f"{move.what}*", at, move.detail, upto), self._kill(so_far, at)

    def _may_pause(self, state: Whole, at: int) -> bool:
        return state.budget.pause > 0 and self.scope.may_pause[at] and state.step - BEFORE in self.scope.strikes

    def _may_crash(self, state: Whole, at: int) -> bool:
        return state.budget.crash > 0 and self.scope.may_crash[at] and state.step - BEFORE in self.scope.strikes

    def _stop(self, state: Whole, at: int, life: int) -> Whole:
        budget = _spent(state.budget, "pause")
        return state._replace(lives=_with(state.lives, at, life), stopped=_with(state.stopped, at, True), budget=budget)

    def _kill(self, state: Whole, at: int) -> Whole:
        """Its process is gone; the kernel, the disk, and what it has sent, stay as they are."""
        budget = _spent(state.budget, "crash")
        return state._replace(
            lives=_with(state.lives, at, DEAD), stopped=_with(state.stopped, at, False), budget=budget
        )

    def _restart(self, state: Whole, at: int) -> Whole:
        born = state.born[at] + 1
        disk = self.voter_sets[state.disks[at]]
        now = self._clock(state, at)
        recall_ns = self.scope.recall_ns
        life = self.lives.begin(HOSTS[at], _incarnation(at, born), disk, now, is_new=False, recall_ns=recall_ns)
        begun = state._replace(
            lives=_with(state.lives, at, life),
            born=_with(state.born, at, born),
            budget=_spent(state.budget, "restart"),
        )
        return self._apply(begun, at, self.lives.come_of(life, "start", now, state.highest), is_stopped=False)

    def _is_due(self, state: Whole, at: int) -> bool:
        deadline = self.lives.deadline(state.lives[at])
        return deadline is not None and deadline <= self._clock(state, at)

    # What a process does.

    def _apply(self, state: Whole, at: int, came: Came, *, is_stopped: bool) -> Whole:
        state = state._replace(lives=_with(state.lives, at, came.life), stopped=_with(state.stopped, at, is_stopped))
        for effect in came.effects:
            state = self._effect(state, at, effect)
        return state

    def _effect(self, state: Whole, at: int, effect: Effect) -> Whole:
        match effect:
            case SendTo():
                return self._send(state, at, effect)
            case Said():
                return self._say(state, at, effect)
            case Written():
                return state._replace(disks=_with(state.disks, at, effect.voter_set.version))
            case Keeps():
                kept = dict(state.kept)
                kept[effect.epoch] = kept.get(effect.epoch, 0) | 1 << at
                return state._replace(kept=tuple(sorted(kept.items())))
            case HoldsFrom():
                keepers = dict(state.kept).get(effect.epoch, 0).bit_count()
                if keepers < self.scope.quorum:
                    return self._is_wrong(state, f"h{at + 1} holds epoch {effect.epoch}: recorded by {keepers} voters")
            case Wrong():
                return self._is_wrong(state, effect.text)
        return state

    def _say(self, state: Whole, at: int, said: Said) -> Whole:
        true_ns = state.step * STEP_NS
        if said.what in ("key A", "key B"):
            length_ns = max(said.value, self.scope.profile.tick_ns)
            said = Said(said.what, true_ns + length_ns * PPM // (PPM + self.scope.ppm[at]))
        every = _with(state.kernels, at, kernels.after(state.kernels[at], said).at(true_ns))
        wrong = kernels.wrong(every, at, state.highest, true_ns)
        state = state._replace(kernels=every)
        if every[at].answers(true_ns):
            state = state._replace(highest=max(state.highest, every[at].owned))
        return state if wrong is None else self._is_wrong(state, wrong)

    def _is_wrong(self, state: Whole, text: str) -> Whole:
        return state if state.wrong is not None else state._replace(wrong=text)

    # Messages.

    def _send(self, state: Whole, at: int, letter: SendTo) -> Whole:
        if letter.host not in HOSTS or (isinstance(letter.message, Ask) and not letter.message.upto):
            return state  # Who claims nothing is promised nothing: that message is always lost.
        if state.cut != NOBODY and state.cut in (at, HOSTS.index(letter.host)):
            return state
        number = self._number(Letter(HOSTS[at], _incarnation(at, state.born[at]), without_hints(letter)))
        return state._replace(mail=tuple(sorted((*state.mail, number))))

    def _number(self, letter: Letter) -> int:
        number = self._numbers.get(letter)
        if number is None:
            number = self._numbers[letter] = len(self.letters)
            sent = letter.letter
            self.letters.append(letter)
            self._to.append(HOSTS.index(sent.host))
            self._heard.append(
                Heard(letter.sender, letter.life, sent.incarnation, sent.version, sent.clock_ns, sent.message)
            )
        return number

    def _losses(self, state: Whole) -> Iterator[tuple[Move, Whole]]:
        if not state.budget.lost:
            return
        for number in dict.fromkeys(state.mail):
            if self._is_running(state, self._to[number]):
                lost = state._replace(mail=_less(state.mail, number), budget=_spent(state.budget, "lost"))
                yield Move("does not get", self._to[number], number), lost

    def _cuts(self, state: Whole) -> Iterator[tuple[Move, Whole]]:
        if state.cut != NOBODY:
            if state.budget.heal:
                yield Move("is heard again", state.cut), state._replace(cut=NOBODY, budget=_spent(state.budget, "heal"))
        elif state.budget.cut and state.step - BEFORE in self.scope.strikes:
            for at in self.scope.may_cut:
                mail = tuple(number for number in state.mail if at not in self._way(number))
                yield Move("is cut off", at), state._replace(cut=at, mail=mail, budget=_spent(state.budget, "cut"))

    def _way(self, number: int) -> tuple[int, int]:
        return HOSTS.index(self.letters[number].sender), self._to[number]

    # Time.

    def _time(self, state: Whole) -> Iterator[tuple[Move, Whole]]:
        if state.step >= BEFORE + self.scope.steps:
            return
        urgent = [number for number in state.mail if self._is_running(state, self._to[number])]
        room = self.scope.late - len(urgent)
        if room < 0:
            return
        others = [number for number in state.mail if number not in urgent]
        true_ns = (state.step + 1) * STEP_NS
        later = state._replace(step=state.step + 1, kernels=_at(state.kernels, true_ns))
        # A process that does not run takes nothing: what it could not keep is lost.
        for stay in {tuple(sorted((*urgent, *kept))) for kept in combinations(others, min(room, len(others)))}:
            yield Move("time", 0), later._replace(mail=stay)

    def _is_quiet(self, state: Whole) -> bool:
        """Whether a command may be told, and a fault that is not the loss of a message may begin or end."""
        return sum(self._is_running(state, self._to[number]) for number in state.mail) <= self.scope.amid

    def _is_running(self, state: Whole, at: int) -> bool:
        return state.lives[at] != DEAD and not state.stopped[at]

    def _clock(self, state: Whole, at: int) -> int:
        return self._clocks[at][state.step]

    # How it begins.

    def _begin(self) -> Whole:
        """What is told in the prologue has been done, each message received at once; all hosts run."""
        scope, number = self.scope, self.scope.hosts
        first = scope.voter_sets[0].version
        state = Whole(
            step=0,
            lives=(DEAD,) * number,
            stopped=(False,) * number,
            kernels=(Kernel(),) * number,
            mail=(),
            budget=Budget(),
            told=(0,) * number,
            born=(1,) * number,
            disks=(first,) * number,
            highest=0,
            kept=(),
        )
        for step in range(BEFORE):
            for at in range(number):
                if step == scope.begins[at]:
                    state = self._born(state, at)
            for at, told in scope.prologue.get(step, ()):
                state = self._now(state, at, told)
            state = self._settle(state)
            state = state._replace(step=step + 1, kernels=_at(state.kernels, (step + 1) * STEP_NS))
        return state._replace(budget=Budget(*(getattr(scope, fault) for fault in Budget._fields)))

    def _born(self, state: Whole, at: int) -> Whole:
        disk = self.scope.voter_sets[0]
        life = self.lives.begin(HOSTS[at], _incarnation(at, 1), disk, self._clock(state, at), is_new=True)
        return self._now(state._replace(lives=_with(state.lives, at, life)), at, "start")

    def _now(self, state: Whole, at: int, event: Event) -> Whole:
        came = self.lives.come_of(state.lives[at], event, self._clock(state, at), state.highest)
        return self._apply(state, at, came, is_stopped=False)

    def _settle(self, state: Whole) -> Whole:
        """Whatever is due, and whatever was sent."""
        due = [at for at, life in enumerate(state.lives) if life != DEAD and self._is_due(state, at)]
        while due or state.mail:
            if due:
                state = self._now(state, due[0], "tick")
            else:
                number = state.mail[0]
                state = self._now(state._replace(mail=state.mail[1:]), self._to[number], self._heard[number])
            due = [at for at, life in enumerate(state.lives) if life != DEAD and self._is_due(state, at)]
        return state


def without_hints(letter: SendTo) -> SendTo:
    """Less what nothing follows from: how long another promise runs, and the clock of who answers."""
    message = letter.message
    if not isinstance(message, Ack | Nak):
        return letter
    if isinstance(message, Ack):
        refused = tuple(type(one)(one.number, one.reason) for one in message.refused)
        message = Ack(message.seq, message.number, message.covered, refused, message.granted, message.free)
    return SendTo(letter.host, message, letter.version, 0, letter.incarnation)


def _incarnation(at: int, born: int) -> int:
    return (at + 1) * 100 + born


def _with(values: tuple[T, ...], at: int, value: T) -> tuple[T, ...]:
    return (*values[:at], value, *values[at + 1 :])


def _at(every: tuple[Kernel, ...], true_ns: int) -> tuple[Kernel, ...]:
    return tuple(kernel.at(true_ns) for kernel in every)


def _less(mail: tuple[int, ...], number: int) -> tuple[int, ...]:
    at = mail.index(number)
    return mail[:at] + mail[at + 1 :]


def _spent(budget: Budget, fault: Fault) -> Budget:
    return budget._replace(**{fault: getattr(budget, fault) - 1})
