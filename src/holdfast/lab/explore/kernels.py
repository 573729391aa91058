"""Kernels as values, and what must never be seen of them. It knows no rules of grants, only what kernels answer.

A kernel owns the service or not, and has two keys that end by themselves, at instants of true time. It answers while
it owns the service and both keys are there. What is said to it is applied one after the other, and looked at each time:
in between it can only become less.
"""

from typing import Literal, NamedTuple


class Kernel(NamedTuple):
    owned: int = 0
    """The epoch under which the service is owned; 0 if it is not."""
    end_a: int = 0
    end_b: int = 0

    def answers(self, true_ns: int) -> bool:
        return bool(self.owned) and true_ns < self.end_a and true_ns < self.end_b

    def at(self, true_ns: int) -> "Kernel":
        """A key that has ended is one that was never there."""
        return Kernel(self.owned, self.end_a * (self.end_a > true_ns), self.end_b * (self.end_b > true_ns))


class Said(NamedTuple):
    """What an agent's process does to its kernel: own, disown, a key set to this end, or both deleted."""

    what: Literal["own", "note", "disown", "key A", "key B", "no keys"]
    value: int = 0


def after(kernel: Kernel, said: Said) -> Kernel:
    match said.what:
        case "own":
            return kernel._replace(owned=said.value)
        case "note":
            return kernel._replace(owned=said.value) if kernel.owned else kernel
        case "disown":
            return kernel._replace(owned=0)
        case "key A":
            return kernel._replace(end_a=said.value)
        case "key B":
            return kernel._replace(end_b=said.value)
        case "no keys":
            return kernel._replace(end_a=0, end_b=0)


def wrong(kernels: tuple[Kernel, ...], at: int, highest: int, true_ns: int) -> str | None:
    """What must never be: looked at after each thing that is said to a kernel.

    Args:
        kernels: of all hosts.
        at: which of them was changed.
        highest: the highest epoch under which the service was ever answered.
        true_ns: now.
    """
    if not kernels[at].answers(true_ns):
        return None
    answering = [f"h{number + 1}" for number, kernel in enumerate(kernels) if kernel.answers(true_ns)]
    if len(answering) > 1:
        return f"the service is answered by {' and '.join(answering)} at once"
    if kernels[at].owned < highest:
        return f"the service is answered by {answering[0]} under epoch {kernels[at].owned} after epoch {highest}"
    return None
