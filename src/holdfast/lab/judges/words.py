"""What judges of runs say, and what they are told of the faults."""

from typing import NamedTuple


class Violation(NamedTuple):
    judge: str
    text: str
    at_s: float


class Struck(NamedTuple):
    """A fault, as the judges need it."""

    kind: str
    entity: str
    at_s: float
    until_s: float
