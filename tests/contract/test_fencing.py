"""Fencing: the lab's own fence device in all its modes, programs that misbehave, and what managers make of it."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.drivers import fence
from holdfast.drivers.leash import leashed
from holdfast.errors import WorldError
from holdfast.lab.power import PowerSwitch
from holdfast.lab.world import BIN
from holdfast.model.actions import Action, RaiseAlarm, Send, StartVm
from holdfast.model.events import AgentJoined, HostFailed, NetworkSilent, VmFact
from holdfast.model.layout import FenceDevice, FenceLevels, Grants, Layout
from holdfast.model.messages import VmIsolated
from holdfast.model.names import HA, VIM, HostName, Party
from holdfast.model.records import Decided, Ended
from holdfast.runtime.manager_process import core_of
from holdfast.store.journal import read
from holdfast.wire.link_messages import Tell
from tests.contract.fakes import VM_1, make_folder, small_layout, until
from tests.contract.test_link_terms import Leader
from tests.contract.test_managers import an_agent, managers

H1 = HostName("h1")
HANGING_S = 0.4
"""Limit of a device that hangs; others have far more than they need, on a machine that is busy."""

LYING_S = 1.0
"""Time to be asked for its status, too."""


class Hosts:
    """Hosts that are on or off, and nothing more."""

    def __init__(self) -> None:
        self.on = {H1}
        self.done: list[str] = []

    def switch_on(self, name: HostName) -> None:
        self.done.append(f"on {name}")
        self.on.add(name)

    def switch_off(self, name: HostName) -> None:
        self.done.append(f"off {name}")
        self.on.discard(name)

    def is_on(self, name: HostName) -> bool:
        return name in self.on


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def switch(tmp_path: Path, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Iterator[PowerSwitch]:
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    made = PowerSwitch(tmp_path / "power.sock", hosts)
    made.start()
    yield made
    made.stop()


def lab(tmp_path: Path, mode: str, level: int = 1) -> FenceDevice:
    options = {"ip": str(tmp_path / "power.sock"), "plug": H1, "level": str(level), "mode": mode, "delay": "50"}
    limits_s = {"hangs": HANGING_S, "lies": LYING_S}
    return FenceDevice("fence_lab", options, limits_s.get(mode, 10.0))


def script(tmp_path: Path, name: str, text: str, limit_s: float = 10.0, **options: str) -> FenceDevice:
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return FenceDevice(str(path), options, limit_s)


def run(story: Coroutine[Any, Any, str]) -> str:
    return asyncio.run(asyncio.wait_for(story, 60))


def off(*levels: tuple[FenceDevice, ...]) -> str:
    return run(fence.set_power(levels, "off"))


@pytest.mark.parametrize("mode", ["works", "slow"])
def test_a_device_that_answers_in_time_confirms(tmp_path: Path, switch: PowerSwitch, hosts: Hosts, mode: str) -> None:
    off((lab(tmp_path, mode),))
    assert hosts.done == ["off h1"]
    run(fence.set_power(((lab(tmp_path, mode),),), "on"))
    assert hosts.on == {H1}


@pytest.mark.parametrize(
    ("mode", "said"), [("hangs", "was not done with off in 0.4 s"), ("lies", "was not done with|does not confirm off")]
)
def test_unconfirmed_means_not_fenced(tmp_path: Path, switch: PowerSwitch, hosts: Hosts, mode: str, said: str) -> None:
    with pytest.raises(WorldError, match=said):
        off((lab(tmp_path, mode),))
    assert hosts.on == {H1}


def test_a_device_that_lies_about_its_status_too_cannot_be_found_out(tmp_path: Path, switch: PowerSwitch) -> None:
    assert off((lab(tmp_path, "lies-fully"),)) == ""


@pytest.mark.parametrize("first", ["hangs", "lies"])
def test_the_next_level_is_tried_when_one_is_unconfirmed(
    tmp_path: Path, switch: PowerSwitch, hosts: Hosts, first: str
) -> None:
    told = off((lab(tmp_path, first),), (lab(tmp_path, "works", 2),))
    assert hosts.done == ["off h1"]
    assert told.startswith("level 1: fence agent fence_lab ")
    assert told.endswith("; level 2: fence_lab confirmed off")


def test_a_machine_that_does_not_come_on_is_told(tmp_path: Path, switch: PowerSwitch, hosts: Hosts) -> None:
    device = lab(tmp_path, "stays-off")
    assert off((device,)) == ""
    with pytest.raises(WorldError, match="fence_lab failed to switch on"):
        run(fence.set_power(((device,),), "on"))
    assert (hosts.done, hosts.on) == (["off h1"], set())


def test_when_no_level_confirms_each_says_why(tmp_path: Path, switch: PowerSwitch) -> None:
    refuses = script(tmp_path, "fence_refuses", "cat >/dev/null; echo no route to the device; exit 1")
    with pytest.raises(WorldError) as held:
        off((refuses,), (lab(tmp_path, "hangs"),), (FenceDevice("fence_nowhere"),))
    one, two, three = held.value.message.split("; ")
    assert "level 1" in one
    assert "failed to switch off (exit status 1): no route to the device" in one
    assert two == "level 2: fence agent fence_lab was not done with off in 0.4 s"
    assert three == "level 3: fence agent fence_nowhere is not there"


def test_all_devices_of_a_level_must_confirm(tmp_path: Path, switch: PowerSwitch, hosts: Hosts) -> None:
    refuses = script(tmp_path, "fence_refuses", "cat >/dev/null; exit 1")
    with pytest.raises(WorldError, match="fence_refuses failed to switch off"):
        off((lab(tmp_path, "works"), refuses))
    assert off((lab(tmp_path, "works"), lab(tmp_path, "slow"))) == ""


@pytest.mark.parametrize("levels", [(), ((),)])
def test_nothing_is_confirmed_by_no_device(levels: FenceLevels) -> None:
    with pytest.raises(WorldError):
        run(fence.set_power(levels, "off"))


def test_any_level_may_have_switched_it_off_so_all_switch_it_on(
    tmp_path: Path, switch: PowerSwitch, hosts: Hosts
) -> None:
    hosts.on.clear()
    run(fence.set_power(((lab(tmp_path, "hangs"),), (lab(tmp_path, "works", 2),)), "on"))
    assert hosts.done == ["on h1"]


def test_options_go_to_standard_input_and_not_into_the_arguments(tmp_path: Path) -> None:
    told = tmp_path / "told"
    device = script(
        tmp_path,
        "fence_told",
        f'echo "arguments: $*" >>{told}; cat | tee -a {told} | grep -q status && exit 2; exit 0',
        password="secret",
    )
    off((device,))
    assert told.read_text().splitlines()[:3] == ["arguments: ", "password=secret", "action=off"]


HANGS_WITH_A_CHILD = "setsid sleep 600 & touch {begun}; exec sleep 600"
"""The child is in a session of its own."""


@pytest.fixture
def holders(tmp_path: Path) -> Iterator["Holders"]:
    made = Holders(tmp_path / "held")
    yield made
    made.close()


class Holders:
    """A pipe that processes of a test hold open: it ends when the last of them has."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._read_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def are_gone(self) -> bool:
        return bool(select.select([self._read_end], [], [], 30.0)[0]) and os.read(self._read_end, 1) == b""

    def close(self) -> None:
        os.close(self._read_end)


def held_by(holders: Holders, tmp_path: Path, limit_s: float) -> FenceDevice:
    """A device that hangs, and has started something that hangs, too."""
    text = HANGS_WITH_A_CHILD.format(begun=tmp_path / "begun")
    return script(tmp_path, "fence_hangs", f"exec 9>{holders.path}; {text}", limit_s)


def test_what_a_device_has_started_ends_with_it_at_its_limit(tmp_path: Path, holders: Holders) -> None:
    limit_s = HANGING_S
    while not (tmp_path / "begun").exists():  # A busy machine may not have started it within the limit.
        with pytest.raises(WorldError, match="was not done with off"):
            off((held_by(holders, tmp_path, limit_s),))
        limit_s *= 2
    assert holders.are_gone()


def test_what_a_device_has_left_behind_ends_when_it_is_done(tmp_path: Path, holders: Holders) -> None:
    leaves = f"exec 9>{holders.path}; setsid sleep 600 & grep -q status && exit 2; exit 0"
    assert off((script(tmp_path, "fence_leaves", leaves),)) == ""
    assert holders.are_gone()


SWITCHES_OFF = """
import asyncio, sys
from holdfast.drivers.fence import set_power
from holdfast.model.layout import FenceDevice
asyncio.run(set_power(((FenceDevice(sys.argv[1], {}, float(sys.argv[2])),),), "off"))
"""


@pytest.mark.parametrize(
    ("number", "limit_s"), [(signal.SIGKILL, 600.0), (signal.SIGSTOP, 2.0)], ids=["killed", "stopped"]
)
def test_no_fence_agent_goes_on_when_its_manager_does_not(
    tmp_path: Path, holders: Holders, number: signal.Signals, limit_s: float
) -> None:
    """It would switch the host off when that is back; or beside the one that the next manager starts."""
    device = held_by(holders, tmp_path, limit_s)
    manager = subprocess.Popen([sys.executable, "-c", SWITCHES_OFF, device.agent, str(limit_s)])
    try:
        run(until_there(tmp_path / "begun"))
        manager.send_signal(number)
        assert holders.are_gone()
    finally:
        manager.kill()
        manager.wait()


HARDENED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
"""As the systemd unit of managers has it: root, without any privilege."""


def test_a_fence_agent_ends_with_its_manager_also_where_that_has_no_privileges(
    tmp_path: Path, holders: Holders
) -> None:
    hangs = f"exec 9>{holders.path}; touch {tmp_path / 'begun'}; exec sleep 600"
    device = script(tmp_path, "fence_hangs", hangs, 600.0)
    manager = subprocess.Popen([*HARDENED, sys.executable, "-c", SWITCHES_OFF, device.agent, "600"])
    try:
        run(until_there(tmp_path / "begun"))
        manager.kill()
        assert holders.are_gone()
    finally:
        manager.kill()
        manager.wait()


def test_a_device_is_asked_also_by_a_manager_without_privileges(tmp_path: Path) -> None:
    device = script(tmp_path, "fence_works", "grep -q status && exit 2; exit 0")
    asked = subprocess.run([*HARDENED, sys.executable, "-c", SWITCHES_OFF, device.agent, "10"], check=False)
    assert asked.returncode == 0


async def until_there(path: Path) -> str:
    await until(path.exists, f"{path.name} is there")
    return ""


def test_a_fence_agent_whose_manager_was_gone_before_it_began_does_nothing(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    words = leashed(["touch", str(begun)], 10.0)
    # As if an hour had passed between the two.
    done = subprocess.run(["sh", "-c", '"$@" & wait $!', "sh", *words], check=False)
    assert (done.returncode, begun.exists()) == (1, False)
    assert subprocess.run(words, check=False).returncode == 0
    assert begun.exists()


def test_one_that_hangs_is_given_its_limit_and_then_the_next_is_tried(tmp_path: Path, switch: PowerSwitch) -> None:
    before = time.monotonic()
    with pytest.raises(WorldError):
        off((lab(tmp_path, "hangs"),), (lab(tmp_path, "hangs", 2),))
    assert time.monotonic() - before > 2 * HANGING_S


def test_a_step_of_a_scenario_goes_before_the_mode_of_the_descriptor(
    tmp_path: Path, switch: PowerSwitch, hosts: Hosts
) -> None:
    switch.set_mode(H1, "lies", "1")
    with pytest.raises(WorldError, match="fence_lab"):
        off((replace(lab(tmp_path, "works"), limit_s=LYING_S),))
    switch.set_mode(H1, "works")
    off((lab(tmp_path, "lies-fully"),))
    assert hosts.on == set()
    with pytest.raises(WorldError, match="has no mode 'sulks'"):
        switch.set_mode(H1, "sulks")


# What managers make of it.


def fenced_layout(*levels: tuple[FenceDevice, ...]) -> Layout:
    """One host with a VNF on storage that only one may use."""
    layout = small_layout()
    groups = {name: replace(group, state="external") for name, group in layout.groups.items()}
    hosts = {name: replace(host, fence=levels) for name, host in layout.hosts.items()}
    return replace(layout, groups=groups, hosts=hosts, grants=Grants("fast"))


def decided(folder: Path) -> list[Action]:
    return [one.action for one in read(folder) if isinstance(one, Decided)]


def test_a_device_that_lies_leaves_the_host_unfenced_with_an_alarm_and_nobody_is_told_that_it_is_off(
    tmp_path: Path, switch: PowerSwitch, hosts: Hosts
) -> None:
    layout = fenced_layout((lab(tmp_path, "lies"),))
    folder = make_folder(tmp_path, layout)

    async def story() -> str:
        async with managers(layout, folder, "vim", core=core_of) as pump:
            vim = pump.seats[VIM]
            pump.push(vim, AgentJoined(H1, (), (VmFact(VM_1, 1, "up"),)), time.monotonic())
            pump.push(vim, HostFailed(H1, HostName("h2"), "silent for 45 ms"), time.monotonic())
            await until(lambda: "fence:h1" in alarms(folder.journal(VIM)), "the alarm")
        return ""

    run(story())
    actions = decided(folder.journal(VIM))
    assert "host h1 could not be switched off: fence agent fence_lab" in alarms(folder.journal(VIM))["fence:h1"]
    assert [one.ok for one in read(folder.journal(VIM)) if isinstance(one, Ended)][:1] == [False]
    assert hosts.on == {H1}
    assert [action for action in actions if isinstance(action, StartVm)] == []
    assert [one for one in actions if isinstance(one, Send) and isinstance(one.message, VmIsolated)] == []


def test_an_order_to_switch_off_ends_an_older_one_to_switch_on(tmp_path: Path) -> None:
    on, seen = tmp_path / "on", tmp_path / "seen"
    slow = script(
        tmp_path,
        "fence_slow",
        "case $(cat) in\n"
        f"*action=on*) exec 9>{on}.lock; flock 9; touch {on}; exec sleep 600;;\n"
        f"*action=off*) if flock -n {on}.lock true; then echo gone >>{seen}; else echo on >>{seen}; fi;;\n"
        "*) exit 2;; esac",
    )
    layout = fenced_layout((slow,))
    folder = make_folder(tmp_path, layout)

    async def story() -> str:
        async with managers(layout, folder, "vim", core=core_of) as pump:
            vim = pump.seats[VIM]
            pump.push(vim, AgentJoined(H1, (), (VmFact(VM_1, 1, "up"),)), time.monotonic())
            pump.push(vim, HostFailed(H1, HostName("h2")), time.monotonic())
            await until(on.exists, "it is being switched on")
            pump.push(vim, AgentJoined(H1, (), ()), time.monotonic())
            pump.push(vim, HostFailed(H1, HostName("h2")), time.monotonic())
            await until(lambda: seen.read_text().count("\n") == 2, "it is switched off again")
        return seen.read_text()

    assert run(story()).split() == ["gone", "gone"]


def alarms(journal: Path) -> dict[str, str]:
    return {action.alarm: action.text for action in decided(journal) if isinstance(action, RaiseAlarm)}


@pytest.mark.parametrize("party", [HA, VIM])
def test_a_manager_that_comes_later_is_told_what_is_silent_as_far_as_it_concerns_it(
    tmp_path: Path, party: Party
) -> None:
    layout = small_layout()
    folder = make_folder(tmp_path, layout)
    failed = HostFailed(HostName("h2"), H1, "silent for 45 ms", 7)
    on_network = NetworkSilent(HostName("h3"), H1, "second", "nothing for 200 ms")
    concerned = [failed, on_network] if party == VIM else [failed]

    async def story() -> str:
        async with an_agent(layout, folder) as (_, agent):
            agent.silent = (failed, on_network)
            leader = Leader(folder, party)
            await leader.leads(1)
            await until(lambda: len(leader.heard) > len(concerned), "the facts and the news")
            await leader.kept.close()
        assert [one.event for one in leader.heard[1:] if isinstance(one, Tell)] == concerned
        return ""

    run(story())
