"""One action at a time for an entity; isolation waits for nobody.

What always holds: when `at_once` begins its work, whatever was under way has been broken off and has ended, and
whatever was waiting will fail instead of beginning.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from holdfast.errors import WorldError

Result = TypeVar("Result")
Work = Callable[[], Coroutine[Any, Any, Result]]

BROKEN_OFF = "broken off, because it is being isolated"


class Turns:
    """The turns of one VM or VNFC."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._present: asyncio.Future[Any] | None = None
        self._urgent = 0

    async def in_turn(self, work: Work[Result]) -> Result:
        """Do it when nothing else is under way. WorldError when an isolation came in between."""
        async with self._lock:
            if self._urgent:
                raise WorldError(BROKEN_OFF)
            task = asyncio.ensure_future(work())
            self._present = task
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.wait({task})
                raise
            finally:
                self._present = None
            if task.cancelled():
                raise WorldError(BROKEN_OFF)
            return task.result()

    async def at_once(self, work: Work[Result]) -> Result:
        """Break off what is under way and do this."""
        self._urgent += 1
        try:
            if self._present is not None:
                self._present.cancel()
            async with self._lock:
                return await work()
        finally:
            self._urgent -= 1
