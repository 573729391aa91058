"""Checks: asking a VNFC again and again whether it is well (hangs leave the process alive).

In: a check of the descriptor and a target to ask. Out: one word per news: a miss, a failure after `misses` misses in a
row, or doubt in ourselves. What always holds: a round for which our own event loop was late is no evidence against
anybody, and is not counted.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.model.layout import Check

STATUS_LINE_BYTES_MAX = 4096
READY_POLL_S = 0.005
"""Pause between two attempts while a VNFC is starting."""


@dataclass(frozen=True)
class Target:
    """Whom to ask, and how."""

    address: str
    run: Callable[[tuple[str, ...], float], Awaitable[int]]
    """Runs a command where the VNFC is and gives its exit status; raises HoldfastError when it cannot."""
    ask: Callable[[float], Awaitable[None]]
    """Asks over the component protocol; raises the same when the component is unwell or silent."""


@dataclass(frozen=True)
class Listener:
    """Who hears what a check finds."""

    missed: Callable[[Check, int, str], None]
    failed: Callable[[Check, str], None]
    doubted: Callable[[Check, float], None]
    """We were late ourselves, by so many seconds; the round was not counted."""


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
            return  # the kernel tells us (see detect.death)
        case "tcp":
            (await _connect(target.address, check.port)).close()
        case "http":
            await _ask_http(check, target.address)
        case "command":
            status = await target.run(check.command, check.limit_s)
            if status != 0:
                raise NotWell(f"status {status}")
        case "protocol":
            await target.ask(check.limit_s)


async def _connect(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _ask_http(check: Check, address: str) -> None:
    loop = asyncio.get_running_loop()
    host = f"[{address}]" if ":" in address else address
    with await _connect(address, check.port) as sock:
        request = f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: holdfast\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(sock, request.encode())
        answer = b""
        while b"\r\n" not in answer:
            more = await loop.sock_recv(sock, STATUS_LINE_BYTES_MAX)
            answer += more
            if not more or len(answer) > STATUS_LINE_BYTES_MAX:
                break
    parts = answer.split(b"\r\n")[0].split(b" ")
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        raise NotWell("the answer is not HTTP")
    if int(parts[1]) != check.status:
        raise NotWell(f"status {int(parts[1])} instead of {check.status}")


async def until_well(check: Check, target: Target, answered: Callable[[Check, str], None]) -> None:
    """Ask until it is well for the first time; `answered` hears what is still wrong."""
    while (trouble := await ask_once(check, target)) is not None:
        answered(check, trouble)
        await asyncio.sleep(READY_POLL_S)


async def keep_asking(check: Check, target: Target, listener: Listener) -> None:
    """Ask every `every_s` until it has failed."""
    loop = asyncio.get_running_loop()
    misses = 0
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
        elif lateness > check.every_s / 2:
            listener.doubted(check, lateness)
            planned = ended + check.every_s
        else:
            misses += 1
            listener.missed(check, misses, trouble)
            if misses >= check.misses:
                listener.failed(check, trouble)
                return
