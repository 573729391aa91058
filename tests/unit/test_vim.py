"""The VIM with VNFMs, agents and fence devices: UC4, UC8, the repair of VMs, and what can delay or widen it."""

from holdfast.model.actions import ClearAlarm, OpenIncident, RaiseAlarm, Refuse, StartVm
from holdfast.model.events import ActionDone, AgentJoined, VmBooted, VmDied, VmFact
from holdfast.model.messages import ErrorCleared, RepairAck, RepairRequest, VmNotRepaired
from holdfast.model.names import VIM, HostName, IncidentId, Party, VmName, VnfcName, VnfName
from tests.unit.managers_layout import Plan, one_vm
from tests.unit.managers_world import World

VM1, VM2 = VmName("vm1"), VmName("vm2")
H1 = HostName("h1")
CORE, WEB = Party("vnfm:core"), Party("vnfm:web")

REPAIRED = [
    "vim: IsolateVm vm1 1",
    "vim: VmIsolated vm1 to vnfm:core",
    "vim: StartVm vm1 2",
    "vim: VmUp vm1 to vnfm:core",
    "vnfm:core: StartVnfc dns-1 2",
]


def begun(world: World) -> World:
    world.begin()
    assert world.all_is_well()
    world.decisions.clear()
    return world


def ended(world: World) -> None:
    assert world.all_is_well()
    assert not world.open_incidents()
    assert not world.alarms()


def two_vnfms() -> World:
    return begun(World(Plan().host("h1").vm("vm1").vnf("dns").vnf("web", vnfm="web").layout))


def test_the_vim_speaks_first_and_waits_for_the_acknowledgement() -> None:
    world = begun(World(one_vm()))
    world.kill_vm(VM1, seen_by_vnf=False)
    world.settle()
    assert world.acts() == ["vim: VmFailed vm1 to vnfm:core", "vnfm:core: RepairAck vm1 to vim", *REPAIRED]
    assert world.acts(RaiseAlarm) == ["vim: RaiseAlarm vm:vm1"]
    ended(world)


def test_the_vnfm_speaks_first_and_the_vim_asks_no_more() -> None:
    world = begun(World(one_vm()))
    world.kill_vm(VM1, seen_by_vim=False)
    world.settle()
    assert world.acts()[:2] == ["vnfm:core: IsolateVnfc dns-1 1", "vnfm:core: RepairRequest vm1 to vim"]
    world.observe(VIM, VmDied(VM1, 1, "killed"))
    world.settle()
    assert world.acts()[2:] == [*REPAIRED, "vnfm:core: ErrorCleared vnfm:core#1 to vim"]
    ended(world)


def test_request_and_report_that_cross_each_other_make_one_repair_and_one_incident() -> None:
    world = begun(World(one_vm()))
    world.stopped.add(CORE)
    world.kill_vm(VM1)
    world.settle()
    held_back, world.bag = world.bag, []
    world.stopped.clear()
    world.settle()
    world.bag += held_back
    world.settle()
    assert world.acts()[0] == "vim: VmFailed vm1 to vnfm:core"
    assert world.count("vnfm:core: RepairRequest vm1 to vim") == 1
    assert world.count("vnfm:core: RepairAck vm1 to vim") == 0
    assert world.count("vim: StartVm vm1 2") == 1
    assert [line for line in world.acts(OpenIncident) if line.startswith("vim")] == ["vim: OpenIncident vm1"]
    ended(world)


def test_a_missing_acknowledgement_raises_an_alarm_and_nothing_is_isolated_or_started() -> None:
    world = begun(World(one_vm()))
    world.stopped.add(CORE)
    world.kill_vm(VM1)
    world.wait(0.9)
    assert world.alarms() == {"vm:vm1"}
    world.wait(10.0)
    assert world.acts() == ["vim: VmFailed vm1 to vnfm:core"]
    assert world.alarms() == {"vm:vm1", "ack:vm1"}
    assert world.acts(Refuse) == ["vim: Refuse restart vm1"]
    world.stopped.clear()
    world.settle()
    ended(world)


def test_who_took_the_report_and_does_not_answer_is_asked_again() -> None:
    plan = Plan().host("h1").vm("vm1").vnf("dns", vnfm="silent")
    world = World(plan.layout)
    world.begin()
    world.decisions.clear()
    world.kill_vm(VM1)
    world.deliver_next()
    world.stopped.add(Party("vnfm:silent"))
    ((to, received),) = world.bag
    world.bag.clear()
    world.observe(VIM, ActionDone(received.id))
    world.wait(2.5)
    assert world.count("vim: VmFailed vm1 to vnfm:silent") == 2
    assert to == Party("vnfm:silent")


def test_every_vnfm_in_the_vm_has_to_speak_and_every_one_hears_that_it_is_up() -> None:
    world = two_vnfms()
    world.stopped.add(WEB)
    world.kill_vm(VM1)
    world.wait(5.0)
    assert world.acts(StartVm) == []
    world.stopped.clear()
    world.settle()
    assert world.count("vim: VmUp vm1 to vnfm:core") == world.count("vim: VmUp vm1 to vnfm:web") == 1
    ended(world)


def test_a_request_of_one_does_not_speak_for_the_other() -> None:
    world = two_vnfms()
    world.stopped.add(WEB)
    world.broken["IsolateVnfc:dns-1"] = "fails"
    world.hang(VnfcName("dns-1"))
    world.settle()
    assert world.acts() == [
        "vnfm:core: IsolateVnfc dns-1 1",
        "vnfm:core: RepairRequest vm1 to vim",
        "vim: VmFailed vm1 to vnfm:web",
    ]
    world.stopped.clear()
    world.settle()
    ended(world)


def test_isolation_that_a_take_over_waits_for_comes_before_the_acknowledgements_and_the_restart_after() -> None:
    world = begun(World(one_vm()))
    world.stopped.add(CORE)
    world.spoken[VM1, 1] = {CORE}
    world.message(CORE, VIM, RepairRequest(IncidentId("vnfm:core#1"), VM1, "cleanup failed", True, 1))
    assert world.acts() == ["vim: VmFailed vm1 to vnfm:core", "vim: IsolateVm vm1 1"]
    world.settle()
    assert world.acts(StartVm) == []
    world.message(CORE, VIM, RepairAck(IncidentId("vim#1"), VM1))
    assert world.acts(StartVm) == ["vim: StartVm vm1 2"]


def test_configured_repair_waits_for_nobody() -> None:
    for policy, how in (("initial", ""), ("snapshot", " snapshot"), ("standby-vm", " standby-vm")):
        world = begun(World(one_vm(repair=policy)))  # type: ignore[arg-type]
        world.stopped.add(CORE)
        world.kill_vm(VM1)
        world.settle()
        assert world.acts() == [
            "vim: VmFailed vm1 to vnfm:core",
            "vim: IsolateVm vm1 1",
            "vim: VmIsolated vm1 to vnfm:core",
            f"vim: StartVm vm1 2{how}",
            "vim: VmUp vm1 to vnfm:core",
        ]
        world.stopped.clear()
        world.settle()
        assert "vnfm:core: RepairAck vm1 to vim" not in world.acts()
        ended(world)


def test_without_a_configured_repair_the_vm_is_isolated_and_left_alone() -> None:
    world = begun(World(one_vm(repair="none")))
    world.kill_vm(VM1, seen_by_vnf=False)
    world.wait(1000.0)
    assert [act for act in world.acts() if act.startswith("vim")] == [
        "vim: VmFailed vm1 to vnfm:core",
        "vim: IsolateVm vm1 1",
        "vim: VmIsolated vm1 to vnfm:core",
        "vim: VmNotRepaired vm1 to vnfm:core",
    ]
    assert "vm:vm1" in world.alarms()


def test_a_request_that_the_repair_has_overtaken_starts_no_second_one() -> None:
    world = begun(World(one_vm(repair="initial")))
    world.kill_vm(VM1)
    world.settle()
    before = len(world.acts())
    world.message(CORE, VIM, RepairRequest(IncidentId("vnfm:core#1"), VM1, "VM vm1 is gone", boot=1))
    assert world.acts()[before:] == ["vim: VmUp vm1 to vnfm:core"]
    assert world.acts(Refuse)[-1] == "vim: Refuse repair vm1"
    world.settle()
    ended(world)


def test_news_of_an_earlier_life_is_nothing() -> None:
    world = begun(World(one_vm()))
    world.kill_vm(VM1)
    world.settle()
    world.decisions.clear()
    world.observe(VIM, VmDied(VM1, 1, "killed"))
    world.observe(VIM, VmBooted(VM1, 1))
    world.message(CORE, VIM, RepairAck(IncidentId("vim#1"), VM1))
    assert world.decisions == []


def test_a_vm_that_runs_though_memory_is_lost_is_not_started_again() -> None:
    world = World(one_vm())
    world.observe(VIM, AgentJoined(H1, (), (VmFact(VM1, 7, "up"),)))
    assert world.acts() == ["vim: VmUp vm1 to vnfm:core"]


def test_a_vm_that_is_gone_when_its_agent_joins_has_failed() -> None:
    world = begun(World(one_vm()))
    world._end_vm(VM1)
    world.join(H1)
    world.settle()
    assert world.count("vim: StartVm vm1 2") == 1
    ended(world)


def test_a_vm_that_does_not_start_is_tried_again_and_in_the_end_left_alone_for_a_while() -> None:
    world = World(one_vm())
    world.broken["StartVm:vm1"] = "fails"
    world.begin()
    assert world.acts(StartVm) == [f"vim: StartVm vm1 {boot}" for boot in (1, 2, 3, 4)]
    assert world.alarms() == {"vm:vm1", "vnfc:dns-1"}
    world.broken.clear()
    world.wait(300.0)
    assert world.acts(StartVm)[-1] == "vim: StartVm vm1 5"
    assert world.all_is_well()


def test_a_vm_that_dies_again_while_it_starts_is_started_again_without_asking_again() -> None:
    world = begun(World(one_vm()))
    world.broken["StartVm:vm1"] = "hangs"
    world.kill_vm(VM1)
    world.settle()
    world.broken.clear()
    world.observe(VIM, VmDied(VM1, 2, "killed"))
    world.settle()
    assert world.count("vim: VmFailed vm1 to vnfm:core") == 1
    assert world.acts(StartVm) == ["vim: StartVm vm1 2", "vim: StartVm vm1 3"]
    ended(world)


def test_without_a_fence_device_a_vm_that_cannot_be_isolated_is_held_and_tried_again() -> None:
    world = begun(World(one_vm()))
    world.broken["IsolateVm:vm1"] = "hangs"
    world.kill_vm(VM1)
    world.wait(2.4)
    assert "isolate:vm1" not in world.alarms()
    world.wait(20.0)
    assert world.acts(StartVm) == []
    assert world.alarms() == {"vm:vm1", "isolate:vm1", "vnfc:dns-1"}
    assert world.acts(Refuse).count("vim: Refuse restart vm1") == 1
    assert world.count("vim: VmNotRepaired vm1 to vnfm:core") == 1
    world.broken.clear()
    world.wait(10.0)
    ended(world)


def test_a_vm_that_cannot_be_isolated_takes_its_host_with_it() -> None:
    plan = Plan().host("h1", fence=True).vm("vm1").vm("vm2").vnf("dns").vnf("web", vm="vm2", vnfm="web")
    world = begun(World(plan.layout))
    world.broken["IsolateVm:vm1"] = "fails"
    world.kill_vm(VM1)
    world.settle()
    acts = [act for act in world.acts() if act.startswith("vim")]
    assert acts == [
        "vim: VmFailed vm1 to vnfm:core",
        "vim: IsolateVm vm1 1",
        "vim: FenceHost h1",
        "vim: VmIsolated vm1 to vnfm:core",
        "vim: VmFailed vm2 to vnfm:web",
        "vim: VmIsolated vm2 to vnfm:web",
        "vim: StartHost h1",
        "vim: StartVm vm1 2",
        "vim: StartVm vm2 2",
        "vim: VmUp vm1 to vnfm:core",
        "vim: VmUp vm2 to vnfm:web",
    ]
    assert "vnfm:web: RepairAck vm2 to vim" not in world.acts()
    ended(world)


def test_an_agent_that_is_away_for_long_means_that_its_host_has_failed() -> None:
    world = begun(World(one_vm(fence=True)))
    world.turn_off(H1)
    world.wait(4.9)
    assert world.acts() == []
    world.wait(0.2)
    acts = world.acts()
    assert acts[0] == "vim: FenceHost h1"
    assert acts.index("vim: StartHost h1") < acts.index("vim: StartVm vm1 2")
    ended(world)


def test_without_a_fence_device_an_agent_that_is_away_is_an_alarm_and_nothing_more() -> None:
    world = begun(World(one_vm()))
    world.lose(H1)
    world.wait(60.0)
    assert world.acts() == []
    assert world.acts(RaiseAlarm, Refuse) == ["vim: RaiseAlarm host:h1", "vim: Refuse fence h1"]
    world.join(H1)
    world.settle()
    assert world.acts() == []
    ended(world)


def test_a_host_that_cannot_be_switched_off_is_held_until_it_can() -> None:
    for trouble in ("fails", "hangs"):
        world = begun(World(one_vm(fence=True)))
        world.broken["IsolateVm:vm1"] = "fails"
        world.broken["FenceHost:h1"] = trouble
        world.kill_vm(VM1)
        world.wait(60.0)
        assert world.acts(StartVm) == []
        assert {"vm:vm1", "host:h1", "fence:h1"} <= world.alarms()
        assert world.acts(Refuse).count("vim: Refuse restart h1") == 1
        world.broken.clear()
        world.wait(30.0)
        ended(world)


def test_an_agent_that_comes_back_before_its_host_could_be_switched_off_clears_it() -> None:
    world = begun(World(one_vm(fence=True)))
    world.broken["FenceHost:h1"] = "fails"
    world.lose(H1)
    world.wait(7.0)
    assert "fence:h1" in world.alarms()
    world.join(H1)
    world.wait(20.0)
    assert world.acts(StartVm) == []
    ended(world)


def test_a_host_that_does_not_start_is_tried_again() -> None:
    world = begun(World(one_vm(fence=True)))
    world.broken["StartHost:h1"] = "fails"
    world.turn_off(H1)
    world.wait(12.0)
    assert world.count("vim: StartHost h1") > 1
    world.broken.clear()
    world.wait(6.0)
    ended(world)


def test_repairs_that_do_not_help_point_to_the_host() -> None:
    world = begun(World(Plan().host("h1", fence=True).vm("vm1", maximum=2).vnf("dns").layout))
    for _ in range(3):
        world.kill_vm(VM1)
        world.settle()
    assert world.count("vim: FenceHost h1") == 1
    ended(world)


# UC9.


def fail_often(world: World, vnfc: str, times: int) -> None:
    for _ in range(times):
        world.kill(VnfcName(vnfc))
        world.settle()


def test_repeated_failures_of_any_vnfc_in_a_vm_have_the_vm_repaired() -> None:
    world = begun(World(Plan().host("h1").vm("vm1").vnf("dns").vnf("web").layout))
    fail_often(world, "dns-1", 2)
    fail_often(world, "web-1", 1)
    assert all(act.startswith("vnfm") for act in world.acts())
    world.decisions.clear()
    fail_often(world, "web-1", 1)
    assert world.acts() == [
        "vnfm:core: IsolateVnfc web-1 2",
        "vnfm:core: ErrorOnVm vm1 to vim",
        "vim: IsolateVm vm1 1",
        "vim: VmIsolated vm1 to vnfm:core",
        "vim: StartVm vm1 2",
        "vim: VmUp vm1 to vnfm:core",
        "vnfm:core: StartVnfc dns-1 4",
        "vnfm:core: StartVnfc web-1 3",
        "vnfm:core: ErrorCleared vnfm:core#5 to vim",
    ]
    assert world.all_is_well()
    world.decisions.clear()
    fail_often(world, "web-1", 3)
    assert all(act.startswith("vnfm") for act in world.acts()), "the counter of the VM starts anew"


def test_reports_of_several_vnfms_point_to_the_host_they_have_in_common() -> None:
    plan = Plan().host("h1", fence=True).host("h2", fence=True).vm("vm1").vm("vm2").vm("vm3", host="h2")
    plan.vnf("dns", vm="vm1").vnf("web", vm="vm2", vnfm="web").vnf("mail", vm="vm3", vnfm="web")
    world = begun(World(plan.layout))
    fail_often(world, "dns-1", 4)
    fail_often(world, "mail-1", 4)
    assert "vim: FenceHost h1" not in world.acts()
    world.decisions.clear()
    fail_often(world, "web-1", 4)
    acts = [act for act in world.acts() if act.startswith("vim")]
    assert acts[0] == "vim: VmFailed vm1 to vnfm:core"
    assert "vim: VmFailed vm2 to vnfm:web" not in acts, "it has reported the error itself"
    assert acts[1] == "vim: FenceHost h1"
    assert acts.index("vim: StartHost h1") < acts.index("vim: StartVm vm1 3")
    assert world.count("vim: VmUp vm1 to vnfm:core") == world.count("vim: VmUp vm2 to vnfm:web") == 1
    assert "vim: FenceHost h2" not in acts
    ended(world)


def test_where_the_host_cannot_be_switched_off_the_vm_is_repaired_and_the_refusal_noted() -> None:
    plan = Plan().host("h1").vm("vm1").vm("vm2").vnf("dns", vm="vm1").vnf("web", vm="vm2", vnfm="web")
    world = begun(World(plan.layout))
    fail_often(world, "dns-1", 4)
    fail_often(world, "web-1", 4)
    assert "vim: Refuse fence h1" in world.acts(Refuse)
    assert world.count("vim: StartVm vm2 2") == 1
    ended(world)


def test_a_host_waits_for_the_acknowledgements_of_all_its_vms() -> None:
    plan = Plan().host("h1", fence=True).vm("vm1").vm("vm2").vnf("dns", vm="vm1").vnf("web", vm="vm2", vnfm="web")
    world = begun(World(plan.layout))
    fail_often(world, "dns-1", 4)
    world.stopped.add(CORE)
    fail_often(world, "web-1", 4)
    world.wait(3.0)
    assert "vim: FenceHost h1" not in world.acts()
    assert "ack:vm1" in world.alarms()
    world.stopped.clear()
    world.settle()
    assert world.count("vim: FenceHost h1") == 1
    ended(world)


def test_an_error_on_a_vm_in_repair_is_the_same_fault() -> None:
    world = two_vnfms()
    world.stopped.add(WEB)
    fail_often(world, "dns-1", 4)
    world.stopped.clear()
    fail_often(world, "web-1", 4)
    assert world.count("vim: StartVm vm1 2") == 1
    assert "vim: StartVm vm1 3" not in world.acts()


def test_what_a_vnfm_reported_is_forgotten_when_it_clears_it() -> None:
    world = begun(World(one_vm()))
    fail_often(world, "dns-1", 4)
    state = world.states[VIM]
    assert not state.reports
    world.message(CORE, VIM, ErrorCleared(IncidentId("vnfm:core#99"), VnfName("dns")))
    assert world.acts(ClearAlarm) == ["vim: ClearAlarm vm:vm1"]


def test_a_request_for_a_vm_that_was_given_up_is_answered() -> None:
    world = begun(World(one_vm(repair="none")))
    world.kill_vm(VM1)
    world.settle()
    world.decisions.clear()
    world.message(CORE, VIM, RepairRequest(IncidentId("vnfm:core#9"), VM1, "VM vm1 is gone", boot=1))
    (answer,) = [one.action for _, one in world.decisions if not isinstance(one.action, Refuse)]
    assert isinstance(getattr(answer, "message", None), VmNotRepaired)
