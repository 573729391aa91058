"""What has been compiled runs in a coroutine of Python's own, which changes nothing that it does."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from holdfast.lab.sim.apart import apart


class Compiled(Coroutine[Any, Any, str]):
    """As mypyc makes one of `await far; return "done"`."""

    def __init__(self, far: "asyncio.Future[None]") -> None:
        self._far = far
        self._waiting = far.__await__()
        self.handled_before: list[object] = []
        """What was being handled around it whenever it was called."""

    def send(self, value: Any) -> Any:
        self.handled_before.append(sys.exc_info()[0])
        try:
            return self._waiting.send(value)
        except StopIteration:
            raise StopIteration("done") from None

    def throw(self, *thrown: Any) -> Any:
        self.handled_before.append(sys.exc_info()[0])
        raise thrown[0]

    def close(self) -> None:
        """It holds nothing."""

    def __await__(self) -> Any:
        raise AssertionError("apart() sends and throws by itself")


async def _far(compiled: Compiled, cancels: int) -> str:
    task = asyncio.ensure_future(apart(compiled))
    for _ in range(cancels):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    if not compiled._far.done():
        compiled._far.set_result(None)
    return await task


def test_what_it_answers_is_answered() -> None:
    async def play() -> str:
        return await _far(Compiled(asyncio.get_running_loop().create_future()), 0)

    assert asyncio.run(play()) == "done"


def test_a_cancellation_reaches_it_and_ends_it() -> None:
    async def play() -> str:
        return await _far(Compiled(asyncio.get_running_loop().create_future()), 1)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(play())


def test_no_exception_is_being_handled_around_it_when_one_is_thrown_into_it() -> None:
    async def play() -> list[object]:
        compiled = Compiled(asyncio.get_running_loop().create_future())
        with pytest.raises(asyncio.CancelledError):
            await _far(compiled, 1)
        return compiled.handled_before

    assert asyncio.run(play()) == [None, None]
