"""Faults of an episode: drawn the same each time, each done at its time and taken back at its own."""

import pytest

from holdfast.lab.drawn import KINDS, words_of
from holdfast.lab.soak.nemesis import DEEDS
from holdfast.lab.soak.plan import CONTROL, draw_episode
from tests.unit.soak_fakes import ACTIVE, SOAK, FakeGround, fault, nemesis_on


def test_a_seed_draws_the_same_episode_however_many_came_before() -> None:
    first = [draw_episode(7, number, SOAK) for number in range(1, 30)]
    assert draw_episode(7, 20, SOAK) == first[19]
    assert [draw_episode(8, number, SOAK) for number in range(1, 30)] != first


def test_every_kind_is_drawn_and_has_a_deed() -> None:
    drawn = {fault.kind for seed in range(40) for number in range(1, 11) for fault in draw_episode(seed, number, SOAK)}
    assert drawn == {kind.name for kind in KINDS} == set(DEEDS)


def test_faults_overlap_and_each_ends_at_its_own_time() -> None:
    ground = FakeGround()
    nemesis = nemesis_on(ground)
    nemesis.play(
        (fault("host-off", 100, "h4", 900), fault("cut-pair", 300, "h1", 200, "h2"), fault("kill-hot", 600, "h3"))
    )
    assert ground.did == [
        (100.1, "host_off h4"),
        (100.3, "cut h1>h2 h2>h1"),
        (100.5, "no more cut h1>h2 h2>h1"),
        (100.6, "kill_hot h3"),
        (101.0, "no more host_off h4"),
    ]
    assert [(done.kind, done.entity, done.at, done.until) for done in nemesis.done] == [
        ("host-off", "h4", 100.1, 101.0),
        ("cut-pair", "h1 h2", 100.3, 100.5),
        ("kill-hot", "h3", 100.6, 100.6),
    ]


@pytest.mark.parametrize(
    ("kind", "place", "did"),
    [
        ("kill-vnfc", "active kept", "kill_vnfc kept-2"),
        ("kill-vnfc", "standby kept", "kill_vnfc kept-1"),
        ("freeze-vnfc", "standby pool", "freeze_vnfc pool-3"),
        ("kill-vm", "active vault", "kill_vm vm-vault-1"),
        ("freeze-host", "active kept", "freeze_host h2"),
        ("fence-lies", "h5", "set_fences h5 lies-fully"),
        ("freeze-manager", "", "freeze_leader"),
        ("store-away", "", "freeze_store h1 h2 h3 h4 h5"),
    ],
)
def test_places_are_looked_up_when_their_time_has_come(kind: str, place: str, did: str) -> None:
    ground = FakeGround()
    nemesis_on(ground).play((fault(kind, 0, place, 100),))
    assert ground.did[0][1] == did


def test_a_hanging_cleanup_is_let_go_after_a_while_of_its_own() -> None:
    ground = FakeGround()
    nemesis_on(ground).play((fault("cleanup-hangs", 0, "active single"),))
    assert ground.did == [(100.0, "hang_cleanup single-1"), (100.7, "no more hang_cleanup single-1")]


@pytest.mark.parametrize(
    ("kind", "place", "why"),
    [
        ("kill-vm", "active single", "single-1 is in no VM"),
        ("kill-vnfc", "standby single", "single has no standby"),
        ("kill-agent", "h5", "h5 is off"),
        ("clock-bends", "h1", "all hosts of this lab have the clock of one machine, which is not ours to bend"),
        ("kill-manager", "", "kill_leader took no effect"),
        ("kill-vnfc", "active vault", "nobody is active for vault"),
    ],
)
def test_what_cannot_be_done_is_left_out_and_says_why(kind: str, place: str, why: str) -> None:
    ground = FakeGround()
    ground.off, ground.refuses = {SOAK.vnfcs["single-1"].host}, {"kill_leader"}  # type: ignore[index]
    told: list[str] = []
    nemesis = nemesis_on(ground, told, {name: who for name, who in ACTIVE.items() if name != "vault"})
    nemesis.play((fault(kind, 0, place, 100),))
    assert (ground.did, nemesis.done) == ([], [])
    assert [one.why for one in nemesis.left_out] == [why]
    assert told == [f"{kind} {place or 'anywhere'}: left out, {why}"]


def test_an_interrupted_episode_is_healed_the_last_fault_first() -> None:
    ground = FakeGround()
    nemesis = nemesis_on(ground)

    def interrupt(seconds: float) -> None:
        if ground.now() + seconds > 100.5:
            raise KeyboardInterrupt
        ground.now_s += seconds

    nemesis._wait = interrupt
    with pytest.raises(KeyboardInterrupt):
        nemesis.play((fault("host-off", 100, "h4", 900), fault("cut-one-way", 300, "h1", 800, "h2")))
    nemesis.heal()
    assert [text for _, text in ground.did[2:]] == ["no more cut h1>h2", "no more host_off h4"]


def test_what_cannot_be_taken_back_is_told_and_the_rest_is_taken_back() -> None:
    ground = FakeGround()
    ground.stays = {"host_off"}
    nemesis = nemesis_on(ground)
    nemesis.play((fault("host-off", 0, "h4", 100), fault("freeze-agent", 0, "h1", 200)))
    assert nemesis.troubles == ["host-off h4 could not be taken back: host_off h4 stays"]
    assert ground.did[-1] == (100.2, "no more freeze_agent h1")


def test_what_was_done_names_what_was_drawn() -> None:
    ground = FakeGround()
    nemesis = nemesis_on(ground)
    planned = fault("cut-one-way", 20, "h1", 70, "h2")
    nemesis.play((planned,))
    assert nemesis.done[0].planned == words_of(planned) == "20 cut-one-way h1 and h2 for 70"


def test_three_hosts_control() -> None:
    assert len(CONTROL) == 3
    assert set(CONTROL) < set(SOAK.hosts)
