"""The agent with real sandboxes and processes: starting, deaths seen, clean-up confirmed, adoption."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from holdfast.model.actions import IsolateVm, IsolateVnfc, StartVm, StartVnfc, StopVnfc
from holdfast.model.events import ActionDone, ActionFailed, VmBooted, VmDied, VnfcFailed, VnfcReady
from holdfast.model.layout import Check, Operation
from holdfast.model.names import ActionId
from tests.unit.agent_host import (
    ADDRESS,
    FOREVER,
    SERVICE,
    SPEAK,
    VM,
    VNFC,
    HostUnderTest,
    component,
    layout_of,
    on_host,
    processes_with,
    speaker,
)

pytestmark = pytest.mark.namespaces

FORKS_AWAY = ("sh", "-c", "(setsid sh -c \"trap '' TERM HUP INT; sleep 999 & wait\" &) ; echo forked; exec sleep 1000")


def pids_of(host: HostUnderTest) -> list[int]:
    """Processes that carry the VNFC's folder in their environment."""
    return processes_with(f"HOLDFAST_DIR={host.folder.vnfc(VNFC)}")


def vm_pid(host: HostUnderTest) -> int:
    return processes_with(f'"folder": "{host.folder.vm(VM)}"')[0]


def has_said(word: str) -> Check:
    return Check(kind="command", command=("grep", "-q", word, "/proc/1/cwd/../../log/vnfc-fun-1.log"), limit_s=5)


@pytest.mark.parametrize("in_vm", [True, False])
def test_a_vnfc_starts_and_is_reported_ready(tmp_path: Path, in_vm: bool) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        ready = await host.event(VnfcReady)
        assert (ready.vnfc, ready.run) == (VNFC, 1)
        assert ready.took_s > 0
        assert host.agent.facts().vnfcs[0].condition == "ready"
        assert len(pids_of(host)) == 1

    on_host(layout_of(component(), in_vm=in_vm), tmp_path, scenario)
    assert processes_with(str(tmp_path)) == []


@pytest.mark.parametrize("in_vm", [True, False])
def test_its_death_is_seen_with_the_signal_that_killed_it(tmp_path: Path, in_vm: bool) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        os.kill(pids_of(host)[0], signal.SIGKILL)
        failed = await host.event(VnfcFailed)
        assert (failed.run, failed.cause, failed.detail) == (1, "killed", "killed by SIGKILL")
        assert host.agent.facts().vnfcs[0].condition == "failed"

    on_host(layout_of(component(), in_vm=in_vm), tmp_path, scenario)


def test_how_it_died_is_told_though_the_first_process_around_it_stands_still(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        first = processes_with(f'"folder": "{host.folder.vnfc(VNFC)}"')[0]
        root = pids_of(host)[0]
        assert root != first
        os.kill(first, signal.SIGSTOP)
        os.kill(root, signal.SIGSEGV)
        failed = await host.event(VnfcFailed)
        assert (failed.cause, failed.detail) == ("killed", "killed by SIGSEGV")

    on_host(layout_of(component()), tmp_path, scenario)


def test_an_exit_is_reported_with_its_status(tmp_path: Path) -> None:
    waiting = ("sh", "-c", "trap 'exit 3' TERM; sleep 1000 & echo trapped; wait")

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        # The shell is older than the sleeper that it has begun, and than any check.
        os.kill(min(pids_of(host)), signal.SIGTERM)
        failed = await host.event(VnfcFailed)
        assert (failed.cause, failed.detail) == ("exited", "ended with status 3")

    on_host(layout_of(component(start=Operation(waiting), checks=(has_said("trapped"),))), tmp_path, scenario)


@pytest.mark.parametrize("in_vm", [True, False])
def test_isolation_ends_what_forked_away_and_ignores_signals(tmp_path: Path, in_vm: bool) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        outcome = await host.agent.perform(IsolateVnfc(host.id(), VNFC, 1))
        assert isinstance(outcome, ActionDone)
        assert pids_of(host) == []
        assert host.agent.facts().vnfcs[0].condition == "absent"
        assert not any(isinstance(event, VnfcFailed) for event in host.events)

    forked = component(start=Operation(FORKS_AWAY), checks=(has_said("forked"),))
    on_host(layout_of(forked, in_vm=in_vm), tmp_path, scenario)


def test_what_has_died_is_isolated_once(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        os.kill(pids_of(host)[0], signal.SIGKILL)
        await host.event(VnfcFailed)
        assert (await host.done(IsolateVnfc(host.id(), VNFC, 1))).detail == "confirmed"
        assert (await host.done(IsolateVnfc(host.id(), VNFC, 1))).detail == "nothing of it ran"

    on_host(layout_of(component()), tmp_path, scenario)


def test_a_number_that_is_given_to_another_action_is_no_repetition(tmp_path: Path) -> None:
    """A manager whose disk was full before it ended no longer knows that it has given it."""

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        first = IsolateVnfc(host.id(), VNFC, 0)
        assert isinstance(await host.agent.perform(first), ActionDone)
        assert pids_of(host) != []
        assert isinstance(await host.agent.perform(IsolateVnfc(first.id, VNFC, 1)), ActionDone)
        assert pids_of(host) == []

    on_host(layout_of(component()), tmp_path, scenario)


def test_the_death_of_a_vm_takes_its_port_away_and_is_seen_on_both_levels(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        port = host.agent._network.port(VM)
        assert port in interfaces()
        os.kill(vm_pid(host), signal.SIGKILL)
        died = await host.event(VmDied)
        assert (died.vm, died.boot) == (VM, 1)
        assert not host.agent._network.is_reachable(VM)
        await host.until(lambda: bool(host.marked("port-removed")))
        assert port not in interfaces()
        failed = await host.event(VnfcFailed)
        assert (failed.run, failed.cause) == (1, "killed")
        outcome = await host.agent.perform(IsolateVnfc(host.id(), VNFC, 1))
        assert isinstance(outcome, ActionFailed)
        assert outcome.vm_gone

    on_host(layout_of(component()), tmp_path, scenario)


def interfaces() -> list[str]:
    """Names of the interfaces in the calling thread's network namespace."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def test_a_vm_that_was_isolated_on_request_is_not_reported_dead(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        await host.done(IsolateVm(host.id(), VM, 1))
        assert host.agent.facts().vms[0].condition == "absent"
        await host.event(VnfcFailed)  # nobody at VNF level asked for it
        await host.done(StartVm(host.id(), VM, 2))
        assert [event for event in host.events if isinstance(event, VmBooted)][-1].boot == 2
        assert not any(isinstance(event, VmDied) for event in host.events)
        await host.done(IsolateVnfc(host.id(), VNFC, 1))
        await host.started(run=2)

    on_host(layout_of(component()), tmp_path, scenario)


def test_a_new_agent_adopts_what_runs(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started(service=SERVICE)
        before = pids_of(host)
        await host.agent.close(end_all=False)
        host.new_agent()
        await host.agent.open()
        facts = host.agent.facts()
        assert (facts.vms[0].condition, facts.vms[0].boot) == ("up", 1)
        fact = facts.vnfcs[0]
        assert (fact.condition, fact.run, fact.role, fact.epoch) == ("ready", 1, "active", 3)
        assert fact.services == (SERVICE,)
        assert pids_of(host) == before
        os.kill(before[0], signal.SIGKILL)
        assert (await host.event(VnfcFailed)).run == 1
        os.kill(vm_pid(host), signal.SIGKILL)
        assert (await host.event(VmDied)).boot == 1

    on_host(layout_of(component(), redundancy="no-redundancy"), tmp_path, scenario)


def test_a_death_while_no_agent_watched_stands_in_the_facts(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        pid = pids_of(host)[0]
        await host.agent.close(end_all=False)
        handle = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, gone.set)
        await gone.wait()
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        host.new_agent()
        await host.agent.open()
        fact = host.agent.facts().vnfcs[0]
        assert (fact.condition, fact.run) == ("failed", 1)
        await host.done(IsolateVnfc(host.id(), VNFC, 1))

    on_host(layout_of(component()), tmp_path, scenario)


def test_an_id_is_carried_out_once(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.booted()
        action = StartVnfc(ActionId("ha/1"), VNFC, 1, 1)
        first, second = await asyncio.gather(host.agent.perform(action), host.agent.perform(action))
        assert first == second == await host.agent.perform(action)
        assert len([event for event in host.events if isinstance(event, VnfcReady)]) == 1

    on_host(layout_of(component()), tmp_path, scenario)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.booted()
        outcome = await host.agent.perform(StartVnfc(host.id(), VNFC, 1, 1))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why == "no-such-program: No such file or directory"
        assert host.agent.facts().vnfcs[0].condition == "absent"

    on_host(layout_of(component(start=Operation(("no-such-program",)))), tmp_path, scenario)


def test_a_program_that_ends_too_early_is_quoted(tmp_path: Path) -> None:
    broken = ("sh", "-c", "echo 'line 7: no such option' >&2; exit 2")
    never = Check(kind="tcp", port=53)

    async def scenario(host: HostUnderTest) -> None:
        await host.booted()
        outcome = await host.agent.perform(StartVnfc(host.id(), VNFC, 1, 1))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why == "ended with status 2 before it was ready; it said: line 7: no such option"

    on_host(layout_of(component(start=Operation(broken), checks=(never,))), tmp_path, scenario)


def test_a_start_that_takes_too_long_is_ended_and_says_what_was_wrong(tmp_path: Path) -> None:
    never = Check(kind="tcp", port=53)

    said: list[str] = []

    async def scenario(host: HostUnderTest) -> None:
        await host.booted()
        outcome = await host.agent.perform(StartVnfc(host.id(), VNFC, 1, 1))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why.startswith("not ready within ")
        said.append(outcome.why)
        assert pids_of(host) == []

    for limit_s in (0.2, 1, 5, 20):
        on_host(layout_of(component(start_limit_s=limit_s, checks=(never,))), tmp_path / f"{limit_s}", scenario)
        if "refused" in said[-1]:  # A busy machine may not come to the first check before.
            break
    assert said[-1] == f"not ready within {limit_s} s: check tcp 53 refused"


def test_isolation_breaks_a_start_off(tmp_path: Path) -> None:
    never = Check(kind="command", command=("false",))

    async def scenario(host: HostUnderTest) -> None:
        await host.booted()
        start = asyncio.create_task(host.agent.perform(StartVnfc(host.id(), VNFC, 1, 1)))
        while not pids_of(host):
            await asyncio.sleep(0)
        await host.done(IsolateVnfc(host.id(), VNFC, 1))
        outcome = await start
        assert isinstance(outcome, ActionFailed)
        assert "broken off" in outcome.why
        assert pids_of(host) == []

    on_host(layout_of(component(checks=(never,))), tmp_path, scenario)


def test_a_component_that_hangs_is_noticed_by_its_check(tmp_path: Path) -> None:
    often = Check(kind="protocol", every_s=0.01, limit_s=0.02, misses=3)

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        os.kill(pids_of(host)[0], signal.SIGSTOP)
        failed = await host.event(VnfcFailed)
        assert failed.cause == "check"
        assert "check protocol: no answer" in failed.detail
        assert len(host.marked("check-missed")) >= 3
        await host.done(IsolateVnfc(host.id(), VNFC, 1))
        assert pids_of(host) == []

    on_host(layout_of(component(start=SPEAK, files=speaker(), speaks=True, checks=(often,))), tmp_path, scenario)


def test_cleanup_that_fails_fails_the_isolation_but_everything_is_ended(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        outcome = await host.agent.perform(IsolateVnfc(host.id(), VNFC, 1))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why.startswith("cleanup: sh failed with status 4")
        assert not outcome.vm_gone
        assert pids_of(host) == []

    on_host(layout_of(component(cleanup=Operation(("sh", "-c", "exit 4")))), tmp_path, scenario)


def test_cleanup_that_hangs_is_given_up_at_its_limit(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        outcome = await host.agent.perform(IsolateVnfc(host.id(), VNFC, 1))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why == "cleanup: sleep had not ended after 0.1 s"
        assert pids_of(host) == []

    on_host(layout_of(component(cleanup=Operation(FOREVER, 0.1))), tmp_path, scenario)


def test_stop_lets_a_component_end_by_itself(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        await host.done(StopVnfc(host.id(), VNFC, 1))
        assert "heard @1 stop" in host.log()
        assert pids_of(host) == []
        assert not any(isinstance(event, VnfcFailed) for event in host.events)

    on_host(layout_of(component(start=SPEAK, files=speaker(), speaks=True)), tmp_path, scenario)


def test_placeholders_and_environment_are_filled_in(tmp_path: Path) -> None:
    told = ("sh", "-c", "cat conf; echo $HOLDFAST_RUN_NUMBER $HOLDFAST_EPOCH $MINE $0 ${vm}; exec sleep 1000")
    what = component(
        start=Operation(told),
        files={"conf": "listen ${address} own ${own_address} $remote ${other} in ${vm} of ${host}\n"},
        environment={"MINE": "<${epoch}>"},
        checks=(Check(kind="command", command=("grep", "-q", "<", "/proc/1/cwd/../../log/vnfc-fun-1.log"), limit_s=5),),
    )

    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        assert host.log() == (
            f"listen {ADDRESS.partition('/')[0]} own 10.77.0.11 $remote ${{other}} in vm-1 of h1\n1 3 <3> sh vm-1\n"
        )

    on_host(layout_of(what), tmp_path, scenario)


def test_snapshots_are_refused(tmp_path: Path) -> None:
    async def scenario(host: HostUnderTest) -> None:
        outcome = await host.agent.perform(StartVm(host.id(), VM, 1, "snapshot"))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why == "sandboxes have no snapshots"

    on_host(layout_of(component()), tmp_path, scenario)
