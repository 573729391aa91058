"""How a process ended, in words. That it has ended is heard from its handle, at once (`drivers/pidfd`)."""

import os
import signal

from holdfast.model.events import FailureCause


def how_it_ended(status: int | None, *, is_whole: bool) -> tuple[FailureCause, str]:
    """A wait status as cause and words; None where nobody tells: the whole around it is gone, or stands still."""
    if status is None:
        return "killed", "with everything around it" if is_whole else "and nobody has told how"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return "killed", f"by {name}"
    return "exited", f"with status {os.WEXITSTATUS(status)}"
