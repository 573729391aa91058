"""The power of simulated hosts: what fence agents do, with the faults that such devices have.

In:   a device and an action, as a fence agent is called. Out: exit status and what it said, after a while.
Always: levels, limits and confirmations are the product's (`drivers/fence.py`); here is only the device.
"""

import asyncio
from typing import Protocol

from holdfast.lab.sim.timeline import Timeline
from holdfast.model.layout import FenceDevice
from holdfast.model.names import HostName

TAKES_NS = (15_000_000, 60_000_000)
"""A fence agent is a program that talks with a device."""
NS = 1_000_000_000
OFF, ON, FAILED = 2, 0, 1


class Powered(Protocol):
    def switch_on(self, name: HostName) -> None: ...

    def switch_off(self, name: HostName) -> None: ...

    def is_on(self, name: HostName) -> bool: ...


class SimPower:
    """All fence devices."""

    def __init__(self, timeline: Timeline, hosts: Powered) -> None:
        self._timeline = timeline
        self._hosts = hosts
        self._modes: dict[tuple[str, str], str] = {}
        self._claimed: dict[tuple[str, str], str] = {}
        """What a device that lies fully says of its host."""
        self.orders: list[tuple[int, str, HostName]] = []
        """When which host was switched, as the devices remember it."""

    def set_mode(self, host: HostName, mode: str, level: str = "") -> None:
        if not level:
            self._modes = {key: known for key, known in self._modes.items() if key[0] != host}
        self._modes[host, level] = mode

    async def run(self, device: FenceDevice, action: str, limit_s: float) -> tuple[int, str]:
        """Exit status and output of the fence agent; TimeoutError when it has not ended within the limit."""
        plug, level = HostName(device.options["plug"]), device.options.get("level", "1")
        mode = self._modes.get((plug, level)) or self._modes.get((plug, "")) or device.options.get("mode", "works")
        if mode == "hangs":
            async with asyncio.timeout(limit_s):
                await asyncio.get_running_loop().create_future()
        takes_ns = self._timeline.chance.randint(*TAKES_NS)
        if mode == "slow":
            takes_ns += int(device.options.get("delay_ms", "0")) * NS // 1000
        async with asyncio.timeout(limit_s):
            await asyncio.sleep(takes_ns / NS)
        return self._acted(plug, level, action, mode)

    def _acted(self, plug: HostName, level: str, action: str, mode: str) -> tuple[int, str]:
        if action == "status":
            truth = "on" if self._hosts.is_on(plug) else "off"
            claimed = self._claimed.get((plug, level), truth) if mode == "lies-fully" else truth
            return (ON if claimed == "on" else OFF), claimed
        self._claimed[plug, level] = action
        if (mode, action) == ("stays-off", "on"):
            return FAILED, "the machine does not come on"
        self.orders.append((self._timeline.now_ns, action, plug))
        if not mode.startswith("lies"):
            (self._hosts.switch_on if action == "on" else self._hosts.switch_off)(plug)
        return 0, "ok"
