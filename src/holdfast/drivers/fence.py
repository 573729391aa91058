"""Power of hosts, by fence agents of the ClusterLabs contract.

In:   a fence device of the layout, on or off.
Out:  nothing, when the device itself reports the wanted state.
Always: options go to the agent as `key=value` lines on its standard input (never in its arguments, where
everybody could read a password); exit status 0 is success; for `status` 0 means on and 2 means off. An
agent that is not done within the device's limit is killed with all it started.
"""

import asyncio
import os
import signal
import time
from typing import Literal

from holdfast.errors import MachineLacks, WorldError
from holdfast.model.layout import FenceDevice

Power = Literal["on", "off"]

_STATUS_PAUSE_S = 0.05
_OUTPUT_SHOWN = 300


async def set_power(device: FenceDevice, wanted: Power) -> None:
    """Switch, then ask until the device reports the wanted state.

    Raises:
        WorldError: the agent failed, or the state was not confirmed within the device's limit.
        MachineLacks: there is no such agent.
    """
    limit = time.monotonic() + device.limit_s
    code, output = await _run(device, wanted, limit)
    if code != 0:
        raise WorldError(f"fence agent {device.agent} failed to switch {wanted} (exit status {code}): {output}")
    while True:
        code, output = await _run(device, "status", limit)
        if (wanted, code) in {("on", 0), ("off", 2)}:
            return
        if time.monotonic() + _STATUS_PAUSE_S >= limit:
            raise WorldError(f"fence agent {device.agent} does not confirm {wanted} (exit status {code}): {output}")
        await asyncio.sleep(_STATUS_PAUSE_S)


async def _run(device: FenceDevice, action: str, limit: float) -> tuple[int, str]:
    lines = "".join(f"{name}={value}\n" for name, value in {**device.options, "action": action}.items())
    try:
        process = await asyncio.create_subprocess_exec(
            device.agent,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise MachineLacks(
            f"fence agent {device.agent} cannot be started: {error.strerror}",
            "name a program of the package fence-agents, or give its full path",
        ) from error
    try:
        async with asyncio.timeout_at(limit):
            output, _ = await process.communicate(lines.encode())
    except TimeoutError:
        raise WorldError(f"fence agent {device.agent} was not done with {action} in {device.limit_s:g} s") from None
    finally:
        await _end(process)
    return process.returncode or 0, output.decode(errors="replace").strip()[-_OUTPUT_SHOWN:]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the agent's whole session if the agent itself is still there."""
    if process.returncode is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    await process.wait()
