"""The 27 known mistakes of grants, planted into the real modules: voter and holder, hot process, managers.

Those of voter and holder are the classes that the model of the grants is tested with (`tests/grants/plants.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from holdfast.core import ha_standing, vim_intake, vim_voters
from holdfast.core.grant_members import Members
from holdfast.core.grant_recall import Recall
from holdfast.core.grant_voter import Voter
from holdfast.core.grants import Grantor
from holdfast.core.ha_turn import Turn
from holdfast.core.vim_draft import Draft
from holdfast.core.vim_state import VotersNow
from holdfast.drivers.window_order import Outcome
from holdfast.lab.sim import hot
from holdfast.model.actions import FenceHost
from holdfast.model.granting import MS, Arm, Close, VoterSet
from holdfast.model.names import HostName, ServiceName
from holdfast.runtime.hot_grants import GrantRider
from holdfast.runtime.hot_voters import HotVoters
from tests.grants import plants
from tests.grants.plants import PLANTS
from tests.plants.late import SESSIONS, resumed
from tests.plants.planting import Defect, Ground, Guard

TICK_NS = 4 * MS
"""Of a kernel with 250 ticks a second, as most have."""


def grantor_of(number: str) -> Callable[[Ground], None]:
    """The hot process with another Grantor."""

    def plant(ground: Ground) -> None:
        ground.everywhere(Grantor, PLANTS[number].grantor)

    return plant


def forgets(ground: Ground) -> None:
    """A voter that starts waits for nothing: not for its promises to end, and not to be told of epochs."""
    grantor_of("1")(ground)
    ground.change(Voter, "silent_until_ns", property(lambda self: self.quarantine_end_ns))


def rider(ground: Ground, made: type[GrantRider]) -> None:
    ground.everywhere(GrantRider, made)


class Later(GrantRider):
    """Leaves part of its work to another thread, which has its turn with the next heartbeat."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.waiting: list[Callable[[], None]] = []
        super().__init__(*args, **more)

    def beat(self, now_ns: int) -> None:
        self.do_waiting()
        super().beat(now_ns)

    def do_waiting(self) -> None:
        waiting, self.waiting = self.waiting, []
        for act in waiting:
            act()

    def set_window(self, length_ns: int) -> None:
        """As a kernel does that only knows timers: from now on, for so long."""
        if self._window is not None:
            self._window.arm(self._clocks.raw_ns() + length_ns)


class OneTimer(Later):
    def _arm(self, output: Arm) -> None:
        if self.grantor.wants(output):
            length_ns = output.until_ns - self._clocks.raw_ns()
            self.waiting.append(lambda: self._set(output, length_ns))

    def _set(self, output: Arm, length_ns: int) -> None:
        if self.grantor.wants(output):
            self.set_window(length_ns)
            self.grantor.armed(output.until_ns, self._clocks.raw_ns())
            self._carry_out()


class OneTimerChecked(Later):
    """Looks, one turn later, whether it was in time."""

    def _arm(self, output: Arm) -> None:
        if self.grantor.wants(output):
            began_ns = self._clocks.raw_ns()
            self.waiting.append(lambda: self._set(output, began_ns))

    def _set(self, output: Arm, began_ns: int) -> None:
        if self.grantor.wants(output):
            self.set_window(output.until_ns - began_ns)
            late_ns = self._clocks.raw_ns() - began_ns
            self.waiting.append(lambda: self._check(output, late_ns))

    def _check(self, output: Arm, late_ns: int) -> None:
        if not self.grantor.wants(output):
            return
        if late_ns > 2 * self._settings.profile.heartbeat_ns and self._window is not None:
            self._window.close()
            self.grantor.arm_failed("setting the timer took too long", self._clocks.raw_ns())
        else:
            self.grantor.armed(output.until_ns, self._clocks.raw_ns())
        self._carry_out()


class ReleasesFirst(Later):
    def _change(self, output: Any) -> None:
        if isinstance(output, Close):
            self.waiting.append(lambda: self._change_window(output))
            self.grantor.closed(output.service, self._clocks.raw_ns())
        else:
            super()._change(output)


class ArmsOnTheSide(Later):
    """What was to be armed, and for which addresses, is set by that thread, and taken for done."""

    def beat(self, now_ns: int) -> None:
        GrantRider.beat(self, now_ns)
        self.do_waiting()

    def _arm(self, output: Arm) -> None:
        if self.grantor.wants(output):
            addresses = [self._settings.addresses[service] for service in output.owned]
            until_ns = output.until_ns
            self.waiting.append(lambda: self._set([address for address in addresses if address], until_ns))
            super()._arm(output)

    def _set(self, addresses: list[str], until_ns: int) -> None:
        if self._window is not None:
            self._window.own(addresses)
            self._window.arm(until_ns)


class RoundsUp(GrantRider):
    def _arm(self, output: Arm) -> None:
        if self.grantor.wants(output) and self._window is not None:
            now_ns = self._clocks.raw_ns()
            ticks = -(-(output.until_ns - now_ns) // TICK_NS)
            if self._window.arm(now_ns + ticks * TICK_NS) is Outcome.ARMED:
                self.grantor.armed(output.until_ns, self._clocks.raw_ns())
                return
        super()._arm(output)


class CachedTime(GrantRider):
    """Stamps what it receives with the time at which it was woken before."""

    def __init__(self, settings: Any, incarnation: int, window: Any, now_ns: int, *more: Any) -> None:
        self.cached_ns = now_ns
        super().__init__(settings, incarnation, window, now_ns, *more)

    def received(self, peer: HostName, incarnation: int, body: bytes, now_ns: int) -> None:
        cached_ns, self.cached_ns = self.cached_ns, now_ns
        super().received(peer, incarnation, body, cached_ns)

    def beat(self, now_ns: int) -> None:
        self.cached_ns = now_ns
        super().beat(now_ns)


def cached_time(ground: Ground) -> None:
    ground.everywhere(Grantor, plants.NeverLater)
    rider(ground, CachedTime)


def same_epoch(ground: Ground) -> None:
    """All get the same number, and voters compare numbers only."""
    grantor_of("15")(ground)

    def number_for(turn: Any, group: Any, name: ServiceName, vnfc: Any) -> int:
        return int(turn.service(name).epoch)

    ground.change(ha_standing, "_number_for", number_for)
    ground.change(Turn, "next_epoch", lambda self, group: max(1, self.groups[group].epoch))


def unconfirmed(ground: Ground) -> None:
    """A fence device that has not answered, or has failed, counts as one that has switched off."""
    right = vim_intake._failed

    def failed(draft: Draft, pending: Any, why: str) -> None:
        if isinstance(pending.action, FenceHost):
            vim_intake._done(draft, pending, why)
        else:
            right(draft, pending, why)

    ground.change(vim_intake, "_failed", failed)


class AnyMembers(Members):
    def propose(self, voter_set: VoterSet) -> str | None:
        if voter_set.version > self.newest.version:
            self.proposed = voter_set
        return None


def any_members(ground: Ground) -> None:
    """Voters go by any set that they are told."""
    ground.everywhere(Members, AnyMembers)


def several_members(ground: Ground) -> None:
    """Whoever is not there is left out at once, all of them."""
    right = vim_voters._make

    def make(draft: Draft, now: VotersNow, change: Any, off: Any) -> None:
        right(draft, now, change, off)
        made = draft.voters
        assert made is not None
        there = tuple(host for host in made.current.members if draft.host(host).joined)
        if there:
            draft.voters = VotersNow(
                VoterSet(
                    made.current.version,
                    there,
                    made.current.length_ns,
                    made.current.length_max_ns,
                    (),
                    made.current.previous,
                ),
                made.kept,
                made.used,
                made.why,
                made.is_used,
            )

    ground.change(vim_voters, "_make", make)


def unsealed(ground: Ground) -> None:
    """The next voter set is made before the one before is sealed."""

    def seal(draft: Draft) -> None:
        now = draft.voters
        assert now is not None
        draft.voters = replace(now, is_sealed=True)

    ground.change(vim_voters, "_seal", seal)


def not_on_disk(ground: Ground) -> None:
    """The voter goes by a voter set that is nowhere written."""

    def persist(self: HotVoters, voters: VoterSet, now_ns: int, alive_ns: int) -> None:
        self._go_by(voters)

    ground.change(HotVoters, "persist", persist)
    ground.change(hot.SimHotDoor, "keep_voters", _keeps_nothing)


async def _keeps_nothing(self: Any, path: Any, voters: VoterSet) -> None:
    return


def floors_forgotten(ground: Ground) -> None:
    """A voter that starts believes that no epoch is over, whatever it is told."""

    def set_floors(self: Voter, floors: Mapping[ServiceName, int], now: int) -> None:
        self.knows_floors = True

    ground.change(Voter, "set_floors", set_floors)
    ground.change(Voter, "_learn", lambda self, changes: None)
    ground.change(Voter, "recalls", lambda self, heard, answer, now: None)
    ground.change(Recall, "is_sure", property(lambda self: True))


STEP_NS = 1500 * MS


class Uncompared(plants.Unwatched):
    def clocks(self, raw_ns: int, monotonic_ns: int, now: int) -> None:
        return


def wall_clock(ground: Ground) -> None:
    """Promises are counted by a clock that a time daemon sets forward, where it would bend the other one."""
    ground.everywhere(Grantor, Uncompared)
    right = hot.SimClocks.raw_ns

    def raw_ns(self: hot.SimClocks) -> int:
        is_set = self._monotonic.ppm > 300
        return right(self) + (STEP_NS if is_set else 0)

    ground.change(hot.SimClocks, "raw_ns", raw_ns)


OWNERS = ("owners",)
V, R, H, G, M = "core/grant_voter", "core/grant_rounds", "runtime/hot_grants", "core/grants", "core/vim_voters"


def of_riders(number: str, says: str, made: type[GrantRider], script: str, judges: tuple[str, ...] = OWNERS) -> Defect:
    return Defect(number, says, H, lambda ground: rider(ground, made), judges, script=script, is_rare=True)


def of_grantors(
    number: str, says: str, where: str, script: str, judges: tuple[str, ...] = OWNERS, is_rare: bool = False
) -> Defect:
    return Defect(number, says, where, grantor_of(number), judges, script=script, is_rare=is_rare)


def of_scripts(
    number: str,
    says: str,
    where: str,
    script: str,
    plant: Callable[[Ground], None] | None = None,
    guards: tuple[Guard, ...] = (),
) -> Defect:
    """Drawn runs do not come to it."""
    return Defect(number, says, where, plant or grantor_of(number), OWNERS, script=script, is_rare=True, guards=guards)


TELL_LIVES_APART = Guard("voters, which tell lives of a host apart", V, grantor_of("21"))
ONE_BY_ONE = Guard("voters, which go by no set that differs by more than one", "core/grant_members", any_members)


KNOWN: tuple[Defect, ...] = (
    Defect("1", "a voter that restarts promises at once", V, forgets, OWNERS, script="voters-restart", is_rare=True),
    of_riders("2", "one relative timer", OneTimer, "holder-frozen"),
    of_riders("3", "one timer, checked after", OneTimerChecked, "holder-frozen"),
    of_grantors("4", "timed from the reply", G, "holder-cut-and-starved", is_rare=True),
    Defect("5", "resent under the same number", R, grantor_of("5"), OWNERS, by_season=True),
    of_scripts("6", "a release ends any promise", V, "moved-twice-with-late-messages", guards=(SESSIONS,)),
    of_riders("7", "release before the kernel is closed", ReleasesFirst, "agent-killed-again-and-again"),
    of_riders("8", "an arming goes through after the release", ArmsOnTheSide, "agent-killed-again-and-again"),
    of_grantors("9", "a minority renews", R, "holder-cut"),
    of_grantors("10", "rounds mixed", R, "holder-cut"),
    of_grantors("11", "replies counted instead of voters", R, "holder-cut"),
    of_grantors("12", "a refusal counts as a promise", R, "holder-cut"),
    of_scripts("13", "no margin for clocks", R, "clocks-apart"),
    of_riders("14", "kernel lengths rounded up", RoundsUp, "successor-waits"),
    Defect(
        "15",
        "one epoch for two, voters compare epochs",
        V,
        same_epoch,
        ("owners", "updates", "moved"),
        script="holder-lost",
    ),
    of_grantors("16", "a higher epoch wins at once", V, "holder-lost", is_rare=True),
    of_grantors("17", "the end is in the asker's clock", V, "holder-cut", ("owners", "moved", "service")),
    Defect("18", "the loop's cached time", H, cached_time, OWNERS, script="holder-lost", is_rare=True),
    Defect("19", "the wall clock", "runtime/hot_clock", wall_clock, OWNERS, script="clocks-set", is_rare=True),
    of_scripts("20", "a reply to a former life counts", G, "former-life-answered", guards=(SESSIONS,)),
    of_scripts(
        "21",
        "an epoch resumed after a restart",
        "core/ha_planning",
        "release-from-before-the-restart",
        resumed,
        (TELL_LIVES_APART, SESSIONS),
    ),
    Defect("22", "fenced, unconfirmed", "core/vim_intake", unconfirmed, ("gone",), script="fence-hangs", is_rare=True),
    of_scripts(
        "23", "several members replaced at once", M, "cut-in-two-when-voters-come", several_members, (ONE_BY_ONE,)
    ),
    of_scripts("24", "steps not sealed", M, "cut-in-two-when-voters-come", unsealed),
    of_scripts("25", "voter set not on disk", "runtime/hot_voters", "voters-left-out-start-again", not_on_disk),
    Defect("26", "floors forgotten", V, floors_forgotten, OWNERS, script="floors-lost", is_rare=True),
    of_scripts("27", "renewed without a claim", R, "voter-restarts-and-holder-cut"),
)
