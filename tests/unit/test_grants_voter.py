"""A voter keeps its word: to whom it promises what, for how long, and what it remembers."""

from holdfast.core.grant_voter import Voter
from holdfast.model.granting import (
    AGENTS_MAX,
    FAST,
    LIVES_MAX,
    MS,
    NUMBERS_MAX,
    REFUSALS_MAX,
    SEATS_MAX,
    Ack,
    Ask,
    Change,
    Heard,
    Nak,
    Step,
    voter_set,
)
from holdfast.model.names import HostName, ServiceName

A, B, C = (HostName(name) for name in "abc")
S, T = ServiceName("s"), ServiceName("t")
VOTERS = voter_set((A, B, C), FAST)
L = FAST.length_ns
START = 10 * L


def voter() -> Voter:
    """One whose silence is over at START."""
    made = Voter(A, VOTERS, 0)
    made.set_floors({}, 0)
    return made


def change(number: int, epoch: int, step: Step = "take", service: ServiceName = S) -> Change:
    return Change(number, service, epoch, step)


class Asker:
    """One life of an agent that asks one voter."""

    def __init__(self, asked: Voter, host: HostName, life: int = 1) -> None:
        self.voter = asked
        self.host = host
        self.life = life
        self.seq = 0

    def asks(self, now: int, *changes: Change, version: int = 1, base: int = 0) -> Ack | Nak:
        self.seq += 1
        upto = changes[-1].number if changes else base
        ask = Ask(self.seq, base, upto, changes)
        return self.voter.ask(Heard(self.host, self.life, 0, version, 0, ask), ask, now)

    def gets(self, now: int, *changes: Change, base: int = 0) -> Ack:
        answer = self.asks(now, *changes, base=base)
        assert isinstance(answer, Ack), answer
        return answer


def reasons(ack: Ack) -> dict[int, str]:
    return {refusal.number: refusal.reason for refusal in ack.refused}


def test_a_promise_keeps_others_out_until_its_end() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    assert b.gets(START, change(1, 1)).refused == ()
    ack = c.gets(START + 1, change(1, 2))
    assert reasons(ack) == {1: "busy"}
    assert ack.refused[0].left_ns == L - 1
    made.expire(START + L)
    assert [(life, answer.refused) for life, answer in made.pushed] == [((C, 1), ())]


def test_who_asks_again_is_renewed_as_long_as_nobody_sealed_its_epoch() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    b.gets(START, change(1, 2))
    b.gets(START + L - 1, base=1)
    assert reasons(c.gets(START + L + 1, change(1, 1))) == {1: "older-epoch"}
    assert b.gets(START + 2 * L - 2, base=1).refused == ()
    c.gets(START + 2 * L, change(2, 3), base=1)
    assert reasons(b.gets(START + 2 * L + 1, base=1)) == {1: "older-epoch"}


def test_a_promise_that_has_run_out_goes_on_if_nobody_took_it() -> None:
    made = voter()
    b = Asker(made, B)
    b.gets(START, change(1, 1))
    assert b.gets(START + 5 * L, base=1).refused == ()


def test_who_took_it_first_when_it_had_run_out_has_it() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    b.gets(START, change(1, 1))
    assert c.gets(START + L, change(1, 2)).refused == ()
    assert reasons(b.gets(START + L + 1, base=1)) == {1: "older-epoch"}


def test_a_waiting_claim_is_told_that_nobody_has_it_and_is_promised_nothing() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    assert c.gets(START, change(1, 5, "wait")).free == (1,)
    assert b.gets(START + 1, change(1, 1)).refused == ()
    assert c.gets(START + 2, base=1).free == ()
    assert b.gets(START + L, base=1).refused == ()


def test_a_release_gives_it_to_who_waits_at_once() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    b.gets(START, change(1, 1))
    c.gets(START + 1, change(1, 2, "wait"))
    made.release((B, 1), [(S, 1)], START + 2)
    assert [(life, answer.granted, answer.seq) for life, answer in made.pushed] == [((C, 1), (1,), 1)]
    assert reasons(b.gets(START + 3, base=1)) == {1: "older-epoch"}


def test_of_several_who_wait_the_highest_epoch_has_it() -> None:
    made = voter()
    a, b, c = Asker(made, A), Asker(made, B), Asker(made, C)
    a.gets(START, change(1, 1))
    b.gets(START + 1, change(1, 2, "wait"))
    c.gets(START + 1, change(1, 3, "wait"))
    made.release((A, 1), [(S, 1)], START + 2)
    granted = {life[0]: answer.granted for life, answer in made.pushed}
    assert granted == {B: (), C: (1,)}


def test_who_only_watches_is_told_and_gets_nothing() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    b.gets(START, change(1, 1))
    c.gets(START + 1, change(1, 2, "watch"))
    made.release((B, 1), [(S, 1)], START + 2)
    assert [(answer.granted, answer.free) for _, answer in made.pushed] == [((), (1,))]


def test_who_has_fallen_silent_is_given_nothing_by_a_release() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    c.gets(START, change(1, 2, "wait"))
    b.gets(START + L + 1, change(1, 1))
    made.release((B, 1), [(S, 1)], START + L + 2)
    assert made.pushed == []
    assert Asker(made, A).gets(START + L + 3, change(1, 3)).refused == ()


def test_a_release_by_another_life_or_of_another_epoch_ends_nothing() -> None:
    for life, epoch in ((2, 5), (1, 4)):
        made = voter()
        b, c = Asker(made, B), Asker(made, C)
        b.gets(START, change(1, 5))
        made.release((B, life), [(S, epoch)], START + 1)
        assert reasons(c.gets(START + 2, change(1, 6))) == {1: "busy"}


def test_a_release_that_comes_before_the_claim_keeps_the_claim_out() -> None:
    made = voter()
    made.release((B, 1), [(S, 1)], START)
    assert reasons(Asker(made, B).gets(START + 1, change(1, 1))) == {1: "older-epoch"}


def test_to_wait_no_longer_seals_nothing() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    b.gets(START, change(1, 1))
    c.gets(START + 1, change(1, 2, "wait"))
    c.gets(START + 2, change(2, 2, "drop"), base=1)
    assert b.gets(START + 3, base=1).refused == ()


def test_a_new_life_of_the_same_host_has_it_at_once_under_a_higher_epoch_only() -> None:
    made = voter()
    Asker(made, B).gets(START, change(1, 5))
    assert reasons(Asker(made, B, 2).gets(START + 1, change(1, 5))) == {1: "busy"}
    assert Asker(made, B, 3).gets(START + 2, change(1, 6)).refused == ()
    assert reasons(Asker(made, C).gets(START + 3, change(1, 7))) == {1: "busy"}


def test_it_is_silent_after_its_start_and_learns_what_is_sealed_meanwhile() -> None:
    made = Voter(A, VOTERS, 0)
    b, c = Asker(made, B), Asker(made, C)
    answer = b.asks(L - 1, change(1, 7))
    assert isinstance(answer, Nak)
    assert (answer.reason, answer.detail) == ("quarantine", 1)
    assert reasons(c.gets(L, change(1, 6))) == {1: "older-epoch"}


def test_it_goes_by_the_epochs_of_the_store() -> None:
    made = voter()
    made.set_floors({S: 4}, 0)
    assert reasons(Asker(made, B).gets(START, change(1, 3))) == {1: "older-epoch"}
    assert Asker(made, C).gets(START, change(1, 4)).refused == ()


def test_it_answers_only_who_goes_by_its_voter_set_and_only_as_a_member() -> None:
    made = voter()
    b = Asker(made, B)
    for version, reason in ((0, "older-voter-set"), (2, "newer-voter-set")):
        answer = b.asks(START, version=version)
        assert isinstance(answer, Nak)
        assert answer.reason == reason
    made.adopt(voter_set((B, C), FAST, after=VOTERS), START, knows_floors=True)
    answer = b.asks(START, version=2)
    assert isinstance(answer, Nak)
    assert answer.reason == "no-voter"


def test_a_new_member_that_has_not_read_the_store_is_silent_first() -> None:
    before = voter_set((B, C), FAST)
    for knows_floors, expected in ((False, Nak), (True, Ack)):
        made = Voter(A, before, 0)
        made.adopt(voter_set((A, B, C), FAST, after=before), START, knows_floors=knows_floors)
        assert type(Asker(made, B).asks(START + 1, change(1, 1), version=2)) is expected


def test_with_its_clock_in_doubt_it_promises_nothing() -> None:
    made = voter()
    made.is_doubting = True
    answer = Asker(made, B).asks(START, change(1, 1))
    assert isinstance(answer, Nak)
    assert answer.reason == "doubt"


def test_a_life_that_is_fenced_is_renewed_no_more_and_ends_at_its_end() -> None:
    made = voter()
    b, c = Asker(made, B), Asker(made, C)
    b.gets(START, change(1, 1))
    c.gets(START + 1, change(1, 2, "wait"))
    made.fenced((B, 1), START + 2)
    answer = b.asks(START + 3, base=1)
    assert isinstance(answer, Nak)
    assert answer.reason == "fenced"
    assert made.pushed == []
    c.gets(START + L - 1, base=1)
    made.expire(START + L)
    assert [answer.granted for _, answer in made.pushed] == [(1,)]


def test_an_asker_that_is_too_far_ahead_is_told_what_is_known_here() -> None:
    made = voter()
    b = Asker(made, B)
    ack = b.gets(START, change(9, 1), base=8)
    assert (ack.number, ack.covered) == (0, 0)
    ack = b.gets(START + 1, change(5, 1), change(9, 2, service=T), base=0)
    assert (ack.number, ack.covered) == (9, 9)


def test_the_same_changes_twice_change_nothing_the_second_time() -> None:
    made = voter()
    b = Asker(made, B)
    changes = (change(1, 1), change(2, 1, "release"), change(3, 2))
    b.gets(START, *changes)
    assert b.gets(START + 1, *changes).refused == ()


def test_what_does_not_fit_into_one_answer_is_not_covered_by_it() -> None:
    made = voter()
    services = [ServiceName(f"s{n}") for n in range(REFUSALS_MAX + 10)]
    changes = tuple(Change(n + 1, service, 1, "take") for n, service in enumerate(services))
    Asker(made, B).gets(START, *changes)
    higher = tuple(Change(n + 1, service, 2, "take") for n, service in enumerate(services))
    ack = Asker(made, C).gets(START + 1, *higher)
    assert len(ack.refused) == REFUSALS_MAX
    assert (ack.number, ack.covered) == (len(services), REFUSALS_MAX)


def test_not_all_that_is_free_is_named_at_once() -> None:
    made = voter()
    changes = tuple(Change(n + 1, ServiceName(f"s{n}"), 1, "watch") for n in range(NUMBERS_MAX + 3))
    assert len(Asker(made, B).gets(START, *changes).free) == NUMBERS_MAX


def test_it_remembers_no_more_than_it_may() -> None:
    made = voter()
    lives = [Asker(made, B, life).asks(START + life, change(1, life)) for life in range(1, LIVES_MAX + 2)]
    assert [type(answer) for answer in lives] == [Ack] * LIVES_MAX + [Nak]
    assert isinstance(Asker(made, B, 99).asks(START + 9 * L, change(1, 99)), Ack)
    for n in range(2 * AGENTS_MAX):
        Asker(made, HostName(f"h{n}")).asks(START + 10 * L)
    assert len(made._records) <= AGENTS_MAX


def test_a_claim_that_it_cannot_remember_is_not_promised() -> None:
    made = voter()
    c = Asker(made, C)
    for n in range(SEATS_MAX // 64):
        c.gets(START, *(Change(64 * n + m + 1, ServiceName(f"s{n}-{m}"), 1, "take") for m in range(64)), base=64 * n)
    answer = c.asks(START + 1, change(SEATS_MAX + 1, 1), base=SEATS_MAX)
    assert isinstance(answer, Nak)
    assert answer.reason == "full"
    assert len(made._seats) == SEATS_MAX


def test_an_agent_that_was_forgotten_begins_anew() -> None:
    made = voter()
    b = Asker(made, B)
    b.gets(START, change(1, 1))
    for n in range(AGENTS_MAX):
        Asker(made, HostName(f"h{n}")).asks(START + 5 * MS)
    Asker(made, HostName("another")).asks(START + 3 * L)
    assert b.gets(START + 3 * L + 1, base=1).number == 0
