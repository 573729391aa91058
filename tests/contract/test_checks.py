"""Checks: what counts as a miss, what as a failure, and what as doubt in ourselves."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import chain, repeat

from holdfast.detect.checks import Asking, Listener, Target, ask_once, keep_asking, until_well, words
from holdfast.errors import WorldError
from holdfast.model.layout import Check
from holdfast.runtime.sockets import Endpoint
from holdfast.runtime.streams import SOCKETS

LIMIT_S = 5.0


class Heard:
    """A listener that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.missed: list[tuple[int, str]] = []
        self.failed: list[str] = []
        self.doubts: list[float] = []
        self.news = asyncio.Event()

    def listener(self) -> Listener:
        return Listener(self._missed, self._failed, self._doubted)

    def _missed(self, _check: Check, misses: int, trouble: str) -> None:
        self.missed.append((misses, trouble))
        self.news.set()

    def _failed(self, _check: Check, trouble: str) -> None:
        self.failed.append(trouble)

    def _doubted(self, _check: Check, late_s: float) -> None:
        self.doubts.append(late_s)
        self.news.set()


def target(
    run: Callable[[tuple[str, ...], float], Awaitable[int]] | None = None,
    ask: Callable[[float], Awaitable[None]] | None = None,
) -> Target:
    async def well(*_arguments: object) -> int:
        return 0

    async def answers(_limit_s: float) -> None:
        return

    async def call(address: str, port: int, made: Callable[[], Asking], limit_s: float) -> Asking:
        return await SOCKETS.call(Endpoint(address, port), made, limit_s)

    return Target("127.0.0.1", run or well, ask or answers, call)


async def served(answer: bytes) -> tuple[asyncio.Server, int]:
    """A server on loopback that reads one request and gives this answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer:
            await reader.read(1000)
            writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


def http_answer(answer: bytes, status: int = 200) -> str | None:
    async def ask() -> str | None:
        server, port = await served(answer)
        async with server:
            return await ask_once(Check(kind="http", port=port, limit_s=2, status=status), target())

    return asyncio.run(ask())


def test_http_wants_the_declared_status() -> None:
    assert http_answer(b"HTTP/1.1 200 OK\r\n\r\n") is None
    assert http_answer(b"HTTP/1.1 204 No Content\r\n\r\n", status=204) is None
    assert http_answer(b"HTTP/1.1 503 Busy\r\n\r\n") == "status 503 instead of 200"
    assert http_answer(b"220 mail\r\n") == "the answer is not HTTP"
    assert http_answer(b"x" * 5000) == "the answer is not HTTP"


def test_tcp_wants_a_connection() -> None:
    async def ask() -> tuple[str | None, str | None]:
        server, port = await served(b"")
        check = Check(kind="tcp", port=port, limit_s=2)
        async with server:
            open_port = await ask_once(check, target())
        return open_port, await ask_once(check, target())

    assert asyncio.run(ask()) == (None, "refused")


def test_a_command_must_succeed_and_a_component_must_answer() -> None:
    async def three(_command: tuple[str, ...], _limit_s: float) -> int:
        return 3

    async def unwell(_limit_s: float) -> None:
        raise WorldError("answered Check with: disk full")

    async def silent(_limit_s: float) -> None:
        await asyncio.Event().wait()

    command, protocol = Check(kind="command", command=("ask",)), Check(kind="protocol", limit_s=0.01)
    assert asyncio.run(ask_once(command, target(run=three))) == "status 3"
    assert asyncio.run(ask_once(protocol, target(ask=unwell))) == "answered Check with: disk full"
    assert asyncio.run(ask_once(protocol, target(ask=silent))) == "no answer within 10 ms"
    assert words(command) == "check command ask"


def test_only_misses_in_a_row_are_a_failure() -> None:
    answers = chain([1, 1, 0], repeat(1))

    async def run(_command: tuple[str, ...], _limit_s: float) -> int:
        return next(answers)

    heard = Heard()
    # A long limit between rounds: nothing here depends on how quick the machine is.
    check = Check(kind="command", every_s=0.05, limit_s=2.0, misses=3)
    asyncio.run(keep_asking(check, target(run=run), heard.listener()))
    assert [misses for misses, _trouble in heard.missed][-3:] == [1, 2, 3]
    assert heard.failed == ["status 1"]


def test_rounds_for_which_our_own_loop_was_late_are_not_counted() -> None:
    heard = Heard()

    async def stalls(_limit_s: float) -> None:
        if not heard.doubts:
            block_the_loop(0.08)
        await asyncio.Event().wait()

    async def scenario() -> None:
        check = Check(kind="protocol", every_s=0.02, limit_s=0.02, misses=1)
        async with asyncio.timeout(LIMIT_S):
            await keep_asking(check, target(ask=stalls), heard.listener())

    asyncio.run(scenario())
    assert heard.doubts[0] > 0.01
    assert len(heard.failed) == 1  # only the round that we were in time for


def block_the_loop(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_waiting_for_the_first_good_answer_tells_what_is_still_wrong() -> None:
    answers = iter([1, 2, 0])
    troubles: list[str] = []

    async def run(_command: tuple[str, ...], _limit_s: float) -> int:
        return next(answers)

    check = Check(kind="command", limit_s=2.0)
    asyncio.run(until_well(check, target(run=run), lambda _check, trouble: troubles.append(trouble)))
    assert troubles == ["status 1", "status 2"]
