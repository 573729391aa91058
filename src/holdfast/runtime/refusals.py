"""What a process has refused to hear, counted: by door (heartbeats, links, components) and kind.

In:   a door and a kind, each a word of ours. Out: counts since the process began, `<door>:<kind>`.
Always: bounded, as the words are; `changed` is called at most once in `TELL_AGAIN_S`, however much is refused.
"""

import asyncio
from collections.abc import Callable, Mapping

TELL_AGAIN_S = 1.0
HEARTBEATS, LINKS, COMPONENTS = "heartbeats", "links", "components"
DISK = "disk"
"""What the process could not write down."""
JOURNAL = "journal"


class Refusals:
    def __init__(self, changed: Callable[[Mapping[str, int]], None]) -> None:
        self.counts: dict[str, int] = {}
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None
        self._told_s = -TELL_AGAIN_S

    def add(self, door: str, kind: str) -> None:
        """One more of this kind was refused there."""
        name = f"{door}:{kind}"
        self.counts[name] = self.counts.get(name, 0) + 1
        self._tell()

    def over(self, door: str, kind: str) -> None:
        """That is not so any more; what was counted so far is told no longer."""
        if self.counts.pop(f"{door}:{kind}", None) is not None:
            self._tell()

    def are(self, door: str, kinds: Mapping[str, int]) -> None:
        """As it was counted elsewhere."""
        found = {f"{door}:{kind}": count for kind, count in kinds.items() if count}
        if any(self.counts.get(name) != count for name, count in found.items()):
            self.counts |= found
            self._tell()

    def _tell(self) -> None:
        if self._next is None:
            at = max(self._loop.time(), self._told_s + TELL_AGAIN_S)
            self._next = self._loop.call_at(at, self._tell_now)

    def _tell_now(self) -> None:
        self._next = None
        self._told_s = self._loop.time()
        self._changed(dict(self.counts))

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
