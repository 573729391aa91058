"""News of failed hosts that have waited on their way: what is over when they arrive is not acted upon."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from holdfast.model.events import HostFailed, HostReturned, VnfcFailed
from holdfast.model.layout import Layout
from holdfast.model.names import HA, HostName
from holdfast.runtime.folder import RunFolder
from holdfast.wire.link_messages import StillSilent, Tell
from tests.contract.fakes import DNS_1, H1, STORY_S, make_folder, small_layout, until
from tests.contract.test_link_terms import Leader
from tests.contract.test_managers import an_agent, joined, managers, names

H2, H3 = HostName("h2"), HostName("h3")
FAILED = HostFailed(H2, H1, "silent for 45 ms", 7)


@pytest.fixture
def layout() -> Layout:
    return small_layout()


@pytest.fixture
def folder(tmp_path: Path, layout: Layout) -> RunFolder:
    return make_folder(tmp_path, layout)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, STORY_S))


def test_a_host_counts_as_failed_only_if_it_is_so_when_the_manager_has_asked(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump, an_agent(layout, folder) as (_, agent):
            ha = pump.seats[HA]
            await joined(ha)
            agent.emit(FAILED)  # On a link that was cut this comes when the host is back.
            agent.emit(HostReturned(H2, H1))
            agent.emit(VnfcFailed(DNS_1, 1, "killed"))
            await until(lambda: "VnfcFailed" in names(ha), "the last news")
            await until(lambda: "ActionDone" in names(ha), "a whole round trip later")
            assert "HostFailed" not in names(ha)
            agent.silent = (FAILED,)
            agent.emit(FAILED)
            await until(lambda: "HostFailed" in names(ha), "the host is silent indeed")

    run(story())


def test_an_agent_says_it_again_of_that_life_of_the_host_and_of_no_other(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (_, agent):
            agent.silent = (HostFailed(H2, H1, "silent for 900 ms", 7), HostFailed(H3, H1, "silent for 900 ms", 3))
            leader = Leader(folder)
            link = await leader.leads(1)
            await until(lambda: len(leader.heard) == 3, "the facts, and what is silent")
            assert [one.is_now for one in leader.heard[1:] if isinstance(one, Tell)] == [True, True]
            for asked in (HostFailed(H2, H1, "", 6), HostFailed(H1, H1, "", 7), FAILED):
                link.send(StillSilent(asked))
            await until(lambda: len(leader.heard) == 4, "the answer")
            told = leader.heard[3]
            assert isinstance(told, Tell)
            assert (told.event, told.is_now) == (agent.silent[0], True)
            await leader.kept.close()

    run(story())


def test_a_failure_that_is_over_before_its_turn_has_come_is_left_out(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump:
            ha = pump.seats[HA]
            await until(lambda: names(ha), "started")
            now = time.monotonic()
            pump.push(ha, HostFailed(H2, H1), now)
            pump.push(ha, HostFailed(H2, H3), now)
            pump.push(ha, HostReturned(H2, H1), now)
            await until(lambda: "HostReturned" in names(ha), "all of it was taken")
            assert [name for name in names(ha) if name.startswith("Host")] == ["HostFailed", "HostReturned"]

    run(story())
