"""What is wrong with a simulated machine, beside its network, its clocks and its power."""

from dataclasses import dataclass, field


@dataclass
class Troubles:
    """Faults set these, and take them back."""

    hanging: set[str] = field(default_factory=set)
    """Words: a command that has one of them does not end by itself."""
    unstartable: set[str] = field(default_factory=set)
    """Words: a command that has one of them cannot be started."""
    stuck: set[str] = field(default_factory=set)
    """Names of sandboxes whose processes do not die of SIGKILL: they hang in the kernel."""
    is_read_only: bool = False
    """Nothing can be written to its disk."""
    slowness: int = 1
    """How many times as long the kernel and new programs take."""
