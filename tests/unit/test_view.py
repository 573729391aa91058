"""What `status` shows follows from the journal alone."""

from holdfast.model.actions import (
    Action,
    Activate,
    ClearAlarm,
    CloseIncident,
    IsolateVnfc,
    NoteService,
    OpenIncident,
    RaiseAlarm,
    Send,
    StandBy,
    StartVnfc,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    Event,
    ServiceTaken,
    StandbyLost,
    StandbySynced,
    VmDied,
    VmFact,
    VnfcFact,
    VnfcFailed,
)
from holdfast.model.limits import INCIDENTS_KEPT
from holdfast.model.messages import VmIsolated
from holdfast.model.names import HA, ActionId, HostName, IncidentId, ServiceName, VmName, VnfcName
from holdfast.model.reasons import Reason
from holdfast.model.records import Decided, Record, Seen
from holdfast.runtime.view import View, fold, role_of

ONE, TWO = VnfcName("dns-1"), VnfcName("dns-2")
DNS = ServiceName("dns")


def seen(event: Event) -> Record:
    return Seen(1.0, HA, 1, event)


def decided(action: Action, at: float = 2.0) -> Record:
    return Decided(at, HA, 2, 1, action, (Reason("declared", "dns"),))


def after(*records: Record) -> View:
    view = View()
    for record in records:
        view = fold(view, record)
    return view


def test_a_role_is_shown_when_it_is_confirmed_not_when_it_is_ordered() -> None:
    order = decided(Activate(ActionId("ha/1"), ONE, 1, DNS, 4, (TWO,)))
    assert after(order).vnfcs == {}
    view = after(order, seen(ActionDone(ActionId("ha/1"))))
    assert (view.vnfcs[ONE].role, view.vnfcs[ONE].epoch) == ("active", 4)
    assert after(order, seen(ActionFailed(ActionId("ha/1"), "no"))).vnfcs == {}
    assert after(order, seen(ActionFailed(ActionId("ha/1"), "no"))).under_way == {}


def test_a_vm_of_a_host_that_was_switched_off_is_absent() -> None:
    vm = VmName("vm1")
    up = AgentJoined(HostName("h1"), (), (VmFact(vm, 2, "up"),))
    told = decided(Send(ActionId("vim/1"), HA, VmIsolated(IncidentId("vim#1"), vm, 2)))
    assert after(seen(up), told).vms[vm].condition == "absent"


def test_a_role_goes_with_the_service() -> None:
    order = decided(Activate(ActionId("ha/1"), ONE, 1, DNS, 4, (TWO,)))
    view = after(order, seen(ActionDone(ActionId("ha/1"))), seen(VnfcFailed(ONE, 1, "killed", "killed by SIGKILL")))
    assert view.vnfcs[ONE].detail == "killed by SIGKILL"
    assert role_of(view, ONE, (DNS,)) == "active"  # it may still act, until it is isolated
    held = fold(view, decided(NoteService(DNS, "held", None, 4)))
    assert role_of(held, ONE, (DNS,)) == "none"
    assert role_of(held, TWO, (DNS,)) == "none"


def test_an_agent_that_joins_replaces_what_was_known_of_its_host() -> None:
    facts = AgentJoined(HostName("h1"), (VnfcFact(ONE, 3, "ready", "active", 7),), (VmFact(VmName("vm1"), 2, "up"),))
    view = after(seen(VnfcFailed(ONE, 2, "killed")), seen(VmDied(VmName("vm1"), 1)), seen(facts))
    assert (view.vnfcs[ONE].condition, view.vnfcs[ONE].run) == ("ready", 3)
    assert (view.vms[VmName("vm1")].condition, view.vms[VmName("vm1")].boot) == ("up", 2)
    assert view.agents == {"h1": True}
    assert fold(view, seen(AgentLost(HostName("h1")))).agents == {"h1": False}


def test_the_life_of_a_component_can_be_followed() -> None:
    start = decided(StartVnfc(ActionId("ha/1"), ONE, 2, 5))
    assert after(start).vnfcs[ONE].condition == "starting"
    standing = after(
        start,
        seen(ActionDone(ActionId("ha/1"))),
        decided(StandBy(ActionId("ha/2"), ONE, 2, DNS, 5, TWO)),
        seen(ActionDone(ActionId("ha/2"))),
    )
    assert (standing.vnfcs[ONE].condition, standing.vnfcs[ONE].role) == ("ready", "standby")
    gone = fold(fold(standing, decided(IsolateVnfc(ActionId("ha/3"), ONE, 2))), seen(ActionDone(ActionId("ha/3"))))
    assert (gone.vnfcs[ONE].condition, gone.vnfcs[ONE].role) == ("absent", "none")


def test_standbys_in_sync_come_and_go() -> None:
    view = after(
        decided(NoteService(DNS, "provided", ONE, 4)),
        seen(StandbySynced(ONE, 1, 4, TWO)),
    )
    assert view.services[DNS].in_sync == (TWO,)
    assert fold(view, seen(StandbyLost(ONE, 1, 4, TWO))).services[DNS].in_sync == ()


def test_a_successor_that_took_over_by_itself_is_the_active_one_and_the_former_is_not() -> None:
    view = after(
        seen(AgentJoined(HostName("h1"), (VnfcFact(ONE, 1, "ready", "active", 4),), ())),
        seen(AgentJoined(HostName("h2"), (VnfcFact(TWO, 1, "ready", "standby", 5),), ())),
        decided(NoteService(DNS, "provided", ONE, 4)),
        seen(ServiceTaken(TWO, 1, DNS, 5, (ONE,))),
        decided(OpenIncident(IncidentId("ha#1"), ONE, DNS, "host")),
        decided(NoteService(DNS, "provided", TWO, 5)),
    )
    assert [role_of(view, one, (DNS,)) for one in (ONE, TWO)] == ["none", "active"]
    assert [view.vnfcs[one].condition for one in (ONE, TWO)] == ["failed", "ready"]
    assert (view.vnfcs[TWO].epoch, view.services[DNS].in_sync) == (5, (ONE,))
    assert fold(view, seen(ServiceTaken(ONE, 1, DNS, 4, ()))) == view  # news of an earlier take-over


def test_alarms_and_incidents_open_and_close() -> None:
    incident = IncidentId("ha#1")
    view = after(
        decided(OpenIncident(incident, ONE, DNS, "killed")),
        decided(RaiseAlarm("vm:vm1", "VM vm1 has failed")),
        decided(CloseIncident(incident, "repaired"), at=3.0),
    )
    assert view.alarms == {"vm:vm1": "VM vm1 has failed"}
    assert (view.incidents[incident].closed_at, view.incidents[incident].outcome) == (3.0, "repaired")
    assert fold(view, decided(ClearAlarm("vm:vm1"))).alarms == {}


def test_only_closed_incidents_are_forgotten() -> None:
    view = View()
    for number in range(INCIDENTS_KEPT + 10):
        view = fold(view, decided(OpenIncident(IncidentId(f"ha#{number}"), ONE, None, "killed")))
        if number:
            view = fold(view, decided(CloseIncident(IncidentId(f"ha#{number}"), "repaired")))
    assert len(view.incidents) <= INCIDENTS_KEPT + 1
    assert IncidentId("ha#0") in view.incidents
    assert IncidentId(f"ha#{INCIDENTS_KEPT + 9}") in view.incidents
