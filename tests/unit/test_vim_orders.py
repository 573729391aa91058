"""One VM fails, in every order that can be thought of: one repair, nothing before all have spoken, all is well again.

The world's own judge watches each step (see `managers_world`): it fails the test as soon as a VM is started or
isolated before every VNFM that knew it has spoken, or two of anything run.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.model.actions import OpenIncident, StartVm
from holdfast.model.layout import Layout, RepairPolicy
from holdfast.model.names import VmName, VnfcName
from tests.unit.managers_layout import Plan
from tests.unit.managers_world import World

VM1 = VmName("vm1")

STEPS = st.lists(st.tuples(st.sampled_from(["move"] * 10 + ["repeat", "restart"]), st.integers(0, 50)), max_size=60)

quick = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def layout(repair: RepairPolicy = "negotiated", fence: bool = False) -> Layout:
    return Plan().host("h1", fence).vm("vm1", repair=repair).vnf("dns").vnf("web", vnfm="web").layout


def begun(repair: RepairPolicy = "negotiated") -> World:
    world = World(layout(repair))
    world.begin()
    world.decisions.clear()
    return world


def shuffled(world: World, steps: list[tuple[str, int]]) -> None:
    """Let things happen in the order that the steps choose; what is left follows in its own order."""
    parties = sorted(world.states)
    for kind, number in steps:
        moves = world.moves()
        if kind == "move" and moves:
            moves[number % len(moves)]()
        elif kind == "repeat":
            world.repeat(number)
        elif kind == "restart":
            world.restart(parties[number % len(parties)])
    world.settle()


def check_one_repair(world: World) -> None:
    assert world.acts(StartVm) == ["vim: StartVm vm1 2"]
    assert sum(line == "vim: OpenIncident vm1" for line in world.acts(OpenIncident)) == 1
    assert world.all_is_well(), "\n".join(world.lines)
    assert not world.open_incidents()


@quick
@given(STEPS)
def test_a_vm_that_dies_is_repaired_once(steps: list[tuple[str, int]]) -> None:
    world = begun()
    world.kill_vm(VM1)
    shuffled(world, steps)
    check_one_repair(world)


@quick
@given(STEPS, st.sampled_from(["initial", "snapshot", "standby-vm"]))
def test_a_vm_with_configured_repair_is_repaired_once(steps: list[tuple[str, int]], repair: RepairPolicy) -> None:
    world = begun(repair)
    world.kill_vm(VM1)
    shuffled(world, steps)
    starts = set(world.acts(StartVm))
    assert len(starts) == len(world.acts(StartVm)) == 1
    assert world.all_is_well(), "\n".join(world.lines)
    assert not world.open_incidents()


@quick
@given(STEPS)
def test_a_cleanup_that_fails_while_the_vm_dies_is_the_same_fault(steps: list[tuple[str, int]]) -> None:
    world = begun()
    world.broken["IsolateVnfc:dns-1"] = "fails"
    world.hang(VnfcName("dns-1"))
    world.kill_vm(VM1)
    shuffled(world, steps)
    check_one_repair(world)


@quick
@given(STEPS)
def test_errors_that_both_vnfms_report_on_one_vm_make_one_repair(steps: list[tuple[str, int]]) -> None:
    world = begun()
    for name in ("dns-1", "web-1"):
        for _ in range(3):
            world.kill(VnfcName(name))
            world.settle()
    world.kill(VnfcName("dns-1"))
    world.kill(VnfcName("web-1"))
    shuffled(world, steps)
    assert len(world.acts(StartVm)) == 1
    assert world.all_is_well(), "\n".join(world.lines)


@quick
@given(STEPS)
def test_a_host_that_is_lost_comes_back_with_all_it_held(steps: list[tuple[str, int]]) -> None:
    world = World(layout(fence=True))
    world.begin()
    world.turn_off(world.layout.vms[VM1].host)
    shuffled(world, steps)
    world.wait(30.0)
    assert world.count("vim: FenceHost h1") == 1
    assert world.all_is_well(), "\n".join(world.lines)
    assert not world.open_incidents()


@pytest.mark.parametrize("cut", range(12))
def test_a_manager_that_is_cut_off_after_any_step_comes_to_the_same_end(cut: int) -> None:
    for party in ("vim", "vnfm:core", "vnfm:web"):
        world = begun()
        world.kill_vm(VM1)
        for _ in range(cut):
            world.deliver_next()
        for name in [one for one in world.states if one == party]:
            world.restart(name)
        world.settle()
        check_one_repair(world)
