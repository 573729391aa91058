"""An agent's end of its grants: the hot process is started, spoken to, and heard.

In:   claims and releases of the agent, standing orders of the managers.
Out:  claims that are held (awaited), and what happens without being asked for, told to `Told`.
Always: the hot process outlives the agent, and with it what is held; an agent that starts again finds it. A claim of
which nothing is heard within the limit is given up, so that it cannot be held by surprise.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from holdfast.core.suspicion_words import Noticed
from holdfast.errors import PeerError, WorldError
from holdfast.model.actions import StandingOrder
from holdfast.model.events import Silence
from holdfast.model.granting import DEFAULT, Profile, Succession, Successor, VoterSet
from holdfast.model.layout import NETWORKS, Layout, Service, in_charge, witnesses_of
from holdfast.model.names import HA, HostName, ServiceName
from holdfast.model.reading import UNREADABLE
from holdfast.runtime import hot_grant_words as words
from holdfast.runtime.agent_hearing import HostsHeard
from holdfast.runtime.agent_voters import AgentVoters
from holdfast.runtime.exclusivity import Told
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.hot_door import SPAWNED_HOT, HotDoor, HotEnd
from holdfast.runtime.hot_grant_words import GrantSettings
from holdfast.runtime.hot_lateness import Lateness
from holdfast.runtime.hot_rights import Rights
from holdfast.runtime.hot_words import (
    AskStanding,
    Began,
    EndHot,
    FromRider,
    HotNetwork,
    HotPeer,
    HotSettings,
    Pulse,
    Standing,
    ToRider,
    event,
    packed,
)

START_LIMIT_S = 10.0
CLAIM_LIMIT_S = 5.0
HOT_END_LIMIT_S = 3.0
ASKED_MAX = 8
"""More who wait for an answer mean that some were dropped on their way."""
LOOK_EVERY = 4
"""With each fourth sign of life it is looked who is not heard, though it has not failed."""


class HeldGrants:
    """The contract of `Exclusivity`, by grants."""

    is_shared = True

    def __init__(
        self, layout: Layout, host: HostName, folder: RunFolder, table: str, door: HotDoor = SPAWNED_HOT
    ) -> None:
        self._door = door
        self._layout, self._host, self._folder, self._table = layout, host, folder, table
        self._end: HotEnd | None = None
        self._told: Told | None = None
        self._ready: asyncio.Future[words.Ready] | None = None
        self._claims: dict[ServiceName, tuple[int, asyncio.Future[None]]] = {}
        self._ports: dict[str, asyncio.Future[None]] = {}
        self._orders: dict[ServiceName, StandingOrder] = {}
        self._followed: dict[ServiceName, asyncio.Future[None]] = {}
        self._alive: asyncio.Task[None] | None = None
        self._asked: deque[Callable[[tuple[Silence, ...]], None]] = deque()
        """Who waits for the answer which hosts are silent."""
        self._incarnation = 0
        self._voters = AgentVoters(
            partial(self._door.keep_voters, folder.voters(host)),
            self._tell,
            lambda text: self._say("voters-not-written", host, text),
        )
        self._hosts: HostsHeard | None = None
        self.gate_is_timed = False
        self.refused: Callable[[Mapping[str, int]], None] = lambda _: None
        """Told with each pulse how many datagrams the hot process has refused, by reason."""
        self.began: Callable[[Rights], None] = lambda _: None
        self.pulsed: Callable[[Lateness], None] = lambda _: None
        self.lapsed: Callable[[], None] = lambda: None

    # --- life

    async def open(self, told: Told) -> None:
        """Find the hot process, or start one; on return it has said how things stand."""
        self._told = told
        self._hosts = HostsHeard(self._host, self._lengths, told)
        loop = asyncio.get_running_loop()
        path, log = self._folder.hot_socket(self._host), self._folder.log(f"hot-{self._host}")
        try:
            async with asyncio.timeout(START_LIMIT_S):
                self._end = await self._door.reach(path, self._write_settings(), log, self._read)
                self._ready = loop.create_future()
                self._tell(words.Greet())
                ready = await self._ready
        except TimeoutError:
            raise WorldError(f"the hot process has not answered within {START_LIMIT_S:g} s", f"see {log}") from None
        self._incarnation, self.gate_is_timed = ready.incarnation, ready.gate_is_timed
        told.begun(ready.held, ready.claimed, tuple(self._orders.values()))
        self._alive = loop.create_task(self._stay_alive(), name="alive")

    def _write_settings(self) -> Path:
        """What a hot process is started with, if none is there."""
        settings = self._folder.hot_settings(self._host)
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_bytes(msgspec.json.encode(self._hot_settings(self._folder.hot_socket(self._host))))
        settings.with_suffix(".grants").write_bytes(msgspec.json.encode(self._grant_settings()))
        return settings

    def _hot_settings(self, path: Path) -> HotSettings:
        grants = self._layout.grants
        if grants is None:
            raise WorldError("this deployment has no grants")
        own = self._layout.hosts[self._host].reached_at
        peers = {
            name: HotPeer(host.reached_at, grants.port)
            for name, host in self._layout.hosts.items()
            if name != self._host
        }
        return HotSettings(
            cluster=self._layout.name,
            me=self._host,
            networks=tuple(
                HotNetwork(name, address, grants.port) for name, address in zip(NETWORKS, own, strict=False)
            ),
            peers=peers,
            heartbeat_ns=grants.lengths.heartbeat_ns,
            key_file=str(self._folder.key),
            socket=str(path),
        )

    def _grant_settings(self) -> GrantSettings:
        return GrantSettings(
            me=self._host,
            profile=self._lengths,
            members=tuple(self._layout.hosts),
            witnesses=witnesses_of(self._layout),
            addresses={service.name: service.address for service in self._layout.services.values()},
            table=self._table,
            voter_set_file=str(self._folder.voters(self._host)),
            learns_epochs=any(in_charge(self._layout, vnf) == HA for vnf in self._layout.vnfs),
            interface=self._layout.hosts[self._host].bridge if self._carries_addresses() else "",
        )

    @property
    def _lengths(self) -> Profile:
        return self._layout.grants.lengths if self._layout.grants is not None else DEFAULT

    def _carries_addresses(self) -> bool:
        return any(one.host == self._host and one.vm is None for one in self._layout.vnfcs.values())

    async def close(self, *, end_all: bool) -> None:
        if self._alive is not None:
            self._alive.cancel()
            await asyncio.gather(self._alive, return_exceptions=True)
        await self._voters.close()
        end, self._end = self._end, None
        if end is None:
            return
        if end_all:
            await self._end_hot(end)
        end.close()

    async def _end_hot(self, end: HotEnd) -> None:
        """And see it gone: whoever ends an agent with all that is its own looks at once for what was left."""
        told, self._told = self._told, None  # That it is gone is no news.
        try:
            end.send(packed(EndHot()))
            async with asyncio.timeout(HOT_END_LIMIT_S):
                await end.over()
        except TimeoutError:
            if told is not None:
                told.said("hot-not-ended", self._host, f"the hot process is still there after {HOT_END_LIMIT_S:g} s")
        except OSError:
            return  # It is gone already.

    async def _stay_alive(self) -> None:
        for number in itertools.count():
            self._tell(words.Alive())
            if number % LOOK_EVERY == 0:
                self.ask_silent(lambda _: None)
            await asyncio.sleep(words.ALIVE_EVERY_S)

    # --- what the agent wants

    async def guard(self, port: str) -> None:
        future = self._ports[port] = asyncio.get_running_loop().create_future()
        self._tell(words.GuardPort(port))
        async with asyncio.timeout(CLAIM_LIMIT_S):
            await future

    async def claim(self, service: Service, epoch: int) -> None:
        future = asyncio.get_running_loop().create_future()
        self._claims[service.name] = (epoch, future)
        self._tell(words.Claim(service.name, epoch))
        try:
            async with asyncio.timeout(CLAIM_LIMIT_S):
                await future
        except TimeoutError:
            self.give_up(service.name)
            raise WorldError(
                f"the claim of {service.name} under {epoch} was not recorded by a majority within {CLAIM_LIMIT_S:g} s"
            ) from None
        except asyncio.CancelledError:
            self.give_up(service.name)
            raise
        finally:
            self._claims.pop(service.name, None)

    def give_up(self, service: ServiceName) -> None:
        self._tell(words.GiveUp(service))

    async def follow(self, order: StandingOrder) -> None:
        known = self._orders.get(order.service)
        if known is None or known.number < order.number:
            self._orders[order.service] = order
            self._hand_on(order)
        await asyncio.shield(self._followed[order.service])

    def _hand_on(self, order: StandingOrder) -> None:
        before = self._followed.get(order.service)
        # Whoever waits for an older order waits for this one, which is answered later.
        followed = self._followed[order.service] = before if before is not None and not before.done() else _future()
        if self._end is None:
            followed.set_result(None)  # Without the hot process nothing is claimed at all.
            return
        hosts = {one.name: one.host for one in self._layout.vnfcs.values()}
        holder = hosts[order.holder] if order.holder is not None else None
        successors = tuple(
            Successor(one.vnfc, hosts[one.vnfc], self._incarnation if hosts[one.vnfc] == self._host else 0, one.epoch)
            for one in order.successors
        )
        followed_by_hot = Succession(order.service, order.number, holder, order.epoch, successors)
        self._tell(words.Follow(followed_by_hot, msgspec.msgpack.encode(order)))

    @property
    def life(self) -> int:
        return self._incarnation

    def ask_silent(self, answer: Callable[[tuple[Silence, ...]], None]) -> None:
        if self._end is None:
            answer(())
            return
        self._asked.append(answer)
        self._send(packed(AskStanding()))

    @property
    def voters(self) -> VoterSet | None:
        return self._voters.in_use

    async def set_voters(self, voters: VoterSet, *, use: bool) -> str:
        return await self._voters.set_voters(voters, use=use)

    async def take_epochs(self, epochs: Mapping[ServiceName, int]) -> dict[ServiceName, int]:
        return await self._voters.take_epochs(epochs)

    # --- what happens

    def _read(self, packet: bytes) -> None:
        if not packet:
            self._broken()
            return
        try:
            heard = event(packet)
            news = words.news_in(heard.body) if isinstance(heard, FromRider) else None
        except (*UNREADABLE, PeerError) as error:
            self._say("hot-process-not-understood", self._host, str(error))
            self._broken()
            return
        if news is not None:
            self._heard(news)
        elif isinstance(heard, Began):
            self.began(heard.rights)
        elif isinstance(heard, Pulse):
            self.refused(heard.refused_by)
            self.pulsed(heard.lateness)
        elif self._hosts is not None:
            if isinstance(heard, Standing):
                self._answer_silent(self._hosts.stands(heard), everybody=len(self._asked) > ASKED_MAX)
            elif isinstance(heard, Noticed):
                self._hosts.noticed(heard)

    def _answer_silent(self, found: tuple[Silence, ...], *, everybody: bool) -> None:
        """Each by what was said after it had asked; everybody, if answers were dropped on their way."""
        while self._asked:
            self._asked.popleft()(found)
            if not everybody:
                return

    def _heard(self, news: words.GrantNews) -> None:
        self._voters.heard(news)
        match news:
            case words.Ready():
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(news)
            case words.Known(told=told):
                order = msgspec.msgpack.decode(told, type=StandingOrder)
                self._orders[order.service], self._followed[order.service] = order, _future()
            case words.PortGuarded(port=port, trouble=trouble):
                future = self._ports.pop(port, None)
                if future is not None and not future.done():
                    _settle(future, trouble)
            case words.Followed(service=service, number=number):
                known = self._orders.get(service)
                if known is not None and known.number == number and not self._followed[service].done():
                    self._followed[service].set_result(None)
            case words.HeldNow(service=service, epoch=epoch, again=again):
                self._held(service, epoch, again)
            case words.TakingNow(service=service, epoch=epoch, why=why):
                if self._told is not None:
                    self._told.taking(service, epoch, why)
            case words.NotHeld(service=service, epoch=epoch, how=how, why=why):
                self._not_held(service, epoch, how, why)
            case words.Said(name=name, about=about, detail=detail):
                self._say(name, about, detail)

    def _say(self, name: str, about: str, detail: str) -> None:
        if self._told is not None:
            self._told.said(name, about, detail)

    def _held(self, service: ServiceName, epoch: int, again: bool) -> None:
        wanted = self._claims.get(service)
        if wanted is not None and wanted[0] == epoch:
            if not wanted[1].done():
                wanted[1].set_result(None)
        elif self._told is not None:
            if again:
                self._told.held_again(service, epoch)
            else:
                self._told.taken(service, epoch)

    def _not_held(self, service: ServiceName, epoch: int, how: str, why: str) -> None:
        wanted = self._claims.get(service)
        if how == "lapsed":
            self.lapsed()
        if wanted is not None and wanted[0] == epoch and how in ("lost", "refused"):
            if not wanted[1].done():
                _settle(wanted[1], f"the claim of {service} under {epoch} is {how}: {why}")
        elif self._told is not None and how in ("lapsed", "lost"):
            self._told.not_held(service, epoch, how, why)

    def _broken(self) -> None:
        """The hot process is gone, and with it what was held: the kernel ends it on time."""
        if self._end is not None:
            self._end.close()
            self._end = None
        self._voters.gone()
        for followed in self._followed.values():
            if not followed.done():
                followed.set_result(None)
        self._answer_silent((), everybody=True)
        if self._told is not None:
            self._told.grants_gone()

    def _tell(self, command: words.GrantCommand) -> None:
        self._send(packed(ToRider(words.packed(command))))

    def _send(self, packet: bytes) -> None:
        if self._end is None:
            return
        try:
            self._end.send(packet)
        except OSError:
            self._broken()


def _future() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


def _settle(future: "asyncio.Future[None]", trouble: str) -> None:
    if trouble:
        future.set_exception(WorldError(trouble))
    else:
        future.set_result(None)
