"""OCF resource agents, by a small one of ours: start leaves a daemon, stop ends it, statuses have meanings."""

import os
import signal
from pathlib import Path

import pytest

from holdfast.drivers import ocf
from holdfast.errors import WorldError
from holdfast.model.actions import StartVnfc, StopVnfc
from holdfast.model.events import ActionFailed, VnfcFailed
from holdfast.model.layout import OcfAgent
from tests.unit.agent_host import VNFC, HostUnderTest, component, layout_of, on_host, processes_with

pytestmark = pytest.mark.namespaces

AGENT = """#!/bin/sh
echo "$1 $OCF_RESOURCE_INSTANCE $OCF_RESKEY_told $OCF_RESKEY_CRM_meta_timeout" >> actions
case "$1" in
start) test "$OCF_RESKEY_told" = vm-1 || exit 6; setsid sleep 1000 & echo $! > pid; exit 0;;
stop) kill $(cat pid); exit 0;;
*) exit 3;;
esac
"""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OcfAgent:
    """An agent that is installed for this test alone."""
    folder = tmp_path / "ocf" / "resource.d" / "test"
    folder.mkdir(parents=True)
    (folder / "daemon").write_text(AGENT)
    (folder / "daemon").chmod(0o755)
    monkeypatch.setattr(ocf, "ROOT", tmp_path / "ocf")
    return OcfAgent("test", "daemon", {"told": "${vm}"})


def daemons(host: HostUnderTest) -> list[int]:
    return processes_with(f"HOLDFAST_DIR={host.folder.vnfc(VNFC)}")


def test_the_daemon_that_start_leaves_behind_is_watched_and_stopped(tmp_path: Path, daemon: OcfAgent) -> None:
    async def scenario(host: HostUnderTest) -> None:
        await host.started()
        os.kill(daemons(host)[0], signal.SIGKILL)
        assert (await host.event(VnfcFailed)).detail == "killed by SIGKILL"
        await host.started(run=2)
        await host.done(StopVnfc(host.id(), VNFC, 2))
        assert daemons(host) == []
        actions = (host.folder.vnfc(VNFC) / "actions").read_text().splitlines()
        assert actions == ["start fun-1 vm-1 20000", "start fun-1 vm-1 20000", "stop fun-1 vm-1 20000"]

    on_host(layout_of(component(start=None, ocf=daemon)), tmp_path / "run", scenario)


def test_what_an_agent_answers_is_said_in_words(tmp_path: Path, daemon: OcfAgent) -> None:
    badly_told = OcfAgent(daemon.provider, daemon.agent, {"told": "nothing"})

    async def scenario(host: HostUnderTest) -> None:
        await host.booted()
        outcome = await host.agent.perform(StartVnfc(host.id(), VNFC, 1, 1))
        assert isinstance(outcome, ActionFailed)
        assert outcome.why == "OCF action start failed: not configured rightly (6)"

    on_host(layout_of(component(start=None, ocf=badly_told)), tmp_path / "run", scenario)


def test_an_agent_that_is_not_installed_is_named() -> None:
    with pytest.raises(WorldError, match="ocf:nobody:nothing is not installed") as caught:
        ocf.program(OcfAgent("nobody", "nothing"))
    assert "resource-agents" in caught.value.hint
