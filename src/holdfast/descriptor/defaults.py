"""What follows from a SAL target: how often to ask, how long to wait for an answer, for a role, for a cleanup.

A level says how long an outage may last (`sal-thresholds`). The pace for it is chosen so that detection, cleanup and
change of role stay below that even when each takes as long as it may: 3.3 s of 6 s, 8 s of 15 s, 20 s of 25 s.
"""

from msgspec import Struct

from holdfast.model.layout import Check

SAL_S: dict[int, float] = {1: 6.0, 2: 15.0, 3: 25.0}


class Pace(Struct, frozen=True):
    every_s: float
    limit_s: float
    misses: int
    role_s: float
    cleanup_s: float


_FAST = Pace(every_s=0.05, limit_s=0.1, misses=3, role_s=2.0, cleanup_s=1.0)
_MEDIUM = Pace(every_s=0.5, limit_s=0.5, misses=3, role_s=4.0, cleanup_s=2.0)
_SLOW = Pace(every_s=2.0, limit_s=2.0, misses=3, role_s=8.0, cleanup_s=4.0)

OCF_CLEANUP_S = 5.0
"""OCF agents sleep whole seconds in their stop action."""


def pace(threshold_s: float) -> Pace:
    """How fast things must go where an outage may last this long."""
    if threshold_s < 15.0:
        return _FAST
    return _MEDIUM if threshold_s < 25.0 else _SLOW


def detection_s(check: Check) -> float:
    """Longest time from a fault to the last missed answer. The end of a process is seen at once."""
    if check.kind == "process":
        return 0.0
    return check.every_s + (check.misses - 1) * max(check.every_s, check.limit_s) + check.limit_s
