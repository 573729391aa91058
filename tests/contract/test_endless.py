"""Others that never come to an end of what they say: a fence agent, a component's web server, a member of etcd."""

import asyncio
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.detect.checks import Asking, Target, ask_once
from holdfast.drivers.fence import call_agent
from holdfast.model.layout import Check, FenceDevice
from holdfast.runtime.sockets import Endpoint
from holdfast.runtime.streams import SOCKETS
from holdfast.store.etcd_http import Line, LineBroken
from holdfast.store.etcd_target import Endpoint as Member

PIECE = b"x" * 65536
MEMORY_BYTES = 16 << 20


def peak_of(work: Callable[[], Awaitable[None]]) -> int:
    """The memory that it took at most."""
    tracemalloc.start()
    try:
        asyncio.run(asyncio.wait_for(work(), 30))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_fence_agent_that_prints_without_end_is_ended_at_its_limit(tmp_path: Path) -> None:
    program = tmp_path / "fence_endless"
    program.write_text("#!/bin/sh\nexec cat /dev/zero\n")
    program.chmod(0o755)

    async def work() -> None:
        with pytest.raises(TimeoutError):
            await call_agent(FenceDevice(str(program)), "off", 1.0)

    assert peak_of(work) < MEMORY_BYTES


def test_a_fence_agent_that_says_much_is_heard_to_its_end(tmp_path: Path) -> None:
    program = tmp_path / "fence_talkative"
    program.write_text("#!/bin/sh\nhead -c 50000000 /dev/zero\necho at last\nexit 5\n")
    program.chmod(0o755)

    async def work() -> None:
        status, said = await call_agent(FenceDevice(str(program)), "off", 20.0)
        assert (status, said[-7:]) == (5, "at last")

    assert peak_of(work) < MEMORY_BYTES


async def endless(writer: asyncio.StreamWriter, head: bytes, piece: bytes) -> None:
    writer.write(head)
    try:
        while True:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        writer.close()


async def served(head: bytes, piece: bytes) -> tuple[asyncio.Server, int]:
    """Somebody who answers whoever calls, without end."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await endless(writer, head, piece)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def unwanted(*_: object) -> int:
    raise AssertionError("a check of HTTP runs and asks nothing else")


@pytest.mark.parametrize(
    ("head", "trouble"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"", "the answer is not HTTP"),
        (b"HTTP/1.1 " + b"9" * 5000 + b"\r\n", "the answer is not HTTP"),
    ],
)
def test_an_endless_answer_to_a_check_is_judged_by_its_first_line(head: bytes, trouble: str | None) -> None:
    async def call(address: str, port: int, made: Callable[[], Asking], limit_s: float) -> Asking:
        return await SOCKETS.call(Endpoint(address, port), made, limit_s)

    async def work() -> None:
        server, port = await served(head, PIECE)
        target = Target("127.0.0.1", unwanted, unwanted, call)  # type: ignore[arg-type]
        assert await ask_once(Check(kind="http", port=port, limit_s=10, status=200), target) == trouble
        server.close()

    assert peak_of(work) < MEMORY_BYTES


def test_an_answer_of_etcd_that_has_no_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.store.etcd_http.ETCD_ANSWER_BYTES_MAX", 4 << 20)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def work() -> None:
        server, port = await served(head, b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        line = await Line.open(Member("127.0.0.1", port), None)
        begun = time.monotonic()
        with pytest.raises(LineBroken, match="more than 4194304 bytes"):
            await line.ask("/v3/kv/range", b"{}", "")
        assert time.monotonic() - begun < 20
        line.close()
        server.close()

    assert peak_of(work) < 2 * MEMORY_BYTES
