"""The process of an agent: `python -m holdfast.runtime.agent_process --folder F --host H`.

In:   links from the managers, their actions; what the agent sees on its host.
Out:  on each link whose manager says that it leads, the facts, then news to the party in charge; outcomes to whoever
asked.
Always: of each party only the leader with the newest term is followed; an older one is told so, and its instructions
are dropped. SIGTERM leaves everything on the host as it is; only EndAll, from the operator, ends it.
"""

import argparse
import asyncio
import fcntl
import gc
import os
import signal
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.core.explain_words import happened
from holdfast.errors import HoldfastError, UserError, WorldError
from holdfast.model.actions import Activate, AgentAction, IsolateVm, RememberEpochs, SetVoters, StandingOrder, StartVm
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    Event,
    HostFailed,
    HostReturned,
    NetworkHeard,
    NetworkSilent,
    ServiceTaken,
    Silence,
    StandbyLost,
    StandbySynced,
    VmBooted,
    VmDied,
    VnfcFailed,
    VnfcIsolated,
    VnfcReady,
)
from holdfast.model.layout import Layout, in_charge
from holdfast.model.limits import NEWS_KEPT, OUTCOMES_KEPT
from holdfast.model.names import LAB, OPERATOR, VIM, ActionId, HostName, Party, agent_party
from holdfast.model.reasons import Reason
from holdfast.model.records import TAKING, Begun, Decided, Ended, Marked
from holdfast.runtime import hot_rights
from holdfast.runtime.agent_terms import Terms
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import layout_print, load_key, load_layout, parties_of, places_of_agent
from holdfast.runtime.link import LINK_CUT, Link, listen
from holdfast.runtime.own_lateness import OwnLateness
from holdfast.runtime.refusals import DISK, JOURNAL, LINKS, Refusals
from holdfast.runtime.saying import endure, refused
from holdfast.runtime.sockets import Place
from holdfast.runtime.streams import SOCKETS, Listening, Streams
from holdfast.runtime.watchdog import watched
from holdfast.store.journal import Journal
from holdfast.wire.link_messages import (
    AllEnded,
    Do,
    EndAll,
    Leads,
    LinkMessage,
    NewestTerm,
    OtherLayout,
    Refused,
    StillSilent,
    Tell,
    Took,
)

if TYPE_CHECKING:
    from holdfast.runtime.agent_succession import CarryOut


class Performer(Protocol):
    """What this process needs of an agent (`runtime/agent.py`)."""

    async def open(self) -> None: ...

    async def perform(self, action: AgentAction) -> ActionDone | ActionFailed: ...

    def facts(self) -> AgentJoined: ...

    def when_over(self, told: Callable[[str], None]) -> None:
        """Call `told`, with the reason, if it cannot go on and is to be started anew."""

    def carries_out_by(self, carry_out: "CarryOut") -> None:
        """What it decides by itself is carried out, and written down, by `carry_out`."""

    def counts_refusals(self, into: Refusals) -> None:
        """Whatever it refuses to hear is counted there."""

    def measures_lateness(self, into: OwnLateness) -> None:
        """What it hears of its hot process's lateness goes there, and each lapse of a grant."""

    def ask_silent(self, answer: Callable[[tuple[Silence, ...]], None]) -> None: ...

    async def close(self, *, end_all: bool) -> None: ...


Emit = Callable[[Event], None]
Mark = Callable[..., None]
"""`mark(name, about="", detail="")`"""
JOURNAL_AGAIN_S = 1.0
"""How soon it is tried again whether the disk takes records."""
MakeAgent = Callable[[Emit, Mark], Performer]


class AgentProcess:
    """Joins one agent with its links and its journal."""

    def __init__(
        self,
        layout: Layout,
        host: HostName,
        journal: Journal,
        make: MakeAgent,
        terms: Path | None = None,
        layout_print: str = "",
        *,
        looks_at_itself: bool = True,
    ) -> None:
        """With `looks_at_itself` it measures how late its own loop is."""
        self._layout = layout
        self._layout_print = layout_print
        self._other_layouts: set[str] = set()
        """Those that managers have come with."""
        self.me = agent_party(host)
        self._journal = journal
        self._parties = parties_of(layout)
        self._links: dict[Party, Link] = {}
        self._unnamed: dict[Link, None] = {}
        """Managers that have not yet said under which term they lead: nothing is told to them or taken from them.
        In the order in which they came, as everything that is gone through: a run can then be repeated exactly."""
        self._others: dict[Link, None] = {}
        self._news: dict[Party, OrderedDict[int, Tell]] = {}
        """Told, but not yet recorded by the manager; not to be seen in the facts, so told again."""
        self._news_told = 0
        self._taking: dict[str, int] = {}
        """By service: the mark that says why it may be taken over here."""
        self._begun: OrderedDict[ActionId, None] = OrderedDict()
        self._under_way: dict[asyncio.Task[None], None] = {}
        self._is_ending = False
        self._loop = asyncio.get_running_loop()
        self._terms = Terms(terms, lambda text: self.mark("terms", str(self.me), text))
        self.agent = make(self.emit, self.mark)
        self.agent.when_over(self.fail)
        self.agent.carries_out_by(self._decided)
        self.refusals = Refusals(lambda counts: self._tell_leaders(Refused(dict(counts))))
        self.agent.counts_refusals(self.refusals)
        self.lateness = OwnLateness(self._tell_leaders, looks=looks_at_itself)
        self.agent.measures_lateness(self.lateness)
        if journal.is_losing:
            self._journal_lost("its journal cannot be written")
        journal.when_lost(self._journal_lost, lambda: self.refusals.over(DISK, JOURNAL))
        self.ended: asyncio.Future[bool] = self._loop.create_future()
        """Result: whether everything on the host has been ended."""

    def emit(self, event: Event) -> None:
        """Tell the party in charge what has happened."""
        at = self._loop.time()
        if isinstance(event, HostFailed | HostReturned):
            self._tell_all(event, at)
            return
        party = self._in_charge(event)
        number = 0
        if isinstance(event, StandbyLost | StandbySynced | ServiceTaken):
            self._news_told += 1
            number = self._news_told
        tell = Tell(event, at, number)
        if number:
            kept = self._news.setdefault(party, OrderedDict())
            kept[number] = tell
            if len(kept) > NEWS_KEPT:
                kept.popitem(last=False)
        link = self._links.get(party)
        if link is not None:
            link.send(tell)
        self._journal.write([Marked(at, self.me, self._journal.number(), "told", _about(event), happened(event))])

    def _tell_all(self, event: Event, at: float) -> None:
        for party in self._parties:
            link = self._links.get(party)
            if link is not None:
                link.send(Tell(event, at, 0))
        self._journal.write([Marked(at, self.me, self._journal.number(), "told", _about(event), happened(event))])

    def _journal_lost(self, text: str) -> None:
        sys.stderr.write(f"{self.me}: {text}\n")
        self.refusals.add(DISK, JOURNAL)
        self._loop.call_later(JOURNAL_AGAIN_S, self._write_again)

    def _write_again(self) -> None:
        if self._journal.is_losing and not self.ended.done():
            self._journal.catch_up(self._loop.time())
            self._loop.call_later(JOURNAL_AGAIN_S, self._write_again)

    def _tell_leaders(self, message: LinkMessage) -> None:
        for link in self._links.values():
            link.send(message)

    def _in_charge(self, event: Event) -> Party:
        if isinstance(event, VmBooted | VmDied | NetworkSilent | NetworkHeard):
            return VIM
        if isinstance(event, VnfcReady | VnfcFailed | VnfcIsolated | StandbyLost | StandbySynced | ServiceTaken):
            return in_charge(self._layout, self._layout.vnfcs[event.vnfc].vnf)
        raise HoldfastError(f"an agent has no {type(event).__name__} to tell")

    def mark(self, name: str, about: str = "", detail: str = "") -> None:
        """Journal something worth a line."""
        number = self._journal.number()
        if name == TAKING:
            self._taking[about] = number
        self._journal.write([Marked(self._loop.time(), self.me, number, name, about, detail)])

    def link_opened(self, link: Link) -> None:
        if link.peer in {OPERATOR, LAB}:
            self._others[link] = None
            return
        if link.peer not in self._parties:
            sys.stderr.write(f"{self.me}: {link.peer} is no manager of this deployment\n")
            link.close()
            return
        self._unnamed[link] = None

    def _follow(self, link: Link, leads: Leads) -> None:
        """Its manager says that it leads: follow it, unless another one that is as new has said so before."""
        self._unnamed.pop(link, None)
        if leads.layout and self._layout_print and leads.layout != self._layout_print:
            if leads.layout not in self._other_layouts:
                self._other_layouts.add(leads.layout)
                detail = f"its host was prepared with layout {leads.layout}, this one with {self._layout_print}"
                self.mark("other-layout", link.peer, detail)
            link.send(OtherLayout(self._layout_print))
            link.close()
            return
        if not self._terms.admit(link.peer, leads.term, leads.leader):
            newest = self._terms.newest(link.peer)
            other = "another leader of it" if newest == leads.term else str(newest)
            self.mark("outdated", link.peer, f"says that it leads under term {leads.term}, but {other} is followed")
            link.send(NewestTerm(newest))
            link.close()
            return
        older = self._links.get(link.peer)
        self._links[link.peer] = link
        if older is not None:
            older.close()
        link.send(Tell(self.agent.facts(), self._loop.time()))
        if self.refusals.counts:
            link.send(Refused(self.refusals.counts))
        self.agent.ask_silent(lambda found: self._tell_silent(link, found))
        for tell in self._news.get(link.peer, {}).values():
            link.send(tell)

    def _tell_silent(self, link: Link, found: tuple[Silence, ...]) -> None:
        """What was told before it came: a manager that has begun to lead has to know of it too."""
        for silence in found:
            if isinstance(silence, HostFailed) or link.peer == self._in_charge(silence):
                link.send(Tell(silence, self._loop.time(), is_now=True))

    def _confirm(self, link: Link, told: HostFailed, found: tuple[Silence, ...]) -> None:
        """The manager may have heard late of what was told: say it once more if it is so now."""
        for silence in found:
            if isinstance(silence, HostFailed) and (silence.host, silence.life) == (told.host, told.life):
                link.send(Tell(silence, self._loop.time(), is_now=True))

    def link_received(self, link: Link, message: LinkMessage) -> None:
        if isinstance(message, Leads) and link in self._unnamed:
            self._follow(link, message)
        elif isinstance(message, StillSilent) and self._links.get(link.peer) is link:
            self.agent.ask_silent(lambda found: self._confirm(link, message.event, found))
        elif isinstance(message, Do | Took) and self._links.get(link.peer) is not link:
            # Sent before its manager knew that it is followed. Also Took: what it records is no longer what counts.
            if isinstance(message, Do):
                self.mark(
                    "outdated", link.peer, f"{type(message.action).__name__} {message.action.id} is not carried out"
                )
        elif isinstance(message, Do) and not self._is_ending:
            self._begin(self._perform(message.action), message.action.id)
        elif isinstance(message, Took):
            for number in message.numbers:
                self._news.get(link.peer, OrderedDict()).pop(number, None)
        elif isinstance(message, EndAll) and link in self._others:
            self._begin(self._end_all(link), "end all")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._under_way[task] = None
        task.add_done_callback(lambda done: self._under_way.pop(done, None))

    def link_closed(self, link: Link) -> None:
        if link.trouble:
            self.mark(LINK_CUT, link.peer, link.trouble)
        self._others.pop(link, None)
        self._unnamed.pop(link, None)
        if self._links.get(link.peer) is link:
            del self._links[link.peer]

    async def _perform(self, action: AgentAction) -> None:
        def tell(outcome: ActionDone | ActionFailed, at: float) -> None:
            # To whom it matters now: the asker may have connected again since.
            link = self._links.get(Party(action.id.rpartition("/")[0]))
            if link is not None:
                link.send(Tell(outcome, at))

        await self._carried_out(action, tell)

    async def _decided(self, action: Activate, reasons: tuple[Reason, ...]) -> ActionDone | ActionFailed:
        """The agent's own decision is in its journal as those of managers are in theirs, and what it rests on."""
        on, number = self._taking.get(action.service, 0), self._journal.number()
        self._journal.write([Decided(self._loop.time(), self.me, number, on, action, reasons)])
        return await self._carried_out(action, lambda outcome, at: None)

    async def _carried_out(
        self, action: AgentAction, tell: Callable[[ActionDone | ActionFailed, float], None]
    ) -> ActionDone | ActionFailed:
        what, about = type(action).__name__, _target(action)
        is_first = action.id not in self._begun
        if is_first:
            self._begun[action.id] = None
            if len(self._begun) > OUTCOMES_KEPT:
                self._begun.popitem(last=False)
            self._journal.write([Begun(self._loop.time(), self.me, self._journal.number(), action.id, what, about)])
        outcome = await self._outcome(action)
        at = self._loop.time()
        tell(outcome, at)
        if is_first:
            ok = isinstance(outcome, ActionDone)
            detail = outcome.detail if isinstance(outcome, ActionDone) else outcome.why
            number = self._journal.number()
            self._journal.write([Ended(at, self.me, number, action.id, what, about, ok, detail)])
        return outcome

    async def _outcome(self, action: AgentAction) -> ActionDone | ActionFailed:
        try:
            return await self.agent.perform(action)
        except Exception as error:  # noqa: BLE001  # the manager must hear of it, whatever it is
            sys.stderr.write(f"{self.me}: {type(action).__name__} {action.id}: {traceback.format_exc()}")
            return ActionFailed(action.id, f"a fault in the agent: {type(error).__name__}: {error}")

    async def _end_all(self, link: Link) -> None:
        self._is_ending = True
        try:
            await self.agent.close(end_all=True)
        except HoldfastError as error:
            link.send(AllEnded((error.message,)))
        else:
            link.send(AllEnded())
        if not self.ended.done():
            self.ended.set_result(True)

    def stop(self) -> None:
        """Let the process end, and leave the host as it is."""
        if not self.ended.done():
            self.ended.set_result(False)

    def fail(self, why: str) -> None:
        """Let the process end, so that it is started again; what runs on the host goes on."""
        if not self.ended.done():
            self.ended.set_exception(WorldError(why))

    @property
    def _has_ended_all(self) -> bool:
        done = self.ended.done() and not self.ended.cancelled()
        return done and self.ended.exception() is None and self.ended.result()

    async def close(self) -> None:
        """Close links and detectors; what runs on the host goes on."""
        self.refusals.close()
        self.lateness.close()
        if not self._has_ended_all:
            await self.agent.close(end_all=False)
        for link in [*self._links.values(), *self._unnamed, *self._others]:
            link.close()
            await link.ended
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _target(action: AgentAction) -> str:
    if isinstance(action, StandingOrder):
        return action.service
    if isinstance(action, RememberEpochs | SetVoters):
        return action.host
    return action.vm if isinstance(action, IsolateVm | StartVm) else action.vnfc


def _about(event: Event) -> str:
    return str(getattr(event, "vnfc", "") or getattr(event, "vm", "") or getattr(event, "host", ""))


@contextmanager
def only_one(folder: RunFolder, host: HostName) -> Iterator[None]:
    """A second agent of a host would take its sockets from the first, and leave it deaf when it ends."""
    handle = os.open(folder.agent_lock(host), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise WorldError(
            f"an agent of host {host} is running already",
            f"see {folder.root}; `holdfast up` starts one by itself, systemd as holdfast-agent@{folder.root.name}",
        ) from None
    finally:
        os.close(handle)


async def attend(
    process: AgentProcess,
    places: Sequence[Place],
    key: bytes,
    streams: Streams = SOCKETS,
    opened: Callable[[], None] = lambda: None,
) -> None:
    """Open the agent, take links at these places until it is told to end, let go of it."""
    servers: list[Listening] = []
    try:
        await process.agent.open()
        for place in places:
            refused = partial(process.refusals.add, LINKS)
            servers.append(await listen(place, key, process.me, process, streams, refused))
        opened()
        await process.ended
    finally:
        for server in servers:
            server.close()
        await process.close()


async def run(layout: Layout, folder: RunFolder, host: HostName, make: MakeAgent) -> None:
    """Hold the agent of `host` until told to end."""
    loop = asyncio.get_running_loop()
    key = load_key(folder)
    me = agent_party(host)
    journal = Journal(folder.journal(me), me, lambda text: print(text, file=sys.stderr))
    journal.opened(loop.time(), time.time(), os.getpid())
    process = AgentProcess(layout, host, journal, make, folder.terms(host), layout_print(folder))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stop)
    watchdog: asyncio.Task[None] | None = None

    def opened() -> None:
        nonlocal watchdog
        gc.collect()
        gc.freeze()
        watchdog = watched()

    try:
        await attend(process, places_of_agent(layout, folder, host), key, opened=opened)
    finally:
        if watchdog is not None:
            watchdog.cancel()
        journal.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; answer the exit status."""
    parser = argparse.ArgumentParser(prog="holdfast agent", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--end", action="store_true", help="end all that the agent of this host has started")
    chosen = parser.parse_args(arguments)
    endure()
    try:
        folder = RunFolder(chosen.folder)
        layout = load_layout(folder)
        host = HostName(chosen.host)
        if host not in layout.hosts:
            raise UserError(f"host {host} is not in the layout", f"expected one of {', '.join(layout.hosts)}")
        if chosen.end:
            from holdfast.runtime.prepared import end_host

            asyncio.run(end_host(layout, folder, host))
            return 0
        from holdfast.runtime.agent import Agent

        with only_one(folder, host):
            lack = hot_rights.precede()
            if lack is not None:
                sys.stderr.write(f"agent of {host}: {lack.what}: {lack.reply} ({lack.hint})\n")
            asyncio.run(run(layout, folder, host, lambda emit, mark: Agent(layout, host, folder, emit, mark)))
    except (HoldfastError, OSError) as error:
        return refused(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
