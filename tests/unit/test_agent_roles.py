"""The agent tells roles and moves addresses, with real components on the component socket."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from holdfast.model.actions import Activate, ConfirmLoss, IsolateVnfc, Quiesce, StandBy
from holdfast.model.events import ActionFailed, Position, StandbyLost, StandbySynced, VnfcFailed
from holdfast.model.layout import Operation, Service
from holdfast.model.names import VnfcName
from tests.unit.agent_host import (
    ADDRESS,
    GROUP,
    SERVICE,
    SHORT_S,
    SPEAK,
    VNFC,
    HostUnderTest,
    component,
    layout_of,
    on_host,
    processes_with,
    speaker,
)

pytestmark = pytest.mark.namespaces

OTHER = VnfcName("fun-2")
CLAIMED = Service(SERVICE, GROUP, ADDRESS, assigned_by="component")


def speaking(before: str = "pass", after: str = "pass", **changes: object) -> dict[str, object]:
    return {"start": SPEAK, "files": speaker(before, after), "speaks": True, **changes}


def pid_of_component(host: HostUnderTest) -> int:
    return processes_with(f"HOLDFAST_DIR={host.folder.vnfc(VNFC)}")[0]


def activation(host: HostUnderTest, epoch: int = 7) -> Activate:
    return Activate(host.id(), VNFC, 1, SERVICE, epoch, (OTHER,))


@pytest.mark.parametrize("in_vm", [True, False])
def test_the_active_is_told_and_then_holds_the_address(tmp_path: Path, in_vm: bool) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        assert host.agent.facts().vnfcs[0].services == ()
        await host.done(activation(host))
        fact = host.agent.facts().vnfcs[0]
        assert (fact.role, fact.epoch, fact.services) == ("active", 7, (SERVICE,))
        assert fact.position == Position(3, 15)
        assert f"heard @1 active service=fun epoch=7 in-sync=fun-2 address={ADDRESS} claim=no" in host.log()
        await host.done(Quiesce(host.id(), VNFC, 1, SERVICE, 7))
        assert host.agent.facts().vnfcs[0].services == ()
        await host.done(StandBy(host.id(), VNFC, 1, SERVICE, 8, OTHER))
        assert "heard @3 standby service=fun epoch=8 active=fun-2" in host.log()
        assert host.agent.facts().vnfcs[0].role == "standby"

    on_host(layout_of(component(**speaking()), in_vm=in_vm), tmp_path, scenario)


def test_isolation_takes_the_address_away(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        await host.done(activation(host))
        await host.done(IsolateVnfc(host.id(), VNFC, 1))
        assert host.agent.facts().vnfcs[0].services == ()

    on_host(layout_of(component(**speaking()), in_vm=False), tmp_path, scenario)


def test_the_address_that_a_component_claims_is_seen_there(tmp_path: Path) -> None:
    claim = (
        f"import subprocess; 'active' in line and subprocess.run(['ip', 'address', 'add', '{ADDRESS}', 'dev', 'eth0'])"
    )

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        await host.done(activation(host))
        assert host.agent.facts().vnfcs[0].services == (SERVICE,)

    on_host(layout_of(component(**speaking(after=claim)), service=CLAIMED), tmp_path, scenario)


def test_an_address_that_is_not_claimed_in_time_fails_the_activation(tmp_path: Path) -> None:
    said: list[str] = []

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        outcome = await host.agent.perform(activation(host))
        assert isinstance(outcome, ActionFailed)
        said.append(outcome.why)

    for limit_s in (SHORT_S, 1, 5, 20):
        what = component(**speaking(role_limit_s=limit_s))
        on_host(layout_of(what, service=CLAIMED), tmp_path / f"{limit_s}", scenario)
        if said[-1] != f"no answer to BecomeActive within {limit_s} s":  # A busy machine.
            break
    assert said[-1] == f"fun-1 has not claimed {ADDRESS} within {limit_s} s"


def test_a_role_that_is_not_answered_gives_no_address(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        outcome = await host.agent.perform(activation(host))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why == "no answer to BecomeActive within 0.3 s"
        assert host.agent.facts().vnfcs[0].services == ()

    on_host(layout_of(component(**speaking(before="continue", role_limit_s=SHORT_S))), tmp_path, scenario)


def test_a_role_command_that_fails_is_quoted(tmp_path: Path) -> None:
    refuses = Operation(("sh", "-c", "echo no $HOLDFAST_ROLE for $HOLDFAST_SERVICE at $HOLDFAST_EPOCH; exit 1"))

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        outcome = await host.agent.perform(activation(host))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why == "sh failed with status 1; it said: no active for fun at 7"

    on_host(layout_of(component(become_active=refuses)), tmp_path, scenario)


def test_older_epochs_are_refused(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        await host.done(activation(host, 7))
        outcome = await host.agent.perform(activation(host, 6))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why == "older epoch: 6 for fun, which is at 7"

    on_host(layout_of(component()), tmp_path, scenario)


def test_a_death_during_the_activation_ends_it_at_once(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        activating = asyncio.create_task(host.agent.perform(activation(host)))
        while "heard @1" not in host.log():
            await asyncio.sleep(0)
        os.kill(pid_of_component(host), signal.SIGKILL)
        outcome = await activating
        assert isinstance(outcome, ActionFailed)
        assert "killed by SIGKILL" in outcome.why or "closed its connection" in outcome.why
        assert host.agent.facts().vnfcs[0].services == ()

    on_host(layout_of(component(**speaking(before="continue"))), tmp_path, scenario)


def test_what_the_active_says_of_its_standbys_is_passed_on(tmp_path: Path) -> None:
    loses = "'active' in line and sock.sendall(b'lost standby=fun-2 epoch=7\\n')"

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        await host.done(activation(host))
        assert await host.event(StandbyLost) == StandbyLost(VNFC, 1, 7, OTHER)
        await host.done(ConfirmLoss(host.id(), VNFC, 1, OTHER))
        assert "heard @2 recorded standby=fun-2" in host.log()

    on_host(layout_of(component(**speaking(after=loses))), tmp_path, scenario)


def test_the_facts_say_for_whom_each_update_of_the_active_waits(tmp_path: Path) -> None:
    comes_back = (
        "'recorded' in line and sock.sendall(b'synced standby=fun-4 epoch=6\\nsynced standby=fun-3 epoch=7\\n')"
    )

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        assert host.agent.facts().vnfcs[0].in_sync is None
        await host.done(activation(host))
        assert host.agent.facts().vnfcs[0].in_sync == (OTHER,)
        await host.done(ConfirmLoss(host.id(), VNFC, 1, OTHER))
        assert (await host.event(StandbySynced)).standby == "fun-3"
        assert host.agent.facts().vnfcs[0].in_sync == ("fun-3",)
        await host.done(Quiesce(host.id(), VNFC, 1, SERVICE, 7))
        assert host.agent.facts().vnfcs[0].in_sync is None

    on_host(layout_of(component(**speaking(after=comes_back))), tmp_path, scenario)


@pytest.mark.parametrize(
    ("says", "cause", "words"),
    [
        ("b'unwell reason=disk%20full\\n'", "check", "disk full"),
        ("b'nonsense\\n'", "role", "unknown word"),
        ("b'@1 ok\\n' * 2001", "role", "more than 2000 lines"),
        ("b'synced standby=fun-2 epoch=1\\n' * 201", "role", "more than 200 losses and returns"),
        ("b'synced standby=other epoch=1\\n'", "role", "speaks of 'other', which is none of fun"),
    ],
)
def test_unwell_nonsense_and_floods_are_failures(tmp_path: Path, says: str, cause: str, words: str) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        await host.agent.perform(activation(host))
        failed = await host.event(VnfcFailed)
        assert failed.cause == cause
        assert words in failed.detail

    on_host(layout_of(component(**speaking(after=f"sock.sendall({says})"))), tmp_path, scenario)


def test_a_stranger_on_the_component_socket_is_turned_away(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        reader, writer = await asyncio.open_unix_connection(str(host.folder.component_socket(host.agent.host)))
        writer.write(f"hello version=1 name={VNFC}\n".encode())
        assert await reader.read() == b""
        writer.close()
        assert host.marked("component-refused") == ["nothing of the name 'fun-1' runs here"]

    on_host(layout_of(component()), tmp_path, scenario)
