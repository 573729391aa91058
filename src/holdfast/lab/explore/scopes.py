"""The scopes that are explored by name; docs/exhaustive.md says what came of them."""

from collections.abc import Mapping

from holdfast.errors import UserError
from holdfast.lab.explore.member import S, Tell
from holdfast.lab.explore.scope import HOSTS, TIGHT, Scope
from holdfast.model.granting import MS, Succession, Successor, VoterSet, voter_set
from holdfast.model.names import VnfcName

H1, H2, H3 = HOSTS
NOTHING: tuple[tuple[Tell, ...], ...] = ((), (), ())
FIRST_ONLY, SECOND_ONLY, THIRD_ONLY = (True, False, False), (False, True, False), (False, False, True)
ORDER = Tell("order", order=Succession(S, 1, H1, 1, (Successor(VnfcName("v2"), H2, 201, 2),)))
ORDERED = {4: ((0, Tell("take", 1)),), 5: tuple((at, ORDER) for at in range(3))}


def _told(voters: VoterSet) -> Tell:
    return Tell("voters", voter_set=voters)


FIRST = voter_set(HOSTS, TIGHT)
OF_ONE = voter_set((H1,), TIGHT)
BOTH = voter_set((H1, H2), TIGHT, after=OF_ONE)
OTHER = voter_set((H2,), TIGHT, after=BOTH)
REPLACED = (Tell("voters", voter_set=BOTH), Tell("voters, once sealed", voter_set=OTHER))
OF_TWO = voter_set((H1, H3), TIGHT)
LEFT = _told(voter_set((H1, H2), TIGHT, after=FIRST))
JOINED = _told(voter_set(HOSTS, TIGHT, after=OF_TWO))


def _by_name(*scopes: Scope) -> Mapping[str, Scope]:
    return {scope.name: scope for scope in scopes}


SCOPES = _by_name(
    Scope(
        "contest",
        "no fault; three epochs: h2 is told to take it, h1 to let go and to take it again, in any order",
        steps=7,
        commands=((Tell("let go of"), Tell("take", 3)), (Tell("take", 2),), ()),
    ),
    Scope("amid", "no fault; h2 is told to take it in the midst of anything", steps=8, told_until=8, amid=9),
    Scope(
        "again",
        "no fault; h1 is told to let go and to take it again in the midst of anything",
        steps=2,
        commands=((Tell("let go of"), Tell("take", 3)), (), ()),
        amid=9,
    ),
    Scope(
        "again-late",
        "h1 is told to let go and to take it again; at any time one message is late, by any time",
        steps=2,
        commands=((Tell("let go of"), Tell("take", 3)), (), ()),
        told_until=1,
        late=1,
    ),
    Scope(
        "same-epoch",
        "no fault; h2 is told to take it under the epoch of h1, in the midst of anything",
        steps=2,
        commands=((), (Tell("take", 1),), ()),
        amid=9,
    ),
    Scope("cut", "any one host is cut off, and is heard again", steps=8, told_until=4, cut=1, heal=1),
    Scope("lost", "any two messages are lost", steps=7, told_until=0, lost=2),
    Scope("late", "at any time one message is late, by any time", steps=6, told_until=0, late=1),
    Scope(
        "late-cut",
        "at any time one message is late, by any time, and h1 is cut off",
        steps=7,
        told_until=1,
        late=1,
        cut=1,
        may_cut=(0,),
    ),
    Scope(
        "twice",
        "any one message arrives twice, the second time at any time",
        steps=4,
        told_until=0,
        late=1,
        twice=1,
    ),
    Scope(
        "pause",
        "h1 stops before any of its steps in two rounds, for any time",
        steps=7,
        told_until=0,
        pause=1,
        may_pause=FIRST_ONLY,
        strikes=range(3),
    ),
    Scope(
        "pause-twice",
        "h1 stops twice before any of its steps in one round, for any time",
        steps=7,
        told_until=0,
        pause=2,
        may_pause=FIRST_ONLY,
        strikes=range(2),
    ),
    Scope(
        "pause-2",
        "h2 stops before any of its steps as it takes over, for any time",
        steps=8,
        told_until=0,
        pause=1,
        may_pause=SECOND_ONLY,
        strikes=range(5, 8),
    ),
    Scope(
        "restart",
        "any host ends before any of its steps, and starts again at any time",
        steps=7,
        told_until=0,
        crash=1,
        restart=1,
    ),
    Scope(
        "voter-restarts",
        "h3 ends at the first step, starts again at any time, and votes again; h2 is told in the midst of anything",
        steps=11,
        told_until=6,
        amid=2,
        crash=1,
        restart=1,
        may_crash=THIRD_ONLY,
        strikes=range(1),
    ),
    Scope(
        "voter-asks",
        "as voter-restarts, and h3 asks the others which epochs are over before it votes",
        steps=11,
        told_until=6,
        amid=2,
        crash=1,
        restart=1,
        may_crash=THIRD_ONLY,
        strikes=range(1),
        recall_ns=400 * MS,
    ),
    Scope(
        "all-faults",
        "at the first step any host ends and h1 stops; they start again, and go on, at any time",
        steps=7,
        strikes=range(1),
        told_until=0,
        crash=1,
        restart=1,
        pause=1,
        may_pause=FIRST_ONLY,
    ),
    Scope(
        "succession",
        "h2 waits by a standing order; h1 ends and starts again, is cut off and heard again",
        steps=9,
        prologue=ORDERED,
        commands=NOTHING,
        crash=1,
        restart=1,
        may_crash=FIRST_ONLY,
        cut=1,
        heal=1,
        may_cut=(0,),
    ),
    Scope(
        "hand-over",
        "h2 waits by a standing order; h1 is told to let go",
        steps=1,
        prologue=ORDERED,
        commands=((Tell("let go of"),), (), ()),
        told_until=0,
    ),
    Scope(
        "voter-leaves",
        "h3 leaves the voter set; each host hears of that at any time",
        steps=6,
        commands=((LEFT,), (Tell("take", 2), LEFT), (LEFT,)),
        voter_sets=(FIRST, LEFT.voter_set or FIRST),
    ),
    Scope(
        "voter-joins",
        "h2 joins the voter set; each host hears of that at any time",
        steps=6,
        commands=((JOINED,), (Tell("take", 2), JOINED), (JOINED,)),
        voter_sets=(OF_TWO, JOINED.voter_set or OF_TWO),
    ),
    Scope(
        "voter-replaced",
        "two hosts; the only voter is h1, then both, then h2; each hears of each step at any time once it may be made",
        steps=10,
        told_until=10,
        commands=(REPLACED, (*REPLACED, Tell("take", 2)), ()),
        voter_sets=(OF_ONE, BOTH, OTHER),
        hosts=2,
    ),
)
QUICK = ("amid", "succession")
"""What `make test` goes through; each of them in seconds."""


def chosen(names: list[str]) -> list[Scope]:
    for name in names:
        if name not in SCOPES:
            raise UserError(f"no scope is called `{name}`", f"known are {', '.join(SCOPES)}")
    return [SCOPES[name] for name in (names or SCOPES)]
