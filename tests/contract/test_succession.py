"""The table of successions, in every store there is."""

import pytest

from holdfast.errors import Bug
from holdfast.model.granting import DEFAULT, FAST, Fenced, Successor, voter_set
from holdfast.model.names import HostName, ServiceName, VnfcName
from holdfast.store.port import Superseded
from holdfast.store.succession import Successions
from tests.contract.conftest import Opener

A, B, C = HostName("a"), HostName("b"), HostName("c")
DNS, WEB = ServiceName("dns"), ServiceName("web")


def successor(host: HostName, epoch: int, incarnation: int = 7) -> Successor:
    return Successor(VnfcName(f"dns-{host}"), host, incarnation, epoch)


def test_what_was_decided_is_there_for_the_next_manager(opener: Opener) -> None:
    first = Successions(opener())
    assert first.service(DNS) is None
    first.decide(DNS, 1, A, 7, (successor(B, 2), successor(C, 3)))
    first.decide(WEB, 1, B, 7, ())
    first.set_voters(voter_set((A, B, C), DEFAULT))
    first.set_descriptor(b"vnf: dns\n")
    first.note_fenced(Fenced(C, 7, "fence/1"))
    again = Successions(opener())
    kept = again.service(DNS)
    assert kept is not None
    assert (kept.epoch, kept.holder, kept.revision) == (1, A, 1)
    assert kept.order(DNS).successors == (successor(B, 2), successor(C, 3))
    assert sorted(again.services()) == [DNS, WEB]
    assert again.voters == voter_set((A, B, C), DEFAULT)
    assert again.descriptor == b"vnf: dns\n"
    assert again.fenced(C, 7) == Fenced(C, 7, "fence/1")
    assert again.fenced(C, 8) is None


def test_of_two_managers_the_one_that_is_behind_is_refused(opener: Opener) -> None:
    store = opener()
    one, other = Successions(store), Successions(store)
    one.decide(DNS, 1, A, 7, (successor(B, 2),))
    with pytest.raises(Superseded):
        other.decide(DNS, 1, C, 7, (successor(B, 2),))
    kept = Successions(store).service(DNS)
    assert kept is not None
    assert kept.holder == A


def test_a_successor_takes_over_under_its_number_and_the_next_order_is_made(opener: Opener) -> None:
    table = Successions(opener())
    table.decide(DNS, 1, A, 7, (successor(B, 2), successor(C, 3)))
    kept = table.decide(DNS, 2, B, 7, (successor(C, 3), successor(A, 4, incarnation=8)))
    assert (kept.revision, kept.highest) == (2, 4)


@pytest.mark.parametrize(
    ("epoch", "holder", "incarnation", "successors", "words"),
    [
        (1, A, 7, (), "epoch 1 after 2"),
        (2, C, 7, (), "was reserved for a, and is given to c"),
        (2, A, 8, (), "was reserved for a"),
        (5, C, 7, (), "was reserved for b, and is given to c"),
        (2, A, 7, (successor(B, 4),), "number 4 was given before"),
        (2, A, 7, (successor(B, 7), successor(C, 7)), "the same number"),
        (7, A, 7, (successor(B, 7),), "not above the epoch 7"),
    ],
)
def test_numbers_that_were_given_are_never_given_to_another(
    opener: Opener, epoch: int, holder: HostName, incarnation: int, successors: tuple[Successor, ...], words: str
) -> None:
    table = Successions(opener())
    table.decide(DNS, 1, C, 7, (successor(A, 2), successor(B, 4)))
    before = table.decide(DNS, 2, A, 7, (successor(B, 5), successor(C, 6)))
    with pytest.raises(Bug, match=words):
        table.decide(DNS, epoch, holder, incarnation, successors)
    assert table.service(DNS) == before


def test_voter_sets_follow_one_another_and_promises_never_get_shorter(opener: Opener) -> None:
    table = Successions(opener())
    first = voter_set((A, B), DEFAULT)
    table.set_voters(first)
    table.set_voters(first)
    with pytest.raises(Bug, match="voter set 1 is to follow, 2 would be next"):
        table.set_voters(first.__class__(1, (A,), 1, first.length_max_ns + 1))
    with pytest.raises(Bug, match="never goes down"):
        table.set_voters(first.__class__(2, (A, B), FAST.length_ns, FAST.length_ns))
    table.set_voters(voter_set((A, B, C), FAST, after=first))
    assert table.voters is not None
    assert table.voters.length_max_ns == DEFAULT.length_ns
