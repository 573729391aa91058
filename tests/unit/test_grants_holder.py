"""What the kernel is told, and when: nothing is armed beyond what is proven, nothing released before it is closed."""

from collections.abc import Callable

from holdfast.core.grants import Grantor
from holdfast.model.granting import (
    FAST,
    MS,
    Ack,
    Arm,
    Ask,
    Close,
    CloseAll,
    Disown,
    Doubt,
    Heard,
    Held,
    Lapsed,
    Lost,
    Nak,
    Output,
    Own,
    Profile,
    Refusal,
    Refused,
    Regained,
    Release,
    Released,
    SendTo,
    Succession,
    Successor,
    usable_ns,
    voter_set,
)
from holdfast.model.names import HostName, ServiceName, VnfcName

A, B, C = (HostName(name) for name in "abc")
S, T = ServiceName("s"), ServiceName("t")
LIFE = 7
H = FAST.heartbeat_ns
U = usable_ns(FAST.length_ns, FAST.rho_ppm)
START = 1000 * MS


class Desk:
    """A Grantor on host a; what it says is sorted here, and the other voters answer as they are told."""

    def __init__(self, profile: Profile = FAST, hosts: tuple[HostName, ...] = (A, B, C), voters: int = 3) -> None:
        self.now = START - 2 * profile.length_ns
        self.profile = profile
        self.grantor = Grantor(A, LIFE, profile, voter_set(hosts[:voters], profile), self.now)
        self.said: list[Output] = []
        self.seq = 0
        self.number = 0
        self.heard()
        self.grantor.all_closed(self.now)
        self.grantor.set_floors({}, self.now)
        self.now = START
        self.grantor.tick(self.now)
        self.heard()

    def heard(self) -> list[Output]:
        """What was said since, without messages; of those the latest ASK is remembered."""
        fresh = self.grantor.take()
        for output in fresh:
            if isinstance(output, SendTo) and isinstance(output.message, Ask):
                self.seq, self.number = output.message.seq, self.grantor.claims.number
        quiet: list[Output] = [output for output in fresh if not isinstance(output, SendTo)]
        self.said += quiet
        return quiet

    def promise(self, *voters: HostName, refused: tuple[Refusal, ...] = ()) -> list[Output]:
        """These voters answer the latest ASK."""
        self.heard()
        for voter in voters or (B,):
            ack = Ack(self.seq, self.number, self.number, refused)
            self.grantor.receive(Heard(voter, 1, LIFE, 1, 0, ack), self.now)
        return self.heard()

    def after(self, length: int) -> list[Output]:
        self.now += length
        self.grantor.tick(self.now)
        return self.heard()

    def arm(self) -> list[Output]:
        """The kernel does what was said last."""
        pending = self.grantor.holder.pending
        assert pending is not None
        self.grantor.armed(pending.until_ns, self.now)
        return self.heard()

    def hold(self, *services: ServiceName) -> None:
        """All that is claimed is held."""
        for service in services:
            self.grantor.claim(service, 1, "take", self.now)
        self.after(MS)
        self.promise(B, C)
        self.arm()


def kinds(outputs: list[Output]) -> list[type]:
    return [type(output) for output in outputs]


def test_before_anything_else_the_kernel_is_closed() -> None:
    grantor = Grantor(A, LIFE, FAST, voter_set((A, B, C), FAST), START)
    grantor.claim(S, 1, "take", START)
    grantor.tick(START + H)
    assert kinds(grantor.take()) == [CloseAll]


def test_a_claim_is_owned_armed_and_then_held() -> None:
    desk = Desk()
    desk.grantor.claim(S, 1, "take", desk.now)
    asked = desk.now
    desk.after(MS)
    said = desk.promise(B)
    assert said == [Own(S, 1, desk.grantor.holder.pending.until_ns), desk.grantor.holder.pending]  # type: ignore[union-attr]
    until = said[1].until_ns if isinstance(said[1], Arm) else 0
    assert asked + U <= until <= desk.now + U
    assert desk.arm() == [Held(S, 1, until)]


def test_nothing_more_is_armed_while_one_arming_is_under_way() -> None:
    desk = Desk()
    desk.hold(S)
    desk.after(H)
    assert kinds(desk.promise(B)) == [Arm]
    desk.after(H)
    assert desk.promise(B) == []
    assert kinds(desk.arm()) == [Arm]


def test_an_arming_is_not_repeated_for_a_second_answer_of_the_same_round() -> None:
    desk = Desk()
    desk.hold(S)
    desk.after(H)
    desk.promise(B)
    desk.arm()
    assert desk.promise(C) == []


def test_a_release_waits_for_the_kernel() -> None:
    desk = Desk()
    desk.hold(S)
    desk.grantor.release(S, desk.now)
    assert desk.grantor.take() == [Close(S, 1)]
    desk.after(H)
    desk.promise(B)
    desk.grantor.closed(S, desk.now)
    fresh = desk.grantor.take()
    assert [output for output in fresh if isinstance(output, Released)] == [Released(S, 1)]
    told = {output.host for output in fresh if isinstance(output, SendTo) and isinstance(output.message, Release)}
    assert told == {B, C}


def test_a_release_waits_for_an_arming_that_names_the_service_and_closes_again() -> None:
    desk = Desk()
    desk.hold(S)
    desk.after(H)
    desk.promise(B)
    desk.grantor.release(S, desk.now)
    desk.heard()
    desk.grantor.closed(S, desk.now)
    assert desk.grantor.take() == []
    assert desk.arm() == [Close(S, 1)]
    desk.grantor.closed(S, desk.now)
    assert Released in kinds(desk.grantor.take())


def test_nothing_is_armed_for_what_is_to_be_released() -> None:
    desk = Desk()
    desk.hold(S, T)
    desk.grantor.release(S, desk.now)
    desk.after(H)
    arms = [output for output in desk.promise(B) if isinstance(output, Arm)]
    assert [arm.owned for arm in arms] == [(T,)]


def test_a_release_is_repeated_until_a_majority_has_recorded_it() -> None:
    desk = Desk()
    desk.hold(S)
    desk.grantor.release(S, desk.now)
    desk.grantor.closed(S, desk.now)
    desk.grantor.take()

    def told() -> int:
        desk.now += H
        desk.grantor.tick(desk.now)
        return sum(isinstance(output, SendTo) and isinstance(output.message, Release) for output in desk.grantor.take())

    assert told() == 2
    desk.seq, desk.number = desk.grantor.rounds.seq, desk.grantor.claims.number
    desk.grantor.receive(Heard(B, 1, LIFE, 1, 0, Ack(desk.seq, desk.number, desk.number)), desk.now)
    assert told() == 0


def test_a_grant_that_is_not_renewed_lapses_and_comes_back() -> None:
    desk = Desk()
    desk.hold(S)
    assert Lapsed(S, 1, "the grant has run out") in desk.after(U + MS)
    desk.after(H)
    desk.promise(B)
    regained = [output for output in desk.arm() if isinstance(output, Regained)]
    assert [(one.service, one.epoch) for one in regained] == [(S, 1)]
    assert 0 < regained[0].dark_ns <= 2 * H


def test_a_minority_renews_nothing() -> None:
    desk = Desk(voters=3)
    desk.hold(S)
    desk.said.clear()
    for _ in range(6):
        desk.after(H)
    assert Arm not in kinds(desk.said)
    assert desk.said[-1] == Lapsed(S, 1, "the grant has run out")


def test_a_service_that_is_not_renewed_leaves_before_it_holds_the_others_back() -> None:
    desk = Desk()
    desk.hold(S, T)
    entry = desk.grantor.claims.get(S)
    assert entry is not None
    desk.said.clear()
    for _ in range(6):
        desk.after(H)
        desk.promise(B, C, refused=(Refusal(entry.number, "older-epoch"),))
        if desk.grantor.holder.pending is not None:
            desk.arm()
    said = desk.said
    assert [output for output in said if isinstance(output, Disown)] == [Disown(S)]
    assert Lapsed(S, 1, "a majority no longer renews it") in said
    assert Lost(S, 1, "a majority knows a newer epoch") in said
    assert not any(isinstance(output, Lapsed) and output.service == T for output in said)
    arms = [output for output in said if isinstance(output, Arm)]
    ends = [arm.until_ns for arm in arms]
    assert ends == sorted(ends)
    assert arms[-1].owned == (T,)


def test_a_kernel_that_is_late_lapses_and_is_armed_anew() -> None:
    desk = Desk()
    desk.hold(S)
    desk.after(H)
    desk.promise(B)
    desk.grantor.arm_failed("setting a key took too long", desk.now)
    assert kinds(desk.heard()) == [Lapsed, Arm]
    assert kinds(desk.arm()) == [Regained]


def test_the_kernel_is_never_armed_for_longer_than_the_window() -> None:
    desk = Desk(Profile("short", H, 50 * MS, 20 * MS, 20 * MS, window_ns=25 * MS))
    desk.hold(S)
    for _ in range(5):
        desk.after(5 * MS)
        pending = desk.grantor.holder.pending
        if pending is not None:
            assert pending.until_ns <= desk.now + 25 * MS
            desk.arm()
    arms = [output for output in desk.said if isinstance(output, Arm)]
    assert len(arms) >= 3


def test_what_is_nearly_over_is_not_armed_at_all() -> None:
    desk = Desk()
    desk.grantor.claim(S, 1, "take", desk.now)
    desk.heard()
    desk.now += U - FAST.shortest_ns + 1
    assert desk.promise(B, C) == []


def test_a_refusal_by_all_for_a_newer_epoch_is_final() -> None:
    desk = Desk()
    desk.grantor.claim(S, 1, "take", desk.now)
    desk.heard()
    said = desk.promise(B, C, refused=(Refusal(1, "older-epoch"),))
    assert said == [Refused(S, 1, "a majority knows a newer epoch"), Released(S, 1)]


def test_commands_that_make_no_sense_are_refused_in_words() -> None:
    desk = Desk()
    desk.hold(S)
    tried: list[tuple[Callable[[], None], str]] = [
        (lambda: desk.grantor.claim(S, 3, "take", desk.now), "it is claimed under epoch 1: release it first"),
        (lambda: desk.grantor.release(T, desk.now), "it is not claimed"),
    ]
    for command, reason in tried:
        command()
        assert [output.reason for output in desk.heard() if isinstance(output, Refused)] == [reason]
    desk.grantor.release(S, desk.now)
    desk.grantor.closed(S, desk.now)
    desk.grantor.claim(S, 1, "take", desk.now)
    assert Refused(S, 1, "epoch 1 was seen before: an older instruction") in desk.heard()


def test_what_is_told_while_a_service_is_being_closed_follows_when_it_is_released() -> None:
    desk = Desk()
    desk.hold(S)
    desk.grantor.release(S, desk.now)
    desk.grantor.claim(S, 2, "take", desk.now)
    entry = desk.grantor.claims.get(S)
    assert entry is not None
    assert entry.epoch == 1
    desk.grantor.closed(S, desk.now)
    entry = desk.grantor.claims.get(S)
    assert entry is not None
    assert (entry.epoch, entry.step) == (2, "take")


def test_who_has_released_waits_again_if_a_standing_order_names_it() -> None:
    desk = Desk()
    desk.hold(S)
    desk.grantor.release(S, desk.now)
    order = Succession(S, 1, B, 2, (Successor(VnfcName("v"), A, LIFE, 5),))
    desk.grantor.order(order, desk.now)
    desk.grantor.closed(S, desk.now)
    entry = desk.grantor.claims.get(S)
    assert entry is not None
    assert (entry.epoch, entry.step) == (5, "wait")
    desk.grantor.order(Succession(S, 2, B, 2, ()), desk.now)
    entry = desk.grantor.claims.get(S)
    assert entry is not None
    assert entry.step == "drop"


def test_an_older_order_is_refused() -> None:
    desk = Desk()
    order = Succession(S, 5, B, 2, (Successor(VnfcName("v"), A, LIFE, 5),))
    desk.grantor.order(order, desk.now)
    desk.heard()
    desk.grantor.order(order, desk.now)
    assert desk.heard() == []
    desk.grantor.order(Succession(S, 4, B, 2, ()), desk.now)
    assert desk.heard() == [Refused(S, 2, "revision 5 is known already")]


def test_a_witness_holds_nothing() -> None:
    voters = voter_set((A, B, C), FAST, witnesses=(A,))
    grantor = Grantor(A, LIFE, FAST, voters, START)
    grantor.claim(S, 1, "take", START)
    assert Refused(S, 1, "a witness holds nothing") in grantor.take()


def test_while_everything_is_closed_nothing_is_armed_whatever_was_under_way() -> None:
    desk = Desk()
    desk.hold(S)
    desk.after(H)
    desk.promise(B)
    desk.grantor.stood_still(desk.now)
    assert CloseAll("this machine stood still") in desk.grantor.take()
    desk.grantor.all_closed(desk.now)
    assert desk.grantor.take() == []
    assert CloseAll("an arming was still under way") in desk.arm()
    assert desk.promise(B) == []
    desk.grantor.all_closed(desk.now)
    assert desk.grantor.holder.armed_until_ns == 0
    desk.after(MS)
    assert kinds(desk.promise(B)) == [Own, Arm]


def test_with_its_clock_in_doubt_it_closes_and_asks_nobody() -> None:
    desk = Desk()
    desk.hold(S)
    desk.grantor.clocks(0, 0, desk.now)
    desk.grantor.clocks(1000 * MS, 1005 * MS, desk.now)
    said = desk.heard()
    assert kinds(said) == [Doubt, CloseAll, Lapsed] or kinds(said) == [CloseAll, Lapsed, Doubt]
    desk.grantor.all_closed(desk.now)
    desk.now += 2 * H
    desk.grantor.tick(desk.now)
    assert desk.grantor.take() == []
    desk.grantor.clocks(2000 * MS, 2005 * MS, desk.now)
    assert Doubt("clock: well again") in desk.heard()
    desk.after(H)
    assert Arm in kinds(desk.promise(B))


def test_an_answer_to_a_former_life_and_a_refusal_to_answer_count_as_nothing() -> None:
    desk = Desk()
    desk.grantor.claim(S, 1, "take", desk.now)
    desk.after(MS)
    ack = Ack(desk.seq, 1, 1)
    desk.grantor.receive(Heard(B, 1, LIFE - 1, 1, 0, ack), desk.now)
    desk.grantor.receive(Heard(C, 1, LIFE, 1, 0, Nak(desk.seq, "quarantine", 5)), desk.now)
    assert desk.heard() == []
    assert desk.grantor.strangers == 1


def test_a_life_that_is_held_for_fenced_says_so_once() -> None:
    desk = Desk()
    for _ in range(3):
        desk.after(H)
        desk.grantor.receive(Heard(B, 1, LIFE, 1, 0, Nak(desk.seq, "fenced")), desk.now)
    assert len([output for output in desk.said + desk.heard() if isinstance(output, Doubt)]) == 1


def test_a_burst_of_claims_makes_few_rounds() -> None:
    desk = Desk()
    for n in range(200):
        desk.grantor.claim(ServiceName(f"s{n}"), 1, "take", desk.now)
        desk.now += 10_000
    sent = [output for output in desk.grantor.take() if isinstance(output, SendTo)]
    assert 2 <= len(sent) <= 2 * (200 * 10_000 // 200_000 + 1)


def test_after_a_failure_in_the_kernel_all_is_closed_before_anything_is_armed() -> None:
    desk = Desk()
    desk.hold(S)
    desk.after(H)
    desk.grantor.claim(T, 2, "take", desk.now)
    desk.after(MS)
    said = desk.promise(B)
    arm = next(output for output in said if isinstance(output, Arm))
    assert desk.grantor.wants(arm)
    desk.grantor.kernel_failed("the address could not be taken in", desk.now)
    assert not desk.grantor.wants(arm)
    said = desk.heard()
    assert CloseAll("the address could not be taken in") in said
    assert Lapsed(S, 1, "the address could not be taken in") in said
    desk.grantor.armed(arm.until_ns, desk.now)
    desk.after(H)
    assert desk.promise(B) == []
    desk.grantor.all_closed(desk.now)
    said = desk.heard() + desk.promise(B)
    assert [output.service for output in said if isinstance(output, Own)] == [S, T]


def test_a_service_that_could_not_be_closed_is_released_when_all_is_closed() -> None:
    desk = Desk()
    desk.hold(S)
    desk.grantor.release(S, desk.now)
    desk.heard()
    desk.grantor.kernel_failed("it could not be closed", desk.now)
    assert Released(S, 1) not in desk.heard()
    desk.grantor.all_closed(desk.now)
    assert Released(S, 1) in desk.heard()


def test_what_leaves_to_make_way_is_closed_before_it_is_released() -> None:
    desk = Desk()
    desk.hold(S, T)
    entry = desk.grantor.claims.get(S)
    assert entry is not None
    while desk.grantor.holder.pending is None or S in desk.grantor.holder.pending.owned:
        if desk.grantor.holder.pending is not None:
            desk.arm()
        desk.after(H)
        desk.promise(B, C, refused=(Refusal(entry.number, "older-epoch"),))
    assert Disown(S) in desk.said
    assert Released(S, 1) not in desk.said
    desk.arm()
    desk.grantor.closed(S, desk.now)
    assert Released(S, 1) in desk.heard()
