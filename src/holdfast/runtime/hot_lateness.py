"""How late the hot loop wakes: counted in classes made beforehand, so that measuring costs nothing.

The classes are an eighth of their value wide, from a microsecond to hours; what is told of a distribution is the upper
end of a class, so never too good.
"""

from msgspec import Struct

_STEPS_BITS = 3
_CLASSES = 36 << _STEPS_BITS


class Lateness(Struct, frozen=True):
    """A distribution of lateness."""

    rounds: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class LatenessCounter:
    """Counts; `lateness` tells, `clear` begins anew."""

    def __init__(self) -> None:
        self._counts = [0] * _CLASSES
        self.rounds = 0
        self.max_ns = 0

    def add(self, late_ns: int) -> None:
        self.rounds += 1
        if late_ns > self.max_ns:
            self.max_ns = late_ns
        self._counts[_class_of(late_ns)] += 1

    def lateness(self) -> Lateness:
        return Lateness(self.rounds, self._below(0.5), self._below(0.99), self._below(0.999), self.max_ns)

    def clear(self) -> None:
        for place in range(_CLASSES):
            self._counts[place] = 0
        self.rounds = self.max_ns = 0

    def _below(self, share: float) -> int:
        """The lateness that this share of the rounds stayed below."""
        wanted = self.rounds * share
        counted = 0
        for place, count in enumerate(self._counts):
            counted += count
            if count and counted >= wanted:
                return min(_top_of(place), self.max_ns)
        return 0


def _class_of(late_ns: int) -> int:
    """By the highest bits of the number of microseconds."""
    micros = max(0, late_ns) // 1000 + (1 << _STEPS_BITS)
    shift = micros.bit_length() - 1 - _STEPS_BITS
    return min((shift << _STEPS_BITS) + (micros >> shift) - (1 << _STEPS_BITS), _CLASSES - 1)


def _top_of(place: int) -> int:
    """Where the class ends, in nanoseconds."""
    shift, step = place >> _STEPS_BITS, place & ((1 << _STEPS_BITS) - 1)
    return ((((1 << _STEPS_BITS) + step + 1) << shift) - (1 << _STEPS_BITS)) * 1000
