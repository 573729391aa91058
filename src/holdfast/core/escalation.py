"""Counting failures within a probation time, to see when repair has to go up one fault zone (UC9).

In: failures as they are counted, with the time and the observation each rests on. Out: a new counter.
The probation begins with the first failure; one that comes after its end begins a new probation.
The same counter serves VNFCs in a VM (HA manager, VNFM) and VMs on a host (VIM).
"""

from msgspec import Struct

from holdfast.model.layout import Escalation


class Counter(Struct, frozen=True):
    """The failures since the first one of this probation."""

    began: float | None = None
    failures: int = 0
    about: tuple[str, ...] = ()
    """What has failed, each named once, in the order of its first failure."""
    seen: tuple[int, ...] = ()
    """Observations that the failures rest on, the latest last."""


SEEN_KEPT = 16
"""Observations a counter remembers: enough for any sensible maximum, and a bound for any other."""


def count(counter: Counter, rule: Escalation, now: float, about: str, seen: tuple[int, ...] = ()) -> Counter:
    """Count one failure of `about`."""
    current = lapsed(counter, rule, now)
    return Counter(
        began=now if current.began is None else current.began,
        failures=current.failures + 1,
        about=current.about if about in current.about else (*current.about, about),
        seen=(*current.seen, *seen)[-SEEN_KEPT:],
    )


def lapsed(counter: Counter, rule: Escalation, now: float) -> Counter:
    """The counter as it stands at `now`: empty again once its probation has ended."""
    end = ends_at(counter, rule)
    return Counter() if end is not None and now >= end else counter


def ends_at(counter: Counter, rule: Escalation) -> float | None:
    return None if counter.began is None else counter.began + rule.probation_s


def exceeded(counter: Counter, rule: Escalation, now: float) -> bool:
    """Whether more failures were counted within the probation than the rule allows."""
    return lapsed(counter, rule, now).failures > rule.maximum


def different_exceeded(counter: Counter, rule: Escalation, now: float) -> bool:
    """Whether more *different* things have failed than the rule allows (VMs that point to their host)."""
    return len(lapsed(counter, rule, now).about) > rule.maximum
