"""The bridge of a host and the ports of its VMs, on this machine and on a simulated one."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.errors import WorldError
from holdfast.runtime.premises import Bridge, Keeper, Premises, end, over_within
from tests.contract.network import V4, V6
from tests.contract.places import Here, Place, Simulated

LIMIT_S = 20.0
PORT = "hf-vm"
OWN = (V4.own(11), V6.own(11))


@pytest.fixture(params=[pytest.param("here", marks=pytest.mark.namespaces), "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Here(tmp_path) if request.param == "here" else Simulated(tmp_path)


def with_vm(place: Place, case: Callable[[Premises, Bridge, Keeper], Awaitable[None]]) -> None:
    """A bridge with the host's addresses, and a VM without a port."""

    async def all_of_it(premises: Premises) -> None:
        bridge = premises.bridge("hf0")
        bridge.make([V4.own(1), V6.own(1)])
        vm = await premises.start_vm("vm-1", place.folder / "vm-1", place.folder, LIMIT_S)
        try:
            await case(premises, bridge, vm)
        finally:
            assert await end(vm, LIMIT_S)
            vm.close()
            await bridge.remove_port(PORT, None)
            bridge.remove()
            bridge.close()

    place.play(all_of_it)


def let_it(_port: str) -> None:
    return


def passes(bridge: Bridge) -> bool:
    return bridge.passes(PORT)


def test_a_bridge_is_made_once_and_removed_twice(place: Place) -> None:
    async def case(premises: Premises) -> None:
        bridge = premises.bridge("hf0")
        found = [bridge.exists]
        for _ in range(2):
            bridge.make([V4.own(1)])
            found.append(bridge.exists)
        zone = bridge.zone()
        assert zone.held() == {V4.own(1)}
        zone.close()
        for _ in range(2):
            bridge.remove()
            found.append(bridge.exists)
        assert found == [False, True, True, False, False]
        bridge.close()

    place.play(case)


def test_a_vm_gets_its_addresses_behind_a_guard_that_stood_before(place: Place) -> None:
    async def case(_premises: Premises, bridge: Bridge, vm: Keeper) -> None:
        seen: list[tuple[str, bool, bool]] = []
        zone = await bridge.attach(
            PORT, vm.handle, OWN, lambda port: seen.append((port, bridge.has(port), bridge.passes(port)))
        )
        assert seen == [(PORT, True, False)]
        assert passes(bridge)
        assert zone.held() == set(OWN)
        zone.assign(V4.vip)
        again = bridge.zone(vm.handle)
        assert again.held() == {*OWN, V4.vip}
        assert again.holds(V4.vip)
        again.close()
        zone.close()

    with_vm(place, case)


def test_a_port_is_cut_at_once_and_removed_with_the_interface_in_the_vm(place: Place) -> None:
    async def case(_premises: Premises, bridge: Bridge, vm: Keeper) -> None:
        zone = await bridge.attach(PORT, vm.handle, OWN, let_it)
        other = bridge.zone(vm.handle)
        for _ in range(2):
            bridge.cut(PORT)
            assert bridge.has(PORT)
            assert not passes(bridge)
        assert other.held() >= set(OWN), "what is in the VM stays"
        await bridge.remove_port(PORT, zone)
        await bridge.remove_port(PORT, None)
        bridge.cut(PORT)
        assert not bridge.has(PORT)
        other.withdraw(V4.vip)
        with pytest.raises(WorldError, match="eth0"):
            other.held()
        other.close()

    with_vm(place, case)


def test_a_new_boot_takes_the_port_from_the_one_before(place: Place) -> None:
    async def case(premises: Premises, bridge: Bridge, vm: Keeper) -> None:
        old = await bridge.attach(PORT, vm.handle, OWN, let_it)
        second = await premises.start_vm("vm-2", place.folder / "vm-2", place.folder, LIMIT_S)
        new = await bridge.attach(PORT, second.handle, OWN[:1], let_it)
        assert new.held() == {OWN[0]}
        with pytest.raises(WorldError, match="eth0"):
            old.held()
        assert await end(second, LIMIT_S)
        second.close()
        old.close()
        new.close()

    with_vm(place, case)


def test_a_port_without_guard_or_bridge_is_not_left_behind(place: Place) -> None:
    def refuse(port: str) -> None:
        raise WorldError(f"no gate for {port}")

    async def case(premises: Premises, bridge: Bridge, vm: Keeper) -> None:
        with pytest.raises(WorldError, match="no gate for hf-vm"):
            await bridge.attach(PORT, vm.handle, OWN, refuse)
        assert not bridge.has(PORT)
        nowhere = premises.bridge("hf9")
        with pytest.raises(WorldError, match="hf9"):
            await nowhere.attach(PORT, vm.handle, OWN, let_it)
        assert not bridge.has(PORT)
        nowhere.close()

    with_vm(place, case)


def test_a_vm_that_has_ended_gets_no_port(place: Place) -> None:
    async def case(_premises: Premises, bridge: Bridge, vm: Keeper) -> None:
        assert await end(vm, LIMIT_S)
        with pytest.raises(WorldError, match="is gone"):
            await bridge.attach(PORT, vm.handle, OWN, let_it)
        with pytest.raises(WorldError, match="is gone"):
            bridge.zone(vm.handle)
        assert not bridge.has(PORT)

    with_vm(place, case)


def test_an_interface_lives_as_long_as_its_vm_or_a_zone(place: Place) -> None:
    async def case(premises: Premises, bridge: Bridge, vm: Keeper) -> None:
        zone = await bridge.attach(PORT, vm.handle, OWN, let_it)
        assert await end(vm, LIMIT_S)
        assert zone.held() == set(OWN)
        bystander = await premises.start_vm("vm-2", place.folder / "vm-2", place.folder, LIMIT_S)
        zone.close()
        while bridge.has(PORT):
            assert not await over_within(bystander.handle, 0.01)
        assert await end(bystander, LIMIT_S)
        bystander.close()

    with_vm(place, case)
