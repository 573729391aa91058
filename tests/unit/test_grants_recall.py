"""A voter that has started asks the others which epochs are over: what it asks, what it takes for enough."""

import pytest

from holdfast.core.grant_recall import Recall, page
from holdfast.model.granting import EPOCHS_BYTES_MAX, FAST, OLDER_MAY_COME_BACK, AskEpochs, EpochsAre, Memory, voter_set
from holdfast.model.names import HostName, ServiceName

A, B, C, D, E = (HostName(name) for name in "abcde")
FIVE = voter_set((A, B, C, D, E), FAST)
BEGIN = ServiceName("")


def recall(*members: HostName) -> Recall:
    return Recall(A, voter_set(members, FAST) if members else FIVE, is_needed=True)


def told(memory: Memory) -> EpochsAre:
    return EpochsAre(BEGIN, (), memory)


def test_so_many_others_are_enough_that_one_of_every_majority_with_it_is_among_them() -> None:
    assert [recall(*(A, B, C, D, E)[:count]).needed for count in (2, 3, 4, 5)] == [1, 2, 2, 3]


def is_sure(made: Recall) -> bool:
    return made.is_sure


def test_it_is_sure_when_enough_remember_and_asks_those_again_that_remember_nothing() -> None:
    made = recall()
    assert [host for host, _ in made.questions()] == [B, C, D, E]
    for host in (B, C):
        made.heard(host, 7, told("whole"))
    made.heard(D, 7, told("none"))
    assert not is_sure(made)
    assert [host for host, _ in made.questions()] == [D, E]
    made.heard(D, 7, told("whole"))
    assert is_sure(made)
    assert made.end() is None


def test_what_stays_open_is_said_with_who_was_not_heard() -> None:
    made = recall()
    made.heard(B, 7, told("whole"))
    made.heard(C, 7, told("none"))
    assert made.end() == f"1 of 3 remember which epochs are over, d, e not heard: {OLDER_MAY_COME_BACK}"


def test_where_all_have_started_anew_nothing_of_before_lives_on() -> None:
    made = recall(A, B, C)
    made.heard(B, 7, told("none"))
    assert made.questions() == [(B, AskEpochs(BEGIN)), (C, AskEpochs(BEGIN))]
    made.heard(C, 8, told("none"))
    assert made.is_complete
    assert made.memory_for(B, 7) == "none"
    assert made.end() is None
    assert made.memory_for(B, 7) == "anew"
    assert made.memory_for(B, 9) == "whole", "it has started once more since"


def test_one_that_says_so_of_all_is_enough() -> None:
    made = recall()
    made.heard(B, 7, told("anew"))
    assert is_sure(made)


def test_epochs_that_do_not_fit_into_one_message_are_asked_for_one_after_the_other() -> None:
    floors = {ServiceName(f"service-{number:03}"): number for number in range(200)}
    made, pages = recall(A, B), 0
    learned: dict[ServiceName, int] = {}
    asked: AskEpochs | None = made.questions()[0][1]
    while asked is not None:
        answer = page(floors, asked, "whole")
        assert sum(len(service) for service, _ in answer.epochs) <= EPOCHS_BYTES_MAX
        learned |= dict(answer.epochs)
        assert made.heard(B, 7, EpochsAre(ServiceName("x"), (), "whole")) is None, "an answer to something else"
        pages += 1
        asked = made.heard(B, 7, answer)
    assert (learned, made.is_sure) == (floors, True)
    assert pages > 1


@pytest.mark.parametrize("after", ["", "b", "z"])
def test_a_page_is_of_services_after_the_one_that_is_named(after: str) -> None:
    floors = {ServiceName(name): 3 for name in "cab"}
    answer = page(floors, AskEpochs(ServiceName(after)), "none")
    assert [service for service, _ in answer.epochs] == [name for name in "abc" if name > after]
    assert (answer.after, answer.memory, answer.more) == (after, "none", False)
