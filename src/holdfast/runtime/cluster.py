"""Managers of one deployment on several hosts: one leads and decides, the others wait to follow.

In:   a run folder with layout and key, as on one machine; the address of the store that all hosts share.
Out:  while it leads, what a manager process does; before that, nothing at all.
Always: nothing is decided without the leadership. A leader that could not renew in time decides nothing until it has;
one that was followed ends, and is started again as a candidate; one whose agents follow a newer term than the store
knows (it was restored) steps down and leads again under a newer one still. The store is written behind: decisions do
not wait for it (runtime/manager.py says what does).
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from holdfast.errors import UserError, WorldError
from holdfast.model.events import ManagerStarted
from holdfast.model.layout import Layout
from holdfast.model.limits import ETCD_LIMIT_S, GIVE_WAY_AFTER_S, LEADER_LENGTH_S
from holdfast.model.names import HostName, Party
from holdfast.model.records import CARRIES
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import load_key
from holdfast.runtime.manager import Pump
from holdfast.runtime.manager_process import MakeCore, Running, core_of, make_seat, parties_in
from holdfast.runtime.reach import Links
from holdfast.runtime.seat import Seat
from holdfast.runtime.surroundings import Surroundings
from holdfast.runtime.watchdog import watched
from holdfast.store.behind import Behind
from holdfast.store.etcd import EtcdState
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_leadership import Campaign, Standing
from holdfast.store.etcd_target import Target
from holdfast.store.journal import Journal
from holdfast.store.leadership import Leadership
from holdfast.store.port import Superseded

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LATE = "store-behind"
"""Kind of the alarm while changes wait for the store."""


async def run_shared(
    layout: Layout, folder: RunFolder, share: str, target: Target, name: str, *, least_term: int = 0
) -> None:
    """Take part until told to end; while leading, hold the managers of `share`.

    Args:
        layout: the deployment.
        folder: this host's.
        share: which managers (`manager_process.SHARES`); the same on every host.
        target: the store.
        name: of this manager, for people.
        least_term: above the terms that a restored store no longer knows.

    Raises:
        Superseded: another manager leads now.
        UserError: etcd does not believe us.
        MachineLacks: etcd is too old.
    """
    loop = asyncio.get_running_loop()
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    client = EtcdClient(target)
    watchdog = watched()  # One that waits to follow is well, too.
    try:
        await reigns(
            lambda: Reign(layout, folder, parties_in(layout, share), client, name, core_of), told_to_end, least_term
        )
    finally:
        if watchdog is not None:
            watchdog.cancel()
        await client.close()


async def reigns(make: "Callable[[], Reign]", told_to_end: asyncio.Event, least_term: int = 0) -> None:
    """One candidature after the other: a new one each time that agents follow a newer term than ours."""
    while not told_to_end.is_set():
        reign = make()
        reign.campaign.raise_term(least_term)
        try:
            await _take_part(reign, told_to_end)
        except Outdated as error:
            sys.stderr.write(f"{error.message}: steps down, and leads under {error.newest + 1} at least from now on\n")
            least_term = error.newest + 1
        except GivesWay as error:
            sys.stderr.write(f"{error.message}\n")
            await reign.close()
            await asyncio.sleep(2 * LEADER_LENGTH_S)
        finally:
            await reign.close()


async def _take_part(reign: "Reign", told_to_end: asyncio.Event) -> None:
    await reign.campaign.start()
    if not await _first(reign.campaign.won(), told_to_end):
        return
    await reign.begin()
    ending: asyncio.Future[Any] = asyncio.create_task(told_to_end.wait())
    await asyncio.wait([ending, reign.ended], return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    await reign.end()


async def _first(wanted: Coroutine[Any, Any, object], other: asyncio.Event) -> bool:
    """Wait for either; whether it was the wanted one."""
    wanting: asyncio.Task[Any] = asyncio.create_task(wanted)
    ending: asyncio.Task[Any] = asyncio.create_task(other.wait())
    await asyncio.wait([wanting, ending], return_when=asyncio.FIRST_COMPLETED)
    is_there = wanting.done()
    wanting.cancel()
    ending.cancel()
    return is_there


class Outdated(Superseded):
    """Agents follow a newer term than the one this manager leads under, or another leader of the same one."""

    def __init__(self, message: str, newest: int) -> None:
        super().__init__(message)
        self.newest = newest


class GivesWay(Superseded):
    """An agent that others hear is out of this manager's reach: perhaps somebody else reaches all of them."""

    def __init__(self, unreached: tuple[HostName, ...]) -> None:
        super().__init__(f"does not reach the agents of {', '.join(unreached)}, which others hear: gives way")
        self.unreached = unreached


class Reign:
    """One process's candidature, and what it holds while it leads."""

    def __init__(
        self,
        layout: Layout,
        folder: RunFolder,
        parties: tuple[Party, ...],
        client: EtcdClient,
        name: str,
        core: MakeCore,
        around: Surroundings | None = None,
    ) -> None:
        self._layout = layout
        around = around if around is not None else Surroundings()
        self._around = around
        self._folder = folder
        self._parties = parties
        self._client = client
        self._core = core
        self._token = around.token()
        self.campaign = Campaign(client, Leadership(name, self._token), self._changed, around.say)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Has an error when somebody else leads."""
        self._term = 0
        self._behind: Behind | None = None
        self._seats: list[Seat] = []
        self._journals: list[Journal] = []
        self._links: Links | None = None
        self._pump: Pump | None = None
        self._look: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        """Load what the store holds, and decide from there."""
        self._term = self.campaign.standing.term
        fence = self.campaign.fence()
        state = EtcdState(self._client, fence, self._around.token())
        loaded = {party: await state.load(party) for party in self._parties}
        if fence.term != self.campaign.fence().term:
            raise Superseded(f"the leadership of term {fence.term} ended before it began")
        self._behind = Behind(loaded, state.save, self._tell_late, self._kept, self._superseded)
        running = Running(
            self._around.machine or _BOOT_ID.read_text().strip(),
            asyncio.get_running_loop().time,
            self._around.wall,
            self._around.pid,
        )
        for party in self._parties:
            seat, journal = make_seat(
                self._folder, party, self._core(self._layout, party), self._behind, self._term, running
            )
            self._seats.append(seat)
            self._journals.append(journal)
            seat.mark("leads", str(party), f"term {self._term}")
            seat.mark(CARRIES, str(party), " ".join(seat.carried()))
        self._links = Links(
            self._layout,
            self._folder,
            load_key(self._folder),
            self._around.power,
            self._outdated,
            self._term,
            self._around.streams,
            self._token,
        )
        self._links.misfit = self._superseded
        self._pump = Pump(
            self._layout, self._seats, self._links.reach, self._behind.tidy, self._may_decide, self._began()
        )
        self._pump.ended.add_done_callback(self._pump_ended)
        self._pump.start()
        await self._links.open(self._pump)
        self._look_at_reach()
        self._around.settle()

    def _began(self) -> ManagerStarted:
        """With the hosts that have a member of the store, where its address tells."""
        members = {endpoint.host for endpoint in self._client.target.endpoints}
        on = tuple(name for name, host in self._layout.hosts.items() if members & set(host.reached_at))
        return ManagerStarted(on, len(members))

    def _look_at_reach(self) -> None:
        """Give way for an agent that only we do not reach; not for one that our forerunner has given way for."""
        links = self._links
        if links is None or self.ended.done():
            return
        mine = tuple(host for host in links.out_of_reach(GIVE_WAY_AFTER_S) if host not in self.campaign.left_over)
        if mine:
            self._superseded(GivesWay(mine))
            return
        self._look = asyncio.get_running_loop().call_later(GIVE_WAY_AFTER_S / 4, self._look_at_reach)

    def _changed(self, standing: Standing) -> None:
        if self._pump is None or self.ended.done():
            return
        if standing.term != self._term:
            self._superseded(Superseded(f"{_who(standing)} leads the managers"))
        elif standing.is_lapsed:
            self._mark("lapsed", ": the leadership could not be renewed, so nothing is decided until it is")
        else:
            self._mark("leads-on", " goes on")
            self._pump.go_on()

    def _tell_late(self, text: str | None) -> None:
        for seat in self._seats[:1]:
            if text is None:
                seat.calm(LATE)
                seat.mark(LATE, str(seat.party), "the store has caught up")
            else:
                seat.alarm(LATE, text)

    def _kept(self, party: Party) -> None:
        if self._pump is not None:
            self._pump.kept(party)

    def _may_decide(self) -> bool:
        return self.campaign.holds() and not self.ended.done()

    def _outdated(self, host: HostName, newest: int) -> None:
        self.campaign.raise_term(newest + 1)
        followed = f"another leader of term {newest}" if newest == self._term else f"term {newest}, not {self._term}"
        self._superseded(Outdated(f"the agent of {host} follows {followed}", newest))

    def _superseded(self, error: Superseded | UserError) -> None:
        if not self.ended.done():
            self._mark("followed", f": {error.message}")
            self.ended.set_exception(error)

    def _pump_ended(self, ended: "asyncio.Future[None]") -> None:
        error = None if ended.cancelled() else ended.exception()
        if isinstance(error, Superseded):
            self._superseded(error)

    def _mark(self, name: str, detail: str) -> None:
        for seat in self._seats:
            seat.mark(name, str(seat.party), f"term {self._term}{detail}")

    async def end(self) -> None:
        """Hand over in an orderly way: stop deciding, write what waits, resign. Raises what ended the leadership."""
        if self.ended.done():
            error = self.ended.exception()
            if isinstance(error, GivesWay):
                await self._stop_deciding()
                if self._behind is not None:
                    await self._behind.flush(ETCD_LIMIT_S)
                await self.campaign.resign(unreached=error.unreached)
            if isinstance(error, Outdated | UserError):
                # Let another one claim at once, or ourselves, under a newer term.
                await self._stop_deciding()
                await self.campaign.resign()
            self.ended.result()
        await self._stop_deciding()
        if self._behind is not None and not await self._behind.flush(ETCD_LIMIT_S):
            raise WorldError(f"ended with {self._behind.waiting.changes} changes that the store does not have")
        await self.campaign.resign()

    async def _stop_deciding(self) -> None:
        if self._look is not None:
            self._look.cancel()
        pump, links = self._pump, self._links
        self._pump = self._links = None
        if pump is not None:
            pump.ended.cancel()
            await pump.close()
        if links is not None:
            await links.close()

    async def close(self) -> None:
        await self._stop_deciding()
        await self.campaign.close()
        if self._behind is not None:
            self._behind.close()
        for journal in self._journals:
            journal.close()
        if not self.ended.done():
            self.ended.cancel()


def _who(standing: Standing) -> str:
    leader = standing.leader
    return "nobody" if leader is None or leader.is_resigned else f"{leader.manager} (term {leader.term})"
