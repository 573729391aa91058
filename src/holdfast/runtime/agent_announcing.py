"""Who has an address says so again after a heal, so that nobody goes on by what was so while the network was cut.

In:   reasons: a host is heard again, a grant was regained, the agent has started.
Out:  for each service that is provided here at that moment, its address announced a few times.
Always: what is announced is what is so then, not what was so when the reason came up. However many reasons there are,
announcing begins once in `ANNOUNCE_EVERY_S` at most; a reason that comes sooner waits, and is not forgotten.
"""

import asyncio
from collections.abc import Callable, Mapping

from holdfast.model.limits import ANNOUNCE_EVERY_S
from holdfast.model.names import ServiceName, VnfcName
from holdfast.runtime.agent_vnfc import VnfcOnHost


class Announcing:
    """For all services of one host."""

    def __init__(self, lives: Mapping[VnfcName, VnfcOnHost], mark: Callable[[str, str, str], None]) -> None:
        self._lives, self._mark = lives, mark
        self._due: asyncio.TimerHandle | None = None
        self._began_s: float | None = None

    def again(self, why: str) -> None:
        """Announce all that is provided here: at once, or as soon as that may be done again."""
        if self._due is not None:
            return
        loop = asyncio.get_running_loop()
        wait_s = 0.0 if self._began_s is None else max(0.0, self._began_s + ANNOUNCE_EVERY_S - loop.time())
        self._due = loop.call_later(wait_s, self._announce, why)

    def _announce(self, why: str) -> None:
        self._due = None
        self._began_s = asyncio.get_running_loop().time()
        for life in self._lives.values():
            for service in life.provides:
                self._mark("announces-again", service, why)
                life.network.announce_again(life.vnfc, life.layout.services[service], _provides(life, service))

    def close(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


def _provides(life: VnfcOnHost, service: ServiceName) -> Callable[[], bool]:
    return lambda: service in life.provides
