"""What was refused is counted, and told at most once a second."""

import asyncio
from collections.abc import Mapping

from holdfast.runtime.refusals import HEARTBEATS, LINKS, Refusals


def test_a_thousand_refusals_at_once_are_told_once() -> None:
    told: list[Mapping[str, int]] = []

    async def story() -> None:
        refusals = Refusals(told.append)
        for _ in range(1000):
            refusals.add(LINKS, "key")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told == [{"links:key": 1000}]
        refusals.add(LINKS, "key")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(told) == 1
        refusals.close()

    asyncio.run(story())


def test_what_another_process_has_counted_is_told_when_it_changes() -> None:
    told: list[Mapping[str, int]] = []

    async def story() -> None:
        refusals = Refusals(told.append)
        for _ in range(3):
            refusals.are(HEARTBEATS, {"mac": 4, "replay": 0})
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert told == [{"heartbeats:mac": 4}]
        refusals.close()

    asyncio.run(story())
