"""Clocks and alarm of the hot process: CLOCK_MONOTONIC_RAW to count by, a timer of the kernel to be woken by.

RAW is bent by no daemon, but the kernel has no timer on it: an instant is translated to CLOCK_MONOTONIC when the alarm
is set. The two may drift apart by 500 ppm, so the translation is made anew each time.
"""

import ctypes
import os
import time
from typing import Protocol

from holdfast.errors import WorldError

_TFD_TIMER_ABSTIME = 1
_NS = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """struct itimerspec: interval (unused), then the instant."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


def now_ns() -> int:
    """The instant, on the clock that promises and silences are counted by."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class Clocks(Protocol):
    """What a hot process reads the time from; in nanoseconds."""

    def raw_ns(self) -> int:
        """What promises and silences are counted by: no daemon bends it."""

    def monotonic_ns(self) -> int:
        """What the kernel's timers follow."""

    def processor_ns(self) -> int:
        """How long this process has run."""


class KernelClocks:
    """This machine's."""

    def raw_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def processor_ns(self) -> int:
        return time.process_time_ns()


KERNEL_CLOCKS = KernelClocks()


class Alarm:
    """A file descriptor that becomes readable at one instant."""

    def __init__(self) -> None:
        self.fd: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise WorldError(f"the kernel gives no timer: {os.strerror(ctypes.get_errno())}")
        self._spec = _Spec()
        self._at = ctypes.byref(self._spec)

    def set(self, at_ns: int) -> None:
        """Wake at this instant of `now_ns`; at once if it has passed."""
        monotonic_ns = max(1, at_ns - now_ns() + time.monotonic_ns())
        self._spec.value_s, self._spec.value_ns = divmod(monotonic_ns, _NS)
        if _libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, self._at, None) != 0:
            raise WorldError(f"the kernel does not set a timer: {os.strerror(ctypes.get_errno())}")

    def rang(self) -> None:
        """Take note that it woke us; needed only where it is not set again."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self.fd)
