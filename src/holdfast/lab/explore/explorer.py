"""Breadth first over all states that a model can come to: each once; the first wrong one by a shortest path.

In:   a `Model`: where it starts, which moves there are from a state, what is wrong with it, and the state as bytes.
Out:  an `Explored`: how many states, transitions and moves deep; whether that was all; what is wrong, and the way.
Always: two states with the same bytes are one state. A state is kept as a digest of 16 bytes: among ten million of them
two different ones are taken for the same with a chance below 10⁻²⁴. It knows nothing of what the states mean.
"""

from array import array
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol, TypeVar

from holdfast.errors import Bug

S = TypeVar("S")
DIGEST_BYTES = 16
STATES_MAX = 20_000_000
"""About 4 GB of memory."""
TOLD_EVERY = 20_000
Move = Hashable


class Model(Protocol[S]):
    def start(self) -> S: ...

    def moves(self, state: S) -> Iterable[tuple[Move, S]]:
        """What can happen next, and what it leads to."""

    def judge(self, state: S) -> str | None:
        """What is wrong with it, if anything is."""

    def key(self, state: S) -> bytes:
        """The same for states from which the same can follow, and different for others."""


@dataclass
class Explored:
    states: int = 0
    transitions: int = 0
    depth: int = 0
    """The longest of all shortest paths, in moves."""
    stopped: str | None = None
    """Why not all states were visited; None if they were, or if something was wrong."""
    wrong: str | None = None
    path: tuple[Move, ...] = ()
    """What leads to the wrong state, as short as can be."""

    @property
    def is_whole(self) -> bool:
        return self.stopped is None and self.wrong is None


def _ignore(_so_far: Explored) -> None:
    return


class _Seen:
    """All states so far by their digests, and from which one each was reached first."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._parents = array("q")

    def __len__(self) -> int:
        return len(self._parents)

    def add(self, key: bytes, parent: int) -> bool:
        digest = blake2b(key, digest_size=DIGEST_BYTES).digest()
        if self._numbers.setdefault(digest, len(self._parents)) != len(self._parents):
            return False
        self._parents.append(parent)
        return True

    def way_to(self, number: int) -> list[bytes]:
        """Digests from the start to that state."""
        digests = list(self._numbers)
        way = []
        while number >= 0:
            way.append(digests[number])
            number = self._parents[number]
        return way[::-1]


def explore(model: Model[S], states_max: int = STATES_MAX, tell: Callable[[Explored], None] = _ignore) -> Explored:
    """Visit everything that can be reached, until something is wrong.

    Args:
        model: what is explored.
        states_max: no more states are kept than so many.
        tell: is called every so many states; whoever interrupts (^C) gets what is known so far.
    """
    so_far, seen = Explored(), _Seen()
    try:
        _search(model, states_max, tell, so_far, seen)
    except KeyboardInterrupt:
        so_far.stopped = "interrupted"
    so_far.states = len(seen)
    return so_far


def _search(model: Model[S], states_max: int, tell: Callable[[Explored], None], so_far: Explored, seen: _Seen) -> None:
    start = model.start()
    seen.add(model.key(start), -1)
    layer: list[tuple[int, S]] = [(0, start)]
    so_far.wrong = model.judge(start)
    while layer and so_far.wrong is None:
        following: list[tuple[int, S]] = []
        for number, state in layer:
            for _, after in model.moves(state):
                so_far.transitions += 1
                if not seen.add(model.key(after), number):
                    continue
                following.append((len(seen) - 1, after))
                so_far.wrong = model.judge(after)
                if so_far.wrong is not None:
                    so_far.depth += 1
                    so_far.path = _path(model, seen.way_to(len(seen) - 1))
                    return
                if len(seen) % TOLD_EVERY == 0:
                    so_far.states = len(seen)
                    tell(so_far)
                if len(seen) >= states_max:
                    so_far.stopped = f"more than {states_max} states"
                    return
        layer = following
        so_far.depth += bool(layer)


def _path(model: Model[S], way: list[bytes]) -> tuple[Move, ...]:
    """Walked again: only digests were kept of the states between."""
    state, path = model.start(), []
    for digest in way[1:]:
        for move, after in model.moves(state):
            if blake2b(model.key(after), digest_size=DIGEST_BYTES).digest() == digest:
                path.append(move)
                state = after
                break
        else:
            raise Bug("the same state has other moves when it is asked again: the model is not pure")
    return tuple(path)
