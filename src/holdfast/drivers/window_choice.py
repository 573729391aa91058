"""Which kind of window: an absolute end where this kernel allows it, else two timed keys."""

from collections.abc import Iterable
from typing import Literal

from holdfast.drivers.window import Window
from holdfast.drivers.window_keys import KeyedWindow
from holdfast.drivers.window_probe import probe_kernel
from holdfast.drivers.window_stamp import StampedWindow

Way = Literal["best", "stamp", "keys"]


def open_window(
    services: Iterable[str],
    table: str = "holdfast",
    netns_fd: int | None = None,
    *,
    longest_ns: int,
    way: Way = "best",
) -> Window:
    """Open the agent's window, closed and with nothing owned.

    Raises:
        MachineLacks: neither kind works here, or not the one that was asked for.
        WorldError: another process has the window.
    """
    if way == "stamp":
        return StampedWindow(services, table, netns_fd, longest_ns=longest_ns)
    found = probe_kernel(netns_fd)
    if way == "best" and not found.no_stamp:
        return StampedWindow(services, table, netns_fd, longest_ns=longest_ns)
    return KeyedWindow(services, table, netns_fd, longest_ns=longest_ns, capabilities=found)
