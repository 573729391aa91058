"""Checks: asking a VNFC again and again whether it is well (hangs leave the process alive).

In: a check of the descriptor and a target to ask. Out: one word per news: a miss, a failure after `misses` misses in a
row, or doubt. What always holds: a round for which our own event loop was late is no evidence against anybody, and
neither is one in which the VNFC was not let run by its host, unless that lasts; such rounds are not counted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.model.layout import Check
from holdfast.model.processor import ProcessorUse, waited_share

STATUS_LINE_BYTES_MAX = 4096
READY_POLL_S = 0.005
"""Pause between two attempts while a VNFC is starting."""
STARVED_SHARE = 0.5
"""Not let run for so much of the time, it could not answer."""
STARVED_LIMIT_S = 2.0
"""After so long without an answer it does not matter any more why."""


@dataclass(frozen=True)
class Target:
    """Whom to ask, and how."""

    address: str
    run: Callable[[tuple[str, ...], float], Awaitable[int]]
    """Runs a command where the VNFC is and gives its exit status; raises HoldfastError when it cannot."""
    ask: Callable[[float], Awaitable[None]]
    """Asks over the component protocol; raises the same when the component is unwell or silent."""
    call: "Callable[[str, int, Callable[[], Asking], float], Awaitable[Asking]]"
    """Connects to an address and port within a limit, with what rides on the connection; OSError when it cannot."""
    processor: Callable[[], ProcessorUse | None] = lambda: None
    """What it has had of the processor, if that is known."""


class Asking(asyncio.Protocol):
    """One question on a connection of its own, and the first line of the answer."""

    def __init__(self, question: bytes = b"") -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """What came, as far as the first line's end, or the connection's."""
        self._question = question
        self._said = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._question:
            transport.write(self._question)

    def data_received(self, data: bytes) -> None:
        if self.answer.done():
            return  # However much it has to say.
        self._said += data
        if b"\r\n" in self._said or len(self._said) > STATUS_LINE_BYTES_MAX:
            self.answer.set_result(self._said)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(self._said)

    def close(self) -> None:
        self.answer.cancel()
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True)
class Listener:
    """Who hears what a check finds."""

    missed: Callable[[Check, int, str], None]
    failed: Callable[[Check, str], None]
    doubted: Callable[[Check, float], None]
    """We were late ourselves, by so many seconds; the round was not counted."""
    starved: Callable[[Check, float], None]
    """It was not let run for this share of the time; the round was not counted."""


class NotWell(Exception):
    """One answer was not as it should be."""


def words(check: Check) -> str:
    """What a person calls this check."""
    match check.kind:
        case "tcp":
            return f"check tcp {check.port}"
        case "http":
            return f"check http {check.port} {check.path}"
        case "command":
            return f"check command {' '.join(check.command)}"
        case kind:
            return f"check {kind}"


async def ask_once(check: Check, target: Target) -> str | None:
    """Ask once, within the check's limit: None when well, else what was wrong."""
    try:
        async with asyncio.timeout(check.limit_s):
            await _ask(check, target)
    except TimeoutError:
        return f"no answer within {check.limit_s * 1000:g} ms"
    except (NotWell, HoldfastError) as answer:
        return str(answer)
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


async def _ask(check: Check, target: Target) -> None:
    match check.kind:
        case "process":
            return  # the kernel tells us at once
        case "tcp":
            (await target.call(target.address, check.port, Asking, check.limit_s)).close()
        case "http":
            await _ask_http(check, target)
        case "command":
            status = await target.run(check.command, check.limit_s)
            if status != 0:
                raise NotWell(f"status {status}")
        case "protocol":
            await target.ask(check.limit_s)


async def _ask_http(check: Check, target: Target) -> None:
    host = f"[{target.address}]" if ":" in target.address else target.address
    request = f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: holdfast\r\nConnection: close\r\n\r\n"
    asking = await target.call(target.address, check.port, lambda: Asking(request.encode()), check.limit_s)
    try:
        answer = await asking.answer
    finally:
        asking.close()
    trouble = trouble_with(answer, check.status)
    if trouble:
        raise NotWell(trouble)


def trouble_with(answer: bytes, status: int) -> str:
    """What is wrong with the first line of an HTTP answer; empty when that status was given."""
    parts = answer.split(b"\r\n")[0].split(b" ")
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not (len(parts[1]) == 3 and parts[1].isdigit()):
        return "the answer is not HTTP"
    return "" if int(parts[1]) == status else f"status {int(parts[1])} instead of {status}"


async def until_well(check: Check, target: Target, answered: Callable[[Check, str], None]) -> None:
    """Ask until it is well for the first time; `answered` hears what is still wrong."""
    while (trouble := await ask_once(check, target)) is not None:
        answered(check, trouble)
        await asyncio.sleep(READY_POLL_S)


class Starving:
    """Whether a VNFC that does not answer is let run at all; looked at only when an answer is missed."""

    def __init__(self, processor: Callable[[], ProcessorUse | None], now: float) -> None:
        self._processor = processor
        self._answered_at = now
        self._before: ProcessorUse | None = None
        self._looked_at = now

    def answered(self, now: float) -> None:
        self._answered_at = self._looked_at = now
        self._before = None

    def share(self, now: float) -> float:
        """For which part of the time since the last look it was ready and not let run; 0 when that lasts too long."""
        use = self._processor()
        share = waited_share(self._before, use, now - self._looked_at)
        self._before, self._looked_at = use, now
        return share if now - self._answered_at < STARVED_LIMIT_S else 0.0


async def keep_asking(check: Check, target: Target, listener: Listener) -> None:
    """Ask every `every_s` until it has failed."""
    loop = asyncio.get_running_loop()
    misses = 0
    starving = Starving(target.processor, loop.time())
    planned = loop.time() + check.every_s
    while True:
        await asyncio.sleep(max(0.0, planned - loop.time()))
        begun = loop.time()
        trouble = await ask_once(check, target)
        ended = loop.time()
        lateness = max(begun - planned, ended - begun - check.limit_s)
        planned = max(planned + check.every_s, ended)
        if trouble is None:
            misses = 0
            starving.answered(ended)
        elif lateness > check.every_s / 2:
            listener.doubted(check, lateness)
            planned = ended + check.every_s
        elif (share := starving.share(ended)) >= STARVED_SHARE:
            listener.starved(check, share)
        else:
            misses += 1
            listener.missed(check, misses, trouble)
            if misses >= check.misses:
                listener.failed(check, trouble)
                return
