"""Waiting for something that becomes void when what it is about is over."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from holdfast.errors import WorldError

Result = TypeVar("Result")


async def unless_over(work: Coroutine[Any, Any, Result], over: asyncio.Event, why: Callable[[], str]) -> Result:
    """What comes of the work; WorldError, with the reason, as soon as it is over."""
    task, end = asyncio.ensure_future(work), asyncio.ensure_future(over.wait())
    try:
        await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise WorldError(why())
        return task.result()
    finally:
        task.cancel()
        end.cancel()
        await asyncio.gather(task, end, return_exceptions=True)
