"""Real Grantors, gone through on small scopes: never anything wrong; and with a mistake planted, it is found, soon."""

from dataclasses import replace

import pytest

from holdfast.core.grants import Grantor
from holdfast.lab.explore.contest import Contest
from holdfast.lab.explore.explorer import explore
from holdfast.lab.explore.kernels import Kernel, Said, after, wrong
from holdfast.lab.explore.member import Member
from holdfast.lab.explore.scope import Scope
from holdfast.lab.explore.scopes import QUICK, SCOPES
from holdfast.lab.explore.words import script
from tests.explore.plants import OneTimer, OneTimerChecked, ReleasesFirst, RoundsUp, Unsealed
from tests.grants.plants import PLANTS

STATES_MAX = 200_000


@pytest.mark.parametrize("name", QUICK)
def test_nothing_goes_wrong_in_any_state(name: str) -> None:
    scope = SCOPES[name]
    contest = Contest(scope)
    explored = explore(contest, STATES_MAX)
    assert explored.wrong is None, script(contest, explored.path, explored.wrong)
    assert explored.is_whole, explored.stopped


@pytest.mark.parametrize("name", SCOPES)
def test_each_scope_begins_with_one_holder_and_nothing_on_its_way(name: str) -> None:
    contest = Contest(SCOPES[name])
    begun = contest.start()
    assert contest.judge(begun) is None
    assert [bool(kernel.owned) for kernel in begun.kernels] == [at == 0 for at in range(SCOPES[name].hosts)]
    assert not begun.mail
    assert len(list(contest.moves(begun))) > 1


def test_a_service_moves_without_faults() -> None:
    """A scope in which nobody ever succeeds would show nothing."""
    contest = Contest(SCOPES["succession"])
    epochs = {kernel.owned for state in reached(contest) for kernel in state.kernels}
    assert epochs == {0, 1, 2}


def reached(contest: Contest) -> list:  # type: ignore[type-arg]
    found, layer, seen = [], [contest.start()], set()
    while layer:
        state = layer.pop()
        if contest.key(state) not in seen:
            seen.add(contest.key(state))
            found.append(state)
            layer += [following for _, following in contest.moves(state)]
    return found


PLAIN = SCOPES["amid"]
FOUND: dict[str, tuple[Scope, type[Grantor], type[Member], int]] = {
    "1": (replace(SCOPES["restart"], may_crash=(False, False, True)), PLANTS["1"].grantor, Member, 30),
    "2": (SCOPES["pause"], Grantor, OneTimer, 40),
    "3": (SCOPES["pause-twice"], Grantor, OneTimerChecked, 40),
    "4": (SCOPES["late-cut"], PLANTS["4"].grantor, Member, 30),
    "5": (SCOPES["late-cut"], PLANTS["5"].grantor, Member, 30),
    "6": (SCOPES["again-late"], PLANTS["6"].grantor, Member, 14),
    "7": (replace(SCOPES["hand-over"], pause=1), Grantor, ReleasesFirst, 40),
    "9": (SCOPES["cut"], PLANTS["9"].grantor, Member, 30),
    "10": (replace(SCOPES["lost"], lost=1), PLANTS["10"].grantor, Member, 40),
    "11": (PLAIN, PLANTS["11"].grantor, Member, 0),
    "12": (PLAIN, PLANTS["12"].grantor, Member, 4),
    "13": (PLAIN, PLANTS["13"].grantor, Member, 40),
    "14": (PLAIN, Grantor, RoundsUp, 50),
    "15": (SCOPES["same-epoch"], PLANTS["15"].grantor, Member, 4),
    "16": (PLAIN, PLANTS["16"].grantor, Member, 4),
    "24": (SCOPES["voter-replaced"], Grantor, Unsealed, 30),
    "17": (PLAIN, PLANTS["17"].grantor, Member, 4),
    "27": (SCOPES["voter-restarts"], PLANTS["27"].grantor, Member, 60),
}
"""Mistakes by their numbers in `tests/grants`: where each is found, and by how many moves at the most."""


def test_a_renewal_without_a_claim_is_found_at_once_where_one_takes_again_what_it_let_go() -> None:
    explored = explore(Contest(SCOPES["again"], PLANTS["27"].grantor), STATES_MAX)
    assert explored.wrong == "h1 holds epoch 3: recorded by 0 voters"


@pytest.mark.parametrize("mistake", FOUND)
def test_the_mistake_is_found_by_a_short_path(mistake: str) -> None:
    scope, grantor, member, moves_max = FOUND[mistake]
    contest = Contest(scope, grantor, member)
    explored = explore(contest, STATES_MAX)
    assert explored.wrong is not None, f"{PLANTS[mistake].says}: not found among {explored.states} states"
    assert len(explored.path) <= moves_max
    told = script(contest, explored.path, explored.wrong)
    assert told.splitlines()[-1] == f"JUDGE: {explored.wrong}"
    assert len(told.splitlines()) == len(explored.path) + 2
    # The same scope without the mistake goes past that depth, and nothing is wrong there.
    right = Contest(scope)
    state = right.start()
    assert right.judge(state) is None


def test_the_path_can_be_read() -> None:
    contest = Contest(PLAIN, PLANTS["16"].grantor)
    explored = explore(contest, STATES_MAX)
    assert explored.wrong is not None
    assert script(contest, explored.path, explored.wrong) == (
        "# amid: no fault; h2 is told to take it in the midst of anything\n"
        "t=0 h1 ticks\n"
        "t=0 h2 is told: take the service under epoch 2\n"
        "t=0 h1 receives from h2: ASK 6 (take under 2)\n"
        "t=0 h2 receives from h1: ACK 6, recorded 1\n"
        "JUDGE: the service is answered by h1 and h2 at once\n"
    )


def test_the_judge_of_kernels_sees_two_that_answer_and_an_epoch_that_comes_back() -> None:
    both = (Kernel(1, 50, 60), Kernel(2, 70, 70))
    assert wrong(both, 1, 1, 49) == "the service is answered by h1 and h2 at once"
    assert wrong(both, 1, 1, 50) is None
    assert wrong(both, 0, 2, 50) is None
    assert wrong((Kernel(1, 50, 60), Kernel()), 0, 2, 10) == "the service is answered by h1 under epoch 1 after epoch 2"
    kernel = Kernel()
    for said in (Said("own", 3), Said("key A", 90), Said("key B", 80)):
        assert not kernel.answers(10)
        kernel = after(kernel, said)
    assert kernel.answers(79)
    assert not kernel.answers(80)
    assert not after(kernel, Said("disown")).answers(10)
    assert not after(kernel, Said("no keys")).answers(10)
