"""What can be asked of this machine without changing it."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.errors import MachineLacks, UserError
from holdfast.model.layout import (
    Check,
    Component,
    FenceDevice,
    Group,
    Host,
    Layout,
    OcfAgent,
    Operation,
    Service,
    Vm,
    Vnf,
    Vnfc,
)
from holdfast.model.names import GroupName, HostName, ServiceName, VmName, VnfcName, VnfmName, VnfName
from holdfast.runtime import machine
from holdfast.runtime.deployment import refused_to_start
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.neighbours import refuse_clash

H1, WEB, GROUP = HostName("h1"), VnfName("web"), GroupName("web")


def layout(component: Component | None = None, host: Host | None = None, port: int = 0) -> Layout:
    return Layout(
        name="x",
        hosts={H1: host or Host(H1)},
        vnfs={WEB: Vnf(WEB, VnfmName("m"), 1, True, (GROUP,))},
        components={GROUP: component or Component("web", WEB, GROUP)},
        groups={
            GROUP: Group(
                GROUP, WEB, "web", "no-redundancy", "spare", "none", (ServiceName("web"),), (VnfcName("web-1"),)
            )
        },
        services={ServiceName("web"): Service(ServiceName("web"), GROUP, "", port, "tcp")},
        vnfcs={VnfcName("web-1"): Vnfc(VnfcName("web-1"), WEB, "web", GROUP, H1)},
    )


def passes(check: Callable[[Layout], None], given: Layout) -> bool:
    check(given)
    return True


@pytest.mark.parametrize(
    ("component", "named"),
    [
        (Component("web", WEB, GROUP, start=Operation(("no-such-program", "-x"))), "no-such-program of its start"),
        (Component("web", WEB, GROUP, cleanup=Operation(("/no/such/thing",))), "/no/such/thing of its cleanup"),
        (Component("web", WEB, GROUP, checks=(Check("command", command=("nope",)),)), "nope of its check"),
        (Component("web", WEB, GROUP, ocf=OcfAgent("heartbeat", "nowhere")), "ocf:heartbeat:nowhere"),
    ],
)
def test_a_missing_program_is_named_with_its_component(component: Component, named: str) -> None:
    with pytest.raises(MachineLacks) as caught:
        machine.check_programs(layout(component))
    assert "VNF web: " in caught.value.message
    assert named in caught.value.message
    assert caught.value.hint


def test_programs_that_are_there_or_cannot_be_known_yet_pass() -> None:
    commands = [("sh", "-c", "x"), ("${python}", "-m", "x"), ("./run",)]
    for command in commands:
        assert passes(machine.check_programs, layout(Component("web", WEB, GROUP, start=Operation(command))))


def test_a_missing_fence_agent_is_named() -> None:
    with pytest.raises(MachineLacks, match="no fence agent fence_nowhere"):
        machine.check_programs(layout(host=Host(H1, fence=((FenceDevice("fence_nowhere"),),))))


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"tcp port {port} of web-1 on host h1 is in use"):
            machine.check_ports(layout(port=port))
    assert passes(machine.check_ports, layout(port=port))


def test_a_layout_of_several_hosts_is_not_for_up() -> None:
    two = Layout(name="x", hosts={H1: Host(H1), HostName("h2"): Host(HostName("h2"))})
    with pytest.raises(UserError, match="has 2 hosts: h1, h2"):
        machine.check_machine(two, RunFolder(Path("/nowhere")))


def beside(name: str, bridge: str, subnet: str, vm: str = "11") -> Layout:
    """A layout of that name with one host and one VM in the subnet."""
    here = Host(H1, addresses=(f"{subnet}.1/24",), bridge=bridge)
    one = Vm(VmName("vm1"), H1, addresses=(f"{subnet}.{vm}/24",))
    return replace(layout(host=here), name=name, vms={one.name: one})


@pytest.mark.parametrize(
    ("other", "shared", "says"),
    [
        (beside("two", "hf0", "10.78.0"), frozenset[str](), "bridge hf0 of host h1 belongs to the deployment two"),
        (beside("two", "hf1", "10.77.0"), frozenset[str](), "subnet 10.77.0.0/24 of host h1 overlaps 10.77.0.0/24 of"),
        (beside("two", "hf0", "10.77.0"), frozenset({"hf0"}), "address 10.77.0.11 of VM vm1 belongs to VM vm1 of the"),
    ],
)
def test_what_a_neighbour_has_already_is_refused(other: Layout, shared: frozenset[str], says: str) -> None:
    with pytest.raises(UserError) as refused:
        refuse_clash(beside("one", "hf0", "10.77.0"), other, shared)
    assert says in refused.value.message
    assert "holdfast down two" in refused.value.hint


def test_neighbours_that_want_nothing_of_one_another_are_fine() -> None:
    mine = beside("one", "hf0", "10.77.0")
    assert passes(lambda given: refuse_clash(given, beside("two", "hf1", "10.78.0")), mine)
    assert passes(lambda given: refuse_clash(given, beside("two", "hf0", "10.77.0", "12"), frozenset({"hf0"})), mine)


def test_a_run_folder_too_deep_for_sockets_is_named(tmp_path: Path) -> None:
    deep = RunFolder(tmp_path / ("x" * 90) / "run")
    with pytest.raises(UserError) as refused:
        machine.check_folder(layout(), deep)
    assert str(deep.root) in refused.value.message
    assert "HOLDFAST_RUN" in refused.value.hint


def test_a_full_file_system_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "x")
    assert passes(lambda given: machine.check_folder(given, folder), layout())
    with pytest.raises(MachineLacks) as refused:
        machine.check_folder(layout(), folder, free_min=1 << 60)
    assert str(tmp_path) in refused.value.message


def test_a_process_that_refuses_to_start_again_and_again_is_quoted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log("x").parent.mkdir()
    end = "07:57:19 agent:h1 has ended (3), to be started again in 0 s\n"
    folder.log("supervisor").write_text(end * 2 + end.replace("(3)", "(-9)"))
    folder.log("agent-h1").write_text("holdfast: no room\nhint: make some\n" * 2)
    assert refused_to_start(folder) == ""
    folder.log("supervisor").write_text(end * 3)
    assert refused_to_start(folder) == "agent:h1 cannot start: holdfast: no room / hint: make some"


def test_what_sandboxes_do_not_have_is_said() -> None:
    given = beside("one", "hf0", "10.77.0")
    vm = given.vms[VmName("vm1")]
    assert machine.reservations(given) == []
    for repair, says in (("snapshot", "no snapshots"), ("standby-vm", "started anew")):
        changed = replace(given, vms={vm.name: replace(vm, repair=repair)})
        assert [says in note and "VM vm1" in note for note in machine.reservations(changed)] == [True]
