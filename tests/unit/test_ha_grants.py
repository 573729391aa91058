"""The HA manager where agents hold grants: failed hosts, standing orders, successors that took over by themselves."""

import msgspec
from msgspec.structs import replace

from holdfast.core import ha_manager
from holdfast.core.ha_state import State
from holdfast.model.actions import (
    Action,
    Activate,
    ConfirmLoss,
    IsolateVnfc,
    NoteService,
    OpenIncident,
    Quiesce,
    Refuse,
    RememberEpochs,
    StandBy,
    StandingOrder,
    StartVnfc,
    Successor,
)
from holdfast.model.events import (
    AgentJoined,
    AgentLost,
    HostFailed,
    HostReturned,
    ManagerStarted,
    Position,
    Received,
    ServiceTaken,
    StandbyLost,
    StandbySynced,
    SwitchoverAsked,
    VnfcFact,
    VnfcFailed,
    VnfcReady,
)
from holdfast.model.layout import Layout
from holdfast.model.messages import HostsAre
from holdfast.model.names import VIM, ActionId, GroupName, HostName, IncidentId, ServiceName, VnfcName, VnfName
from tests.scripts import layouts
from tests.unit.test_ha_manager import Core, kinds

GROUP, SERVICE = GroupName("registry"), ServiceName("registry")
ONE, TWO, THREE = (VnfcName(f"registry-{number}") for number in (1, 2, 3))
H1, H2, H3 = (HostName(f"host{number}") for number in (1, 2, 3))
WITNESS = HostName("witness")
VNF = VnfName("registry")


def provided(layout: Layout | None = None) -> tuple[Core, list[Action]]:
    """registry-1 on host1 is active, registry-2 on host2 in sync; and the actions of the last step."""
    core = Core(layout or layouts.granted(layouts.registry()))
    core.see(ManagerStarted())
    core.see(AgentJoined(H1, (), ()))
    core.see(AgentJoined(H2, (), ()))
    core.up("vm1")
    core.up("vm2")
    activation = core.see(VnfcReady(ONE, 1, Position()))
    core.see(VnfcReady(TWO, 1, Position()))
    core.done(core.done(activation))
    epoch = core.state.groups[GROUP].services[SERVICE].epoch
    return core, core.see(StandbySynced(ONE, 1, epoch, TWO))


def only(actions: list[Action], kind: type[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


def test_the_successor_is_named_to_every_host_as_soon_as_it_is_in_sync() -> None:
    core, actions = provided()
    orders = [action for action in actions if isinstance(action, StandingOrder)]
    assert [order.host for order in orders] == [H1, H2]
    assert [one.vnfc for one in orders[0].successors] == [TWO]
    assert orders[0].successors[0].epoch > orders[0].epoch
    assert core.state.groups[GROUP].services[SERVICE].ordered.successors == orders[1].successors


def test_without_grants_nothing_is_ordered_ahead() -> None:
    core = Core(layouts.registry())
    core.see(ManagerStarted())
    core.up("vm1")
    core.up("vm2")
    activation = core.see(VnfcReady(ONE, 1, Position()))
    core.see(VnfcReady(TWO, 1, Position()))
    core.done(core.done(activation))
    assert only(core.see(StandbySynced(ONE, 1, 1, TWO)), StandingOrder) == []


def test_a_failed_host_is_succeeded_at_once_because_its_grant_ends_first() -> None:
    core, _ = provided()
    actions = core.see(HostFailed(H1, H2, "silent for 40 ms"), now=1.0)
    assert [action.vnfc for action in actions if isinstance(action, Activate)] == [TWO]
    activation = next(choice for choice in core.last if isinstance(choice.action, Activate))
    assert "grant-ends" in {reason.code for reason in activation.reasons}
    assert [action.vnfc for action in actions if isinstance(action, IsolateVnfc)] == [ONE]


def test_cleaning_up_on_a_failed_host_waits_for_the_host() -> None:
    core, _ = provided()
    core.done(only(core.see(HostFailed(H1, H2), now=1.0), Activate))
    late = core.see(ha_deadline(core), now=60.0)
    assert only(late, OpenIncident) == []
    isolation = next(action for action in ha_manager.outstanding(core.state) if isinstance(action, IsolateVnfc))
    core.see(HostReturned(H1, H2), now=61.0)
    core.see(AgentJoined(H1, (VnfcFact(ONE, 1, "ready"),), ()), now=61.0)
    assert [action.vnfc for action in core.done([isolation]) if isinstance(action, StartVnfc)] == [ONE]


def test_a_new_manager_leaves_the_service_to_the_first_successor_until_its_agent_has_told() -> None:
    """The leader was on the host that failed; of the two successors the agent of the second one joins first."""
    core = three_provided()
    order = core.state.groups[GROUP].services[SERVICE].ordered
    facts = {H2: VnfcFact(TWO, 1, "ready", "standby"), H3: VnfcFact(THREE, 1, "ready", "standby")}
    core.see(ManagerStarted(), now=1.0)
    core.see(AgentJoined(H3, (facts[H3],), ()), now=1.0)
    assert only(core.see(HostFailed(H1, H3), now=1.0), Activate) == []
    said = [choice for choice in core.last if isinstance(choice.action, Refuse)]
    assert [(one.code, one.about) for one in said[-1].reasons if one.code == "heir-unheard"] == [("heir-unheard", TWO)]
    core.see(AgentJoined(H2, (replace(facts[H2], role="active", epoch=order.successors[0].epoch),), ()), now=1.1)
    actions = core.see(ServiceTaken(TWO, 1, SERVICE, order.successors[0].epoch, (THREE,)), now=1.1)
    assert only(actions, IsolateVnfc) == []
    assert core.state.groups[GROUP].services[SERVICE].holder == TWO


def test_a_new_manager_does_not_wait_for_a_successor_whose_host_has_failed_too() -> None:
    core = three_provided()
    core.see(ManagerStarted(), now=1.0)
    core.see(AgentJoined(H3, (VnfcFact(THREE, 1, "ready", "standby"),), ()), now=1.0)
    isolation = core.see(AgentJoined(H1, (VnfcFact(ONE, 1, "absent"),), ()), now=1.0)
    assert only(core.done(only(isolation, IsolateVnfc)), Activate) == []
    actions = core.see(HostFailed(H2, H3), now=1.1)
    assert [action.vnfc for action in actions if isinstance(action, Activate)] == [THREE]


def ha_deadline(core: Core) -> ManagerStarted:
    assert core.state.failed_hosts
    return ManagerStarted()


def test_a_successor_that_took_over_by_itself_is_the_holder() -> None:
    core, orders = provided()
    order = next(action for action in orders if isinstance(action, StandingOrder))
    taken = order.successors[0]
    actions = core.see(ServiceTaken(TWO, 1, SERVICE, taken.epoch), now=1.0)
    service = core.state.groups[GROUP].services[SERVICE]
    assert (service.holder, service.epoch, service.state) == (TWO, taken.epoch, "provided")
    assert "Activate" not in kinds(actions)
    assert [action.vnfc for action in actions if isinstance(action, IsolateVnfc)] == [ONE]


def test_word_of_a_take_over_that_is_known_already_changes_nothing() -> None:
    core, orders = provided()
    order = next(action for action in orders if isinstance(action, StandingOrder))
    taken = ServiceTaken(TWO, 1, SERVICE, order.successors[0].epoch)
    core.see(taken, now=1.0)
    assert core.see(taken, now=2.0) == []


def test_word_of_a_take_over_by_one_that_is_gone_since_gives_nobody_the_service() -> None:
    core, orders = provided()
    order = next(action for action in orders if isinstance(action, StandingOrder))
    taken = ServiceTaken(TWO, 1, SERVICE, order.successors[0].epoch)
    core.see(taken, now=1.0)
    actions = core.see(VnfcFailed(TWO, 1, "killed"), now=1.1)
    core.see(taken, now=1.2)  # Told again, as nobody had said that it was heard.
    assert core.state.groups[GROUP].services[SERVICE].state == "interrupted"
    core.done([action for action in actions if isinstance(action, IsolateVnfc)])
    core.see(taken, now=1.3)
    service = core.state.groups[GROUP].services[SERVICE]
    assert (service.holder, service.state) == (None, "held")
    assert service.last == TWO, "it holds the newest state"


def test_the_managers_own_take_over_and_the_standing_one_are_the_same() -> None:
    core, orders = provided()
    order = next(action for action in orders if isinstance(action, StandingOrder))
    actions = core.see(HostFailed(H1, H2), now=1.0)
    activation = next(action for action in actions if isinstance(action, Activate))
    assert activation.epoch == order.successors[0].epoch
    core.see(ServiceTaken(TWO, 1, SERVICE, activation.epoch), now=1.1)
    assert [action for action in core.done([activation]) if isinstance(action, NoteService)] == []


def given_past_an_heir() -> tuple[Core, Successor, Activate]:
    """registry-3 is given the service after registry-2, the first heir, was lost as a standby; nothing is answered."""
    core = three_provided()
    service = core.state.groups[GROUP].services[SERVICE]
    core.see(StandbyLost(ONE, 1, service.epoch, TWO), now=1.0)
    isolation = only(core.see(VnfcFailed(ONE, 1, "killed", ""), now=1.1), IsolateVnfc)
    activation = next(action for action in core.done(isolation) if isinstance(action, Activate))
    assert activation.vnfc == THREE
    assert activation.epoch > service.ordered.successors[0].epoch
    return core, service.ordered.successors[0], activation


def test_an_heir_that_was_quicker_than_the_managers_choice_keeps_the_service() -> None:
    for is_joining in (False, True):
        core, heir, activation = given_past_an_heir()
        fact = VnfcFact(TWO, 1, "ready", "active", heir.epoch, (SERVICE,), None, "", (THREE,))
        word = AgentJoined(H2, (fact,), ()) if is_joining else ServiceTaken(TWO, 1, SERVICE, heir.epoch, (THREE,))
        actions = core.see(word, now=1.2)
        service = core.state.groups[GROUP].services[SERVICE]
        assert (service.holder, service.epoch, service.state) == (TWO, heir.epoch, "provided")
        stopped = [action.vnfc for action in actions if isinstance(action, IsolateVnfc)]
        assert stopped == [THREE], "it may be claiming the service yet"
        assert activation not in ha_manager.outstanding(core.state)
        assert service.sealed >= activation.epoch, "voters may know the number that was given out"


def test_an_heir_that_was_quicker_and_has_failed_since_stops_nobody() -> None:
    core, heir, activation = given_past_an_heir()
    core.see(VnfcFailed(TWO, 1, "killed", ""), now=1.2)
    assert core.see(ServiceTaken(TWO, 1, SERVICE, heir.epoch, (THREE,)), now=1.3) == []
    assert activation in ha_manager.outstanding(core.state)


def test_word_of_an_heir_counts_no_more_once_a_newer_epoch_is_provided() -> None:
    core, heir, activation = given_past_an_heir()
    core.done([activation])
    core.see(ServiceTaken(TWO, 1, SERVICE, heir.epoch, (THREE,)), now=1.2)
    service = core.state.groups[GROUP].services[SERVICE]
    assert (service.holder, service.epoch, service.state) == (THREE, activation.epoch, "provided")


def test_a_take_over_that_was_missed_is_learned_when_the_agent_joins() -> None:
    core, orders = provided()
    order = next(action for action in orders if isinstance(action, StandingOrder))
    epoch = order.successors[0].epoch
    core.see(ManagerStarted(), now=5.0)
    core.see(AgentJoined(H2, (VnfcFact(TWO, 1, "ready", "active", epoch, (SERVICE,)),), ()), now=5.1)
    service = core.state.groups[GROUP].services[SERVICE]
    assert (service.holder, service.epoch) == (TWO, epoch)


def three_provided() -> Core:
    """registry-1 is active, registry-2 and registry-3 in sync, in this order; every order is acknowledged."""
    core = Core(layouts.registry_granted_three())
    core.see(ManagerStarted())
    for host in (H1, H2, H3):
        core.see(AgentJoined(host, (), ()))
    for vm in ("vm1", "vm2", "vm3"):
        core.up(vm)
    activation = core.see(VnfcReady(ONE, 1, Position()))
    core.see(VnfcReady(TWO, 1, Position()))
    core.see(VnfcReady(THREE, 1, Position()))
    core.done(core.done(activation))
    epoch = core.state.groups[GROUP].services[SERVICE].epoch
    core.see(StandbySynced(ONE, 1, epoch, TWO))
    core.see(StandbySynced(ONE, 1, epoch, THREE))
    core.done([one for one in ha_manager.outstanding(core.state) if isinstance(one, StandingOrder)])
    return core


def test_a_holder_lets_go_to_the_one_that_was_named_only_when_all_know_that_it_is_next() -> None:
    core = three_provided()
    actions = core.see(SwitchoverAsked(VNF, None, THREE), now=1.0)
    orders = [action for action in actions if isinstance(action, StandingOrder)]
    assert [one.vnfc for one in orders[0].successors] == [THREE, TWO]
    assert {order.host for order in orders} == {H1, H2, H3}
    assert only(core.done(orders[:2]), Quiesce) == []
    assert [action.vnfc for action in core.done(orders[2:]) if isinstance(action, Quiesce)] == [ONE]


def test_to_the_next_one_it_lets_go_at_once() -> None:
    actions = three_provided().see(SwitchoverAsked(VNF), now=1.0)
    assert [action.vnfc for action in actions if isinstance(action, Quiesce)] == [ONE]


def test_a_successor_that_speaks_first_has_not_robbed_a_holder_that_was_told_to_let_go() -> None:
    core = three_provided()
    core.see(SwitchoverAsked(VNF), now=1.0)
    epoch = core.state.groups[GROUP].services[SERVICE].ordered.successors[0].epoch
    actions = core.see(ServiceTaken(TWO, 1, SERVICE, epoch), now=1.1)
    assert only(actions, IsolateVnfc) == only(actions, OpenIncident) == []
    assert [action.vnfc for action in actions if isinstance(action, StandBy)] == [ONE, THREE]


def test_a_successor_that_leaves_the_holder_that_lets_go_is_no_loss() -> None:
    core = three_provided()
    core.done([one for one in core.see(SwitchoverAsked(VNF, None, THREE), now=1.0) if isinstance(one, StandingOrder)])
    epoch = core.state.groups[GROUP].services[SERVICE].epoch
    assert core.see(StandbyLost(ONE, 1, epoch, THREE), now=1.1) == []
    quiesce = [one for one in ha_manager.outstanding(core.state) if isinstance(one, Quiesce)]
    assert [one.vnfc for one in core.done(quiesce) if isinstance(one, Activate)] == [THREE]


def test_a_lost_standby_is_sealed_out_before_updates_go_on_without_it() -> None:
    core, orders = provided()
    order = next(action for action in orders if isinstance(action, StandingOrder))
    epoch = core.state.groups[GROUP].services[SERVICE].epoch
    actions = core.see(StandbyLost(ONE, 1, epoch, TWO), now=1.0)
    confirm = next(action for action in actions if isinstance(action, ConfirmLoss))
    assert confirm.seal > order.successors[0].epoch
    revoked = [action for action in actions if isinstance(action, StandingOrder)]
    assert [one.successors for one in revoked] == [(), ()]


def test_a_failed_component_on_a_living_host_is_isolated_first_as_ever() -> None:
    core, _ = provided()
    actions = core.see(VnfcFailed(ONE, 1, "killed"), now=1.0)
    assert "Activate" not in kinds(actions)
    assert "IsolateVnfc" in kinds(actions)


def test_the_state_with_standing_orders_survives_being_written_and_read() -> None:
    core, _ = provided()
    core.see(HostFailed(H1, H2), now=1.0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(core.state), type=State) == core.state


def both_failed() -> Core:
    """registry-2 is out of sync and fails on its host; then the active fails too, and is ready again."""
    core, _ = provided()
    epoch = core.state.groups[GROUP].services[SERVICE].epoch
    core.see(StandbyLost(ONE, 1, epoch, TWO), now=1.0)
    isolation = only(core.see(VnfcFailed(ONE, 1, "exited", ""), now=1.1), IsolateVnfc)
    started = core.done(isolation)
    assert [action.vnfc for action in started if isinstance(action, StartVnfc)] == [ONE]
    return core


def ready_again(core: Core) -> list[Action]:
    return core.see(VnfcReady(ONE, 2, Position(1, 5)), now=1.3)


def test_one_that_is_no_heir_waits_until_every_heir_is_known_not_to_have_taken_over() -> None:
    core = both_failed()
    actions = ready_again(core)
    assert only(actions, Activate) == []
    orders = [action for action in actions if isinstance(action, StandingOrder)]
    assert {order.successors for order in orders} <= {()}
    held = [choice for choice in core.last if isinstance(choice.action, Refuse)]
    assert "heir-unheard" in {reason.code for choice in held for reason in choice.reasons}


def test_the_order_is_revoked_and_then_it_may_take_over() -> None:
    core = both_failed()
    ready_again(core)
    pending = [action for action in ha_manager.outstanding(core.state) if isinstance(action, StandingOrder)]
    actions = core.done([action for action in pending if action.host == H2])
    assert [action.vnfc for action in actions if isinstance(action, Activate)] == [ONE]


def test_the_heir_that_did_take_over_unheard_keeps_the_service() -> None:
    core = both_failed()
    heir = core.state.groups[GROUP].services[SERVICE].heirs[0]
    ready_again(core)
    actions = core.see(ServiceTaken(TWO, 1, SERVICE, heir.epoch), now=1.4)
    assert only(actions, Activate) == []
    service = core.state.groups[GROUP].services[SERVICE]
    assert (service.holder, service.state) == (TWO, "provided")
    assert ONE not in {one.vnfc for one in service.heirs}


def test_a_sealed_loss_leaves_no_heir() -> None:
    core, _ = provided()
    epoch = core.state.groups[GROUP].services[SERVICE].epoch
    confirmations = only(core.see(StandbyLost(ONE, 1, epoch, TWO), now=1.0), ConfirmLoss)
    assert core.state.groups[GROUP].services[SERVICE].heirs != ()
    core.done(confirmations)
    assert core.state.groups[GROUP].services[SERVICE].heirs == ()


def told(core: Core, number: int, members: tuple[HostName, ...], locked: tuple[HostName, ...] = ()) -> list[Action]:
    """What the VIM says of hosts."""
    message = HostsAre(IncidentId(""), number, members, locked)
    return core.see(Received(ActionId(f"vim/{number}"), VIM, message), now=2.0)


def test_an_heir_whose_host_a_person_has_given_up_is_waited_for_no_longer() -> None:
    core = both_failed()
    assert only(ready_again(core), Activate) == []
    core.see(HostFailed(H2, H1), now=1.5)
    actions = told(core, 1, (H1, WITNESS), (H2,))
    assert [action.vnfc for action in actions if isinstance(action, Activate)] == [ONE]


def test_an_heir_that_starts_again_tells_by_what_it_holds_whether_it_can_have_taken_over() -> None:
    for is_later, heirs in ((0, []), (1, [TWO])):
        core, _ = provided()
        isolation = only(core.see(VnfcFailed(TWO, 1, "killed", ""), now=1.0), IsolateVnfc)
        started = core.done(isolation)
        assert [action.vnfc for action in started if isinstance(action, StartVnfc)] == [TWO]
        reserved = core.state.groups[GROUP].services[SERVICE].heirs[0].epoch
        core.see(VnfcReady(TWO, 2, Position(reserved - 1 + is_later, 5)), now=1.1)
        assert [one.vnfc for one in core.state.groups[GROUP].services[SERVICE].heirs] == heirs


def test_an_heir_that_starts_again_with_what_it_acknowledged_gets_the_service_back() -> None:
    core, _ = provided()
    core.done(only(core.see(VnfcFailed(TWO, 1, "killed", ""), now=1.0), IsolateVnfc))
    reserved = core.state.groups[GROUP].services[SERVICE].heirs[0].epoch
    actions = core.see(VnfcReady(TWO, 2, Position(reserved, 5)), now=1.1)
    assert only(actions, StandBy) == []
    assert [action.vnfc for action in actions if isinstance(action, IsolateVnfc)] == [ONE]
    given = core.done(only(actions, IsolateVnfc))
    assert [action.vnfc for action in given if isinstance(action, Activate)] == [TWO]


def test_an_heir_on_another_host_is_waited_for_all_the_same() -> None:
    core = both_failed()
    ready_again(core)
    assert only(told(core, 1, (H1, H2), (WITNESS,)), Activate) == []


def test_no_role_is_given_that_no_majority_can_agree_to_and_it_is_as_soon_as_one_can() -> None:
    core, _ = provided()
    core.see(HostFailed(WITNESS, H2), now=0.9)
    actions = core.see(HostFailed(H1, H2), now=1.0)
    assert only(actions, Activate) == []
    held = [choice for choice in core.last if isinstance(choice.action, NoteService) and choice.action.state == "held"]
    assert "no-majority" in {reason.code for choice in held for reason in choice.reasons}
    activations = only(told(core, 1, (H2,)), Activate)
    assert [action.vnfc for action in activations if isinstance(action, Activate)] == [TWO]


def test_a_voter_that_is_heard_again_is_a_reason_to_look_again() -> None:
    core, _ = provided()
    core.see(HostFailed(WITNESS, H2), now=0.9)
    assert only(core.see(HostFailed(H1, H2), now=1.0), Activate) == []
    assert len(only(core.see(HostReturned(WITNESS, H2), now=1.1), Activate)) == 1


def test_news_of_hosts_that_were_overtaken_count_for_nothing() -> None:
    core, _ = provided()
    told(core, 2, (H1, H2))
    told(core, 1, (H2,))
    assert core.state.hosts is not None
    assert core.state.hosts.members == (H1, H2)


def test_every_voter_is_told_what_is_over_and_one_that_joins_all_of_it() -> None:
    core, _ = provided()
    epoch = core.state.groups[GROUP].services[SERVICE].epoch
    assert core.state.groups[GROUP].services[SERVICE].recorded == epoch
    actions = core.see(AgentJoined(WITNESS, (), ()), now=1.0)
    assert [(one.host, one.epochs) for one in actions if isinstance(one, RememberEpochs)] == [
        (WITNESS, {SERVICE: epoch})
    ]


def test_what_is_only_reserved_is_told_to_nobody() -> None:
    core, _ = provided()
    epoch = core.state.groups[GROUP].services[SERVICE].epoch
    confirm = only(core.see(StandbyLost(ONE, 1, epoch, TWO), now=1.0), ConfirmLoss)
    assert core.state.groups[GROUP].services[SERVICE].recorded == epoch
    assert isinstance(confirm[0], ConfirmLoss)
    actions = core.done(confirm)
    assert core.state.groups[GROUP].services[SERVICE].recorded == confirm[0].seal
    assert {one.epochs[SERVICE] for one in actions if isinstance(one, RememberEpochs)} == {confirm[0].seal}


def test_a_host_that_is_cut_off_again_and_again_counts_against_neither_component_nor_vm() -> None:
    layout = layouts.granted(layouts.registry())
    alone = replace(layout, vnfs={name: replace(vnf, report=False) for name, vnf in layout.vnfs.items()})
    core, orders = provided(alone)
    order = next(action for action in orders if isinstance(action, StandingOrder))
    core.see(HostFailed(H1, H2), now=1.0)
    assert only(core.see(ServiceTaken(TWO, 1, SERVICE, order.successors[0].epoch), now=1.1), OpenIncident) == []
    assert all(vm.failures.failures == 0 for vm in core.state.vms.values())
    counted, _ = provided(alone)
    counted.see(VnfcFailed(ONE, 1, "killed"), now=1.0)
    assert [vm.failures.failures for vm in counted.state.vms.values()] == [1, 0]


def test_a_holder_whose_host_cannot_be_reached_was_cut_off_for_all_that_is_known() -> None:
    causes = {}
    for is_lost in (True, False):
        core, orders = provided()
        order = next(action for action in orders if isinstance(action, StandingOrder))
        if is_lost:
            core.see(AgentLost(H1), now=1.0)
        opened = only(core.see(ServiceTaken(TWO, 1, SERVICE, order.successors[0].epoch), now=1.1), OpenIncident)
        causes[is_lost] = [action.cause for action in opened if isinstance(action, OpenIncident)]
    assert causes == {True: ["host"], False: ["lost"]}
