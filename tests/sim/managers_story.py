"""A story of managers and agents in which chance does what it likes: `python -m tests.sim.managers_story SEED FOLDER`.

As a program it prints a digest of all journals, so that two runs can be compared.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

from holdfast.model.actions import ConfirmLoss
from holdfast.model.events import StandbyLost
from tests.sim.managers_world import World, vnfc_on


def lose(world: World, host: str, number: int) -> None:
    """A loss that has to be recorded and confirmed, however often managers change."""
    world.agents[host].emit(StandbyLost(vnfc_on(host), number, 1, vnfc_on(host)))


def confirmed(world: World) -> set[int]:
    performed = (action for agent in world.agents.values() for action in agent.toy.performed)
    return {action.run for action in performed if isinstance(action, ConfirmLoss)}


def trouble(world: World) -> list[Callable[[], None]]:
    """What chance may do to one host."""
    host = world.timeline.chance.choice(sorted(world.hosts))
    others = [other for other in sorted(world.hosts) if other != host]
    pause = world.timeline.chance.randint(200, 3000) * 1_000_000

    def later(act: Callable[[], None]) -> None:
        world.timeline.after(pause, act)

    def etcd_killed() -> None:
        if world.members[host].is_alive:
            world.members[host].end()
            later(lambda: world.start_etcd(host))

    def etcd_frozen() -> None:
        process = world.members[host]
        process.stop()
        later(process.go_on)

    def manager_killed() -> None:
        world.managers[host].process.end()

    def manager_frozen() -> None:
        process = world.managers[host].process
        process.stop()
        later(process.go_on)

    def manager_ended() -> None:
        world.managers[host].terminate()

    def cut_off() -> None:
        pairs = [pair for other in others for pair in ((host, other), (other, host))]
        for pair in pairs:
            world.net.cut(*pair)

        def heal() -> None:
            for pair in pairs:
                world.net.heal(*pair)

        later(heal)

    def slow_disk() -> None:
        disk = world.etcd.disks[host]
        before, disk.sync_ns = disk.sync_ns, (50_000_000, 400_000_000)
        later(lambda: setattr(disk, "sync_ns", before))

    return [etcd_killed, etcd_frozen, manager_killed, manager_frozen, manager_ended, cut_off, slow_disk]


def story(seed: int, folder: Path) -> World:
    """Losses told all the time, and troubles, several at once; then quiet until all is confirmed."""
    world = World(seed, folder)
    world.until(world.is_settled)
    chance = world.timeline.chance
    told = 0
    for _ in range(12):
        chance.choice(trouble(world))()
        for host in world.hosts:
            lose(world, host, told)
            told += 1
        world.run(chance.random())
    world.run(4.0)
    world.net.heal_all()
    world.until(lambda: confirmed(world) == set(range(told)), 20)
    world.until(world.is_settled, 20)
    return world


def digest(world: World) -> str:
    made = hashlib.sha256()
    for name, content in world.journals().items():
        made.update(f"{name} {len(content)} ".encode() + content)
    return made.hexdigest()


if __name__ == "__main__":
    told = story(int(sys.argv[1]), Path(sys.argv[2]))
    print(digest(told))
    told.end()
