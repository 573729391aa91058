"""`holdfast prepare`: the same layout and key on each host, and nothing overwritten; what systemd is told."""

import asyncio
import socket
from pathlib import Path

import pytest

from holdfast.descriptor import load
from holdfast.errors import UserError
from holdfast.model.layout import Layout
from holdfast.model.limits import LEADER_LENGTH_S
from holdfast.model.names import HostName
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import load_layout
from holdfast.runtime.hot_grant_words import AGENT_SILENT_NS, ALIVE_EVERY_S
from holdfast.runtime.prepared import prepare_host
from holdfast.runtime.watchdog import watched

TEXT = """\
holdfast: 1
name: three
grants: default
hosts: {a: {}, b: {}, c: {}}
vnfs:
  web: {sal: 1, redundancy: 2N, place: [a, b], interface: {address: 10.77.0.100, port: 80}, start: sleep 9}
"""

STARTED_WITHIN_S = 0.75
"""From the end of an agent until the next one speaks: 0.15 to 0.55 s were measured in the lab, on two busy cores."""


def layout(tmp_path: Path, text: str = TEXT) -> Layout:
    file = tmp_path / "three.yaml"
    file.write_text(text)
    return load(file)


def test_every_host_gets_the_same_layout_and_key_and_nobody_else_may_read_the_key(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    said = prepare_host(layout(tmp_path), first, None)
    assert said["made"] == str(first.key)
    told = prepare_host(layout(tmp_path), second, first.key)
    assert (told["layout"], told["key"], told["made"]) == (said["layout"], said["key"], "")
    assert second.key.read_bytes() == first.key.read_bytes()
    assert second.key.stat().st_mode & 0o777 == 0o600
    assert load_layout(second) == layout(tmp_path)


def test_who_votes_is_forgotten_with_the_descriptor_and_not_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    prepare_host(layout(tmp_path), folder, None)
    voters = folder.voters(HostName("a"))
    voters.parent.mkdir()
    voters.write_bytes(b"{}")
    prepare_host(layout(tmp_path), folder, None)
    assert voters.exists()
    folder.layout.unlink()
    prepare_host(layout(tmp_path), folder, None)
    assert not voters.exists()


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a")
    said = prepare_host(layout(tmp_path), folder, None)
    assert prepare_host(layout(tmp_path), folder, None) == {**said, "made": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.replace("name: three", "name: four"), "belongs to another deployment: three"),
        (TEXT.replace("sleep 9", "sleep 8"), "is prepared for another version of three"),
        (TEXT.replace("grants: default\n", ""), "has 3 hosts and no `grants`"),
    ],
)
def test_what_is_there_already_is_not_overwritten(tmp_path: Path, text: str, message: str) -> None:
    folder = RunFolder(tmp_path / "a")
    prepare_host(layout(tmp_path), folder, None)
    before = (folder.layout.read_bytes(), folder.key.read_bytes())
    with pytest.raises(UserError, match=message):
        prepare_host(layout(tmp_path, text), folder, None)
    assert (folder.layout.read_bytes(), folder.key.read_bytes()) == before


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [(b"k" * 31, 0o600, "has 31 bytes"), (b"k" * 32, 0o644, "others may read"), (b"k" * 32, 0o600, "is another key")],
)
def test_a_key_that_will_not_do_is_refused(tmp_path: Path, content: bytes, mode: int, message: str) -> None:
    folder, key = RunFolder(tmp_path / "a"), tmp_path / "key"
    prepare_host(layout(tmp_path), folder, None)
    key.write_bytes(content)
    key.chmod(mode)
    with pytest.raises(UserError, match=message):
        prepare_host(layout(tmp_path), folder, key)


def test_systemd_hears_that_the_loop_turns_and_nobody_is_told_where_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(count: int) -> list[bytes]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(str(tmp_path / "notify"))
            ear.setblocking(False)
            task = watched()
            assert task is not None
            loop = asyncio.get_running_loop()
            heard = [await asyncio.wait_for(loop.sock_recv(ear, 64), 30) for _ in range(count)]
            task.cancel()
            return heard

    async def unasked() -> bool:
        return watched() is None

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    assert asyncio.run(told(3)) == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    monkeypatch.delenv("NOTIFY_SOCKET")
    monkeypatch.delenv("WATCHDOG_USEC")
    assert asyncio.run(unasked())


def unit(name: str) -> dict[str, str]:
    text = (Path(__file__).parents[2] / "packaging" / "systemd" / f"{name}@.service").read_text()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def seconds(words: str) -> float:
    return float(words.removesuffix("ms")) / 1000 if words.endswith("ms") else float(words.removesuffix("s"))


def test_a_stuck_agent_is_started_again_before_the_hot_process_gives_up_what_it_looked_after() -> None:
    agent = unit("holdfast-agent")
    assert agent["WatchdogSignal"] == "SIGKILL"  # a core dump of locked memory would take longer than all of this
    back_s = seconds(agent["WatchdogSec"]) + seconds(agent["RestartSec"]) + STARTED_WITHIN_S
    assert back_s + ALIVE_EVERY_S <= AGENT_SILENT_NS / 1e9


def test_a_stuck_manager_is_ended_only_when_another_one_leads() -> None:
    assert seconds(unit("holdfast-manager")["WatchdogSec"]) > LEADER_LENGTH_S
