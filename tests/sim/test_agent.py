"""The agent as it is, on a simulated machine: starting, roles, deaths, isolation, adoption; the same for a seed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.model.actions import Activate, IsolateVm, IsolateVnfc, StandBy, StartVm, StartVnfc, StopVnfc
from holdfast.model.events import ActionDone, ActionFailed, VmDied, VnfcFailed, VnfcReady
from holdfast.model.layout import OcfAgent, Operation
from tests.sim.one_host import OneHost
from tests.unit.agent_host import ADDRESS, SERVICE, VM, VNFC, component, layout_of


@pytest.fixture
def world(tmp_path: Path) -> Iterator[OneHost]:
    made = OneHost(layout_of(component()), tmp_path)
    yield made
    made.end()


def started(world: OneHost, run: int = 1) -> None:
    if not world.host.sandboxes and world.agent.layout.vms:
        world.vim.done(lambda number: StartVm(number, VM, 1))
    world.ha.done(lambda number: StartVnfc(number, VNFC, run, 3))


def active(world: OneHost, run: int = 1) -> None:
    started(world, run)
    world.ha.done(lambda number: Activate(number, VNFC, run, SERVICE, 3))


@pytest.mark.parametrize("in_vm", [True, False])
def test_a_component_is_started_and_made_active(tmp_path: Path, in_vm: bool) -> None:
    world = OneHost(layout_of(component(), in_vm=in_vm), tmp_path)
    started(world)
    assert world.ha.event(VnfcReady).run == 1
    assert world.owners(ADDRESS) == []
    active(world)
    assert len(world.owners(ADDRESS)) == 1
    world.wait(1500)
    assert world.announced == ["10.77.0.100"] * 5
    world.ha.done(lambda number: StandBy(number, VNFC, 1, SERVICE, 4, VNFC))
    assert world.owners(ADDRESS) == []
    world.end()


def test_its_death_is_seen_at_once_and_isolated_quickly(world: OneHost) -> None:
    active(world)
    at_ns = world.timeline.now_ns
    world.component().end()
    failed = world.ha.event(VnfcFailed)
    assert (failed.cause, failed.detail) == ("killed", "killed by SIGKILL")
    assert world.timeline.now_ns - at_ns < 2_000_000
    assert world.owners(ADDRESS) == []  # That needs nobody's decision.
    at_ns = world.timeline.now_ns
    world.ha.done(lambda number: IsolateVnfc(number, VNFC, 1))
    assert world.timeline.now_ns - at_ns < 5_000_000
    assert world.owners(ADDRESS) == []
    assert list(world.host.sandboxes) == [str(world.folder.vm(VM))]


def test_a_component_that_ends_by_itself_tells_why(tmp_path: Path) -> None:
    world = OneHost(layout_of(component(start=Operation(("false",)))), tmp_path)
    world.vim.done(lambda number: StartVm(number, VM, 1))
    world.ha.done(lambda number: StartVnfc(number, VNFC, 1, 3))
    failed = world.ha.event(VnfcFailed)
    assert (failed.cause, failed.detail) == ("exited", "ended with status 1")
    world.end()


def test_the_death_of_a_vm_is_seen_on_both_levels(world: OneHost) -> None:
    active(world)
    world.host.sandboxes[str(world.folder.vm(VM))].kill()
    assert world.vim.event(VmDied).boot == 1
    assert world.owners(ADDRESS) == []
    assert world.ha.event(VnfcFailed).run == 1
    outcome = world.ha.instruct(lambda number: IsolateVnfc(number, VNFC, 1))
    assert isinstance(outcome, ActionFailed)
    assert outcome.vm_gone
    world.wait(100)
    assert world.host.network.ports == {}


def test_what_hangs_in_the_kernel_is_not_confirmed_until_it_ends(world: OneHost) -> None:
    active(world)
    capsule = world.capsule()
    world.host.troubles.stuck.add(capsule.name)
    outcome = world.ha.instruct(lambda number: IsolateVnfc(number, VNFC, 1))
    assert isinstance(outcome, ActionFailed)
    assert outcome.why == "not gone within 10 s of SIGKILL"
    assert world.owners(ADDRESS) == []
    capsule.release()
    world.wait(10)
    world.ha.done(lambda number: IsolateVnfc(number, VNFC, 1))
    assert str(world.folder.vnfc(VNFC)) not in world.host.sandboxes


def test_a_vm_that_is_frozen_holds_nobody_up_and_can_be_ended(world: OneHost) -> None:
    started(world)
    vm = world.host.sandboxes[str(world.folder.vm(VM))]
    vm.freeze()
    world.agent.kill()
    world.until(lambda: world.vim.joined is None)
    world.agent.start()
    world.until(lambda: world.vim.joined is not None)
    assert not vm.process.is_alive
    assert world.vim.joined is not None
    assert [fact.condition for fact in world.vim.joined.vms] == ["absent"]
    world.vim.done(lambda number: StartVm(number, VM, 2))


def test_a_new_agent_adopts_what_the_one_before_has_left(world: OneHost) -> None:
    active(world)
    component = world.component()
    world.restart_agent()
    assert world.ha.joined is not None
    fact = world.ha.joined.vnfcs[0]
    assert (fact.run, fact.condition, fact.role, fact.services) == (1, "ready", "active", (SERVICE,))
    assert len(world.owners(ADDRESS)) == 1
    component.end()
    assert world.ha.event(VnfcFailed).run == 1


def test_what_ended_while_no_agent_watched_is_found(world: OneHost) -> None:
    active(world)
    world.agent.kill()
    world.component().end()
    world.restart_agent()
    assert world.ha.joined is not None
    fact = world.ha.joined.vnfcs[0]
    assert (fact.condition, fact.detail) == ("failed", "ended while no agent watched it")


def test_a_machine_without_power_keeps_nothing_but_its_disk(world: OneHost) -> None:
    active(world)
    world.host.switch_off()
    assert world.host.processes == {}
    assert world.host.sandboxes == {}
    world.host.switch_on()
    assert world.owners(ADDRESS) == []
    world.agent.start()
    world.until(lambda: world.ha.joined is not None)
    assert world.ha.joined is not None
    assert [fact.condition for fact in world.ha.joined.vnfcs] == ["absent"]
    assert world.folder.vnfc(VNFC).is_dir()


def test_stopping_asks_first_and_a_program_that_is_not_there_is_named(world: OneHost) -> None:
    started(world)
    world.ha.done(lambda number: StopVnfc(number, VNFC, 1))
    world.host.troubles.unstartable.add("sleep")
    outcome = world.ha.instruct(lambda number: StartVnfc(number, VNFC, 2, 3))
    assert isinstance(outcome, ActionFailed)
    assert outcome.why == "sleep: No such file or directory"
    world.host.troubles.unstartable.clear()
    world.host.troubles.is_read_only = True
    outcome = world.ha.instruct(lambda number: StartVnfc(number, VNFC, 3, 3))
    assert isinstance(outcome, ActionFailed)
    assert "Read-only file system" in outcome.why


def test_an_agent_that_is_told_to_end_leaves_everything_as_it_is(world: OneHost) -> None:
    active(world)
    process = world.agent.process
    assert process is not None
    process.ask_to_end()
    world.until(lambda: not process.is_alive)
    assert process.status == 0
    assert world.component().is_alive
    assert len(world.owners(ADDRESS)) == 1


@pytest.mark.parametrize("trouble", ["none", "hangs", "fails"])
def test_a_cleanup_that_does_not_succeed_keeps_isolation_from_being_confirmed(tmp_path: Path, trouble: str) -> None:
    cleanup = Operation(("false" if trouble == "fails" else "true", "clean"), 0.3)
    world = OneHost(layout_of(component(cleanup=cleanup)), tmp_path)
    active(world)
    if trouble == "hangs":
        world.host.troubles.hanging.add("clean")
    outcome = world.ha.instruct(lambda number: IsolateVnfc(number, VNFC, 1))
    assert world.owners(ADDRESS) == []
    assert str(world.folder.vnfc(VNFC)) not in world.host.sandboxes, "ended all the same"
    if trouble == "none":
        assert isinstance(outcome, ActionDone)
    else:
        assert isinstance(outcome, ActionFailed)
        said = "failed with status 1; it said: no, thank you" if trouble == "fails" else "had not ended after 0.3 s"
        assert said in outcome.why
    world.end()


def test_an_ocf_agent_leaves_a_daemon_that_is_watched(tmp_path: Path) -> None:
    world = OneHost(layout_of(component(start=None, ocf=OcfAgent("heartbeat", "daemon"))), tmp_path)
    started(world)
    (daemon,) = world.capsule().children.values()
    daemon.process.end()
    assert world.ha.event(VnfcFailed).cause == "killed"
    started(world, 2)
    world.ha.done(lambda number: StopVnfc(number, VNFC, 2))
    assert str(world.folder.vnfc(VNFC)) not in world.host.sandboxes
    world.end()


def test_a_machine_that_is_too_slow_leaves_nothing_of_what_it_began(tmp_path: Path) -> None:
    world = OneHost(layout_of(component(start_limit_s=20.0), in_vm=False), tmp_path)
    world.host.troubles.slowness = 1000
    outcome = world.ha.instruct(lambda number: StartVnfc(number, VNFC, 1, 3))
    assert isinstance(outcome, ActionFailed)
    assert outcome.why == "sandbox fun-1 cannot be made: not ready within 5 s"
    world.wait(100_000)
    assert world.host.sandboxes == {}
    world.end()


def test_what_a_journal_on_a_read_only_disk_has_lost_is_counted_when_it_can_be(world: OneHost) -> None:
    started(world)
    world.host.troubles.is_read_only = True
    world.component().end()
    world.ha.event(VnfcFailed)
    world.host.troubles.is_read_only = False
    world.ha.done(lambda number: IsolateVnfc(number, VNFC, 1))
    assert b"journal-gap" in world.journal()


def story(folder: Path, seed: int) -> tuple[bytes, int]:
    world = OneHost(layout_of(component()), folder, seed)
    active(world)
    world.component().end()
    world.ha.event(VnfcFailed)
    world.ha.done(lambda number: IsolateVnfc(number, VNFC, 1))
    active(world, 2)
    world.restart_agent()
    world.vim.done(lambda number: IsolateVm(number, VM, 1))
    world.wait(100)
    world.end()
    return world.journal(), world.timeline.happened


def test_a_seed_gives_the_same_journal_each_time(tmp_path: Path) -> None:
    first = story(tmp_path / "one", 7)
    assert len(first[0].splitlines()) > 20
    assert first == story(tmp_path / "two", 7)
    assert first != story(tmp_path / "three", 8)


def test_it_is_the_same_in_another_process_whose_addresses_and_hashes_differ(tmp_path: Path) -> None:
    tell = "import sys, pathlib; from tests.sim.test_agent import story; \
        sys.stdout.buffer.write(story(pathlib.Path(sys.argv[1]), 7)[0])"
    said = [
        subprocess.run(
            [sys.executable, "-c", tell, str(tmp_path / seed)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] == story(tmp_path / "here", 7)[0]
