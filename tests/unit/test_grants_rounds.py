"""Until when a holder may rely on what it was promised: counted from the asking, per voter, over a majority."""

from holdfast.core.grant_claims import Claims, Entry
from holdfast.core.grant_rounds import Rounds
from holdfast.model.granting import FAST, MS, SENT_MAX, Ack, Refusal, VoterSet, usable_ns, voter_set
from holdfast.model.names import HostName, ServiceName

A, B, C, D = (HostName(name) for name in "abcd")
S = ServiceName("s")
U = usable_ns(FAST.length_ns, FAST.rho_ppm)


def made(*members: HostName) -> tuple[Claims, Rounds, Entry]:
    claims = Claims()
    rounds = Rounds(claims, voter_set(members or (A, B, C), FAST), FAST.rho_ppm)
    return claims, rounds, claims.put(S, 1, "take")


def promised(seq: int, number: int = 1) -> Ack:
    return Ack(seq, number, number)


def refused(seq: int) -> Ack:
    return Ack(seq, 1, 1, (Refusal(1, "busy"),))


def test_one_voter_of_three_is_no_majority() -> None:
    _, rounds, entry = made()
    rounds.count(A, promised(rounds.begin(0)))
    assert rounds.end_of(entry) == 0


def test_it_is_counted_from_the_sending() -> None:
    _, rounds, entry = made()
    seq = rounds.begin(100)
    rounds.count(A, promised(seq))
    rounds.count(B, promised(seq))
    assert rounds.end_of(entry) == 100 + U


def test_of_several_rounds_the_one_that_a_majority_has_answered_counts() -> None:
    _, rounds, entry = made()
    first, second, third = rounds.begin(0), rounds.begin(10 * MS), rounds.begin(20 * MS)
    rounds.count(A, promised(first))
    rounds.count(B, promised(third))
    assert rounds.end_of(entry) == U
    rounds.count(C, promised(second))
    assert rounds.end_of(entry) == 10 * MS + U


def test_a_voter_counts_once_however_often_it_answers() -> None:
    _, rounds, entry = made()
    for seq in (rounds.begin(0), rounds.begin(1), rounds.begin(2)):
        rounds.count(A, promised(seq))
    assert rounds.end_of(entry) == 0


def test_an_answer_to_nothing_that_was_asked_says_nothing() -> None:
    _, rounds, _ = made()
    assert not rounds.count(A, promised(9))
    assert rounds.stale == 1


def test_an_older_answer_that_comes_later_takes_nothing_back_and_adds_nothing() -> None:
    _, rounds, entry = made()
    first, second = rounds.begin(0), rounds.begin(10 * MS)
    for voter in (A, B):
        rounds.count(voter, promised(first))
    rounds.count(A, refused(second))
    rounds.count(A, promised(first))
    rounds.count(B, promised(second))
    assert rounds.end_of(entry) == U


def test_what_was_promised_before_a_refusal_stays_good_to_its_end() -> None:
    _, rounds, entry = made()
    first, second = rounds.begin(0), rounds.begin(10 * MS)
    for voter in (A, B):
        rounds.count(voter, promised(first))
    for voter in (A, B, C):
        rounds.count(voter, refused(second))
    assert rounds.end_of(entry) == U


def test_after_two_different_answers_to_one_asking_the_next_refusal_counts_as_one() -> None:
    # The second answer must not become the measure by which the third is found to say nothing new.
    _, rounds, entry = made()
    first, second = rounds.begin(0), rounds.begin(10 * MS)
    for voter in (A, B):
        rounds.count(voter, promised(first))
    rounds.count(B, refused(first))
    rounds.count(A, promised(second))
    rounds.count(B, refused(second))
    assert rounds.end_of(entry) == U


def test_a_claim_counts_only_where_it_was_recorded() -> None:
    claims, rounds, first = made()
    second = claims.put(ServiceName("t"), 2, "take")
    seq = rounds.begin(0)
    rounds.count(A, promised(seq, number=2))
    rounds.count(B, promised(seq, number=1))
    assert rounds.end_of(first) == U
    assert rounds.end_of(second) == 0


def test_a_waiting_claim_counts_only_where_it_is_granted() -> None:
    claims, rounds, _ = made()
    waiting = claims.put(ServiceName("t"), 2, "wait")
    seq = rounds.begin(0)
    rounds.count(A, Ack(seq, 2, 2, granted=(2,)))
    rounds.count(B, Ack(seq, 2, 2))
    assert rounds.end_of(waiting) == 0
    rounds.count(B, Ack(seq, 2, 2, granted=(2,)))
    assert rounds.end_of(waiting) == U


def test_with_another_voter_set_another_majority_counts() -> None:
    _, rounds, entry = made(A, B, C)
    seq = rounds.begin(0)
    for voter in (A, B):
        rounds.count(voter, promised(seq))
    four = voter_set((A, B, C, D), FAST, after=rounds.voter_set)
    rounds.adopt(four)
    later = rounds.begin(10 * MS)
    for voter in (A, B):
        rounds.count(voter, promised(later))
    assert rounds.end_of(entry) == U
    rounds.count(D, promised(later))
    assert rounds.end_of(entry) == 10 * MS + U


def test_the_length_is_that_of_the_voter_set_under_which_was_asked() -> None:
    _, rounds, entry = made(A, B, C)
    seq = rounds.begin(0)
    longer = VoterSet(2, (A, B, C), 250 * MS, 250 * MS, (), (A, B, C))
    rounds.adopt(longer)
    for voter in (A, B):
        rounds.count(voter, promised(seq))
    assert rounds.end_of(entry) == U


def test_what_was_granted_is_forgotten_with_a_drop() -> None:
    claims, rounds, _ = made()
    waiting = claims.put(ServiceName("t"), 2, "wait")
    seq = rounds.begin(0)
    for voter in (A, B):
        rounds.count(voter, Ack(seq, 2, 2, granted=(2,)))
    rounds.prove(waiting)
    claims.end(waiting, "drop")
    assert rounds.end_of(claims.put(ServiceName("t"), 2, "take")) == 0


def test_after_the_machine_stood_still_nothing_from_before_counts() -> None:
    _, rounds, entry = made()
    seq = rounds.begin(0)
    for voter in (A, B):
        rounds.count(voter, promised(seq))
    rounds.forget()
    assert rounds.end_of(entry) == 0
    assert not rounds.count(C, promised(seq))


def test_what_was_sent_long_ago_is_forgotten() -> None:
    _, rounds, _ = made()
    first = rounds.begin(0)
    for now in range(SENT_MAX + 5):
        rounds.begin(now)
    assert not rounds.count(A, promised(first))
