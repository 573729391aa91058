"""A leader that remembers less than has happened: what agents tell, late or of others, is put together."""

from holdfast.model.actions import Activate, IsolateVnfc
from holdfast.model.events import AgentJoined, ManagerStarted, Position, ServiceTaken, VnfcFact
from tests.unit.test_ha_grants import GROUP, H1, H2, H3, ONE, SERVICE, THREE, TWO, only, three_provided


def test_word_of_a_take_over_by_a_run_that_is_over_says_who_served_last() -> None:
    """What the leader before knew of it is lost, and the one that took over was killed and started again since."""
    core = three_provided()
    epoch = core.state.groups[GROUP].services[SERVICE].ordered.successors[0].epoch
    core.see(ManagerStarted(), now=1.0)
    actions = core.see(AgentJoined(H2, (VnfcFact(TWO, 2, "ready", position=Position(epoch, 5)),), ()), now=1.0)
    actions += core.see(ServiceTaken(TWO, 1, SERVICE, epoch, (THREE,)), now=1.0)
    service = core.state.groups[GROUP].services[SERVICE]
    assert (service.last, service.epoch, service.state, service.in_sync) == (TWO, epoch, "interrupted", (THREE,))
    isolations = [action for action in actions if isinstance(action, IsolateVnfc)]
    assert [action.vnfc for action in isolations] == [TWO, ONE]
    actions += core.see(AgentJoined(H1, (VnfcFact(ONE, 1, "ready", "standby", epoch),), ()), now=1.0)
    actions += core.see(AgentJoined(H3, (VnfcFact(THREE, 1, "ready", "standby", epoch),), ()), now=1.0)
    assert only(actions, Activate) == []
    given = [action for action in core.done(list(isolations)) if isinstance(action, Activate)]
    assert [(one.vnfc, one.epoch > epoch) for one in given] == [(THREE, True)]


def test_a_holder_that_is_a_standby_by_now_has_been_succeeded_whoever_that_was() -> None:
    core = three_provided()
    epoch = core.state.groups[GROUP].services[SERVICE].ordered.successors[0].epoch
    core.see(ManagerStarted(), now=1.0)
    actions = core.see(AgentJoined(H1, (VnfcFact(ONE, 1, "ready", "standby", epoch),), ()), now=1.0)
    service = core.state.groups[GROUP].services[SERVICE]
    assert (service.holder, service.state, service.behind) == (None, "held", True)
    actions += core.see(AgentJoined(H3, (VnfcFact(THREE, 1, "ready", "standby", epoch),), ()), now=1.0)
    assert only(actions, Activate) + only(actions, IsolateVnfc) == []
    two = VnfcFact(TWO, 1, "ready", "active", epoch, (SERVICE,), in_sync=(ONE, THREE))
    actions += core.see(AgentJoined(H2, (two,), ()), now=1.1)
    service = core.state.groups[GROUP].services[SERVICE]
    assert (service.holder, service.epoch, service.state) == (TWO, epoch, "provided")
    assert only(actions, Activate) + only(actions, IsolateVnfc) == []
