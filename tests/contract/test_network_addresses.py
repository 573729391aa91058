"""The contract of a zone, kept by the real one and by the simulated one."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.drivers import addresses
from holdfast.drivers.namespaces import inside
from holdfast.drivers.zone import Zone
from holdfast.errors import UserError, WorldError
from holdfast.runtime.premises import Zone as Place
from holdfast.runtime.premises_here import ZoneHere
from tests.contract.network import V4, V6, Family, SmallNetwork, namespace
from tests.contract.places import Simulated

both_families = pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
OWN = frozenset({V4.own(11), V6.own(11)})


both_drivers = pytest.mark.parametrize(
    "kind", [pytest.param("real", marks=pytest.mark.namespaces), "simulated"], indirect=True
)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(kind: str, tmp_path: Path) -> Iterator[Place]:
    if kind == "simulated":
        bridge = Simulated(tmp_path).premises.bridge("hf0")
        bridge.make(OWN)
        yield bridge.zone()
        return
    with ExitStack() as stack:
        yield ZoneHere(SmallNetwork(stack).a.zone)


@pytest.fixture
def nowhere(kind: str, tmp_path: Path) -> Iterator[Place]:
    """A zone whose interface `gone0` is not there."""
    if kind == "simulated":
        yield Simulated(tmp_path).premises.bridge("gone0").zone()
        return
    with ExitStack() as stack:
        yield ZoneHere(stack.enter_context(Zone.open(namespace(stack), "gone0")))


@both_drivers
@both_families
def test_assigned_address_is_held_beside_the_own_ones(place: Place, family: Family) -> None:
    place.assign(family.vip)
    assert place.held() == OWN | {family.vip}
    assert place.holds(family.vip)


@both_drivers
@both_families
def test_assigning_again_changes_nothing(place: Place, family: Family) -> None:
    place.assign(family.vip)
    place.assign(family.vip)
    assert place.held() == OWN | {family.vip}


@both_drivers
@both_families
def test_withdrawing_leaves_only_the_own_addresses(place: Place, family: Family) -> None:
    place.assign(family.vip)
    place.withdraw(family.vip)
    assert place.held() == OWN
    assert not place.holds(family.vip)


@both_drivers
@both_families
def test_withdrawing_what_is_absent_is_fine(place: Place, family: Family) -> None:
    place.withdraw(family.vip)
    assert place.held() == OWN


@both_drivers
@both_families
def test_prefix_length_does_not_matter_to_find_an_address(place: Place, family: Family) -> None:
    place.assign(family.vip)
    other = f"{family.vip_alone}/{family.bits + 1}"
    assert place.holds(other)
    place.withdraw(other)
    assert place.held() == OWN


@both_drivers
@both_families
def test_second_service_address_outlives_the_first(place: Place, family: Family) -> None:
    second = family.own(101)
    for address in (family.vip, second):
        place.assign(address)
    place.withdraw(family.vip)
    assert place.held() == OWN | {second}


@both_drivers
@both_families
def test_missing_interface_is_named_when_assigning_or_announcing(nowhere: Place, family: Family) -> None:
    for act in (nowhere.assign, nowhere.announce):
        with pytest.raises(WorldError) as caught:
            act(family.vip)
        assert "gone0" in str(caught.value)
        assert family.vip_alone in str(caught.value)


@both_drivers
def test_missing_interface_is_named_when_listing(nowhere: Place) -> None:
    with pytest.raises(WorldError, match="gone0"):
        nowhere.held()


@both_drivers
@both_families
def test_missing_interface_holds_nothing_that_would_have_to_be_withdrawn(nowhere: Place, family: Family) -> None:
    nowhere.withdraw(family.vip)
    with pytest.raises(WorldError):
        nowhere.held()


@both_drivers
def test_what_is_no_address_is_refused_with_its_value(place: Place) -> None:
    with pytest.raises(UserError, match="ten-dot-one"):
        place.assign("ten-dot-one")


@pytest.mark.namespaces
def test_missing_interface_error_carries_the_kernels_reply_and_its_usual_cause() -> None:
    with ExitStack() as stack:
        zone = stack.enter_context(Zone.open(namespace(stack), "gone0"))
        with pytest.raises(WorldError, match="ENODEV") as caught:
            addresses.assign(zone, V4.vip)
        assert "VM may be gone" in caught.value.hint


@pytest.mark.namespaces
def test_address_whose_duplicate_detection_still_runs_is_made_usable_at_once() -> None:
    claim = "sysctl -qw net.ipv6.conf.eth0.accept_dad=1 && ip address add fd00::100/64 dev eth0"
    with ExitStack() as stack:
        vm = SmallNetwork(stack).a
        inside(vm.namespace, lambda: subprocess.run(["sh", "-c", claim], check=True))
        assert not addresses.holds(vm.zone, V6.vip)
        addresses.assign(vm.zone, V6.vip)
        assert addresses.holds(vm.zone, V6.vip)
