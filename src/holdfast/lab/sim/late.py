"""Datagrams between agents that take a slow way: late by seconds, in another order, some of them after a newer one.

In:   which host's are slow meanwhile, and until when. Out: how long each is on its way.
Always: none is on its way for longer than the trouble lasts, and none is altered. What would arrive while its way is
cut gets lost.
"""

from holdfast.lab.sim.timeline import Timeline

HELD = 0.5
"""Share of them that some buffer lets go of only in the end, all together and in their order."""


class Late:
    """The slow way of what one agent sends, to one other or to all."""

    def __init__(self, timeline: Timeline, sender: str, receiver: str, until_ns: int, *, is_copied: bool) -> None:
        """
        Args:
            receiver: empty for all.
            is_copied: whether a copy goes the usual way, so that what comes late comes again.
        """
        self._timeline = timeline
        self._sender = sender
        self._receiver = receiver
        self._until_ns = until_ns
        self.is_copied = is_copied

    def concerns(self, sender: str, receiver: str) -> bool:
        return sender == self._sender and self._receiver in ("", receiver)

    def wait_ns(self) -> int:
        """How long one that is sent now is held up."""
        left_ns = max(0, self._until_ns - self._timeline.now_ns)
        random = self._timeline.random
        return left_ns if random() < HELD else int(left_ns * random())
