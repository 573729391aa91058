"""Two owners at once: found where they were, and never where an address moved in good order or a packet was late."""

from array import array

import pytest

from holdfast.lab.judges.asked import OwnerAnswer, OwnersRun
from holdfast.lab.judges.owners import by_mac, by_name, foreseen, judge_owners
from holdfast.lab.judges.probed import ProbeRun
from holdfast.lab.owner_words import claim, question
from holdfast.model.granting import IN_DOUBT, OLDER_MAY_COME_BACK
from holdfast.model.names import Party
from holdfast.model.records import Marked

OLD, NEW = "02:00:00:00:00:01", "02:00:00:00:00:02"
EVERY = 0.005


def asked(until: float, *owners: tuple[str, float, float], delay: float = 0.0002) -> OwnersRun:
    """Questions every 5 ms; each owner answers those asked within its time."""
    questions = [n * EVERY for n in range(int(until / EVERY))]
    answers = [OwnerAnswer(at + delay, mac) for mac, begin, end in owners for at in questions if begin <= at < end]
    return OwnersRun("10.77.0.100", EVERY, 0.0, until, questions, sorted(answers, key=lambda answer: answer.at))


def named(*answers: tuple[float, float, str, int]) -> ProbeRun:
    """(sent, answered, owner, epoch)"""
    owners = sorted({owner for _, _, owner, _ in answers})
    return ProbeRun(
        "registry", "10.77.0.100", 1, 0.001, 0.0, 10.0,
        sent_at=array("d", [sent for sent, _, _, _ in answers]),
        answered_at=array("d", [at for _, at, _, _ in answers]),
        owner=array("h", [owners.index(owner) for _, _, owner, _ in answers]),
        epoch=array("q", [epoch for _, _, _, epoch in answers]),
        owners=owners,
    )  # fmt: skip


def test_one_owner_is_no_finding() -> None:
    judged = judge_owners([asked(1.0, (OLD, 0.0, 1.0))], [])
    assert (judged.ms, judged.proofs, judged.asked) == (0.0, (), True)


def test_an_address_that_moves_is_no_finding() -> None:
    assert by_mac(asked(1.0, (OLD, 0.0, 0.5), (NEW, 0.51, 1.0))) == []


def test_an_address_that_moves_and_comes_back_is_no_finding() -> None:
    assert by_mac(asked(2.0, (OLD, 0.0, 0.5), (NEW, 0.51, 1.0), (OLD, 1.01, 2.0))) == []


def test_two_who_answer_at_the_same_time_are_found_with_the_length_of_it() -> None:
    judged = judge_owners([asked(1.0, (OLD, 0.0, 0.6), (NEW, 0.5, 1.0))], [])
    assert judged.ms == pytest.approx(100, abs=6)
    assert "answered for 10.77.0.100 as well" in judged.proofs[0].text


def test_one_that_wakes_up_again_while_another_owns_the_address_is_found() -> None:
    found = by_mac(asked(2.0, (OLD, 0.0, 0.5), (NEW, 0.51, 2.0), (OLD, 1.5, 1.51)))
    assert found
    assert all(1.49 <= proof.begin <= 1.52 for proof in found)


def test_one_question_answered_by_two_is_found() -> None:
    run = asked(1.0, (OLD, 0.0, 0.501), (NEW, 0.499, 1.0))
    judged = judge_owners([run], [])
    assert 0 < judged.ms < 2


def test_a_late_answer_to_an_early_question_accuses_nobody() -> None:
    run = asked(1.0, (OLD, 0.0, 0.499), (NEW, 0.499, 1.0))
    late = [answer for answer in run.answers if answer.mac == OLD][-1]
    run.answers.remove(late)
    # It answers the last question before the change, and arrives after the first one behind it was answered.
    run.answers.append(OwnerAnswer(late.at + 0.0065, OLD))
    assert by_mac(run) == []


def test_announcements_are_no_answers() -> None:
    run = asked(1.0, (OLD, 0.0, 1.0))
    run.answers.append(OwnerAnswer(0.5, NEW, "announcement"))
    assert by_mac(run) == []


def test_an_old_owner_that_answers_a_request_sent_after_the_new_one_is_found() -> None:
    probe = named((0.0, 0.001, "a", 1), (0.01, 0.011, "b", 2), (0.02, 0.021, "a", 1), (0.03, 0.031, "b", 2))
    judged = judge_owners([], [probe])
    assert judged.ms == pytest.approx(9, abs=0.01)
    assert "a (epoch 1)" in judged.proofs[0].text


def test_an_answer_under_way_while_the_owner_changed_is_no_finding() -> None:
    probe = named((0.0, 0.001, "a", 1), (0.009, 0.05, "a", 1), (0.01, 0.011, "b", 2), (0.03, 0.031, "b", 2))
    assert by_name(probe) == []


def test_an_owner_that_returns_with_a_higher_epoch_is_no_finding() -> None:
    assert by_name(named((0.0, 0.001, "a", 1), (0.01, 0.011, "b", 2), (0.02, 0.021, "a", 3))) == []


def test_an_epoch_that_goes_backwards_is_found_even_with_the_same_owner() -> None:
    assert by_name(named((0.0, 0.001, "a", 2), (0.01, 0.011, "a", 1)))


def test_two_owners_without_epochs_are_found_when_they_alternate() -> None:
    assert by_name(named((0.0, 0.001, "a", -1), (0.01, 0.011, "b", -1), (0.02, 0.021, "a", -1)))
    assert by_name(named((0.0, 0.001, "a", -1), (0.01, 0.011, "b", -1))) == []


def test_a_further_answer_to_the_same_request_counts() -> None:
    probe = named((0.0, 0.001, "b", 2), (0.01, 0.011, "b", 2))
    probe.extras.append((1, 0.012, "a", 1))
    assert by_name(probe)


def test_the_same_time_seen_twice_counts_once() -> None:
    run = asked(1.0, (OLD, 0.0, 0.6), (NEW, 0.5, 1.0))
    once, twice = judge_owners([run], []), judge_owners([run, run], [])
    assert once.ms == twice.ms


def test_nothing_asked_is_nothing_known() -> None:
    assert judge_owners([], []).asked is False


def test_an_arp_question_and_its_answer_are_understood() -> None:
    mine, theirs = bytes.fromhex("020000000009"), bytes.fromhex("020000000001")
    frame = question("10.77.0.100", mine, "10.77.0.9")
    assert len(frame) == 42
    assert frame[:6] == b"\xff" * 6
    vip, own = bytes([10, 77, 0, 100]), bytes([10, 77, 0, 9])
    reply = mine + theirs + bytes.fromhex("0806000108000604") + b"\0\2" + theirs + vip + mine + own
    assert claim("10.77.0.100", reply) == (OLD, "answer")
    gratuitous = b"\xff" * 6 + theirs + bytes.fromhex("0806000108000604") + b"\0\1" + theirs + vip + bytes(6) + vip
    assert claim("10.77.0.100", gratuitous) == (OLD, "announcement")
    assert claim("10.77.0.101", reply) is None
    assert claim("10.77.0.100", frame) is None


def test_a_neighbour_solicitation_carries_a_valid_checksum_and_goes_to_the_solicited_node() -> None:
    mine = bytes.fromhex("020000000009")
    frame = question("fd77::100", mine, "fd77::9")
    assert frame[:6] == bytes.fromhex("3333ff000100")
    body = frame[54:]
    pseudo = frame[22:38] + frame[38:54] + len(body).to_bytes(4, "big") + b"\0\0\0\x3a"
    data = pseudo + body
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_a_neighbour_advertisement_is_understood() -> None:
    import ipaddress

    theirs, vip = bytes.fromhex("020000000001"), ipaddress.IPv6Address("fd77::100").packed
    body = bytes([136, 0, 0, 0, 0x60, 0, 0, 0]) + vip + bytes([2, 1]) + theirs
    header = bytes.fromhex("60000000") + len(body).to_bytes(2, "big") + bytes([58, 255]) + vip + bytes(16)
    frame = bytes(6) + theirs + b"\x86\xdd" + header + body
    assert claim("fd77::100", frame) == (OLD, "answer")
    unasked = frame[:58] + bytes([0x20]) + frame[59:]
    assert claim("fd77::100", unasked) == (OLD, "announcement")


def doubt(at: float, detail: str = OLDER_MAY_COME_BACK) -> Marked:
    return Marked(at, Party("agent:h1"), 1, IN_DOUBT, "h1", f"1 of 3 remember which epochs are over: {detail}")


def test_an_older_epoch_that_comes_back_is_excused_by_a_doubt_between_the_two_and_by_nothing_else() -> None:
    found = by_name(named((0.1, 0.101, "a", 1), (1.0, 1.001, "b", 2), (2.0, 2.001, "a", 1)))
    assert [proof.is_older for proof in found] == [True]
    assert foreseen(found, [doubt(1.5)]) == found
    for told in ([], [doubt(0.9)], [doubt(2.1)], [doubt(1.5, "its clock")]):
        assert foreseen(found, told) == []


def test_two_owners_under_one_epoch_are_never_excused() -> None:
    found = by_name(named((0.1, 0.101, "a", 1), (1.0, 1.001, "b", 1), (2.0, 2.001, "a", 1)))
    assert found
    assert foreseen(found, [doubt(1.5)]) == []
