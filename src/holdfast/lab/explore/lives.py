"""What a process of a host can be: each way once, with what comes of each event, worked out once.

A `Member` is kept as bytes, and known by a number: two with the same number behave alike (`shape`). What comes of an
event depends on nothing but the process, the event and its clock; so it is remembered, and a step that is taken in many
states of the whole is computed in one of them.
"""

import io
import pickle
from typing import NamedTuple

from holdfast.core.grants import Grantor
from holdfast.lab.explore.member import Effect, Event, Keeps, Member, S, Wrong
from holdfast.lab.explore.shape import shape
from holdfast.model.granting import MS, Profile, VoterSet
from holdfast.model.names import HostName

DEAD = 0
WITHOUT = frozenset(
    {
        # Counters, and what is worked out again from the rest.
        *("strangers", "naks", "lapses", "regained", "arms", "arms_failed", "stale", "_told", "_end_of_mask"),
        # The same for all, and never changed.
        *("profile", "_profile", "_rho_ppm"),
        # The clock goes forward only, so the latest time is never used.
        "_now",
        # Of clocks nothing is concluded in less than `QUIET_NS`.
        "clock_watch",
    }
)
QUIET_NS = 500 * MS
"""`core/grant_clock` compares windows of this length; shorter runs come to no conclusion, and none is explored here."""


class Came(NamedTuple):
    """What came of an event: the process after it, and what it did, in order."""

    life: int
    effects: tuple[Effect, ...]


class _Pickler(pickle.Pickler):
    """Types are named by number: one with a mistake planted is made while the programme runs, and has no name."""

    def __init__(self, file: io.BytesIO, types: list[type]) -> None:
        super().__init__(file, protocol=5)
        self._types = types

    def persistent_id(self, thing: object) -> int | None:
        if isinstance(thing, type):
            if thing not in self._types:
                self._types.append(thing)
            return self._types.index(thing)
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, types: list[type]) -> None:
        super().__init__(file)
        self._types = types

    def persistent_load(self, number: int) -> type:
        return self._types[number]


class Lives:
    def __init__(self, profile: Profile, grantor: type[Grantor] = Grantor, member: type[Member] = Member) -> None:
        self._profile = profile
        self._grantor = grantor
        self._member = member
        self._types: list[type] = []
        self._numbers: dict[bytes, int] = {}
        self._kept: list[bytes] = [b""]
        self._deadlines: list[int | None] = [None]
        self._busy: list[bool] = [False]
        self._whole: dict[tuple[int, Event, int, int], Came] = {}
        self._parts: dict[tuple[int, Event, int, int], tuple[Came, ...]] = {}

    def __len__(self) -> int:
        return len(self._kept) - 1

    def begin(
        self, host: HostName, incarnation: int, disk: VoterSet, now: int, *, is_new: bool, recall_ns: int = 0
    ) -> int:
        """A process starts; one that is new on the first day has never promised anything, and need not be silent."""
        member = self._member(self._grantor(host, incarnation, self._profile, disk, now, recall_ns))
        if is_new:
            member.grantor.voter.quarantine_end_ns = 0
        return self._number(member)

    def deadline(self, life: int) -> int | None:
        return self._deadlines[life]

    def is_busy(self, life: int) -> bool:
        """Whether it was stopped in the midst of something."""
        return self._busy[life]

    def come_of(self, life: int, event: Event, now: int, highest: int) -> Came:
        """The event, and all that the process does because of it."""
        key = (life, event, now, highest)
        came = self._whole.get(key)
        if came is None:
            came = self._whole[key] = self._run(*key)[-1]
        return came

    def come_to(self, life: int, event: Event, now: int, highest: int) -> tuple[Came, ...]:
        """The same, cut off before each thing that it would do."""
        key = (life, event, now, highest)
        parts = self._parts.get(key)
        if parts is None:
            parts = self._parts[key] = self._run(*key, with_parts=True)[:-1]
        return parts

    def _run(self, life: int, event: Event, now: int, highest: int, with_parts: bool = False) -> tuple[Came, ...]:
        member = self._load(life)
        voter = Watch(member)
        effects: list[Effect] = []
        came: list[Came] = []
        member.take(event, now, highest)
        effects += voter.look()
        while member.todo:
            if with_parts:
                came.append(Came(self._number(member), tuple(effects)))
            effects += member.do(now, highest)
            effects += voter.look()
        return (*came, Came(self._number(member), tuple(effects)))

    def _number(self, member: Member) -> int:
        key = shape(member, WITHOUT)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._kept)
            file = io.BytesIO()
            _Pickler(file, self._types).dump(member)
            self._kept.append(file.getvalue())
            self._deadlines.append(member.grantor.deadline())
            self._busy.append(bool(member.todo))
        return number

    def _load(self, life: int) -> Member:
        member = _Unpickler(io.BytesIO(self._kept[life]), self._types).load()
        assert isinstance(member, Member)
        return member


class Watch:
    """Looks at a voter from outside: whom it promises the service, and that its floor never goes down."""

    def __init__(self, member: Member) -> None:
        self._voter = member.grantor.voter
        self._floor = self._floor_now()
        self._promised = self._voter.promised(S)

    def _floor_now(self) -> int:
        return self._voter.floors((S,)).get(S, 0)

    def look(self) -> list[Effect]:
        seen: list[Effect] = []
        floor, promised = self._floor_now(), self._voter.promised(S)
        if floor < self._floor:
            seen.append(Wrong(f"voter {self._voter.host} goes back from epoch {self._floor} to {floor}"))
        if promised != self._promised and promised is not None:
            life, epoch = promised
            seen.append(Keeps(life[0], epoch))
        self._floor, self._promised = floor, promised
        return seen
