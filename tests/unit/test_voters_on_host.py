"""Voter sets and epochs on their way from the managers through agent and hot process to the voter."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import WorldError
from holdfast.model.granting import (
    EPOCHS_WAIT_NS,
    FAST,
    MS,
    SECOND,
    Ask,
    Change,
    EpochsAre,
    Heard,
    SendTo,
    VoterSetIs,
    voter_set,
)
from holdfast.model.names import HostName, ServiceName
from holdfast.runtime import agent_voters, voter_file
from holdfast.runtime import hot_grant_words as words
from holdfast.runtime.agent_voters import AgentVoters
from holdfast.runtime.hot_clock import KERNEL_CLOCKS
from holdfast.runtime.hot_door import SPAWNED_HOT
from holdfast.runtime.hot_grant_words import GrantSettings
from holdfast.runtime.hot_grants import GrantRider
from holdfast.wire.peer import packed

raw_clock_ns = KERNEL_CLOCKS.raw_ns
A, B, C = (HostName(name) for name in "abc")
S, T = ServiceName("s"), ServiceName("t")
FIRST = voter_set((A, B, C), FAST)
SECOND_SET = voter_set((A, B), FAST, after=FIRST)


class Hot:
    """The rider of host a, without loop, network or kernel; its agent is the test."""

    def __init__(self, folder: Path, *, learns_epochs: bool = True) -> None:
        self.path = folder / "a.voters"
        settings = GrantSettings(A, FAST, (A, B, C), (), {}, "table", str(self.path), learns_epochs=learns_epochs)
        self.rider = GrantRider(settings, 1, None, raw_clock_ns())
        self.told: list[words.GrantNews] = []

    def tell(self, command: words.GrantCommand) -> list[words.GrantNews]:
        self.rider.told(words.packed(command), raw_clock_ns())
        return self.news()

    def news(self) -> list[words.GrantNews]:
        return [words.news_in(body) for body in self.rider.news()]

    def hears_of(self, told: VoterSetIs) -> list[words.GrantNews]:
        letter = SendTo(A, told, told.voter_set.version, 0)
        self.rider.received(B, 7, packed([letter]), raw_clock_ns())
        return self.news()

    @property
    def version(self) -> int:
        return self.rider.grantor.members.current.version


@pytest.fixture
def hot(tmp_path: Path) -> Hot:
    made = Hot(tmp_path)
    made.news()
    return made


def test_it_begins_with_what_is_on_its_disk(hot: Hot, tmp_path: Path) -> None:
    assert voter_file.read(hot.path) == FIRST
    voter_file.keep(hot.path, SECOND_SET)
    assert Hot(tmp_path).version == 2


def test_what_is_only_to_be_kept_is_not_gone_by(hot: Hot) -> None:
    assert hot.tell(words.VotersWritten(SECOND_SET, use=False)) == []
    assert hot.version == 1


def test_what_is_on_disk_is_gone_by_when_it_shall_be(hot: Hot) -> None:
    hot.tell(words.VotersWritten(SECOND_SET, use=False))
    assert hot.tell(words.VotersWritten(SECOND_SET, use=True)) == [words.VotersAre(SECOND_SET)]
    assert hot.version == 2
    assert hot.tell(words.VotersWritten(SECOND_SET, use=True)) == [words.VotersAre(SECOND_SET)]


def test_what_others_go_by_is_gone_by_at_once_if_it_is_on_disk_already(hot: Hot) -> None:
    hot.tell(words.VotersWritten(SECOND_SET, use=False))
    assert hot.hears_of(VoterSetIs(SECOND_SET)) == [words.VotersAre(SECOND_SET)]
    assert hot.version == 2


def test_what_others_go_by_is_written_by_the_agent_first(hot: Hot) -> None:
    hot.tell(words.Alive())
    assert hot.hears_of(VoterSetIs(SECOND_SET)) == [words.WriteVoters(SECOND_SET)]
    assert hot.version == 1
    assert hot.tell(words.VotersWritten(SECOND_SET, use=False)) == [words.VotersAre(SECOND_SET)]


def test_where_there_is_no_agent_the_voter_writes_itself(hot: Hot) -> None:
    hot.rider._alive_ns -= 2 * SECOND
    assert hot.hears_of(VoterSetIs(SECOND_SET)) == [words.VotersAre(SECOND_SET)]
    assert voter_file.read(hot.path) == SECOND_SET


def test_an_agent_that_does_not_write_in_time_is_not_waited_for(hot: Hot) -> None:
    hot.tell(words.Alive())
    hot.hears_of(VoterSetIs(SECOND_SET))
    hot.rider.beat(raw_clock_ns() + 100 * MS)
    assert hot.version == 1
    hot.rider.beat(raw_clock_ns() + 400 * MS)
    assert hot.version == 2
    assert voter_file.read(hot.path) == SECOND_SET


def test_epochs_are_floors_and_told_again_before_a_voter_set_is_gone_by(hot: Hot) -> None:
    assert hot.tell(words.TakeEpochs(1, {S: 5, T: 2})) == [words.EpochsTaken(1, {S: 5, T: 2})]
    assert hot.tell(words.TakeEpochs(2, {S: 4})) == [words.EpochsTaken(2, {S: 5})]
    voter = hot.rider.grantor.voter
    hot.tell(words.VotersWritten(SECOND_SET, use=True))
    assert voter.floors((S, T)) == {S: 5, T: 2}
    assert voter.knows_floors
    later = raw_clock_ns() + EPOCHS_WAIT_NS * 2
    said = [one.detail for one in _beats(hot, later) if isinstance(one, words.Said)]
    assert said == ["0 of 1 remember which epochs are over, b not heard: an older epoch may come back"]


def _beats(hot: Hot, now: int) -> list[words.GrantNews]:
    hot.rider.tick(now)
    return hot.news()


def answers(hot: Hot, now: int) -> bool:
    ask = Ask(1, 0, 1, (Change(1, S, 3, "take"),))
    voter = hot.rider.grantor.voter
    return type(voter.ask(Heard(B, 7, 1, 1, 0, ask), ask, now)).__name__ == "Ack"


def test_a_voter_that_does_not_know_the_epochs_is_silent_for_longer_and_then_says_so(hot: Hot) -> None:
    start = raw_clock_ns()
    assert not answers(hot, start + FAST.length_ns * 2)
    assert answers(hot, start + EPOCHS_WAIT_NS * 2)
    said = [one for one in _beats(hot, start + EPOCHS_WAIT_NS * 2) if isinstance(one, words.Said)]
    assert [one.detail for one in said] == [
        "0 of 2 remember which epochs are over, b, c not heard: an older epoch may come back",
        "votes without knowing the epochs of the store: an older epoch may come back",
    ]


def test_one_that_is_told_by_all_votes_as_soon_as_its_silence_is_over(hot: Hot) -> None:
    hot.tell(words.TakeEpochs(1, {}))
    start = raw_clock_ns()
    silence_over = start + FAST.length_ns
    assert not answers(hot, silence_over)
    _beats(hot, silence_over)
    for other in (B, C):
        told = SendTo(A, EpochsAre(ServiceName(""), (), "none"), 1, 0, incarnation=1)
        hot.rider.received(other, 7, packed([told]), silence_over)
    assert answers(hot, silence_over)
    assert [one for one in hot.news() if isinstance(one, words.Said)] == []


def test_where_nobody_has_epochs_to_tell_none_are_waited_for(tmp_path: Path) -> None:
    hot = Hot(tmp_path, learns_epochs=False)
    assert answers(hot, raw_clock_ns() + FAST.length_ns)


class Agent:
    """The agent's part, and a hot process that answers as it is told to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a.voters"
        self.commands: list[words.GrantCommand] = []
        self.troubles: list[str] = []
        keep = partial(SPAWNED_HOT.keep_voters, self.path)
        self.voters = AgentVoters(keep, self.commands.append, self.troubles.append)
        self.voters.heard(words.Ready(7, False, {}, voters=FIRST))


def on_loop(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 60))


async def until(agent: Agent, count: int) -> None:
    while len(agent.commands) < count:
        await asyncio.sleep(0)


def test_the_agent_has_it_on_disk_before_the_hot_process_hears_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        agent = Agent(tmp_path)
        assert await agent.voters.set_voters(SECOND_SET, use=False) == "on disk"
        assert voter_file.read(agent.path) == SECOND_SET
        assert agent.commands == [words.VotersWritten(SECOND_SET, use=False)]

    on_loop(story())


def test_it_is_done_when_the_voter_goes_by_it_or_by_a_newer_one(tmp_path: Path) -> None:
    async def story() -> None:
        agent = Agent(tmp_path)
        task = asyncio.create_task(agent.voters.set_voters(SECOND_SET, use=True))
        await until(agent, 1)
        assert not task.done()
        agent.voters.heard(words.VotersAre(voter_set((A,), FAST, after=SECOND_SET)))
        assert await task == "on disk, and gone by"

    on_loop(story())


def test_what_the_hot_process_wants_written_is_written_and_said(tmp_path: Path) -> None:
    async def story() -> None:
        agent = Agent(tmp_path)
        agent.voters.heard(words.WriteVoters(SECOND_SET))
        await until(agent, 1)
        assert agent.commands == [words.VotersWritten(SECOND_SET, use=False)]
        assert voter_file.read(agent.path) == SECOND_SET
        agent.path.write_bytes(b"nonsense")
        agent.voters.heard(words.WriteVoters(SECOND_SET))
        while not agent.troubles:
            await asyncio.sleep(0)
        assert "is no voter set" in agent.troubles[0]
        await agent.voters.close()

    on_loop(story())


def test_a_hot_process_that_does_not_answer_fails_the_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_voters, "ANSWER_LIMIT_S", 0.01)

    async def story() -> None:
        agent = Agent(tmp_path)
        with pytest.raises(WorldError, match="goes by version 1 of the voter set, not 2"):
            await agent.voters.set_voters(SECOND_SET, use=True)
        with pytest.raises(WorldError, match="does not answer"):
            await agent.voters.take_epochs({S: 1})

    on_loop(story())


def test_a_hot_process_of_an_older_version_is_told_nothing_that_it_does_not_understand(tmp_path: Path) -> None:
    async def story() -> None:
        agent = Agent(tmp_path)
        agent.voters.heard(words.Ready(7, False, {}))
        with pytest.raises(WorldError, match="of a version that is told nothing of voters"):
            await agent.voters.take_epochs({S: 1})
        with pytest.raises(WorldError, match="of a version"):
            await agent.voters.set_voters(SECOND_SET, use=True)
        assert agent.commands == []

    on_loop(story())


def test_many_epochs_go_in_several_packets(tmp_path: Path) -> None:
    async def story() -> None:
        agent = Agent(tmp_path)
        epochs = {ServiceName(f"s{n}"): n + 1 for n in range(1200)}
        task = asyncio.create_task(agent.voters.take_epochs(epochs))
        for count in (1, 2, 3):
            await until(agent, count)
            command = agent.commands[-1]
            assert isinstance(command, words.TakeEpochs)
            assert len(words.packed(command)) < 40_000
            agent.voters.heard(words.EpochsTaken(command.number, command.epochs))
        assert await task == epochs

    on_loop(story())
