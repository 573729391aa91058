"""How processes stand with the processor: what tells one that hangs from one that is not let run."""

from collections.abc import Iterable
from typing import NamedTuple


class ProcessorUse(NamedTuple):
    """Since they began, all threads together, in seconds."""

    ran_s: float
    waited_s: float
    """Ready to run, and not let: counted when it ends."""
    is_ready: bool
    """Some thread runs, or waits to be let run, at this moment."""


def together(uses: Iterable[ProcessorUse]) -> ProcessorUse | None:
    """Of several processes; None of none."""
    every = list(uses)
    if not every:
        return None
    return ProcessorUse(
        sum(one.ran_s for one in every), sum(one.waited_s for one in every), any(one.is_ready for one in every)
    )


def waited_share(before: ProcessorUse | None, now: ProcessorUse | None, took_s: float) -> float:
    """For which part of the last `took_s` they would have run, had they been let; 0 to 1.

    Args:
        before: as it was at the beginning of that time. Without it, whoever is ready at this moment counts as waiting.
    """
    if now is None or took_s <= 0:
        return 0.0
    if before is None:
        return 1.0 if now.is_ready else 0.0
    # A wait is counted when it ends; one that goes on shows only in what they did not run.
    waited_s = took_s - (now.ran_s - before.ran_s) if now.is_ready else now.waited_s - before.waited_s
    return min(1.0, max(0.0, waited_s / took_s))
