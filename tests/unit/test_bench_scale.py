"""The bench of many VNFs: its descriptor, what counts as wrong, and what becomes of the figures."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec import structs

from holdfast.errors import UserError
from holdfast.lab.bench.scale import Cost, Loss, Size, layout_of
from holdfast.lab.bench.scale_chart import PANELS, chart
from holdfast.lab.bench.scale_checks import recovered, repaired
from holdfast.lab.bench.scale_hosts import Given
from holdfast.lab.bench.scale_results import HEAD, ScaleResults, is_reached, markdown
from holdfast.lab.bench.scale_words import IN_ONE_MAX, places, rack, vnf_name
from holdfast.model.actions import Action, Activate, StartVm, StartVnfc
from holdfast.model.names import ActionId, ServiceName, VmName, VnfcName
from tests.unit.scale_stage import host
from tests.unit.test_cli import holdfast

COST = Cost(60.0, 200.0, 100, 50, 400, 90_000)
LOSS = Loss(1, 20, 20, COST, COST, [])
SIZE = Size(1000, 50, 200.0, COST, COST, LOSS, LOSS, 58.0, 60.0, 500_000, 20.0, [])


def test_active_and_standby_are_on_hosts_of_two_racks_and_partners_are_spread(tmp_path: Path) -> None:
    layout = layout_of(600, 50, tmp_path / "scale.yaml")
    partners = {places(number, 50)[1] for number in range(0, 600, 50)}
    assert len(partners) == 12
    assert all(active % 2 != standby % 2 for active, standby in (places(number, 50) for number in range(600)))
    assert {layout.vnfcs[name].host for name in layout.groups["f00007"].vnfcs} == {host(one) for one in places(7, 50)}  # type: ignore[index]
    assert len({one % 2 for one in rack(3, 50)}) == 1


def test_what_is_too_long_for_one_descriptor_is_put_together(tmp_path: Path) -> None:
    layout = layout_of(IN_ONE_MAX + 5, 10, tmp_path / "scale.yaml")
    assert len(layout.services) == IN_ONE_MAX + 5
    assert len(layout.vms) == len(layout.vnfcs) == 2 * len(layout.services)
    assert vnf_name(IN_ONE_MAX + 4) in layout.vnfs


def _given(*actions: Action) -> list[Given]:
    return [Given(float(number), host(1), action) for number, action in enumerate(actions)]  # type: ignore[arg-type]


def _activate(number: int, vnf: int, vnfc: int = 2) -> Activate:
    name = vnf_name(vnf)
    return Activate(ActionId(f"ha/{number}"), VnfcName(f"{name}-{vnfc}"), 1, ServiceName(name), 9)


def test_whatever_is_not_moved_or_moved_in_vain_or_out_of_order_is_wrong(tmp_path: Path) -> None:
    layout = layout_of(12, 4, tmp_path / "scale.yaml")
    before = {ServiceName(vnf_name(number)): VnfcName(f"{vnf_name(number)}-1") for number in range(12)}
    lost = [number for number in range(12) if number % 4 == 0]
    by_sal = sorted(lost, key=lambda number: layout.vnfs[vnf_name(number)].sal)  # type: ignore[index]
    right = [_activate(place, number) for place, number in enumerate(by_sal)]
    assert recovered(layout, [host(0)], before, _given(*right)) == []
    assert len(recovered(layout, [host(0)], before, _given(*right[1:]))) == 1
    assert len(recovered(layout, [host(0)], before, _given(*right, _activate(9, 1)))) == 1
    assert recovered(layout, [host(0)], before, _given(*right, right[0])) == [f"{right[0].service} was given 2 times"]
    assert (
        "came before"
        in recovered(layout, [host(0)], before, _given(StartVm(ActionId("vim/1"), VmName("x"), 2), *right))[0]
    )
    backwards = [_activate(10 - place, number) for place, number in enumerate(by_sal)]
    assert "order of their SALs" in recovered(layout, [host(0)], before, _given(*backwards))[0]


def test_whatever_is_not_repaired_or_started_twice_is_wrong(tmp_path: Path) -> None:
    layout = layout_of(12, 4, tmp_path / "scale.yaml")
    there = sorted(
        (one for one in layout.vnfcs.values() if one.host == host(0)), key=lambda one: layout.vnfs[one.vnf].sal
    )
    actions: list[Action] = [StartVm(ActionId("vim/1"), one.vm, 2) for one in there if one.vm is not None]
    actions += [StartVnfc(ActionId("ha/1"), one.name, 2, 1) for one in there]
    assert repaired(layout, [host(0)], _given(*actions)) == []
    assert repaired(layout, [host(0)], _given(*actions[1:])) == [f"{there[0].vm} was not started again"]
    assert repaired(layout, [host(0)], _given(*actions, actions[-1])) == [f"{there[-1].name} was started 2 times"]
    assert "order of their SALs" in repaired(layout, [host(0)], _given(*reversed(actions)))[0]


@pytest.mark.parametrize(
    ("size", "reached"),
    [
        (SIZE, True),
        (structs.replace(SIZE, wrong=["f00001 was given to nobody"]), False),
        (structs.replace(SIZE, peak_mb=151.0), False),
        (structs.replace(SIZE, one=structs.replace(LOSS, recover=structs.replace(COST, cpu_ms=100.0))), False),
        (structs.replace(SIZE, vnfs=3000, peak_mb=151.0), None),
        (structs.replace(SIZE, hosts=10), None),
    ],
)
def test_what_is_promised_is_promised_for_a_thousand_vnfs_on_fifty_hosts(size: Size, reached: bool | None) -> None:
    assert is_reached(size) is reached


def test_a_size_that_the_file_has_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"
    results = ScaleResults(path)
    results.add(SIZE)
    results.add(structs.replace(SIZE, vnfs=10))
    again = ScaleResults(path)
    assert [one.vnfs for one in again.sizes] == [10, 1000]
    assert again.has(10, 50)
    assert not again.has(10, 40)
    assert json.loads(path.read_text())["rows"][1]["reached"] is True
    assert all(line.count("|") == len(HEAD) + 1 for line in markdown(again).splitlines() if line)
    path.write_text('{"format": 1, "machine": {}, "rows": [{"vnfs": "many"}]}')
    with pytest.raises(UserError, match="holds no results of this measurement"):
        ScaleResults(path)


def test_the_picture_has_each_point_of_each_line() -> None:
    sizes = [structs.replace(SIZE, vnfs=vnfs) for vnfs in (10, 100, 1000)]
    drawn = ElementTree.fromstring(chart(sizes))
    lines = sum(len(panel.lines) for panel in PANELS)
    assert len(drawn.findall(".//{*}circle")) == 3 * lines
    assert len(drawn.findall(".//{*}polyline")) == lines


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--vnfs", "0"), "--vnfs has '0'"),
        (("--vnfs", "10,many"), "--vnfs has 'many'"),
        (("--hosts", "1"), "--hosts has '1'"),
        (("--json", "/nowhere/x.json"), "/nowhere"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    status, _, error = holdfast(tmp_path, "bench", "scale", *words)
    assert status == 2
    assert said in error
