"""The owners watcher asks a real kernel in namespaces: one owner, an address that moves, and two owners at once."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.drivers import ports
from holdfast.drivers.addresses import announce, assign, withdraw
from holdfast.drivers.netlink import Netlink
from holdfast.lab.judges.asked import OwnersRun, load_owners
from holdfast.lab.judges.owners import judge_owners
from tests.contract.network import V4, V6, Family, Machine, answered, frames, in_order, namespace

pytestmark = pytest.mark.namespaces


class Lan:
    """A bridge, a client and two machines without gates in front of them."""

    def __init__(self, stack: ExitStack) -> None:
        netlink = stack.enter_context(Netlink.open(namespace(stack)))
        ports.make_bridge(netlink, "hf0", [])
        self.a = Machine("a", 11, netlink, None, stack)
        self.b = Machine("b", 12, netlink, None, stack)
        self.client = Machine("client", 200, netlink, None, stack)


@pytest.fixture
def lan() -> Iterator[Lan]:
    with ExitStack() as stack, in_order():
        yield Lan(stack)


@contextmanager
def watching(lan: Lan, address: str, out: Path) -> Iterator[None]:
    inside = ["nsenter", f"--net=/proc/self/fd/{lan.client.namespace}"]
    command = [*inside, sys.executable, "-m", "holdfast.lab.owners", "--address", address, "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[lan.client.namespace]) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def wait_for_answers(lan: Lan, of: Machine, count: int) -> None:
    """Until the client has got that many further answers that name this machine."""
    tap = lan.client.listen()
    for frame in frames(tap):
        if answered(frame) is not None and frame[6:12] == of.mac:
            count -= 1
        if not count:
            return


def macs(run: OwnersRun) -> list[str]:
    """Who answered, in order, repetitions left out."""
    found: list[str] = []
    for answer in run.answers:
        if answer.kind == "answer" and found[-1:] != [answer.mac]:
            found.append(answer.mac)
    return found


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
def test_an_address_that_moves_has_one_owner_at_a_time(lan: Lan, family: Family, tmp_path: Path) -> None:
    assign(lan.a.zone, family.vip)
    with watching(lan, family.vip_alone, tmp_path / "owners"):
        wait_for_answers(lan, lan.a, 10)
        withdraw(lan.a.zone, family.vip)
        assign(lan.b.zone, family.vip)
        announce(lan.b.zone, family.vip)
        wait_for_answers(lan, lan.b, 10)
    run = load_owners(tmp_path / "owners")
    assert macs(run) == [lan.a.mac.hex(":"), lan.b.mac.hex(":")]
    assert any(answer.kind == "announcement" and answer.mac == lan.b.mac.hex(":") for answer in run.answers)
    assert judge_owners([run], []).ms == 0.0


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
def test_two_machines_with_the_same_address_are_two_owners(lan: Lan, family: Family, tmp_path: Path) -> None:
    assign(lan.a.zone, family.vip)
    with watching(lan, family.vip_alone, tmp_path / "owners"):
        wait_for_answers(lan, lan.a, 10)
        assign(lan.b.zone, family.vip)
        wait_for_answers(lan, lan.b, 10)
    judged = judge_owners([load_owners(tmp_path / "owners")], [])
    assert judged.ms > 20
    assert lan.b.mac.hex(":") in judged.proofs[0].text


def test_an_interface_that_is_not_there_is_the_callers_mistake(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdfast.lab.owners", "--address", "10.77.0.100", "--interface", "none0"]
    done = subprocess.run([*command, "--out", str(tmp_path / "o")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no interface 'none0' here" in done.stderr
