"""What can be asked of this machine without changing it."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

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
    Vnf,
    Vnfc,
)
from holdfast.model.names import GroupName, HostName, ServiceName, VnfcName, VnfmName, VnfName
from holdfast.runtime import machine
from holdfast.runtime.folder import RunFolder

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
        machine.check_programs(layout(host=Host(H1, fence=FenceDevice("fence_nowhere"))))


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
