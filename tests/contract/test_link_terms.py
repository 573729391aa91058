"""Managers lead under a term, and an agent follows the newest one: real links, a toy core and a toy agent."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import UserError
from holdfast.model.actions import IsolateVnfc
from holdfast.model.events import StandbyLost, VnfcFailed
from holdfast.model.layout import Layout
from holdfast.model.names import HA, VIM, ActionId, Party, agent_party
from holdfast.model.records import Marked
from holdfast.runtime import manager_process
from holdfast.runtime.agent_terms import Terms
from holdfast.runtime.cluster import Reign, reigns
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.link import KeptLink, Link
from holdfast.runtime.manager_process import parties_in
from holdfast.store.journal import read
from holdfast.wire.link_messages import Do, Leads, LinkMessage, NewestTerm, Tell, Took
from tests.contract.etcd_cluster import Cluster
from tests.contract.fakes import DNS_1, DNS_2, H1, STORY_S, make_folder, small_layout, toy_core, until
from tests.contract.test_managers import KEY, an_agent, joined, managers


@pytest.fixture
def layout() -> Layout:
    return small_layout()


@pytest.fixture
def folder(tmp_path: Path, layout: Layout) -> RunFolder:
    return make_folder(tmp_path, layout)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, STORY_S))


class Leader:
    """A manager's end of a link that says what it is told to say."""

    def __init__(self, folder: RunFolder, me: Party = HA) -> None:
        self.heard: list[LinkMessage] = []
        self.closed = 0
        self.kept = KeptLink((folder.socket(agent_party(H1)),), KEY, me, agent_party(H1), self)

    def link_opened(self, link: Link) -> None:
        return

    def link_received(self, link: Link, message: LinkMessage) -> None:
        self.heard.append(message)

    def link_closed(self, link: Link) -> None:
        self.closed += 1

    async def opened(self) -> Link:
        await until(lambda: self.kept.link is not None and self.kept.link.is_open, "the link is open")
        assert self.kept.link is not None
        return self.kept.link

    async def leads(self, term: int, leader: str = "") -> Link:
        link = await self.opened()
        link.send(Leads(term, leader))
        await until(lambda: self.heard, "an answer")
        return link


def test_facts_are_told_only_to_who_says_that_it_leads(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (_, agent):
            leader = Leader(folder)
            link = await leader.opened()
            link.send(Do(IsolateVnfc(ActionId("ha/1"), DNS_1, 1)))
            agent.emit(VnfcFailed(DNS_1, 1, "killed"))
            await leader.leads(3)
            assert isinstance(leader.heard[0], Tell)
            assert type(leader.heard[0].event).__name__ == "AgentJoined"
            assert agent.performed == []
            await leader.kept.close()

    run(story())


def test_an_older_leader_is_told_the_newest_term_and_does_not_displace_the_newer_one(
    layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (process, _):
            newer, older = Leader(folder), Leader(folder)
            await newer.leads(5)
            await older.leads(4)
            assert older.heard == [NewestTerm(5)]
            await until(lambda: older.closed, "its link is closed")
            assert newer.closed == 0
            assert process._links[HA].is_open
            for leader in (newer, older):
                await leader.kept.close()

    run(story())


def test_another_leader_of_the_same_term_is_told_so_and_the_first_one_may_call_again(
    layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (process, _):
            first, other, again = Leader(folder), Leader(folder), Leader(folder)
            await first.leads(5, "one")
            await other.leads(5, "other")
            assert other.heard == [NewestTerm(5)]
            assert process._links[HA].is_open
            await again.leads(5, "one")
            assert isinstance(again.heard[0], Tell)
            for leader in (first, other, again):
                await leader.kept.close()

    run(story())
    marks = [one.detail for one in read(folder.journal(agent_party(H1))) if isinstance(one, Marked)]
    assert "says that it leads under term 5, but another leader of it is followed" in marks


def test_instructions_of_a_leader_that_was_followed_are_dropped_and_marked(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (process, agent):
            older, newer = Leader(folder), Leader(folder)
            await older.leads(4)
            agent.emit(StandbyLost(DNS_1, 1, 1, DNS_2))
            agents_end = process._links[HA]
            await newer.leads(5)
            # On its way while the newer one came: it arrives at the end that is about to be closed.
            process.link_received(agents_end, Do(IsolateVnfc(ActionId("ha/4000001"), DNS_1, 1)))
            process.link_received(agents_end, Took((1,)))
            (await newer.opened()).send(Do(IsolateVnfc(ActionId("ha/5000001"), DNS_1, 1)))
            await until(lambda: agent.performed, "the newer one's is carried out")
            assert [action.id for action in agent.performed] == ["ha/5000001"]
            assert list(process._news[HA]) == [1]
            for leader in (newer, older):
                await leader.kept.close()

    run(story())
    marks = [one.detail for one in read(folder.journal(agent_party(H1))) if isinstance(one, Marked)]
    assert "IsolateVnfc ha/4000001 is not carried out" in marks


def test_an_agent_that_starts_again_still_knows_the_newest_term(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder):
            leader = Leader(folder)
            await leader.leads(5)
            await leader.kept.close()
        async with an_agent(layout, folder):
            leader = Leader(folder)
            await leader.leads(4)
            assert leader.heard == [NewestTerm(5)]
            await leader.kept.close()

    run(story())


def test_each_party_has_a_term_of_its_own(tmp_path: Path) -> None:
    said: list[str] = []
    terms = Terms(tmp_path / "terms.json", said.append)
    assert [terms.admit(HA, 5), terms.admit(HA, 4), terms.admit(HA, 5), terms.admit(VIM, 1)] == [
        True,
        False,
        True,
        True,
    ]
    assert (Terms(tmp_path / "terms.json", said.append).newest(HA), said) == (5, [])


def test_of_a_term_that_an_older_version_has_written_no_leader_is_known(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "terms.json").write_text('{"ha": 5}')
    terms = Terms(tmp_path / "terms.json", said.append)
    assert [terms.admit(HA, 5, "one"), terms.admit(HA, 6, "one"), terms.admit(HA, 6, "other")] == [False, True, False]
    again = Terms(tmp_path / "terms.json", said.append)
    assert ([again.admit(HA, 6, "other"), again.admit(HA, 6, "one")], said) == ([False, True], [])


def test_terms_that_cannot_be_read_or_written_are_said_and_hold_up_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "terms.json").write_text("[")
    assert Terms(tmp_path / "terms.json", said.append).admit(HA, 1)
    assert Terms(tmp_path / "missing" / "terms.json", said.append).admit(HA, 1)
    assert ["cannot be read" in text for text in said] == [True, False]
    assert "could not be written" in said[1]


def test_a_manager_hears_of_a_newer_term_than_its_own(layout: Layout, folder: RunFolder) -> None:
    told: list[tuple[str, int]] = []

    async def story() -> None:
        async with an_agent(layout, folder):
            async with managers(layout, folder, term=7) as pump:
                await joined(pump.seats[HA])
            async with managers(layout, folder, term=6, outdated=lambda host, term: told.append((host, term))):
                await until(lambda: told, "it is told")

    run(story())
    assert told[0] == (H1, 7)


def test_managers_without_a_store_do_not_take_agents_from_managers_that_share_one(
    layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with an_agent(layout, folder):
            leader = Leader(folder)
            await leader.leads(1)
            await leader.kept.close()
            with pytest.raises(UserError, match="follows managers that share a store"):
                await manager_process.run(layout, folder, "ha")

    run(story())


def test_managers_of_a_restored_store_lead_again_above_the_term_that_agents_follow(
    real_etcd: Cluster, layout: Layout, folder: RunFolder, request: pytest.FixtureRequest
) -> None:
    target = real_etcd.target(request.node.name)

    async def story() -> None:
        client = real_etcd.client(target)
        async with an_agent(layout, folder):
            leader = Leader(folder)
            await leader.leads(40)
            await leader.kept.close()
            told_to_end = asyncio.Event()
            made: list[Reign] = []

            def make() -> Reign:
                made.append(Reign(layout, folder, parties_in(layout, "all"), client, "m1", toy_core))
                return made[-1]

            reigning = asyncio.create_task(reigns(make, told_to_end))
            await until(lambda: made and made[-1].campaign.standing.term == 41, "it leads above what agents follow")
            told_to_end.set()
            await reigning
            assert len(made) == 2
        await client.close()

    run(story())


def test_a_manager_whose_host_was_prepared_otherwise_than_most_lets_somebody_else_lead(
    real_etcd: Cluster, layout: Layout, folder: RunFolder, request: pytest.FixtureRequest
) -> None:
    target = real_etcd.target(request.node.name)

    async def story() -> None:
        client = real_etcd.client(target)
        async with an_agent(layout, folder, layout_print="another"):
            made: list[Reign] = []

            def make() -> Reign:
                made.append(Reign(layout, folder, parties_in(layout, "all"), client, "m1", toy_core))
                return made[-1]

            with pytest.raises(UserError, match="hosts h1 were prepared with another layout than this one") as told:
                await reigns(make, asyncio.Event())
            assert told.value.hint
            leader = made[-1].campaign.standing.leader
            assert leader is not None
            assert leader.is_resigned
        await client.close()

    run(story())
