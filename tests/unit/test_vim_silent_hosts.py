"""The VIM and hosts that other hosts' agents find silent: when it has them switched off without waiting."""

from msgspec.structs import replace

from holdfast.model.actions import FenceHost, StartVm
from holdfast.model.events import HostFailed, HostReturned, ManagerStarted
from holdfast.model.layout import Grants, Host, Layout
from holdfast.model.names import VIM, HostName, StateKind
from tests.unit.managers_layout import one_vm
from tests.unit.managers_world import World
from tests.unit.test_vim import H1, begun, ended


def silent(world: World) -> World:
    """h1 is off, and the agents of other hosts say so."""
    world.turn_off(H1)
    world.observe(VIM, HostFailed(H1, HostName("h2"), "silent for 45 ms"))
    world.settle()
    return world


def granted(layout: Layout, state: StateKind = "none") -> Layout:
    groups = {name: replace(group, state=state) for name, group in layout.groups.items()}
    return replace(layout, groups=groups, grants=Grants("fast"))


def test_with_grants_a_silent_host_whose_vms_are_repaired_is_switched_off_without_waiting() -> None:
    world = silent(begun(World(granted(one_vm(fence=True)))))
    assert world.acts()[0] == "vim: FenceHost h1"
    world.wait(1.0)
    ended(world)


def test_without_grants_a_silent_host_has_its_time_to_come_back() -> None:
    world = silent(begun(World(one_vm(fence=True))))
    assert world.acts() == []
    world.wait(5.1)
    ended(world)


def test_with_grants_a_host_is_not_switched_off_at_once_for_what_the_grants_end_makes_free() -> None:
    assert silent(begun(World(granted(one_vm("none", fence=True))))).acts() == []


def test_with_grants_a_host_is_switched_off_for_storage_that_only_one_may_use() -> None:
    world = silent(begun(World(granted(one_vm("none", fence=True), "external"))))
    assert world.acts()[0] == "vim: FenceHost h1"


def test_a_silent_host_that_comes_back_before_any_device_has_confirmed_is_left_alone() -> None:
    world = begun(World(granted(one_vm(fence=True))))
    world.broken["FenceHost:h1"] = "fails"
    world.lose(H1)
    world.observe(VIM, HostFailed(H1, HostName("h2"), "silent for 45 ms"))
    world.settle()
    assert {"host:h1", "fence:h1"} <= world.alarms()
    world.join(H1)
    world.wait(20.0)
    assert world.acts(StartVm) == []
    ended(world)


def paused(world: World) -> World:
    """h1 is not heard by other hosts for a while; the link to its agent stays."""
    world.observe(VIM, HostFailed(H1, HostName("h2"), "silent for 45 ms"))
    world.settle()
    world.observe(VIM, HostReturned(H1, HostName("h2")))
    world.settle()
    return world


def test_a_host_that_only_paused_is_not_switched_off_later_for_having_been_away() -> None:
    world = paused(begun(World(granted(one_vm("none", fence=True)))))
    world.wait(60.0)
    assert world.acts() == []
    ended(world)


def test_a_host_that_only_paused_and_could_not_be_switched_off_meanwhile_goes_on_with_its_vms() -> None:
    world = begun(World(granted(one_vm(fence=True))))
    world.broken["FenceHost:h1"] = "fails"
    paused(world)
    assert world.acts() == ["vim: FenceHost h1"]
    world.broken.clear()
    world.wait(60.0)
    assert world.acts() == ["vim: FenceHost h1"]
    ended(world)


def test_a_host_whose_agent_nobody_has_started_is_missed_until_it_joins() -> None:
    layout = one_vm()
    witness = Host(HostName("witness"), witness=True)
    world = World(replace(layout, hosts={**layout.hosts, witness.name: witness}, grants=Grants("fast")))
    world.observe(VIM, ManagerStarted())
    world.join(H1)
    world.wait(29.0)
    assert world.alarms() == set()
    world.wait(2.0)
    assert world.alarms() == {"host:witness"}
    world.join(witness.name)
    world.settle()
    assert world.alarms() == set()


def being_fenced(*, is_off: bool) -> World:
    """h1 is silent, its device has been told, and has not answered; then another manager begins."""
    world = begun(World(granted(one_vm(fence=True))))
    world.broken["FenceHost:h1"] = "hangs"
    if is_off:
        world.turn_off(H1)
    else:
        world.lose(H1)
    world.observe(VIM, HostFailed(H1, HostName("h2"), "silent for 45 ms"))
    world.settle()
    assert world.acts(FenceHost) == ["vim: FenceHost h1"]
    world.broken.clear()
    world.restart(VIM)
    world.settle()
    assert world.acts(FenceHost) == ["vim: FenceHost h1"]
    return world


def test_another_manager_does_not_have_a_host_switched_off_that_is_heard_again() -> None:
    world = being_fenced(is_off=False)
    world.wait(20.0)
    assert world.acts(FenceHost) == ["vim: FenceHost h1"]
    ended(world)


def test_another_manager_has_a_host_switched_off_as_soon_as_it_hears_that_it_is_still_silent() -> None:
    world = being_fenced(is_off=True)
    world.observe(VIM, HostFailed(H1, HostName("h2"), "silent for 2 s"))
    world.settle()
    assert world.acts(FenceHost) == ["vim: FenceHost h1"] * 2


def test_another_manager_has_it_switched_off_if_nobody_says_anything_of_it() -> None:
    world = being_fenced(is_off=True)
    world.wait(1.1)
    assert world.acts(FenceHost) == ["vim: FenceHost h1"] * 2
    ended(world)


H2, H3 = HostName("h2"), HostName("h3")
MEMBERS = (H1, H2, H3)


def three_with_store(*silent: HostName) -> World:
    """Each has a member of the store, and these are not heard; h1 has a fence device, and a VM that is repaired."""
    layout = granted(one_vm(fence=True))
    world = begun(World(replace(layout, hosts={**layout.hosts, H2: Host(H2), H3: Host(H3)})))
    world.observe(VIM, ManagerStarted(MEMBERS, len(MEMBERS)))
    for host in MEMBERS:
        world.join(host)
    world.settle()
    for host in silent:
        world.observe(VIM, HostFailed(host, H3, "silent for 225 ms"))
    world.settle()
    return world


def test_a_host_is_switched_off_while_the_others_are_a_majority_of_the_stores_members() -> None:
    assert three_with_store(H1).acts(FenceHost) == ["vim: FenceHost h1"]


def test_a_host_is_not_switched_off_with_which_the_stores_majority_would_go_until_another_is_back() -> None:
    world = three_with_store(H2, H1)
    assert world.acts(FenceHost) == []
    assert "fence:h1" in world.alarms()
    world.wait(20.0)
    assert world.acts(FenceHost) == []
    world.observe(VIM, HostReturned(H2, H3))
    world.wait(6.0)
    assert world.acts(FenceHost) == ["vim: FenceHost h1"]


def test_members_elsewhere_count_too() -> None:
    world = three_with_store()
    world.observe(VIM, ManagerStarted((H1, H2), 5))
    for host in MEMBERS:
        world.join(host)
    for host in (H2, H1):
        world.observe(VIM, HostFailed(host, H3, "silent for 225 ms"))
    world.settle()
    assert world.acts(FenceHost) == ["vim: FenceHost h1"]
