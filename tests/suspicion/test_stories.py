"""Golden stories of suspicion: each file of `stories/` is played, and must be noticed as it stands there.

A file begins with a comment that tells the story, goes on with blocks: commands, `----`, what is noticed (when,
by whom, why).
`pytest tests/suspicion --rewrite` writes what is noticed now. Commands are in COMMANDS.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.suspicion_words import (
    NetworkChanged,
    Noticed,
    OutnumberedChanged,
    OwnLate,
    OwnOnTime,
    PeerChanged,
    PeerHeard,
    PeerRestarted,
    in_ms,
    patience,
)
from holdfast.model.names import HostName
from holdfast.model.reasons import sentence
from tests.suspicion.world import MS, World

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))


def told(noticed: Noticed) -> str:
    """One line about what was noticed."""
    if isinstance(noticed, PeerChanged):
        why = "; ".join(sentence(reason) for reason in noticed.reasons)
        return f"{noticed.peer} {noticed.before} -> {noticed.after} | {why}"
    if isinstance(noticed, PeerRestarted):
        return f"{noticed.peer} has started again (life {noticed.former} -> {noticed.incarnation})"
    if isinstance(noticed, PeerHeard):
        return f"something of {noticed.peer} after {in_ms(noticed.silent_ns)}"
    if isinstance(noticed, NetworkChanged):
        word = "is lost" if noticed.is_lost else "is no longer lost"
        return f"network {noticed.network} of {noticed.peer} {word}"
    if isinstance(noticed, OwnLate):
        return f"my own loop was late by {in_ms(noticed.by_ns)}"
    if isinstance(noticed, OwnOnTime):
        return "my own loop is on time again"
    assert isinstance(noticed, OutnumberedChanged)
    word = "outnumbered" if noticed.is_outnumbered else "not outnumbered"
    return f"{word}: {noticed.heard} of {noticed.members} heard"


def length(word: str) -> int:
    """`200ms`, `3s` in nanoseconds."""
    for unit, value in (("ms", MS), ("s", 1000 * MS)):
        if word.endswith(unit):
            return round(float(word.removesuffix(unit)) * value)
    raise AssertionError(f"{word} is no length: 200ms or 3s")


class Story:
    """Plays commands in a world, and tells what was noticed meanwhile."""

    def __init__(self) -> None:
        self.world = World([], (), patience(MS))
        self._shown = 0

    def play(self, commands: str) -> str:
        lines: list[str] = []
        for line in commands.splitlines():
            name, *words = line.split()
            lines += COMMANDS[name](self, *words)
        for at_ns, who, noticed in self.world.seen[self._shown :]:
            lines.append(f"{at_ns / MS:8.1f} {who}: {told(noticed)}")
        self._shown = len(self.world.seen)
        return "\n".join(lines) or "(nothing)"

    def agents(self, heartbeat: str, networks: str, *names: str) -> list[str]:
        """agents HEARTBEAT NETWORKS NAME... | makes the world; networks with commas between"""
        self.world = World(list(names), tuple(networks.split(",")), patience(length(heartbeat)))
        return []

    def run(self, word: str) -> list[str]:
        """run LENGTH | the world goes on"""
        self.world.run(length(word))
        return []

    def quietly(self, word: str) -> list[str]:
        """quietly LENGTH | the same, and what is noticed is not shown"""
        self.world.run(length(word))
        self._shown = len(self.world.seen)
        return []

    def off(self, *names: str) -> list[str]:
        """off NAME... | these hosts are off"""
        for name in names:
            self.world.off(name)
        return []

    def on(self, *names: str) -> list[str]:
        """on NAME... | these agents start, in a new life"""
        for name in names:
            self.world.on(name)
        return []

    def stop(self, word: str, *names: str) -> list[str]:
        """stop LENGTH NAME... | these processes do not run for so long"""
        for name in names:
            self.world.stop(name, length(word))
        return []

    def cut(self, *words: str) -> list[str]:
        """cut A B [NETWORK] | nothing passes between A and B (`*`: everybody), in both directions"""
        return self._cut(words, both=True, heal=False)

    def cut_way(self, *words: str) -> list[str]:
        """cut-way A B [NETWORK] | nothing passes from A to B"""
        return self._cut(words, both=False, heal=False)

    def refuse(self, *words: str) -> list[str]:
        """refuse A B [NETWORK] | the kernel of A does not take what is sent to B"""
        self.world.refused |= self._ways(words)
        return []

    def take(self, *words: str) -> list[str]:
        """take A B [NETWORK] | it does again"""
        self.world.refused -= self._ways(words)
        return []

    def _ways(self, words: tuple[str, ...]) -> set[tuple[HostName, HostName, int]]:
        one, other, *network = words
        places = [self.world.networks.index(network[0])] if network else list(range(len(self.world.networks)))
        return {(HostName(one), HostName(other), place) for place in places}

    def heal(self, *words: str) -> list[str]:
        """heal A B [NETWORK] | undoes both"""
        return self._cut(words, both=True, heal=True)

    def _cut(self, words: tuple[str, ...], *, both: bool, heal: bool) -> list[str]:
        one, other, *network = words
        places = [self.world.networks.index(network[0])] if network else list(range(len(self.world.networks)))
        others = [name for name in self.world.agents if name != one] if other == "*" else [other]
        for name in others:
            self.world.cut(one, name, places, heal=heal)
            if both:
                self.world.cut(name, one, places, heal=heal)
        return []

    def state(self) -> list[str]:
        """state | everybody's opinion of everybody"""
        lines = []
        for name, agent in self.world.agents.items():
            if name in self.world.is_off:
                continue
            states = agent.suspicion.states(self.world.now_ns)
            lines.append(f"{name}: " + ", ".join(f"{peer} {state.level}" for peer, state in states.items()))
        return lines


COMMANDS: dict[str, Callable[..., list[str]]] = {
    "agents": Story.agents,
    "run": Story.run,
    "quietly": Story.quietly,
    "off": Story.off,
    "on": Story.on,
    "stop": Story.stop,
    "cut": Story.cut,
    "cut-way": Story.cut_way,
    "heal": Story.heal,
    "refuse": Story.refuse,
    "take": Story.take,
    "state": Story.state,
}


def play(text: str) -> str:
    """The story with what is noticed now."""
    story = Story()
    blocks: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        commands, _, _ = block.partition("\n----")
        spoken = "\n".join(line for line in commands.splitlines() if not line.startswith("#"))
        blocks.append(f"{commands}\n----\n{story.play(spoken)}" if spoken else block)
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", STORIES, ids=[path.stem for path in STORIES])
def test_the_story_is_noticed_as_it_is_told(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    played = play(text)
    if request.config.getoption("--rewrite", default=False) and played != text:
        path.write_text(played)
        return
    assert played == text


def test_there_are_stories() -> None:
    assert STORIES
