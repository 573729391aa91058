"""What a process of the managers finds around it: the kernel's and Python's own, unless somebody says otherwise.

In: nothing. Out: streams, power, clocks and chances, so that the same compositions run live and in the simulated world.
"""

import gc
import secrets
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from holdfast.drivers.fence import set_power
from holdfast.runtime.manager import SetPower
from holdfast.runtime.streams import SOCKETS, Streams
from holdfast.store.damaged import open_sound
from holdfast.store.port import Store


def settle() -> None:
    """What exists now lives long: the collector need not look at it in the middle of a take-over."""
    gc.collect()
    gc.freeze()


def _say_of_store(problem: str) -> None:
    # A leader has an alarm for it; one that waits to follow would wait without a word.
    sys.stderr.write(f"the store cannot be asked: {problem}\n" if problem else "the store answers again\n")


class Surroundings(NamedTuple):
    """Of one process on its host."""

    streams: Streams = SOCKETS
    power: SetPower = set_power
    machine: str = ""
    """Which start of the machine its clock belongs to; read from the kernel if empty."""
    token: Callable[[], str] = partial(secrets.token_hex, 8)
    """Tells one candidature, or one writer, from all others."""
    wall: Callable[[], float] = time.time
    pid: int = 0
    """0: this process."""
    store: Callable[[Path], Store] = open_sound
    """Opens the store of a party that shares it with nobody."""
    settle: Callable[[], None] = settle
    """Called when a leader has begun."""
    say: Callable[[str], None] = _say_of_store
    """Gets why the store cannot be asked, for people, and an empty text when it can be again."""
