"""Thousands of random runs, and every run with one or two things going otherwise: never two hosts, no older epoch.

HOLDFAST_GRANT_RUNS (default 1) multiplies how many are made: with 50 it takes half an hour.
HOLDFAST_GRANT_FIRST (default 0) is the first seed, so that a further long run makes runs that nobody has made before.
"""

import os

import pytest

from holdfast.model.granting import MS
from tests.grants.chance import SEASONS, SERVICES, Chance
from tests.grants.plants import PLANTS, Plant
from tests.grants.scope import Play, hand_over, host_lost, pairs, single
from tests.grants.story import RIGHT
from tests.grants.world import World

RUNS = int(os.environ.get("HOLDFAST_GRANT_RUNS", "1"))
FIRST = int(os.environ.get("HOLDFAST_GRANT_FIRST", "0"))
SEEDS_OF_A_SEASON = 100
SEEDS_OF_A_MISTAKE = 300
SEEDS_OF_A_CALM = 12
ASKS_NS = 300 * MS
"""Where the store knows nothing of epochs: a voter that has heard from too few by then votes, and says so."""
PAIRS_AMONG = 12

LONG_RUNS_MS = {"voters": 400, "forgotten": 1000}
FOUND_IN = {
    "1": "restarts",
    "2": "voters",
    "4": "pauses",
    "5": "cuts",
    "6": "voters",
    "7": "releases",
    "8": "releases",
    "9": "cuts",
    "10": "cuts",
    "11": "storm",
    "12": "storm",
    "13": "cuts",
    "15": "cuts",
    "16": "storm",
    "17": "storm",
    "20": "restarts",
    "22": "cuts",
    "23": "voters",
    "27": "storm",
    "28": "forgotten",
}
"""In which season a mistake is found soonest. The others hardly come by chance; their stories show them."""


def made(season: str, seed: int, plant: Plant = RIGHT, services: int = 1) -> Chance:
    is_voters = season == "voters"
    return Chance(
        seed,
        SEASONS[season],
        hosts=5 if is_voters or season == "forgotten" else 3,
        voters=3 if is_voters else 0,
        services=services,
        grantor=plant.grantor,
        agent=plant.agent,
        habits=plant.habits,
        asks_ns=ASKS_NS if season == "forgotten" else 0,
    )


def run(season: str, seed: int, plant: Plant = RIGHT, services: int = 1) -> World:
    return made(season, seed, plant, services).run(LONG_RUNS_MS.get(season, 250))


def unforeseen(world: World) -> list[str]:
    """What is wrong; but for older epochs after a voter has said that they may come back."""
    said_ns = min(world.doubts, default=world.true_ns)
    return [one for one in world.judge.wrong if "under epoch" not in one or float(one.split()[0]) < said_ns / MS]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("season", SEASONS)
def test_two_hosts_never_answer_whatever_happens(season: str) -> None:
    changes = 0
    for seed in range(FIRST, FIRST + SEEDS_OF_A_SEASON * RUNS):
        world = run(season, seed, services=1 + seed % 2)
        wrong = unforeseen(world)
        assert not wrong, f"seed {seed}: {wrong[0]}"
        changes += world.judge.changes
    assert changes > SEEDS_OF_A_SEASON * RUNS // 8, "hardly anything happened, so nothing was shown"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("season", SEASONS)
def test_when_all_is_well_again_a_service_can_be_held_again(season: str) -> None:
    for seed in range(FIRST, FIRST + SEEDS_OF_A_CALM * RUNS):
        chance = made(season, seed)
        world = chance.run(200)
        chance.calm_down()
        place = list(world.hosts.values())[seed % len(world.hosts)]
        agent = place.agent
        assert agent is not None
        agent.do(lambda grantor, now: grantor.release(SERVICES[0], now))
        world.run(1 * MS)
        agent.do(lambda grantor, now: grantor.claim(SERVICES[0], 10_000, "take", now))
        world.run(150 * MS)
        # Others may have had orders to take it, and a higher claim in time; but somebody has it.
        answering = [host.name for host in world.hosts.values() if host.kernel.answers(SERVICES[0], world.true_ns)]
        assert len(answering) == 1, f"seed {seed}: {place.name} was to have it, and {answering} have"
        assert not unforeseen(world)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scene", [hand_over, host_lost])
def test_no_single_thing_that_goes_otherwise_leads_to_two(scene: type) -> None:
    for otherwise in single(scene, 1000):
        assert not Play(scene, otherwise).run().judge.wrong, otherwise


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scene", [hand_over, host_lost])
def test_no_two_things_that_go_otherwise_lead_to_two(scene: type) -> None:
    for otherwise in pairs(scene, PAIRS_AMONG * min(RUNS, 20)):
        assert not Play(scene, otherwise).run().judge.wrong, otherwise


@pytest.mark.parametrize("mistake", FOUND_IN)
def test_the_judge_finds_the_mistake(mistake: str) -> None:
    plant = PLANTS[mistake]
    seasons = sorted(SEASONS, key=lambda season: season != FOUND_IN[mistake])
    found = any(unforeseen(run(season, seed, plant)) for season in seasons for seed in range(SEEDS_OF_A_MISTAKE))
    assert found, f"{plant.says}: not found in {SEEDS_OF_A_MISTAKE} runs of each season"


@pytest.mark.parametrize("mistake", ["2", "7", "16"])
def test_one_thing_that_goes_otherwise_is_enough_for_a_gross_mistake(mistake: str) -> None:
    plant = PLANTS[mistake]
    assert any(
        Play(scene, otherwise, plant.grantor, plant.agent).run().judge.wrong
        for scene in (hand_over, host_lost)
        for otherwise in single(scene, 1000)
    )
