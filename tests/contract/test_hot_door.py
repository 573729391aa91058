"""How an agent reaches the hot process of its host, and sees it gone: with a real one."""

import asyncio
import os
import socket
from pathlib import Path

import msgspec

from holdfast.model.granting import FAST
from holdfast.model.names import HostName
from holdfast.runtime.hot_door import SPAWNED_HOT
from holdfast.runtime.hot_grant_words import GrantSettings
from holdfast.runtime.hot_words import EndHot, HotNetwork, HotSettings, packed

LIMIT_S = 60.0
LOCAL = "127.0.0.1"
H1 = HostName("h1")


def unused_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOCAL, 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def settings_in(folder: Path) -> Path:
    """Of a host that is alone, and shares no address."""
    (folder / "key").write_bytes(os.urandom(32))
    network = HotNetwork("first", LOCAL, unused_port())
    settings = HotSettings("c", H1, (network,), {}, FAST.heartbeat_ns, str(folder / "key"), str(folder / "hot.sock"))
    grants = GrantSettings(H1, FAST, (H1,), (), {}, "hf_test", str(folder / "voters"))
    file = folder / "h1.json"
    file.write_bytes(msgspec.json.encode(settings))
    file.with_suffix(".grants").write_bytes(msgspec.json.encode(grants))
    return file


def is_running(name: Path) -> bool:
    """Whether a process was started with this file, and is more than what its parent has yet to hear of."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(name).encode() in entry.read_bytes():
                return True  # One that has ended has no words any more.
        except OSError:
            continue
    return False


def test_it_is_over_when_the_process_is_gone_and_not_before(tmp_path: Path) -> None:
    async def story() -> None:
        settings, heard = settings_in(tmp_path), list[bytes]()
        end = await SPAWNED_HOT.reach(tmp_path / "hot.sock", settings, tmp_path / "log", heard.append)
        again = await SPAWNED_HOT.reach(tmp_path / "hot.sock", settings, tmp_path / "log", heard.append)
        over = asyncio.ensure_future(again.over())
        await asyncio.sleep(0)
        assert is_running(settings)
        assert not over.done()
        again.send(packed(EndHot()))
        await over
        assert not is_running(settings)
        await end.over()
        for one in (end, again):
            one.close()

    asyncio.run(asyncio.wait_for(story(), LIMIT_S))
