"""Checks: what counts as a miss, what as a failure, and what as doubt in ourselves."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from pathlib import Path

import pytest

from holdfast.detect.checks import Asking, Listener, Starving, Target, ask_once, keep_asking, until_well, words
from holdfast.errors import WorldError
from holdfast.model.layout import Check
from holdfast.model.processor import ProcessorUse
from holdfast.runtime.sockets import Endpoint
from holdfast.runtime.streams import SOCKETS, Streams
from tests.contract.places import Simulated, unused_port

LIMIT_S = 20.0
PORT = unused_port()


class Heard:
    """A listener that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.missed: list[tuple[int, str]] = []
        self.failed: list[str] = []
        self.doubts: list[float] = []
        self.starved: list[float] = []
        self.news = asyncio.Event()

    def listener(self) -> Listener:
        return Listener(self._missed, self._failed, self._doubted, lambda _check, share: self.starved.append(share))

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
    streams: Streams = SOCKETS,
    processor: Callable[[], ProcessorUse | None] = lambda: None,
) -> Target:
    async def well(*_arguments: object) -> int:
        return 0

    async def answers(_limit_s: float) -> None:
        return

    async def call(address: str, port: int, made: Callable[[], Asking], limit_s: float) -> Asking:
        return await streams.call(Endpoint(address, port), made, limit_s)

    return Target("127.0.0.1", run or well, ask or answers, call, processor)


class Server(asyncio.Protocol):
    """Reads one request and gives this answer; with an empty one it hangs up at once."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._answer:
            transport.close()

    def data_received(self, _data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(self._answer)
        self._transport.close()


Play = Callable[[Callable[[Streams], Awaitable[None]]], None]


@pytest.fixture(params=["kernel", "simulated"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    async def on_sockets(case: Callable[[Streams], Awaitable[None]]) -> None:
        await case(SOCKETS)

    if request.param == "kernel":
        return lambda case: asyncio.run(on_sockets(case))
    return lambda case: Simulated(tmp_path).play(lambda premises: case(premises.streams))


async def answers_to(check: Check, streams: Streams, answer: bytes) -> str | None:
    listening = await streams.listen(Endpoint("127.0.0.1", check.port), lambda: Server(answer))
    try:
        return await ask_once(check, target(streams=streams))
    finally:
        listening.close()


@pytest.mark.parametrize(
    ("answer", "wanted", "trouble"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (b"HTTP/1.1 503 Busy\r\n\r\n", 200, "status 503 instead of 200"),
        (b"220 mail\r\n", 200, "the answer is not HTTP"),
        (b"x" * 5000, 200, "the answer is not HTTP"),
    ],
    ids=["well", "no-content", "busy", "mail", "endless"],
)
def test_http_wants_the_declared_status(play: Play, answer: bytes, wanted: int, trouble: str | None) -> None:
    check = Check(kind="http", port=PORT, limit_s=20, status=wanted)

    async def ask(streams: Streams) -> None:
        assert await answers_to(check, streams, answer) == trouble

    play(ask)


def test_tcp_wants_a_connection(play: Play) -> None:
    async def ask(streams: Streams) -> None:
        check = Check(kind="tcp", port=PORT, limit_s=20)
        assert await answers_to(check, streams, b"") is None
        assert await ask_once(check, target(streams=streams)) == "refused"

    play(ask)


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


async def _never(_limit_s: float) -> None:
    await asyncio.Event().wait()


def _asked(folder: Path, uses: list[ProcessorUse], misses: int = 3) -> Heard:
    """What is heard of one that never answers, and stands like this with the processor, round by round.

    In simulated time: no round is lost to doubts of our own.
    """
    heard = Heard()
    at = chain(uses, repeat(uses[-1]))
    check = Check(kind="protocol", every_s=0.005, limit_s=0.005, misses=misses)

    async def scenario(_: object) -> None:
        async with asyncio.timeout(LIMIT_S):
            await keep_asking(check, target(ask=_never, processor=lambda: next(at)), heard.listener())

    Simulated(folder).play(scenario)
    return heard


def test_rounds_in_which_it_was_not_let_run_are_not_counted(tmp_path: Path) -> None:
    stands, waits = ProcessorUse(1.0, 0.0, is_ready=False), ProcessorUse(1.0, 0.0, is_ready=True)
    heard = _asked(tmp_path, [waits, waits, waits, stands])
    assert len(heard.starved) == 3
    assert min(heard.starved) > 0.9
    assert len(heard.failed) == 1


def test_one_that_runs_for_ever_and_answers_nobody_has_failed(tmp_path: Path) -> None:
    heard = _asked(tmp_path, [ProcessorUse(float(n), 0.0, is_ready=True) for n in range(10)])
    assert (len(heard.starved), len(heard.failed)) == (1, 1)  # Only of the first round nobody knows what it did.


def test_one_that_is_stopped_has_failed_as_soon_as_ever(tmp_path: Path) -> None:
    heard = _asked(tmp_path, [ProcessorUse(1.0, 0.5, is_ready=False)])
    assert (heard.starved, [misses for misses, _ in heard.missed]) == ([], [1, 2, 3])


def test_one_that_is_never_let_run_has_failed_in_the_end() -> None:
    starving = Starving(lambda: ProcessorUse(1.0, 0.0, is_ready=True), now=10.0)
    assert [starving.share(now) for now in (10.5, 11.9, 12.1)] == [1.0, 1.0, 0.0]
    starving.answered(12.2)
    assert starving.share(12.3) == 1.0


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
