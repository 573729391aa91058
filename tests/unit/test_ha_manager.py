"""The HA manager's core by itself: what it keeps, what it drops, what it learns from an agent that joins."""

from collections.abc import Sequence

import msgspec

from holdfast.core import ha_manager
from holdfast.core.ha_manager import State
from holdfast.model.actions import (
    Action,
    Activate,
    ConfirmLoss,
    Decision,
    IsolateVnfc,
    Refuse,
    Send,
    StartVnfc,
    StopVnfc,
)
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    DeadlinePassed,
    Event,
    ManagerStarted,
    Observed,
    Position,
    Received,
    StandbyLost,
    StandbySynced,
    VnfcFact,
    VnfcFailed,
    VnfcReady,
)
from holdfast.model.layout import Layout
from holdfast.model.messages import Message, VmFailed, VmIsolated, VmUp
from holdfast.model.names import (
    ActionId,
    GroupName,
    HostName,
    IncidentId,
    Party,
    ServiceName,
    VmName,
    VnfcName,
    VnfmName,
    vnfm_party,
)
from tests.scripts import layouts

ONE, TWO = VnfcName("registry-1"), VnfcName("registry-2")
GROUP = GroupName("registry")
SERVICE = ServiceName("registry")
VNFM = vnfm_party(VnfmName("core"))


class Core:
    """The core with its state, fed by hand."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.state = ha_manager.initial(layout)
        self.n = 0
        self.messages = 0
        self.last: tuple[Decision, ...] = ()

    def see(self, event: Event, now: float = 0.0) -> list[Action]:
        self.n += 1
        self.state, self.last = ha_manager.step(self.layout, self.state, Observed(self.n, event), now)
        return [decision.action for decision in self.last]

    def hear(self, message: Message) -> list[Action]:
        self.messages += 1
        return self.see(Received(ActionId(f"{VNFM}/{self.messages}"), VNFM, message))

    def up(self, vm: str, boot: int = 1) -> list[Action]:
        return self.hear(VmUp(IncidentId(""), VmName(vm), boot))

    def done(self, actions: Sequence[Action]) -> list[Action]:
        """Everything an agent was asked for succeeds."""
        after: list[Action] = []
        for action in actions:
            number = getattr(action, "id", None)
            if number is not None:
                after += self.see(ActionDone(number))
        return after


def provided(first: Position | None = None) -> Core:
    """registry-1 is active, registry-2 its standby in sync."""
    core = Core(layouts.registry())
    core.see(ManagerStarted())
    core.up("vm1")
    core.up("vm2")
    activation = core.see(VnfcReady(ONE, 1, first or Position()))
    core.see(VnfcReady(TWO, 1, Position()))
    following = core.done(activation)
    core.done(following)
    core.see(StandbySynced(ONE, 1, core.state.groups[GROUP].services[SERVICE].epoch, TWO))
    return core


def kinds(actions: list[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


def test_the_state_survives_being_written_and_read() -> None:
    core = provided()
    core.see(VnfcFailed(ONE, 1, "killed", "signal 9"))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(core.state), type=State) == core.state


def test_a_group_that_is_not_touched_stays_the_same_object() -> None:
    layout = layouts.with_vnf(layouts.registry(), "dns", ("vm1", "vm2"), reserve="spare", state="none", speaks=False)
    core = Core(layout)
    core.see(ManagerStarted())
    before = core.state.groups[GroupName("dns")]
    core.up("vm1")
    core.up("vm2")
    before = core.state.groups[GroupName("dns")]
    core.see(VnfcReady(ONE, 1, Position()))
    assert core.state.groups[GroupName("dns")] is before
    assert core.state.groups[GROUP].vnfcs[ONE].phase == "ready"


def test_at_rest_nothing_is_outstanding_and_no_deadline_waits() -> None:
    core = provided()
    assert ha_manager.outstanding(core.state) == ()
    assert ha_manager.deadline(core.state) is None


def test_an_isolation_is_outstanding_until_it_is_done_and_has_a_deadline() -> None:
    core = provided()
    actions = core.see(VnfcFailed(ONE, 1, "killed"), now=10.0)
    isolation = next(action for action in actions if isinstance(action, IsolateVnfc))
    assert isolation in ha_manager.outstanding(core.state)
    assert ha_manager.deadline(core.state) == 11.5
    core.see(ActionDone(isolation.id), now=10.1)
    assert isolation not in ha_manager.outstanding(core.state)


def test_a_failure_that_is_told_twice_is_one_failure() -> None:
    core = provided()
    assert "OpenIncident" in kinds(core.see(VnfcFailed(ONE, 1, "killed")))
    assert core.see(VnfcFailed(ONE, 1, "check")) == []


def test_news_about_an_earlier_run_changes_nothing() -> None:
    core = provided()
    before = core.state
    assert core.see(VnfcFailed(ONE, 0, "killed")) == []
    assert core.state.groups == before.groups


def test_a_message_that_is_repeated_counts_once() -> None:
    core = Core(layouts.registry())
    message = Received(ActionId("vnfm:core/7"), VNFM, VmUp(IncidentId(""), VmName("vm1"), 1))
    assert kinds(core.see(message)) == ["StartVnfc"]
    assert core.see(message) == []


def test_a_failure_of_an_earlier_life_of_the_vm_is_old_news() -> None:
    core = provided()
    core.hear(VmFailed(IncidentId("vim#1"), VmName("vm2"), "died", True, boot=1))
    core.up("vm2", boot=2)
    assert core.hear(VmFailed(IncidentId("vim#1"), VmName("vm2"), "died", True, boot=1)) == []


def test_a_vm_that_failed_may_still_run_so_its_vnfc_is_isolated_before_it_is_succeeded() -> None:
    core = provided()
    actions = core.hear(VmFailed(IncidentId("vim#1"), VmName("vm1"), "error reported", True, boot=1))
    assert "IsolateVnfc" in kinds(actions)
    assert "Activate" not in kinds(actions)


def test_the_isolation_of_a_vm_frees_what_had_failed_in_it() -> None:
    core = provided()
    core.see(VnfcFailed(ONE, 1, "check"))
    after = core.hear(VmIsolated(IncidentId("vim#1"), VmName("vm1"), boot=1))
    assert [action.vnfc for action in after if isinstance(action, Activate)] == [TWO]


def test_the_isolation_of_a_vm_is_no_proof_for_one_that_was_believed_well() -> None:
    core = provided()
    actions = core.hear(VmIsolated(IncidentId("vim#1"), VmName("vm1"), boot=1))
    assert "IsolateVnfc" in kinds(actions)
    assert "Activate" not in kinds(actions)


def test_a_start_names_the_life_of_the_vm_it_is_meant_for() -> None:
    core = Core(layouts.registry())
    assert [action.boot for action in core.up("vm1", boot=3) if isinstance(action, StartVnfc)] == [3]


def test_an_agent_that_finds_the_vm_gone_while_it_cleans_up_confirms_the_isolation() -> None:
    core = provided()
    actions = core.see(VnfcFailed(ONE, 1, "killed"))
    isolation = next(action for action in actions if isinstance(action, IsolateVnfc))
    after = core.see(ActionFailed(isolation.id, "no such VM", vm_gone=True))
    assert [action.vnfc for action in after if isinstance(action, Activate)] == [TWO]
    assert not any(isinstance(action, StartVnfc) for action in core.done(after))


def test_the_number_of_the_successor_is_saved_before_it_is_needed() -> None:
    core = provided()
    reserved = core.state.groups[GROUP].vnfcs[TWO].epoch
    actions = core.see(VnfcFailed(ONE, 1, "killed"))
    after = core.done(actions)
    activation = next(action for action in after if isinstance(action, Activate))
    assert activation.epoch == reserved == 2


def test_a_lost_standby_is_off_the_list_in_the_same_step_in_which_the_loss_is_confirmed() -> None:
    core = provided()
    actions = core.see(StandbyLost(ONE, 1, 1, TWO))
    assert [action.standby for action in actions if isinstance(action, ConfirmLoss)] == [TWO]
    assert core.state.groups[GROUP].services[SERVICE].in_sync == ()


def test_a_standby_is_not_in_sync_by_the_word_of_an_earlier_epoch() -> None:
    core = provided()
    core.see(StandbyLost(ONE, 1, 1, TWO))
    core.see(StandbySynced(ONE, 1, 0, TWO))
    assert core.state.groups[GROUP].services[SERVICE].in_sync == ()


def test_an_active_that_asks_again_is_answered_again() -> None:
    core = provided()
    core.see(StandbyLost(ONE, 1, 1, TWO))
    assert kinds(core.see(StandbyLost(ONE, 1, 1, TWO))) == ["ConfirmLoss"]


def test_without_our_memory_a_vnfc_with_state_waits_for_the_others() -> None:
    core = Core(layouts.registry())
    core.up("vm1")
    core.up("vm2")
    assert kinds(core.see(VnfcReady(ONE, 1, Position(4, 10)))) == ["Refuse"]
    after = core.see(VnfcReady(TWO, 1, Position(4, 12)))
    activation = next(action for action in after if isinstance(action, Activate))
    assert activation.vnfc == TWO
    assert activation.epoch > 4


def test_a_standby_with_state_that_runs_although_we_know_nothing_of_it_is_isolated_first() -> None:
    core = Core(layouts.registry())
    core.up("vm1")
    fact = VnfcFact(ONE, 3, "ready", "standby", 5)
    actions = core.see(AgentJoined(HostName("host1"), (fact,), ()))
    isolation = next(action for action in actions if isinstance(action, IsolateVnfc))
    assert isolation.run == 3
    restart = next(action for action in core.done([isolation]) if isinstance(action, StartVnfc))
    assert restart.run == 4
    assert restart.epoch == 6


def test_an_active_that_serves_although_we_know_nothing_of_it_goes_on() -> None:
    """The store is older than what runs, or was lost: to end what serves would be a failure of our own making."""
    core = Core(layouts.registry())
    core.up("vm1")
    fact = VnfcFact(ONE, 3, "ready", "active", 5, (SERVICE,), in_sync=())
    actions = core.see(AgentJoined(HostName("host1"), (fact,), ()))
    assert not [action for action in actions if isinstance(action, IsolateVnfc | StartVnfc)]
    service = next(iter(core.state.groups.values())).services[SERVICE]
    assert (service.state, service.holder, service.epoch, service.in_sync) == ("provided", ONE, 5, ())
    other = VnfcFact(TWO, 2, "ready", "active", 4, (SERVICE,), in_sync=())
    actions = core.see(AgentJoined(HostName("host2"), (other,), ()))
    assert [action.vnfc for action in actions if isinstance(action, IsolateVnfc)] == [TWO]


def test_one_that_answers_for_a_service_it_does_not_hold_is_isolated() -> None:
    core = provided()
    fact = VnfcFact(TWO, 1, "ready", "active", 0, (SERVICE,))
    assert "IsolateVnfc" in kinds(core.see(AgentJoined(HostName("host2"), (fact,), ())))


def test_a_start_that_became_ready_unheard_is_learnt_when_the_agent_joins() -> None:
    core = Core(layouts.registry())
    core.up("vm1")
    fact = VnfcFact(ONE, 1, "ready", position=Position())
    assert kinds(core.see(AgentJoined(HostName("host1"), (fact,), ()))) == ["Activate"]


def test_an_agent_that_confirms_our_belief_changes_nothing() -> None:
    core = provided()
    active = VnfcFact(ONE, 1, "ready", "active", 1, (SERVICE,), Position(1, 4))
    standby = VnfcFact(TWO, 1, "ready", "standby", 1, (), Position(1, 4))
    assert core.see(AgentJoined(HostName("host1"), (active,), ())) == []
    assert core.see(AgentJoined(HostName("host2"), (standby,), ())) == []


def test_a_vnfc_without_a_vm_is_started_when_its_agent_has_joined() -> None:
    core = Core(layouts.registry_bare())
    assert core.see(ManagerStarted()) == []
    assert kinds(core.see(AgentJoined(HostName("host1"), (), ()))) == ["StartVnfc"]


def test_a_broken_link_is_no_fault() -> None:
    core = provided()
    assert core.see(AgentLost(HostName("host1"))) == []


def test_a_manager_that_starts_again_gives_outstanding_actions_their_time_anew() -> None:
    core = provided()
    core.see(VnfcFailed(ONE, 1, "killed"), now=10.0)
    core.see(ManagerStarted(), now=60.0)
    assert ha_manager.deadline(core.state) == 61.5


def test_a_spare_whose_number_is_used_up_is_started_again_before_it_is_needed() -> None:
    core = Core(layouts.dns())
    core.up("vm1")
    core.up("vm2")
    # The first choice does not come: after a while the other one serves.
    assert kinds(core.see(VnfcReady(VnfcName("dns-2"), 1))) == ["Refuse"]
    activation = core.see(DeadlinePassed(), now=2.0)
    assert [action.epoch for action in activation if isinstance(action, Activate)] == [2]
    core.done(activation)
    actions = core.see(VnfcReady(VnfcName("dns-1"), 1))
    assert kinds(actions) == ["StopVnfc"]
    restart = core.done(actions)
    assert [action.epoch for action in restart if isinstance(action, StartVnfc)] == [3]


def test_one_that_ends_while_it_is_told_to_end_has_not_failed() -> None:
    core = Core(layouts.dns())
    core.up("vm1")
    core.up("vm2")
    core.see(VnfcReady(VnfcName("dns-2"), 1))
    core.done(core.see(DeadlinePassed(), now=2.0))
    stop = core.see(VnfcReady(VnfcName("dns-1"), 1))
    assert isinstance(stop[0], StopVnfc)
    assert core.see(VnfcFailed(VnfcName("dns-1"), 1, "exited")) == []


def test_a_refusal_is_said_once_as_long_as_its_reasons_stand() -> None:
    core = provided()
    core.see(StandbyLost(ONE, 1, 1, TWO))
    after = core.done(core.see(VnfcFailed(ONE, 1, "killed")))
    assert any(isinstance(action, Refuse) for action in after)
    assert not any(isinstance(action, Refuse) for action in core.see(ManagerStarted()))


def test_the_first_choice_is_waited_for_at_the_first_start_only() -> None:
    core = Core(layouts.registry())
    core.see(ManagerStarted())
    core.up("vm1")
    core.up("vm2")
    assert kinds(core.see(VnfcReady(TWO, 1, Position()))) == ["Refuse"]
    activation = core.see(VnfcReady(ONE, 1, Position()))
    assert [action.vnfc for action in activation if isinstance(action, Activate)] == [ONE]
    core.done(core.done(activation))
    assert ha_manager.deadline(core.state) is None


def test_nobody_is_promoted_before_its_agent_was_heard_after_a_restart_of_the_manager() -> None:
    core = provided()
    for host in ("host1", "host2"):
        core.see(AgentLost(HostName(host)))
    core.see(ManagerStarted())
    core.see(VnfcFailed(ONE, 1, "killed"))
    isolated = [action for action in core.last if isinstance(action.action, IsolateVnfc)]
    after = core.done([decision.action for decision in isolated])
    assert "Activate" not in kinds(after)


def test_news_about_vnfcs_of_others_are_not_ours() -> None:
    core = Core(layouts.nginx())
    assert core.state.groups == {}
    assert core.see(VnfcFailed(VnfcName("nginx-1"), 1, "killed")) == []
    assert core.see(VnfcReady(VnfcName("nobody-9"), 1)) == []


def test_reports_go_to_the_vnfm_of_the_vnf() -> None:
    core = provided()
    actions = core.see(VnfcFailed(ONE, 1, "killed"))
    assert {action.to for action in actions if isinstance(action, Send)} == {Party("vnfm:core")}
