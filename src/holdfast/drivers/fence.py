"""Power of hosts, by fence agents of the ClusterLabs contract, level after level.

In:   the fence levels of a host, on or off.
Out:  who has confirmed the wanted state, in words.
Always: off counts only as far as `status` of the device that did it says so; a level counts when all its devices have
confirmed; one that hangs, fails or is not confirmed is given up at its limit, with all that it has started, and the
next level is tried. No agent outlives this process: whoever takes its place begins from the start. Options go to the
agent as `key=value` lines on its standard input (never in its arguments, where everybody could read a password); exit
status 0 is success; for `status` 0 means on and 2 means off.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from holdfast.drivers.leash import leashed
from holdfast.errors import HoldfastError, MachineLacks, WorldError
from holdfast.model.layout import FenceDevice, FenceLevels

Power = Literal["on", "off"]

_STATUS_PAUSE_S = 0.05
_OUTPUT_SHOWN = 300
_OUTPUT_KEPT = 4 * _OUTPUT_SHOWN
_PIECE_BYTES = 1 << 16
_SYSTEM_FOLDERS = "/usr/sbin:/sbin"
"""Fence agents are installed there, and not everybody's PATH has it."""


def program(agent: str) -> str | None:
    """Where the program of a fence agent is."""
    return shutil.which(agent, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}")


Call = Callable[[FenceDevice, str, float], Awaitable[tuple[int, str]]]
"""Calls the device's fence agent with an action, within so many seconds (else TimeoutError): exit status and output."""


async def set_power(levels: FenceLevels, wanted: Power, call: Call | None = None) -> str:
    """Switch a host and have it confirmed; returns which level did, and what those before it have said.

    Off: one level after another, until one has confirmed. On: all levels, as any of them may have switched it off.

    Raises:
        WorldError: no level has confirmed, with what each of them said.
    """
    call = call if call is not None else call_agent
    if wanted == "on":
        answers = await asyncio.gather(*(_level(level, "on", call) for level in levels))
        if any(confirmed for confirmed, _ in answers):
            return ""
        raise WorldError(_told(answers))
    tried: list[tuple[bool, str]] = []
    for level in levels:
        tried.append(await _level(level, "off", call))
        if tried[-1][0]:
            return _told(tried) if len(levels) > 1 else ""
    raise WorldError(_told(tried))


def _told(answers: list[tuple[bool, str]]) -> str:
    if len(answers) == 1 and not answers[0][0]:
        return answers[0][1]
    return "; ".join(f"level {number}: {said}" for number, (_, said) in enumerate(answers, start=1))


async def _level(level: tuple[FenceDevice, ...], wanted: Power, call: Call) -> tuple[bool, str]:
    """Whether all devices of the level have confirmed; the first that has not ends it."""
    if not level:
        return False, "no device"
    for device in level:
        try:
            await _switch(device, wanted, call)
        except HoldfastError as error:
            return False, error.message
    return True, f"{' and '.join(device.agent for device in level)} confirmed {wanted}"


async def _switch(device: FenceDevice, wanted: Power, call: Call) -> None:
    """Switch, then ask until the device reports the wanted state, within its limit."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + device.limit_s

    async def ask(action: str) -> tuple[int, str]:
        try:
            return await call(device, action, limit - loop.time())
        except TimeoutError:
            raise WorldError(f"fence agent {device.agent} was not done with {action} in {device.limit_s:g} s") from None

    code, output = await ask(wanted)
    if code != 0:
        raise WorldError(f"fence agent {device.agent} failed to switch {wanted} (exit status {code}): {output}")
    while True:
        code, output = await ask("status")
        if (wanted, code) in {("on", 0), ("off", 2)}:
            return
        if loop.time() + _STATUS_PAUSE_S >= limit:
            raise WorldError(f"fence agent {device.agent} does not confirm {wanted} (exit status {code}): {output}")
        await asyncio.sleep(_STATUS_PAUSE_S)


async def call_agent(device: FenceDevice, action: str, limit_s: float) -> tuple[int, str]:
    """Run the program of that name. MachineLacks when there is none; it ends with all it has started at the limit."""
    lines = "".join(f"{name}={value}\n" for name, value in {**device.options, "action": action}.items())
    path = program(device.agent)
    if path is None:
        raise MachineLacks(
            f"fence agent {device.agent} is not there",
            "name a program of the package fence-agents, or give its full path",
        )
    try:
        process = await asyncio.create_subprocess_exec(
            *leashed([path], limit_s),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise MachineLacks(f"fence agent {device.agent} cannot be started: {error.strerror}") from error
    is_done = False
    try:
        async with asyncio.timeout(limit_s):
            output = await _talk(process, lines.encode())
        is_done = True
    finally:
        if not is_done:
            await _end(process)
    return process.returncode or 0, output.decode(errors="replace").strip()[-_OUTPUT_SHOWN:]


async def _talk(process: asyncio.subprocess.Process, options: bytes) -> bytes:
    """Give it its options; answer the end of what it says until it ends. However much that is, little of it is kept."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(ConnectionError):  # It need not read what it is given.
        process.stdin.write(options)
        await process.stdin.drain()
    process.stdin.close()
    said = b""
    while piece := await process.stdout.read(_PIECE_BYTES):
        said = (said + piece)[-_OUTPUT_KEPT:]
    await process.wait()
    return said


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the agent with all that it has started (see drivers/leash.py); it may have ended just now."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # Its pipes are closed here: nobody may wait for what it has left in them.
    process._transport.close()  # type: ignore[attr-defined]
    await process.wait()
