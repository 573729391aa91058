"""The VNFM with its agents: UC3 and UC7, what goes wrong in them, and what it passes between VIM and HA manager."""

from msgspec.structs import replace

from holdfast.model.actions import CloseIncident, IsolateVnfc, NoteService, OpenIncident, RaiseAlarm, Refuse, StartVnfc
from holdfast.model.events import AgentJoined, SwitchoverAsked, VmFact, VnfcFact, VnfcFailed, VnfcReady
from holdfast.model.layout import Grants
from holdfast.model.messages import ErrorCleared, ErrorReport, HostIsOff, VmFailed, VmIsolated, VmNotRepaired, VmUp
from holdfast.model.names import HA, VIM, HostName, IncidentId, Party, ServiceName, VmName, VnfcName, VnfName
from tests.unit.managers_layout import Plan, one_vm
from tests.unit.managers_world import World

DNS = VnfcName("dns-1")
VM1 = VmName("vm1")
H1 = HostName("h1")
CORE = Party("vnfm:core")


def begun(world: World) -> World:
    world.begin()
    assert world.all_is_well()
    world.decisions.clear()
    return world


def test_a_vnfc_is_started_when_its_vm_is_up() -> None:
    world = World(one_vm())
    world.begin()
    assert world.acts() == ["vim: StartVm vm1 1", "vim: VmUp vm1 to vnfm:core", "vnfm:core: StartVnfc dns-1 1"]
    assert world.acts(NoteService) == ["vnfm:core: NoteService dns provided"]


def test_a_failed_vnfc_is_cleaned_up_then_restarted_and_the_vim_hears_nothing() -> None:
    world = begun(World(one_vm()))
    world.kill(DNS)
    world.settle()
    every_kind = world.acts(object)  # type: ignore[arg-type]
    assert every_kind == [
        "vnfm:core: OpenIncident dns-1",
        "vnfm:core: NoteService dns interrupted",
        "vnfm:core: IsolateVnfc dns-1 1",
        "vnfm:core: StartVnfc dns-1 2",
        "vnfm:core: NoteService dns provided",
        "vnfm:core: CloseIncident vnfm:core#1 repaired",
    ]


def test_a_run_that_another_manager_began_is_noted_as_providing_although_nothing_else_was_known() -> None:
    """That one has noted that the service was interrupted, and its last writes did not reach the store."""
    world = begun(World(one_vm()))
    fact = VnfcFact(DNS, 2, "ready", "active", 2, (ServiceName("dns"),))
    world.observe(CORE, AgentJoined(H1, (fact,), (VmFact(VM1, 1, "up"),)))
    assert world.acts(NoteService) == ["vnfm:core: NoteService dns provided"]


def test_each_start_reserves_a_new_epoch() -> None:
    world = World(one_vm())
    world.begin()
    world.kill(DNS)
    world.settle()
    starts = [one.action for _, one in world.decisions if isinstance(one.action, StartVnfc)]
    assert [(start.run, start.epoch, start.service) for start in starts] == [
        (1, 1, ServiceName("dns")),
        (2, 2, ServiceName("dns")),
    ]


def test_what_ran_in_no_vm_of_a_host_that_is_off_needs_no_cleaning_up_when_the_host_is_back() -> None:
    plan = Plan().host("h1", fence=True).host("h2").vnf("dns", vm=None)
    world = begun(World(replace(plan.layout, grants=Grants("fast"))))
    world.turn_off(H1)
    world.message(VIM, CORE, HostIsOff(IncidentId("vim#1"), H1, "by its device", 1))
    world.settle()
    assert world.acts(NoteService, IsolateVnfc, Refuse) == [
        "vnfm:core: NoteService dns interrupted",
        "vnfm:core: Refuse start dns-1",
    ]
    world.decisions.clear()
    world.host_on.add(H1)
    world.join(H1)
    world.settle()
    assert world.acts() == ["vnfm:core: StartVnfc dns-1 2"]
    world.message(VIM, CORE, HostIsOff(IncidentId("vim#1"), H1, "by its device", 1))
    world.settle()
    assert world.all_is_well()


def test_a_failure_is_reported_twice_and_handled_once() -> None:
    world = begun(World(one_vm()))
    world.kill(DNS)
    world.observe(CORE, VnfcFailed(DNS, 1, "check"))
    world.settle()
    world.observe(CORE, VnfcFailed(DNS, 1, "exited"))
    world.settle()
    assert world.acts() == ["vnfm:core: IsolateVnfc dns-1 1", "vnfm:core: StartVnfc dns-1 2"]


def test_cleanup_that_fails_goes_up_to_the_vm_and_nothing_is_restarted_before() -> None:
    world = begun(World(one_vm()))
    world.broken["IsolateVnfc:dns-1"] = "fails"
    world.hang(DNS)
    world.settle()
    assert world.acts() == [
        "vnfm:core: IsolateVnfc dns-1 1",
        "vnfm:core: RepairRequest vm1 to vim",
        "vim: IsolateVm vm1 1",
        "vim: VmIsolated vm1 to vnfm:core",
        "vim: StartVm vm1 2",
        "vim: VmUp vm1 to vnfm:core",
        "vnfm:core: StartVnfc dns-1 2",
        "vnfm:core: ErrorCleared vnfm:core#1 to vim",
    ]
    assert "vnfm:core: Refuse start dns-1" in world.acts(Refuse)
    assert world.all_is_well()
    assert not world.open_incidents()


def test_cleanup_that_hangs_goes_up_to_the_vm_after_its_limit() -> None:
    world = begun(World(one_vm()))
    world.broken["IsolateVnfc:dns-1"] = "hangs"
    world.hang(DNS)
    world.wait(1.4)
    assert world.acts() == ["vnfm:core: IsolateVnfc dns-1 1"]
    world.wait(0.2)
    assert "vnfm:core: RepairRequest vm1 to vim" in world.acts()
    assert world.all_is_well()


def test_a_vnfc_without_a_vm_that_cannot_be_cleaned_up_is_held_with_an_alarm_until_it_can() -> None:
    world = begun(World(Plan().host("h1").vnf("dns", vm=None).layout))
    world.broken["IsolateVnfc:dns-1"] = "fails"
    world.hang(DNS)
    world.wait(30.0)
    assert world.acts() == ["vnfm:core: IsolateVnfc dns-1 1"]
    assert world.alarms() == {"vnfc:dns-1"}
    assert world.acts(Refuse) == ["vnfm:core: Refuse start dns-1"]
    assert world.acts(NoteService)[-1] == "vnfm:core: NoteService dns held"
    world.broken.clear()
    world.join(HostName("h1"))
    world.settle()
    assert world.all_is_well()


def test_the_late_answer_of_a_cleanup_that_hung_is_still_welcome_where_nothing_else_can_help() -> None:
    world = begun(World(Plan().host("h1").vnf("dns", vm=None).layout))
    world.stopped.add(Party("agent:h1"))
    world.observe(CORE, VnfcFailed(DNS, 1, "check"))
    world.wait(2.0)
    assert world.alarms() == {"vnfc:dns-1"}
    world.stopped.clear()
    world.settle()
    assert world.all_is_well()


def test_a_start_that_fails_is_a_failure_isolated_and_tried_again() -> None:
    world = World(one_vm())
    world.broken["StartVnfc:dns-1"] = "fails"
    world.begin()
    assert world.acts()[2:6] == [
        "vnfm:core: StartVnfc dns-1 1",
        "vnfm:core: IsolateVnfc dns-1 1",
        "vnfm:core: StartVnfc dns-1 2",
        "vnfm:core: IsolateVnfc dns-1 2",
    ]
    assert world.count("vnfm:core: ErrorOnVm vm1 to vim") == 4
    assert world.count("vim: StartVm vm1 4") == 1
    assert world.acts(NoteService)[-1] == "vnfm:core: NoteService dns held"
    assert world.alarms() == {"vm:vm1", "vnfc:dns-1"}
    world.broken.clear()
    world.wait(300.0)
    assert world.all_is_well()


def test_too_many_failures_without_a_vm_hold_the_vnfc() -> None:
    world = begun(World(Plan().host("h1").vnf("dns", vm=None, maximum=2).layout))
    for _ in range(3):
        world.kill(DNS)
        world.settle()
    assert world.count("vnfm:core: IsolateVnfc dns-1 3") == 1
    assert world.acts(StartVnfc) == ["vnfm:core: StartVnfc dns-1 2", "vnfm:core: StartVnfc dns-1 3"]
    assert world.alarms() == {"vnfc:dns-1"}
    (party, last) = [one for one in world.decisions if isinstance(one[1].action, Refuse)][-1]
    assert (party, last.reasons[-1].code) == (CORE, "too-many-failures")


def test_failures_outside_the_probation_are_not_added_up() -> None:
    world = begun(World(one_vm()))
    for _ in range(6):
        world.kill(DNS)
        world.wait(30.0)
    assert "vnfm:core: ErrorOnVm vm1 to vim" not in world.acts()
    assert world.all_is_well()


def test_vnfcs_start_in_order_and_one_that_waits_says_why() -> None:
    plan = Plan().host("h1").vm("vm1").vm("vm2").vnf("web", vm="vm1", after=("db",)).vnf("db", vm="vm2")
    world = World(plan.layout)
    world.broken["StartVm:vm2"] = "hangs"
    world.begin()
    assert world.acts(StartVnfc) == []
    assert world.acts(Refuse) == ["vnfm:core: Refuse start web-1"]
    world.broken.clear()
    world.wait(60.0)
    assert world.acts(StartVnfc) == ["vnfm:core: StartVnfc db-1 1", "vnfm:core: StartVnfc web-1 1"]


def test_a_lost_agent_is_no_failure() -> None:
    world = begun(World(one_vm()))
    world.lose(HostName("h1"))
    world.wait(2.0)
    world.join(HostName("h1"))
    world.settle()
    assert world.acts() == []


def test_a_vnfc_that_is_gone_when_its_agent_joins_has_failed() -> None:
    world = begun(World(one_vm()))
    world.running.clear()
    world.join(HostName("h1"))
    world.settle()
    assert world.acts() == ["vnfm:core: IsolateVnfc dns-1 1", "vnfm:core: StartVnfc dns-1 2"]


def test_a_vnfc_that_runs_though_memory_is_lost_is_taken_over_as_it_is() -> None:
    world = World(Plan().host("h1").vnf("dns", vm=None).layout)
    fact = VnfcFact(DNS, 4, "ready", "active", epoch=9, services=(ServiceName("dns"),))
    world.observe(CORE, AgentJoined(HostName("h1"), (fact,), ()))
    assert world.acts() == []
    world.running.add(DNS)
    world.runs[DNS] = 4
    world.kill(DNS)
    world.settle()
    starts = [one.action for _, one in world.decisions if isinstance(one.action, StartVnfc)]
    assert [(start.run, start.epoch) for start in starts] == [(5, 10)]


def test_that_its_vm_is_up_is_no_news_of_a_vnfc_that_was_seen_running_in_that_life_of_it() -> None:
    """The VIM's memory may be older still, and tell it once more; a later life of the VM ends what ran before."""
    world = World(one_vm())
    fact = VnfcFact(DNS, 4, "ready", "active", 9, (ServiceName("dns"),))
    world.observe(CORE, AgentJoined(H1, (fact,), (VmFact(VM1, 3, "up"),)))
    world.message(VIM, CORE, VmUp(IncidentId(""), VM1, 3))
    assert world.acts() == []
    world.message(VIM, CORE, VmUp(IncidentId(""), VM1, 4))
    assert world.acts() == ["vnfm:core: StartVnfc dns-1 5"]


def test_a_run_that_has_failed_since_its_start_has_failed_also_where_the_start_was_never_answered() -> None:
    """Sent again, the start would be answered as it was: done."""
    world = World(Plan().host("h1").vnf("dns", vm=None).layout)
    world.observe(CORE, AgentJoined(HostName("h1"), (), ()))
    assert world.acts() == ["vnfm:core: StartVnfc dns-1 1"]
    world.observe(CORE, AgentJoined(HostName("h1"), (VnfcFact(DNS, 1, "failed", detail="killed"),), ()))
    assert world.acts()[1:] == ["vnfm:core: IsolateVnfc dns-1 1"]
    world.settle()
    assert world.acts()[2:] == ["vnfm:core: StartVnfc dns-1 2"]


def test_what_is_left_over_from_a_start_nobody_waits_for_goes_first() -> None:
    world = World(Plan().host("h1").vnf("dns", vm=None).layout)
    joined = AgentJoined(HostName("h1"), (VnfcFact(DNS, 2, "starting"),), (VmFact(VM1, 1, "up"),))
    world.observe(CORE, joined)
    assert world.acts() == ["vnfm:core: IsolateVnfc dns-1 2"]
    world.settle()
    assert world.acts()[1:] == ["vnfm:core: StartVnfc dns-1 3"]


def test_news_of_unknown_or_foreign_entities_is_nothing() -> None:
    world = begun(World(one_vm()))
    world.observe(CORE, VnfcFailed(VnfcName("other-1"), 1, "killed"))
    world.observe(CORE, VnfcReady(VnfcName("other-1"), 1))
    world.message(VIM, CORE, VmFailed(IncidentId("vim#9"), VmName("other"), "died", True, 1))
    world.message(VIM, CORE, VmUp(IncidentId("vim#9"), VmName("other"), 3))
    world.message(HA, CORE, ErrorReport(IncidentId("ha#1"), VnfName("other"), DNS, VM1, None, "killed", True))
    assert world.decisions == []


def test_a_switchover_needs_a_successor() -> None:
    world = begun(World(one_vm()))
    world.observe(CORE, SwitchoverAsked(VnfName("dns")))
    assert world.acts(Refuse) == ["vnfm:core: Refuse switchover dns"]


# Between VIM and HA manager.


def redundant() -> World:
    plan = Plan().host("h1").vm("vm1").vm("vm2").vnf("reg", redundant=True).vnf("dns", vm="vm2")
    return begun(World(plan.layout))


def test_news_of_a_vm_with_redundant_vnfcs_is_passed_on_once_and_acknowledged_at_once() -> None:
    world = redundant()
    assert [type(message) for message in world.for_ha] == [VmUp]
    world.for_ha.clear()
    world.kill_vm(VM1)
    world.settle()
    assert [act for act in world.acts() if act.startswith("vnfm")] == [
        "vnfm:core: VmFailed vm1 to ha",
        "vnfm:core: RepairAck vm1 to vim",
        "vnfm:core: VmIsolated vm1 to ha",
        "vnfm:core: VmUp vm1 to ha",
    ]
    assert [act for act in world.acts() if act.startswith("vim")] == [
        "vim: VmFailed vm1 to vnfm:core",
        "vim: IsolateVm vm1 1",
        "vim: VmIsolated vm1 to vnfm:core",
        "vim: StartVm vm1 2",
        "vim: VmUp vm1 to vnfm:core",
    ]
    world.decisions.clear()
    world.message(VIM, CORE, VmFailed(IncidentId("vim#1"), VM1, "asked again", True, 1))
    world.message(VIM, CORE, VmIsolated(IncidentId("vim#1"), VM1, 1))
    assert world.acts() == []


def test_a_vm_without_redundant_vnfcs_is_no_news_for_the_ha_manager() -> None:
    world = redundant()
    world.for_ha.clear()
    world.kill_vm(VmName("vm2"))
    world.settle()
    assert world.for_ha == []
    assert world.all_is_well()


def reported(world: World, number: int, cause: str = "killed", **more: bool) -> None:
    report = ErrorReport(
        IncidentId(f"ha#{number}"), VnfName("reg"), VnfcName("reg-1"), VM1, ServiceName("reg"), cause, boot=1, **more
    )
    world.message(HA, CORE, report)


def test_a_cleanup_that_failed_at_the_ha_manager_becomes_a_repair_of_the_vm() -> None:
    world = redundant()
    reported(world, 1, "check")
    assert world.acts() == []
    reported(world, 1, "cleanup failed", isolate_vm=True)
    assert world.acts() == ["vnfm:core: RepairRequest vm1 to vim"]
    world.settle()
    assert "vnfm:core: ErrorCleared ha#1 to vim" not in world.acts()
    world.message(HA, CORE, ErrorCleared(IncidentId("ha#1"), VnfName("reg")))
    assert world.count("vnfm:core: ErrorCleared ha#1 to vim") == 1


def test_a_repair_asked_by_the_ha_manager_replaces_the_acknowledgement() -> None:
    world = redundant()
    world.stopped.add(VIM)
    world.kill_vm(VM1)
    reported(world, 1, "vm-gone", repair_vm=True)
    world.stopped.clear()
    world.settle()
    assert "vnfm:core: RepairAck vm1 to vim" not in world.acts()
    assert world.count("vim: StartVm vm1 2") == 1


def test_a_repair_asked_for_after_the_vim_has_spoken_is_refused() -> None:
    world = redundant()
    world.stopped.add(VIM)
    world.message(VIM, CORE, VmFailed(IncidentId("vim#1"), VM1, "died", True, 1))
    reported(world, 1, "vm-gone", repair_vm=True)
    assert world.acts() == ["vnfm:core: VmFailed vm1 to ha", "vnfm:core: RepairAck vm1 to vim"]
    assert world.acts(Refuse) == ["vnfm:core: Refuse repair request vm1"]


def test_failures_reported_by_the_ha_manager_count_for_the_vm() -> None:
    world = redundant()
    for number in range(4):
        reported(world, number)
        reported(world, number)
        world.message(HA, CORE, ErrorCleared(IncidentId(f"ha#{number}"), VnfName("reg")))
    assert world.acts() == ["vnfm:core: ErrorOnVm vm1 to vim"]
    world.settle()
    assert world.count("vim: StartVm vm1 2") == 1
    assert not world.open_incidents()


def test_hosts_that_are_cut_off_again_and_again_count_against_no_vm() -> None:
    world = redundant()
    for number in range(9):
        reported(world, number, "host")
        world.message(HA, CORE, ErrorCleared(IncidentId(f"ha#{number}"), VnfName("reg")))
    assert world.acts() == []


def test_an_error_that_the_ha_manager_has_counted_itself_goes_to_the_vim_at_once() -> None:
    world = redundant()
    reported(world, 1, repair_vm=True)
    assert world.acts() == ["vnfm:core: ErrorOnVm vm1 to vim"]


def test_a_report_about_an_earlier_life_of_the_vm_asks_for_nothing() -> None:
    world = redundant()
    world.kill_vm(VM1)
    world.settle()
    world.decisions.clear()
    reported(world, 1, "cleanup failed", isolate_vm=True)
    assert world.decisions == []


def test_a_vm_that_is_not_repaired_holds_what_lived_in_it() -> None:
    world = begun(World(one_vm(repair="none")))
    world.kill_vm(VM1)
    world.settle()
    assert world.alarms() == {"vm:vm1", "vnfc:dns-1"}
    assert world.acts(NoteService)[-1] == "vnfm:core: NoteService dns held"
    assert world.acts(StartVnfc) == []
    world.message(VIM, CORE, VmNotRepaired(IncidentId("vim#1"), VM1, "asked again", 1))
    assert len(world.acts(RaiseAlarm)) == 2


def test_the_start_of_a_vm_that_overtook_its_failure_is_believed() -> None:
    world = begun(World(one_vm()))
    world.stopped.add(VIM)
    world._end_vm(VM1)
    world.vm_up.add(VM1)
    world.boots[VM1] = 2
    world.message(VIM, CORE, VmUp(IncidentId("vim#1"), VM1, 2))
    world.settle()
    assert world.acts() == ["vnfm:core: StartVnfc dns-1 2"]
    world.message(VIM, CORE, VmFailed(IncidentId("vim#1"), VM1, "died", True, 1))
    world.message(VIM, CORE, VmIsolated(IncidentId("vim#1"), VM1, 1))
    assert len(world.acts()) == 1
    assert world.acts(OpenIncident) == ["vnfm:core: OpenIncident dns-1"]
    assert world.acts(CloseIncident) == ["vnfm:core: CloseIncident vnfm:core#1 repaired"]


def test_a_start_that_came_too_late_for_its_vm_is_given_again_when_the_next_life_is_announced() -> None:
    world = begun(World(one_vm()))
    world.stopped.add(VIM)
    world.kill(DNS)
    world.vm_up.add(VM1)
    world.boots[VM1] = 2
    world.settle()
    assert world.acts()[:2] == ["vnfm:core: IsolateVnfc dns-1 1", "vnfm:core: StartVnfc dns-1 2"]
    assert world.acts()[2:] == ["vnfm:core: RepairRequest vm1 to vim"]
    world.message(VIM, CORE, VmUp(IncidentId("vim#1"), VM1, 2))
    assert world.acts()[3:] == ["vnfm:core: StartVnfc dns-1 3"]
