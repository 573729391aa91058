"""Tells systemd that this process is ready, and that its event loop still turns.

In:   NOTIFY_SOCKET and WATCHDOG_USEC, as systemd sets them for `Type=notify` and `WatchdogSec=`; nothing without them.
Out:  READY=1 once, WATCHDOG=1 from the loop three times within the limit. A loop that is stuck sends none, and systemd
ends and starts the process again.
Always: trouble with the socket never troubles the process.
"""

import asyncio
import os
import socket
from contextlib import suppress


def watched() -> "asyncio.Task[None] | None":
    """Begin to tell; None where nobody wants to hear. The caller cancels the task when it ends."""
    _say("READY=1")
    limit = os.environ.get("WATCHDOG_USEC", "")
    if not limit.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return asyncio.get_running_loop().create_task(_tell(int(limit) / 3e6), name="watchdog")


async def _tell(every_s: float) -> None:
    while True:
        _say("WATCHDOG=1")
        await asyncio.sleep(every_s)


def _say(text: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.setblocking(False)
        out.sendto(text.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
