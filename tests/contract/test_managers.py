"""The managers' pump with real links, journals and stores: what must hold between event and action."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.drivers.fence import set_power
from holdfast.errors import WorldError
from holdfast.model.actions import Activate, ConfirmLoss, IsolateVnfc
from holdfast.model.events import ActionDone, AgentLost, LossAccepted, ManagerStarted, StandbyLost, VmDied, VnfcFailed
from holdfast.model.layout import FenceDevice, Layout
from holdfast.model.names import HA, VIM, ActionId, HostName, Party, agent_party
from holdfast.model.reasons import Reason
from holdfast.model.records import TAKING, Begun, Decided, Ended, Marked, Seen
from holdfast.runtime.agent_process import AgentProcess, only_one
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.link import SAID, listen
from holdfast.runtime.manager import Pump
from holdfast.runtime.manager_process import MakeCore, make_seats, parties_in
from holdfast.runtime.outside import ask, end_all
from holdfast.runtime.reach import Links, Outdated
from holdfast.runtime.refusals import LINKS
from holdfast.runtime.seat import Seat
from holdfast.runtime.streams import SOCKETS, Streams
from holdfast.store.journal import Journal, read
from holdfast.wire.link_messages import AskStatus, AskSwitchover, Leads
from tests.contract.fakes import (
    DNS,
    DNS_1,
    DNS_2,
    H1,
    SERVICE,
    STORY_S,
    VM_1,
    ToyAgent,
    make_folder,
    small_layout,
    toy_core,
    until,
)

KEY = b"k" * 32


@asynccontextmanager
async def managers(
    layout: Layout,
    folder: RunFolder,
    share: str = "all",
    term: int = 0,
    outdated: Outdated | None = None,
    core: MakeCore = toy_core,
) -> AsyncIterator[Pump]:
    links = Links(layout, folder, KEY, set_power, outdated or (lambda host, newest: None), term)
    seats, stores, journals = make_seats(layout, folder, parties_in(layout, share), core)
    pump = Pump(layout, seats, links.reach, stores[0].tidy)
    try:
        pump.start()
        await links.open(pump)
        yield pump
    finally:
        await pump.close()
        await links.close()
        for store in stores:
            store.close()
        for journal in journals:
            journal.close()


@asynccontextmanager
async def an_agent(
    layout: Layout, folder: RunFolder, key: bytes = KEY, streams: Streams = SOCKETS, layout_print: str = ""
) -> AsyncIterator[tuple[AgentProcess, ToyAgent]]:
    me = agent_party(H1)
    journal = Journal(folder.journal(me), me)
    process = AgentProcess(layout, H1, journal, ToyAgent, folder.terms(H1), layout_print=layout_print)
    server = await listen(folder.socket(me), key, me, process, streams, partial(process.refusals.add, LINKS))
    assert isinstance(process.agent, ToyAgent)
    try:
        yield process, process.agent
    finally:
        server.close()
        await process.close()
        journal.close()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, STORY_S))


def names(seat: Seat) -> list[str]:
    heard: tuple[str, ...] = seat.state.heard
    return list(heard)


async def joined(seat: Seat) -> None:
    await until(lambda: "AgentJoined" in names(seat), f"agent joined {seat.party}")


@pytest.fixture
def layout() -> Layout:
    return small_layout()


@pytest.fixture
def folder(tmp_path: Path, layout: Layout) -> RunFolder:
    return make_folder(tmp_path, layout)


def test_a_failure_goes_to_the_party_in_charge_and_its_action_comes_back_done(
    layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump, an_agent(layout, folder) as (_, agent):
            ha = pump.seats[HA]
            await joined(ha)
            agent.emit(VnfcFailed(DNS_1, 1, "killed"))
            await until(lambda: "ActionDone" in names(ha), "the outcome")
            assert agent.performed == [IsolateVnfc(agent.performed[0].id, DNS_1, 1)]
            assert ha.outstanding() == ()
            assert "VnfcFailed" not in names(pump.seats[VIM])

    run(story())
    records = list(read(folder.journal(HA)))
    kinds = [type(record).__name__ for record in records if not isinstance(record, Decided)]
    assert kinds[:2] == ["Opened", "Seen"]
    assert isinstance(records[1], Seen)
    assert isinstance(records[1].event, ManagerStarted)
    failed = next(one for one in records if isinstance(one, Seen) and isinstance(one.event, VnfcFailed))
    decided = [one for one in records if isinstance(one, Decided)]
    assert {one.on for one in decided} == {failed.n}
    assert [one.n for one in records] == sorted(one.n for one in records)
    agents = list(read(folder.journal(agent_party(H1))))
    assert [type(one) for one in agents[-3:]] == [Marked, Begun, Ended] or Ended in {type(one) for one in agents}


def test_what_is_outstanding_is_sent_when_the_agent_joins(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump:
            ha = pump.seats[HA]
            pump.push(ha, VnfcFailed(DNS_1, 1, "killed"), time.monotonic())
            await until(lambda: ha.outstanding(), "the action is decided")
            async with an_agent(layout, folder) as (_, agent):
                await until(lambda: not ha.outstanding(), "the action is done")
                assert len(agent.performed) == 1

    run(story())


def test_a_manager_that_starts_again_goes_on_where_it_was(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (_, agent):
            agent.hold.clear()
            async with managers(layout, folder) as pump:
                await joined(pump.seats[HA])
                agent.emit(VnfcFailed(DNS_1, 1, "killed"))
                await until(lambda: agent.performed, "the agent has begun")
                before = pump.seats[HA].state
            agent.hold.set()
            async with managers(layout, folder) as pump:
                ha = pump.seats[HA]
                assert ha.state.waiting == before.waiting
                await until(lambda: not ha.outstanding(), "the action is done")
                assert {action.id for action in agent.performed} == {"ha/1"}
                assert ha.view.services

    run(story())


@pytest.mark.parametrize("shares", [["all"], ["ha", "vnfm", "vim"]])
def test_a_message_is_taken_once_and_its_sender_learns_of_it(
    layout: Layout, folder: RunFolder, shares: list[str]
) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            pumps = [await stack.enter_async_context(managers(layout, folder, share)) for share in shares]
            seats = {party: (pump, seat) for pump in pumps for party, seat in pump.seats.items()}
            answer = await asyncio.to_thread(ask, folder, HA, AskSwitchover(DNS))
            assert answer.refused == ""
            ha, vim = seats[HA][1], seats[VIM][1]
            await until(lambda: not ha.outstanding(), "the message is taken")
            await until(lambda: "DeadlinePassed" in names(vim), "the deadline of the receiver")
            assert names(vim).count("Received") == 1

    run(story())


def test_a_message_reaches_a_manager_that_comes_later(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder, "ha") as pump:
            ha = pump.seats[HA]
            await asyncio.to_thread(ask, folder, HA, AskSwitchover(DNS))
            assert len(ha.outstanding()) == 1
            async with managers(layout, folder, "vim") as other:
                await until(lambda: not ha.outstanding(), "the message is taken")
                assert names(other.seats[VIM]).count("Received") == 1

    run(story())


def test_a_message_that_is_repeated_is_answered_but_not_taken_again(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump:
            ha, vim = pump.seats[HA], pump.seats[VIM]
            await asyncio.to_thread(ask, folder, HA, AskSwitchover(DNS))
            sent = await _sent(folder)
            await until(lambda: not ha.outstanding(), "the message is taken")
            pump._sent[sent.id] = (0.0, 0.0)
            pump._send(ha, sent)
            await until(lambda: sent.id not in pump._sent, "the repetition is answered")
            assert names(vim).count("Received") == 1

    run(story())


async def _sent(folder: RunFolder) -> Any:
    decided = [one for one in read(folder.journal(HA)) if isinstance(one, Decided)]
    return decided[-1].action


def test_events_that_are_there_together_are_taken_in_the_order_in_which_they_arose(
    layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump:
            ha = pump.seats[HA]
            now = time.monotonic()
            pump.push(ha, VnfcFailed(DNS_2, 1, "killed"), now)
            pump.push(ha, VnfcFailed(DNS_1, 1, "killed"), now - 1)
            await until(lambda: len(ha.outstanding()) == 2, "both are taken")
            assert [getattr(action, "vnfc", "") for action in ha.outstanding()] == [DNS_1, DNS_2]

    run(story())


def test_a_core_that_fails_keeps_its_state_and_says_so(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump:
            ha = pump.seats[HA]
            await until(lambda: names(ha), "started")
            before = ha.state
            pump.push(ha, LossAccepted(DNS), time.monotonic())
            await until(lambda: ha.bugs, "the core has failed")
            assert ha.state == before
            assert "ZeroDivisionError" in ha.view.alarms["bug:ha"]
            pump.push(ha, VnfcFailed(DNS_1, 1, "killed"), time.monotonic())
            await until(lambda: ha.outstanding(), "it goes on")

    run(story())
    assert any(isinstance(one, Marked) and one.name == "bug" for one in read(folder.journal(HA)))


def test_the_loss_of_a_standby_is_confirmed_only_when_the_store_has_it(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump, an_agent(layout, folder) as (process, agent):
            ha = pump.seats[HA]
            await joined(ha)
            base: Any = ha._store
            base._base.execute("PRAGMA query_only=1")
            agent.emit(StandbyLost(DNS_1, 1, 1, DNS_2))
            agent.emit(VnfcFailed(DNS_2, 1, "killed"))
            await until(lambda: agent.performed, "the service goes on without a store")
            assert isinstance(agent.performed[0], IsolateVnfc)
            assert "store:ha" in ha.view.alarms
            assert process._news[HA], "the news is not taken yet"
            base._base.execute("PRAGMA query_only=0")
            await until(lambda: len(agent.performed) == 2, "the store is back")
            assert isinstance(agent.performed[1], ConfirmLoss)
            await until(lambda: not process._news[HA], "the news is taken")
            assert "store:ha" not in ha.view.alarms

    run(story())


def test_news_that_no_fact_shows_is_told_again_until_it_is_taken(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (process, agent):
            agent.emit(StandbyLost(DNS_1, 1, 1, DNS_2))
            async with managers(layout, folder) as pump:
                await until(lambda: "StandbyLost" in names(pump.seats[HA]), "told after joining")
                await until(lambda: not process._news[HA], "taken")
            async with managers(layout, folder) as pump:
                await joined(pump.seats[HA])
                assert names(pump.seats[HA]).count("StandbyLost") == 1

    run(story())


def test_status_shows_what_a_party_knows(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump, an_agent(layout, folder) as (_, agent):
            ha = pump.seats[HA]
            await joined(ha)
            agent.hold.clear()
            agent.emit(VnfcFailed(DNS_1, 1, "killed", "signal 9"))
            await until(lambda: ha.outstanding(), "decided")
            answer = await asyncio.to_thread(ask, folder, HA, AskStatus())
            status = json.loads(answer.content)
            assert status["agents"] == {"h1": True}
            assert status["vnfs"]["dns"]["vnfcs"]["dns-1"]["condition"] == "failed"
            assert status["vnfs"]["dns"]["vnfcs"]["dns-2"]["role"] == "standby"
            assert status["vnfs"]["dns"]["services"]["dns"]["state"] == "interrupted"
            assert status["outstanding"] == [{"id": "ha/1", "action": "IsolateVnfc", "about": "dns-1"}]
            assert status["incidents"][0]["about"] == "dns-1"
            agent.hold.set()

    run(story())


def test_what_ran_on_a_host_whose_agent_is_away_is_last_known_and_not_known_now(
    layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with managers(layout, folder) as pump:
            ha = pump.seats[HA]
            async with an_agent(layout, folder) as (_, agent):
                await joined(ha)
                agent.hold.clear()
                agent.emit(VnfcFailed(DNS_1, 1, "killed", "signal 9"))
                await until(lambda: ha.outstanding(), "decided")
            await until(lambda: "AgentLost" in names(ha), "the agent is away")
            vnfcs = json.loads((await asyncio.to_thread(ask, folder, HA, AskStatus())).content)["vnfs"]["dns"]["vnfcs"]
            shown = {name: (one["condition"], one["known"]) for name, one in vnfcs.items()}
            assert shown == {"dns-1": ("failed", True), "dns-2": ("ready", False)}

    run(story())


def test_what_an_agent_decides_by_itself_is_in_its_journal_with_its_reasons_and_what_came_of_it(
    layout: Layout, folder: RunFolder
) -> None:
    action = Activate(ActionId("standing/dns/4"), DNS_1, 1, SERVICE, 4)
    reasons = (Reason("standing-order", DNS_1, "number 1 of 1 in order 2, epoch 4"),)

    async def story() -> None:
        async with an_agent(layout, folder) as (_, agent):
            agent.mark(TAKING, SERVICE, "epoch 4: its holder has released it")
            assert await agent.by_itself(action, reasons) == ActionDone(action.id, "confirmed")

    run(story())
    mark, decided, begun, ended = list(read(folder.journal(agent_party(H1))))[-4:]
    assert isinstance(decided, Decided)
    assert decided.on == mark.n
    assert (decided.action, decided.reasons) == (action, reasons)
    assert isinstance(begun, Begun)
    assert isinstance(ended, Ended)
    assert (begun.action, ended.action, ended.ok) == (action.id, action.id, True)


def test_a_refusal_reaches_the_operator_with_its_reasons(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder):
            answer = await asyncio.to_thread(ask, folder, HA, AskSwitchover(DNS, to=DNS_2))
            assert answer.refused == "switchover of dns: an operator asked for it (dns)"

    run(story())


@pytest.mark.parametrize(("last", "outcome"), [("exit 2", "ActionDone"), ("exit 0", "ActionFailed")])
def test_a_host_counts_as_fenced_only_when_its_device_says_so(tmp_path: Path, last: str, outcome: str) -> None:
    script = tmp_path / "fence_toy"
    script.write_text(f"#!/bin/sh\nread -r first; case $(cat) in *action=status*) {last};; esac\n")
    script.chmod(0o755)
    # A device that confirms has time to do it on a busy machine.
    limit_s = 10.0 if outcome == "ActionDone" else 0.5
    layout = small_layout(FenceDevice(str(script), {"plug": "h1"}, limit_s=limit_s))
    folder = make_folder(tmp_path, layout)

    async def story() -> None:
        async with managers(layout, folder) as pump:
            vim = pump.seats[VIM]
            pump.push(vim, VmDied(VM_1, 1), time.monotonic())
            await until(lambda: outcome in names(vim), outcome)
            assert vim.outstanding() == ()

    run(story())
    ended = [one for one in read(folder.journal(VIM)) if isinstance(one, Ended)]
    assert [one.ok for one in ended] == [outcome == "ActionDone"]


def test_the_end_of_an_agent_leaves_everything_unless_the_operator_asks(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with an_agent(layout, folder) as (process, agent):
            process.stop()
            await process.ended
        assert agent.closed is False
        async with an_agent(layout, folder) as (process, agent):
            assert await asyncio.to_thread(end_all, folder, agent_party(H1), 5.0) == ()
            assert await process.ended is True
            assert agent.closed is True

    run(story())


def test_a_stranger_with_a_wrong_key_is_told_nothing(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder):
            folder.key.write_bytes(b"x" * 32)
            with pytest.raises(Exception, match="does not know this deployment's key"):
                await asyncio.to_thread(ask, folder, HA, AskStatus())

    run(story())


def test_a_newer_link_of_a_manager_replaces_the_older_one(layout: Layout, folder: RunFolder) -> None:
    async def story() -> None:
        async with managers(layout, folder, "ha") as pump, an_agent(layout, folder) as (process, _):
            await joined(pump.seats[HA])
            first = process._links[Party("ha")]
            second = await asyncio.to_thread(_talk_as_ha, folder)
            await until(lambda: process._links.get(Party("ha")) is not first, "replaced")
            second.__exit__(None, None, None)
            await until(lambda: names(pump.seats[HA]).count("AgentJoined") == 2, "joined again")
            assert "AgentLost" in names(pump.seats[HA])

    run(story())


def _talk_as_ha(folder: RunFolder) -> Any:
    from holdfast.runtime.outside import Talk

    talk = Talk(folder, agent_party(H1), 5.0, HA)
    talk.say(Leads(0))
    return talk


def test_links_that_are_closed_in_good_order_are_no_news(
    layout: Layout, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with an_agent(layout, folder):
            async with managers(layout, folder) as pump:
                for seat in pump.seats.values():
                    await joined(seat)
            # The stores are closed by now: whatever is still in the loop must not reach for them.
            for _ in range(10):
                await asyncio.sleep(0)

    run(story())
    last = list(read(folder.journal(HA)))[-1]
    assert not (isinstance(last, Seen) and isinstance(last.event, AgentLost))
    assert "closed database" not in capsys.readouterr().err


def test_there_is_never_a_second_agent_of_a_host(folder: RunFolder) -> None:
    with only_one(folder, H1):
        with pytest.raises(WorldError, match="running already"), only_one(folder, H1):
            raise AssertionError("it was let in")
        with only_one(folder, HostName("h2")):
            assert folder.agent_lock(H1).exists()
    with only_one(folder, H1):
        assert folder.agent_lock(H1).exists()


def test_why_an_agent_cannot_be_reached_is_in_the_status_and_said_once_on_both_sides(
    layout: Layout, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    async def unreached() -> str:
        answer = await asyncio.to_thread(ask, folder, HA, AskStatus())
        why: str = msgspec.json.decode(answer.body)["unreached"].get(H1, "")
        return why

    async def story() -> None:
        async with managers(layout, folder):
            for key, words in ((b"x" * 32, "agent:h1 does not know this deployment's key"), (KEY, "")):
                async with an_agent(layout, folder, key):
                    while await unreached() != words:
                        await asyncio.sleep(0)

    SAID.clear()
    run(story())
    said = capsys.readouterr().err.splitlines()
    assert said.count("link with agent:h1 cut: agent:h1 does not know this deployment's key") == 1
    assert said.count("link with ha ended before its proof: perhaps it knows another key") == 1


def test_an_agent_of_a_host_that_was_prepared_with_another_layout_is_not_joined_and_the_status_says_so(
    layout: Layout, folder: RunFolder
) -> None:
    async def story() -> None:
        async with an_agent(layout, folder, layout_print="another"), managers(layout, folder):
            why = ""
            while "another layout (another; here it is " not in why:
                answer = await asyncio.to_thread(ask, folder, HA, AskStatus())
                why = msgspec.json.decode(answer.body)["unreached"][H1]

    run(story())
    marks = [record.name for record in read(folder.journal(agent_party(H1))) if isinstance(record, Marked)]
    assert marks.count("other-layout") == 1
