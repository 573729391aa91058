"""Many VNFs: who moves and in which order, repairs behind recoveries and a few at a time, nothing dropped, work that
grows with what has failed and not with what there is. Counted in steps and parts, never in time."""

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from holdfast.lab.bench.scale_checks import recovered, repaired
from holdfast.lab.bench.scale_words import rack, sal_of
from holdfast.model.actions import Action, Activate, FenceHost, RememberEpochs, StandBy, StartVm, StartVnfc
from holdfast.model.events import VnfcFailed
from holdfast.model.limits import REPAIRS_AT_ONCE
from holdfast.model.names import HA, HostName, ServiceName, VmName, VnfcName
from tests.unit.scale_stage import Stage, host, layout_of

VNFS, HOSTS = 80, 8


def begun(folder: Path, vnfs: int = VNFS, hosts: int = HOSTS) -> Stage:
    stage = Stage(layout_of(folder, vnfs, hosts))
    stage.begin()
    stage.wait(3.0)  # At the very first start a service waits for the one named first.
    assert len(stage.actives()) == len(stage.standbys()) == vnfs
    return stage


def power_waits(action: Action) -> bool:
    return isinstance(action, FenceHost)


def test_the_loss_of_a_host_moves_its_services_once_in_the_order_of_their_sals_and_touches_no_other(
    tmp_path: Path,
) -> None:
    stage = begun(tmp_path)
    before, mark = stage.actives(), len(stage.given)
    stage.waits, stage.groups_changed = power_waits, Counter()
    stage.lose([host(0)])
    stage.settle()
    there = {vnfc.group for vnfc in stage.layout.vnfcs.values() if vnfc.host == host(0)}
    assert recovered(stage.layout, [host(0)], before, stage.since(mark)) == []
    assert len(stage.actives()) == VNFS
    assert set(stage.groups_changed) == there
    sals = [sal_of(int(one.action.service[1:])) for one in stage.since(mark) if isinstance(one.action, Activate)]
    assert sals == sorted(sals)
    assert set(sals) == {1, 2, 3}


def test_in_a_storm_every_service_comes_back_first_and_then_everything_is_repaired(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    lost = [host(number) for number in rack(0, HOSTS)[:3]]
    before, mark = stage.actives(), len(stage.given)
    stage.waits = power_waits
    stage.lose(lost)
    stage.settle()
    assert recovered(stage.layout, lost, before, stage.since(mark)) == []
    mark = len(stage.given)
    stage.waits = lambda action: False
    stage.answer()
    stage.settle()
    assert repaired(stage.layout, lost, stage.since(mark)) == []
    assert len(stage.standbys()) == VNFS
    assert stage.states[HA].waiting == {}


def test_a_host_starts_a_few_vms_and_components_at_a_time_the_better_ones_first(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    stage.waits = lambda action: isinstance(action, FenceHost | StartVm | StartVnfc)
    stage.lose([host(0)])
    stage.settle()
    mark = len(stage.given)
    begun_at_once: list[int] = []
    for _ in range(200):
        if not stage.unanswered:
            break
        under_way = [one for one in stage.unanswered if isinstance(one, StartVm)]
        starting = [one for one in stage.unanswered if isinstance(one, StartVnfc)]
        begun_at_once += [len(under_way), len(starting)]
        first = stage.unanswered[:1]
        stage.unanswered, rest = first, stage.unanswered[1:]
        stage.answer()
        stage.unanswered += rest
        stage.settle()
    assert max(begun_at_once) == REPAIRS_AT_ONCE
    assert repaired(stage.layout, [host(0)], stage.since(mark)) == []
    assert len(stage.standbys()) == VNFS


def _pair(stage: Stage) -> tuple[ServiceName, VnfcName, VnfcName]:
    """A service with its active, and a standby of another VNF."""
    (service, active), (_, other) = list(stage.actives().items())[:2]
    group = stage.layout.vnfcs[other].group
    return service, active, next(name for name in stage.layout.groups[group].vnfcs if name != other)


def test_a_repair_waits_while_a_service_is_being_taken_over(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    _, active, standby = _pair(stage)
    stage.waits = lambda action: isinstance(action, Activate)
    for name in (active, standby):
        run = stage.components.pop(name).run
        stage.tell(VnfcFailed(name, run, "killed"))
    mark = len(stage.given)
    stage.settle()
    assert [one.action.vnfc for one in stage.since(mark) if isinstance(one.action, StartVnfc)] == []
    assert standby in stage.states[HA].waiting
    stage.waits = lambda action: False
    stage.answer()
    stage.settle()
    started = [one.action.vnfc for one in stage.since(mark) if isinstance(one.action, StartVnfc)]
    assert sorted(started) == sorted((active, standby))
    assert stage.states[HA].waiting == stage.states[HA].recovering == {}


def _written(stage: Stage, vnfcs: list[VnfcName]) -> int:
    before = stage.parts_written
    for name in vnfcs:
        run = stage.components.pop(name).run
        stage.tell(VnfcFailed(name, run, "killed"))
        stage.settle()
    return stage.parts_written - before


def test_a_failover_writes_as_much_among_many_as_among_few(tmp_path: Path) -> None:
    few, many = (begun(tmp_path, vnfs) for vnfs in (24, 240))
    written = [_written(stage, list(stage.actives().values())[:3]) for stage in (few, many)]
    assert written[0] == written[1]
    assert written[0] > 0


@pytest.mark.parametrize("vnfs", [80, 240])
def test_what_the_loss_of_a_host_writes_grows_with_what_was_there(tmp_path: Path, vnfs: int) -> None:
    stage = begun(tmp_path, vnfs)
    stage.waits, before = power_waits, stage.parts_written
    on_host = sum(vnfc.host == host(1) for vnfc in stage.layout.vnfcs.values())
    stage.lose([host(1)])
    stage.settle()
    assert (stage.parts_written - before) / on_host == pytest.approx(22, rel=0.5)


def test_a_host_that_has_not_answered_is_told_of_all_newer_epochs_at_once(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    slow = host(2)
    stage.waits = lambda action: isinstance(action, RememberEpochs) and action.host == slow
    victims = [name for name in stage.actives().values() if stage.layout.vnfcs[name].host not in (slow, host(1))][:4]
    mark = len(stage.given)
    _written(stage, victims)
    told = [one.action for one in stage.since(mark) if isinstance(one.action, RememberEpochs) and one.host == slow]
    assert [len(one.epochs) for one in told] == [1]
    stage.waits = lambda action: False
    stage.answer()
    stage.settle()
    told = [one.action for one in stage.since(mark) if isinstance(one.action, RememberEpochs) and one.host == slow]
    known = {service for one in told for service in one.epochs}
    assert len(told) == 2
    assert known == {stage.layout.groups[stage.layout.vnfcs[name].group].services[0] for name in victims}
    assert stage.states[HA].fresh == stage.states[HA].telling == {}


def test_standbys_follow_again_after_the_storm(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    lost: list[HostName] = [host(number) for number in rack(1, HOSTS)[:3]]
    mark = len(stage.given)
    stage.lose(lost)
    stage.settle()
    vms: list[VmName] = [one.action.vm for one in stage.since(mark) if isinstance(one.action, StartVm)]
    assert len(vms) == len(set(vms)) == sum(vm.host in lost for vm in stage.layout.vms.values())
    followers = Counter(one.action.vnfc for one in stage.since(mark) if isinstance(one.action, StandBy))
    assert set(followers) >= {vnfc.name for vnfc in stage.layout.vnfcs.values() if vnfc.host in lost}


def test_a_manager_that_begins_goes_on_with_what_waits_and_with_nothing_that_is_gone(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    _, active, standby = _pair(stage)
    stage.waits = lambda action: isinstance(action, Activate)
    for name in (active, standby):
        run = stage.components.pop(name).run
        stage.tell(VnfcFailed(name, run, "killed"))
    stage.settle()
    before = stage.states[HA]
    stale = msgspec.structs.replace(before, recovering={**before.recovering, VnfcName("gone-1"): None})
    stage.states[HA] = msgspec.msgpack.decode(msgspec.msgpack.encode(stale), type=type(before))
    stage.begin_again()
    assert set(stage.states[HA].recovering) == set(before.recovering)
    stage.waits = lambda action: False
    stage.answer()
    stage.settle()
    assert len(stage.standbys()) == VNFS
    assert stage.states[HA].recovering == stage.states[HA].waiting == {}
